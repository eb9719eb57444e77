"""Frames: what goes in comes out, and nothing else ever does, however the bytes are cut, damaged or mixed with text."""

from binascii import unhexlify

from mpota.link.frame import EXTRA, Frames, encode

PULL, ACK, DATA, BYE = 1, 2, 7, 11

# Worked out from the byte picture with struct and binascii alone; never regenerated.
GOLDEN = unhexlify("f54d07030010000003003e1c616263b7677b95")


def feed(frames, data):
    """Put the front of `data` into the room; return how many bytes that was."""
    room = frames.room()
    n = min(len(room), len(data))
    room[:n] = data[:n]
    frames.hi += n
    return n


def drain(frames):
    """All frames that are whole now, as tuples with bytes."""
    out = []
    while True:
        f = frames.take()
        if f is None:
            return out
        out.append((f[0], f[1], f[2], bytes(f[3])))


def receive(data, size=256, step=None):
    """The frames in `data`, fed `step` bytes at a time into a buffer of `size`."""
    frames = Frames(bytearray(size))
    out = []
    view = memoryview(data)
    while len(view):
        n = feed(frames, view[: step or len(view)])
        view = view[n:]
        out += drain(frames)
    return out


def test_frame_is_the_byte_picture():
    assert encode(DATA, 3, 0x1000, b"abc") == GOLDEN
    assert receive(GOLDEN) == [(DATA, 3, 0x1000, b"abc")]


def test_frame_without_payload_is_the_shortest():
    assert len(encode(ACK, 0, 0)) == EXTRA


def test_any_cut_of_the_stream_gives_the_same_frames():
    wire = encode(PULL, 1, 0, b"\x00\x10\x02") + encode(DATA, 1, 4096, bytes(range(100))) + encode(BYE, 1, 0)
    want = [(PULL, 1, 0, b"\x00\x10\x02"), (DATA, 1, 4096, bytes(range(100))), (BYE, 1, 0, b"")]
    for step in (1, 2, 3, 7, 16, 17, 100, None):
        assert receive(wire, 128, step) == want, step


def test_every_flipped_bit_is_refused():
    wire = bytearray(GOLDEN)
    for bit in range(len(wire) * 8):
        wire[bit // 8] ^= 1 << bit % 8
        assert receive(bytes(wire)) == [], bit
        wire[bit // 8] ^= 1 << bit % 8


def test_frame_after_a_damaged_one_is_found():
    good = encode(ACK, 9, 77)
    wire = bytearray(GOLDEN)
    for bit in range(len(wire) * 8):
        wire[bit // 8] ^= 1 << bit % 8
        # A damaged head may still promise up to a whole buffer; the next frames fill it.
        assert (ACK, 9, 77, b"") in receive(bytes(wire) + good), bit
        wire[bit // 8] ^= 1 << bit % 8


def test_frame_after_lost_bytes_is_found():
    wire = encode(DATA, 1, 0, bytes(range(64)))
    good = encode(ACK, 9, 77)
    for lost in range(1, len(wire)):
        assert receive(wire[:lost] + good * 8, 128)[-1] == (ACK, 9, 77, b""), lost


def test_text_and_noise_between_frames_are_skipped():
    noise = b">>> print('\xc3\xa4')\r\n" + b"\xf5" * 5 + b"\xf5\x4d" + bytes(300) + b"\xf5\x4d\xf5"
    assert receive(noise + GOLDEN + noise + GOLDEN) == [(DATA, 3, 0x1000, b"abc")] * 2


def test_damaged_payload_is_counted_and_noise_is_not():
    frames = Frames(bytearray(64))
    feed(frames, b"noise" + GOLDEN[:13] + b"X" + GOLDEN[14:])
    assert drain(frames) == []
    assert frames.bad == 1
    feed(frames, b"Traceback")
    assert drain(frames) == []
    assert frames.bad == 1


def test_frame_larger_than_the_buffer_is_noise():
    big = encode(DATA, 1, 0, bytes(100))
    assert receive(big + encode(ACK, 1, 5), 64) == [(ACK, 1, 5, b"")]
    assert receive(big, 100 + EXTRA) == [(DATA, 1, 0, bytes(100))]


def test_room_is_no_more_than_the_buffer_holds():
    frames = Frames(bytearray(32))
    assert feed(frames, GOLDEN * 3) == 32
    assert feed(frames, b"x") == 0
    assert len(drain(frames)) == 1
    assert feed(frames, GOLDEN * 3) == len(GOLDEN)


def test_need_never_reaches_beyond_the_frame():
    frames = Frames(bytearray(64))
    view = memoryview(GOLDEN)
    off = 0
    assert frames.take() is None
    while off < len(GOLDEN):
        n = frames.need
        assert 0 < n <= len(GOLDEN) - off
        feed(frames, view[off : off + n])
        off += n
        got = drain(frames)
    assert got == [(DATA, 3, 0x1000, b"abc")]


def test_until_a_frame_begins_one_byte_is_asked_for():
    frames = Frames(bytearray(64))
    for c in b"noise, and no frame":
        assert frames.need == 1
        feed(frames, bytes((c,)))
        assert frames.take() is None
    feed(frames, GOLDEN[:1])
    assert frames.take() is None and frames.need == 11


def test_kept_payloads_are_read_in_order_whatever_comes_between():
    frames = Frames(bytearray(80))
    for i in range(3):
        feed(frames, encode(DATA, 1, i, b"%d23456789" % i) + GOLDEN[:i])
        frames.keep(frames.take()[3])
        assert frames.take() is None and frames.kept() == 9 * (i + 1)
        # What was begun behind it is still there.
        feed(frames, GOLDEN[i:])
        assert drain(frames) == [(DATA, 3, 0x1000, b"abc")]
    buf = bytearray(20)
    assert frames.read(buf) == 20 and buf == b"02345678912345678922"
    assert frames.kept() == 7
    assert frames.read(buf) == 7 and buf[:7] == b"3456789" and frames.kept() == 0
    assert len(frames.room()) == 80, "all of the buffer is free again"


def test_a_frame_that_does_not_fit_behind_what_is_kept_is_noise():
    frames = Frames(bytearray(64))
    feed(frames, encode(DATA, 1, 0, bytes(30)))
    frames.keep(frames.take()[3])
    feed(frames, encode(DATA, 1, 30, bytes(18)))
    assert len(frames.take()[3]) == 18
    feed(frames, encode(DATA, 1, 30, bytes(19))[:20])
    assert frames.take() is None and frames.need <= 11
    frames.forget()
    feed(frames, encode(DATA, 1, 30, bytes(19)))
    assert len(drain(frames)) == 1


def test_room_is_filled_in_place():
    frames = Frames(bytearray(64))
    frames.room()[: len(GOLDEN)] = GOLDEN
    frames.hi += len(GOLDEN)
    assert drain(frames) == [(DATA, 3, 0x1000, b"abc")]
    assert len(frames.room()) == 64


def test_payload_stands_until_the_next_room_while_more_is_taken():
    frames = Frames(bytearray(64))
    feed(frames, GOLDEN * 2 + GOLDEN[:14])
    first, second = frames.take(), frames.take()
    assert frames.take() is None and frames.need == len(GOLDEN) - 14
    assert bytes(first[3]) == bytes(second[3]) == b"abc"
    feed(frames, GOLDEN[14:])
    assert drain(frames) == [(DATA, 3, 0x1000, b"abc")]
