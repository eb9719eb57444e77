"""The lzma stage: streams of liblzma, streams that no compressor writes, and what is wrong with a stream.

Whatever the bytes, a decoder raises ValueError or EOFError, or gives the length that was promised; and it writes
nowhere but in its own memory, which the fences around that memory tell.
"""

from array import array
from binascii import unhexlify
from hashlib import sha256
from io import BytesIO
from struct import calcsize, unpack_from

from mpota.pipe import lzma
from mpota.pipe.lzma import ENDLESS, Lzma
from tests.lzma_maker import Maker

HERE = __file__.rsplit("/", 2)[0]
# Props, window bits, decoded length, SHA-256 of the decoded bytes, length of the range coder's bytes that follow.
RECORD = "<BBI32sI"
FENCE = 64
# What lies in front of a window, and the words of a decoder (memory is counted below).
ROOM, WORDS = 1088, 1196


def file(name):
    with open(HERE + "/vectors/" + name, "rb") as f:
        return f.read()


def vectors():
    data = file("lzma_streams.bin")
    at = 0
    while at < len(data):
        props, wbits, length, sha, n = unpack_from(RECORD, data, at)
        at += calcsize(RECORD)
        yield wbits, length, sha, bytes([props, length & 255, length >> 8 & 255, length >> 16]) + data[at + 1 : at + n]
        at += n


def take(decoder, piece=4096):
    """Everything that comes out, asked for in pieces."""
    out = b""
    buf = bytearray(piece)
    while True:
        n = decoder.readinto(buf)
        if not n:
            return out
        out += bytes(buf[:n])


def decoded(stream, wbits=12, lc=3, piece=4096):
    return take(Lzma(wbits, lc).open(BytesIO(stream)), piece)


def fails(stream, *kind, wbits=12):
    """The error that `stream` ends in."""
    try:
        decoded(stream, wbits)
    except (ValueError, EOFError) as e:
        assert not kind or type(e) in kind, "%r, wanted %r" % (e, kind)
        return
    raise AssertionError("a wrong stream was taken")


def numbers(seed, n):
    """`n` bytes that nothing compresses, the same everywhere."""
    out = bytearray(n)
    for i in range(n):
        seed = (seed * 69069 + 1) & 0xFFFFFF
        out[i] = seed >> 16
    return bytes(out)


def test_streams_of_liblzma_decode_to_their_bytes():
    count = 0
    for wbits, length, sha, stream in vectors():
        out = decoded(stream, wbits)
        assert len(out) == length and sha256(out).digest() == sha, "stream %d" % count
        count += 1
    assert count == 21


def test_it_goes_on_at_any_byte():
    _, _, sha, stream = next(vectors())
    for piece in (1, 2, 3, 7, 61, 509, 2002, 2003, 2004):
        assert sha256(decoded(stream, 12, 3, piece)).digest() == sha, piece


class Trickle:
    """A source that gives what it has byte by byte, as a slow one may."""

    def __init__(self, data, most=1):
        self.data = data
        self.at = 0
        self.most = most

    def readinto(self, buf):
        n = min(self.most, len(buf), len(self.data) - self.at)
        buf[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n


def test_a_source_may_give_one_byte_at_a_time():
    _, _, sha, stream = next(vectors())
    for most in (1, 47, 48, 49, 511, 512, 513):
        assert sha256(take(Lzma(12, 3).open(Trickle(stream, most)))).digest() == sha


def test_one_decoder_decodes_chunk_after_chunk():
    decoder = Lzma(16, 3)
    for _ in range(2):
        for _, length, sha, stream in vectors():
            if length < 3000:
                assert sha256(take(decoder.open(BytesIO(stream)))).digest() == sha


def test_a_chunk_after_a_failed_one_decodes():
    _, _, sha, stream = next(vectors())
    decoder = Lzma(12, 3)
    for cut in (3, 7, 300):
        try:
            take(decoder.open(BytesIO(stream[:cut])))
            raise AssertionError("a short stream was taken")
        except EOFError:
            pass
        assert sha256(take(decoder.open(BytesIO(stream)))).digest() == sha


def test_every_symbol_at_every_place_comes_back():
    for lc, pb in ((0, 0), (1, 1), (3, 2)):
        maker = Maker(lc, pb)
        for byte in (0, 255, 254, 7, 129, 64, 65):
            maker.literal(byte)
        for n in (2, 9, 10, 17, 18, 273):
            maker.match(3, n).literal(n & 255).again(0, n).short().literal(200)
        for far in (1, 2, 3, 4, 5, 8, 13, 100, 127, 128, 129, 500):
            maker.match(far, 5).literal(far & 255)
        for which in (3, 3, 2, 1, 2, 3, 0, 1):
            maker.again(which, 4).short()
        assert decoded(maker.chunk()) == bytes(maker.data)


def test_a_distance_reaches_back_to_the_first_byte_and_no_further():
    for far in (1, 2, 5):
        maker = Maker().literal(1).literal(2)
        stream = maker.match(far, 2).chunk()
        if far <= 2:
            assert decoded(stream) == bytes(maker.data)
        else:
            fails(stream, ValueError)
    fails(Maker().match(1, 2).chunk(), ValueError)
    fails(Maker().short().chunk(), ValueError)
    fails(Maker().literal(9).again(3, 2).match(4, 2).chunk(), ValueError)


def test_a_distance_reaches_the_whole_window_and_no_further():
    for wbits in (12, 16):
        whole = 1 << wbits
        for length in (whole, whole + 1, 2 * whole + 17):
            for far in (whole, whole + 1):
                maker = Maker().literal(5).literal(77)
                while len(maker.data) < length:
                    maker.match(min(len(maker.data), whole), min(273, max(2, length - len(maker.data))))
                    if len(maker.data) > whole:
                        maker.match(whole - 3, 2)
                    maker.literal(len(maker.data) * 7 & 255)
                if far > len(maker.data):
                    continue
                stream = maker.match(far, 30).short().literal(3).chunk()
                if far == whole:
                    assert decoded(stream, wbits) == bytes(maker.data)
                else:
                    fails(stream, ValueError, wbits=wbits)


def test_distances_of_any_size_never_wrap_round():
    for far in (1 << 16, (1 << 16) + 1, 1 << 17, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1):
        maker = Maker()
        for byte in b"some bytes":
            maker.literal(byte)
        fails(maker.match(far, 2).literal(1).chunk(), ValueError, wbits=16)


def test_a_match_beyond_the_promised_length_is_refused():
    maker = Maker().literal(1).match(1, 20)
    assert decoded(maker.chunk()) == b"\1" * 21
    for length in (1, 2, 20):
        fails(Maker().literal(1).match(1, 20).chunk(length), ValueError)
    fails(Maker().literal(1).match(1, 20).chunk(22), ValueError, EOFError)


def test_a_range_coder_that_does_not_end_in_zero_is_refused():
    stream = bytearray(Maker().literal(1).literal(2).chunk())
    stream[-1] ^= 1
    fails(bytes(stream), ValueError)


def test_a_marker_ends_what_has_no_length_and_nothing_else():
    text = b"no length is known here"
    maker = Maker(3, 2)
    for byte in text:
        maker.literal(byte)
    stream = maker.match(23, 5).marker().chunk(len(text) + 5 + 1)
    fails(stream, EOFError)
    for piece in (1, 28, 29):
        decoder = Lzma(12, 3)
        decoder.src = BytesIO(stream[4:])
        decoder.more = ENDLESS
        decoder.begin(3 + 45 * 2, ENDLESS)
        assert take(decoder, piece) == text + text[:5]
        assert decoder.readinto(bytearray(1)) == 0


def test_a_lzma_file_with_a_marker_decodes():
    data = file("lzma_marker.lzma")
    decoder = Lzma(16, 3)
    decoder.src = BytesIO(data[14:])
    decoder.more = len(data) - 14
    assert data[:5] == b"\x5d\0\0\1\0" and data[13] == 0
    decoder.begin(data[0], ENDLESS)
    out = take(decoder)
    assert len(out) == 3001
    assert sha256(out).digest() == unhexlify("62b00689fd3f2b2dd5f6ae304ff620b27dd8cbe80cd8ac8ab17489048f9ce446")


def test_props_beyond_the_decoder_are_refused():
    body = Maker().literal(65).chunk()[1:]
    for lc in range(4):
        for props in range(256):
            pb, rest = divmod(props, 45)
            good = rest <= lc and pb <= 2
            try:
                Lzma(12, lc).open(BytesIO(bytes([props]) + body))
                assert good or props == 255, props
            except ValueError:
                assert not good and props < 255, props


def test_plain_bytes_travel_as_they_are():
    for n in (0, 1, 4099):
        data = numbers(n, n)
        stream = bytes([255, n & 255, n >> 8, 0]) + data
        assert decoded(stream, 12, 1, 1000) == data
        for cut in range(min(n, 9)):
            fails(stream[: -cut - 1], EOFError)
        fails(stream + b"\0", ValueError)


def test_a_stream_of_no_bytes_still_has_an_end():
    assert decoded(b"\0\0\0\0" + bytes(4)) == b""
    fails(b"\0\0\0\0" + bytes(3), EOFError)
    fails(b"\0\0\0\0" + bytes(5), ValueError)
    fails(b"\0\0\0\0\0\0\0\1", ValueError)
    fails(b"", EOFError)


def test_a_truncated_stream_is_always_refused():
    maker = Maker(1, 1)
    for i in range(40):
        maker.literal(i * i & 255).match(i // 3 + 1, 3)
    stream = maker.chunk()
    for n in range(len(stream)):
        fails(stream[:n], EOFError, ValueError)
    _, _, _, stream = next(vectors())
    for n in range(0, len(stream), 41):
        fails(stream[:n], EOFError, ValueError)


def test_an_extended_stream_is_always_refused():
    _, _, _, stream = next(vectors())
    for more in (b"\0", b"\xff", bytes(600), numbers(1, 3000)):
        fails(stream + more, ValueError)


class Fenced(Lzma):
    """A decoder whose memory lies between fences."""

    def __init__(self, wbits, lc):
        super().__init__(wbits, lc)
        view, words, last = len(self.view), len(self.st), self.st[14]
        self.big = bytearray(b"\xa5" * (view + 2 * FENCE))
        self.view = memoryview(self.big)[FENCE : FENCE + view]
        self.view[:] = bytes(view)
        # Words have a fence behind them only: no index of them is below 0.
        self.st = array("H", bytes(2 * words) + b"\xa5" * FENCE)
        self.st[14] = last
        self.lit = memoryview(self.st)[WORDS:words]

    def whole(self):
        ends = (bytes(self.big[:FENCE]), bytes(self.big[-FENCE:]), bytes(self.st)[-FENCE:])
        return ends == (b"\xa5" * FENCE,) * 3


def outcome(decoder, stream):
    """1 for output of the promised length, else 0; the fences stand either way, and asking again does no harm."""
    good = 0
    try:
        promised = stream[1] | stream[2] << 8 | stream[3] << 16
        out = take(decoder.open(BytesIO(stream)), 512)
        assert len(out) == promised
        good = 1
    except (ValueError, EOFError):
        for _ in range(3):
            try:
                decoder.readinto(bytearray(300))
            except (ValueError, EOFError):
                pass
    assert decoder.whole(), "it wrote outside its memory"
    return good


def test_a_fence_that_falls_is_seen():
    for name, at in (("big", 3), ("big", -1), ("st", -1)):
        decoder = Fenced(12, 0)
        assert decoder.whole()
        getattr(decoder, name)[at] = 1
        assert not decoder.whole()


def test_flipped_bits_give_an_error_or_the_promised_length():
    maker = Maker(1, 2)
    for i in range(60):
        maker.literal(i * 37 & 255).match(i // 2 + 1, 3).again(min(i, 3) and 1, 2)
    stream = maker.chunk()
    decoder = Fenced(12, 1)
    good = 0
    for at in range(4, len(stream)):
        for bit in range(8):
            bad = bytearray(stream)
            bad[at] ^= 1 << bit
            good += outcome(decoder, bytes(bad))
    assert outcome(decoder, stream) == 1
    # The code ends in zero by chance once in 2**32.
    assert good == 0


def test_noise_gives_an_error_or_the_promised_length():
    decoders = [Fenced(12, 0), Fenced(13, 1), Fenced(16, 3)]
    good = 0
    for seed in range(300):
        lc = seed % 3
        head = bytes([lc + 45 * (seed % 2), seed & 255, seed % 40, 0])
        for first in (b"", b"\0", b"\xff\xff\xff\xff\xff\xff"):
            good += outcome(decoders[lc], head + first + numbers(seed + 1, 100 + seed * 5))
    assert good == 0


def test_memory_is_taken_once_and_is_what_the_page_says():
    for wbits in range(12, 17):
        for lc in range(4):
            decoder = Lzma(wbits, lc)
            before = (decoder.view, decoder.st, decoder.lit)
            assert [len(b) for b in before] == [ROOM + (1 << wbits), WORDS + (768 << lc), 768 << lc]
            decoder.open(BytesIO(Maker().literal(1).chunk())).readinto(bytearray(9))
            assert before[0] is decoder.view and before[1] is decoder.st and before[2] is decoder.lit


class Chunks:
    """What a stage is told of a component and of the chunk in RAM."""

    class part:
        wbits = 12

    def __init__(self, room):
        self.ram = BytesIO(bytes(room))
        self.stored = 0

    def put(self, stream):
        self.ram.seek(0)
        self.ram.write(b"L" * 36 + stream)
        self.stored = self.ram.tell()
        self.ram.seek(36)


def test_the_stage_reads_to_the_stored_end_and_leaves_what_an_older_chunk_left():
    chunks = Chunks(5000)
    make = lzma.stage(chunks)
    decoder = None
    for data in (numbers(3, 4000), b"short", b""):
        chunks.put(b"\xff" + bytes([len(data) & 255, len(data) >> 8, 0]) + data)
        assert take(make(chunks.ram)) == data
        assert chunks.ram.tell() == chunks.stored
    for n in (3000, 10):
        maker = Maker()
        for byte in numbers(n, n):
            maker.literal(byte)
        chunks.put(maker.chunk())
        before, decoder = decoder, make(chunks.ram)
        assert before is None or before is decoder
        assert take(decoder) == bytes(maker.data)
        assert chunks.ram.tell() == chunks.stored


def test_the_stage_reads_another_stage_to_its_end():
    chunks = Chunks(100)
    make = lzma.stage(chunks)
    maker = Maker().literal(8).match(1, 200)
    src = Trickle(maker.chunk(), 100)
    decoder = make(src)
    assert take(decoder) == bytes(maker.data)
    assert src.at == len(src.data)
    decoder.close()
    try:
        take(make(Trickle(maker.chunk() + b"\0", 100)))
        raise AssertionError("a byte was left over")
    except ValueError:
        pass
