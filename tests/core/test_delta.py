"""The delta stage on both interpreters: streams built by hand, and every way in which one can be wrong."""

from array import array
from io import BytesIO
from struct import pack

from mpota.pipe import delta

BASE = bytes((i * i * 7 + i // 3) & 255 for i in range(5003))
CHUNK = 4096
ROOM = 1024


class Counting:
    """A Flash that counts its reads and refuses those outside."""

    def __init__(self, data):
        self.data = data
        self.size = len(data)
        self.reads = []

    def read(self, off, buf):
        assert 0 <= off and off + len(buf) <= self.size and len(buf) <= delta.PAGE
        self.reads.append((off, len(buf)))
        buf[:] = self.data[off : off + len(buf)]


class Part:
    base_size = len(BASE)


class Chunks:
    """What a stage is told of its component."""

    def __init__(self, base=BASE):
        self.part = Part()
        self.part.base_size = len(base)
        self.base = Counting(base)
        self.start = 0
        self.left = 0


def varint(n):
    out = b""
    while n > 127:
        out += bytes((n & 127 | 128,))
        n >>= 7
    return out + bytes((n,))


def control(extra, diff, seek):
    return varint(extra) + varint(diff) + varint(seek * 2 if seek >= 0 else -seek * 2 - 1)


def group(controls, gaps=b"", values=b"", extra=b"", mode=0):
    return pack("<BHHH", mode, len(controls), len(gaps), len(values)) + controls + gaps + values + extra


def decode(stream, size, chunks=None, step=700, start=0):
    """The `size` bytes of a chunk, read `step` at a time, and then the end."""
    chunks = chunks or Chunks()
    chunks.start = start
    chunks.left = size
    src = delta.stage(chunks)(BytesIO(stream))
    out = b""
    buf = bytearray(step)
    while len(out) < size:
        n = src.readinto(buf)
        assert n == min(step, size - len(out))
        out += bytes(buf[:n])
    assert src.readinto(bytearray(1)) == 0
    assert src.readinto(bytearray(1)) == 0
    return out


def changed(size, values):
    """Gaps, values and the result of adding `values` {offset: value} to BASE[:size]."""
    places = sorted(set([0] + list(values)))
    gaps = b""
    for i in range(1, len(places)):
        gap = places[i] - places[i - 1] - 1
        gaps += b"\xff" * (gap // 255) + bytes((gap % 255,))
    out = bytearray(BASE[:size])
    for at in values:
        out[at] = (out[at] + values[at]) & 255
    return gaps, bytes(values.get(at, 0) for at in places), bytes(out)


def test_new_bytes_alone():
    new = BASE[1:3000] + b"new"
    assert decode(group(control(len(new), 0, 0), extra=new), len(new)) == new


def test_old_bytes_alone_come_from_where_the_chunk_itself_stands():
    for start, want in ((0, BASE[:907]), (CHUNK, BASE[4096:5003])):
        assert decode(group(control(0, 907, 0), b"", b"\0"), 907, start=start) == want


def test_the_old_image_is_read_where_the_new_one_is_written():
    steps = control(3, 100, 0) + control(7, 100, 0)
    want = b"abc" + BASE[3:103] + b"defghij" + BASE[110:210]
    assert decode(group(steps, b"", b"\0", b"abcdefghij"), len(want)) == want


def test_seeks_go_both_ways_and_add_up():
    steps = control(0, 101, 977) + control(3, 211, -1003) + control(0, 7, 0)
    want = BASE[977:1078] + b"abc" + BASE[78:289] + BASE[289:296]
    assert decode(group(steps, b"", b"\0", b"abc"), len(want)) == want


def test_values_are_added_where_the_gaps_say():
    for size in (1, 2, 255, 256, 257, 511, 2047, 2048, 2049, 4096):
        for places in ((), (0,), (size - 1,), (0, size - 1), range(0, size, 2), range(size // 3, size, 256)):
            values = {}
            for at in places:
                values[at] = at * 37 % 255 + 1
            gaps, added, want = changed(size, values)
            if len(gaps) + len(added) < ROOM - 9:
                assert decode(group(control(0, size, 0), gaps, added), size) == want


def test_a_run_of_changes_goes_on_from_one_piece_of_old_bytes_to_the_next():
    gaps, values, want = changed(1000, {3: 1, 499: 2, 500: 255, 999: 9})
    steps = control(0, 500, 0) + control(2, 500, -2)
    assert decode(group(steps, gaps, values, b"xy"), 1002) == want[:500] + b"xy" + want[500:]


def test_groups_follow_each_other_and_the_result_does_not_depend_on_the_reader():
    gaps, values, want = changed(3001, {7: 200, 2048: 3, 3000: 4})
    stream = group(control(5, 3001, -5), gaps, values, b"first") + group(control(13, 0, 0), b"", b"", b"and the other")
    want = b"first" + want + b"and the other"
    for step in (1, 7, 2047, 2048, 2049, 4096):
        assert decode(stream, len(want), step=step) == want


def test_one_object_decodes_chunk_after_chunk_without_remembering_any():
    chunks = Chunks()
    chunks.left = 2
    open = delta.stage(chunks)
    buf = bytearray(2)
    # Left in the middle: the next chunk begins anew.
    open(BytesIO(group(control(0, 1, 9) + control(0, 1, 0), b"\0", b"\1\1"))).readinto(bytearray(1))
    for _ in range(2):
        src = open(BytesIO(group(control(0, 2, 0), b"", b"\0")))
        assert src.readinto(buf) == 2 and bytes(buf) == BASE[:2]
        src.close()


def test_old_bytes_are_read_once_each_in_pieces_of_a_page_at_most():
    chunks = Chunks()
    decode(group(control(0, 4096, 907), b"", b"\0"), 4096, chunks, step=100)
    assert chunks.base.reads == [(907 + at, 1024) for at in (0, 1024, 2048, 3072)]


def refused(stream, size=100, kind=ValueError):
    try:
        decode(stream, size)
    except kind:
        return
    raise AssertionError("no %s was raised" % kind.__name__)


def test_old_bytes_outside_of_the_base_are_refused_unread():
    size = len(BASE)
    assert decode(group(control(0, 100, size - 100), b"", b"\0"), 100) == BASE[-100:]
    for seek in (-1, size - 99, size, 1 << 20, -(1 << 20), (1 << 27) - 1, -(1 << 27)):
        refused(group(control(0, 100, seek), b"", b"\0"))


def test_a_control_that_gives_too_much_or_nothing_is_refused():
    for extra, diff in ((101, 0), (0, 101), (50, 51), (0, 0), ((1 << 28) - 1, (1 << 28) - 1)):
        refused(group(control(extra, diff, 0), b"", b"\0", b"x" * 200))


def test_a_number_of_more_than_four_bytes_is_refused():
    refused(group(b"\x80\x80\x80\x80\0" + b"\0\0"))


def test_a_control_that_is_cut_off_is_refused():
    whole = control(0, 100, 300)
    for n in range(len(whole)):
        refused(group(whole[:n], b"", b"\0"))


def test_a_head_that_is_larger_than_its_buffer_is_refused():
    new = b"n" * 100
    for parts in ((65535, 65535, 65535), (ROOM - 1, 1, 1), (0, ROOM + 1, 0), (0, 0, ROOM + 1)):
        refused(pack("<BHHH", 0, *parts) + bytes(3 * 65535))
    assert decode(group(control(100, 0, 0), extra=new), 100) == new


def test_a_head_as_large_as_its_buffer_is_taken():
    steps = control(1, 0, 0) * (ROOM // 3)
    n = ROOM // 3
    assert decode(group(steps, extra=b"z" * n), n) == b"z" * n


def test_a_number_that_goes_on_behind_a_full_head_is_refused():
    n = (ROOM - 4) // 3
    stream = group(control(1, 0, 0) * n + b"\1\0\x81\x80", extra=b"z" * n)
    assert len(stream) == 7 + ROOM + n
    refused(stream, n + 1)


def test_values_too_few_or_too_many_are_refused():
    steps = control(0, 100, 0)
    refused(group(steps, b"", b""))
    refused(group(steps, b"\5", b"\1"))
    refused(group(steps, b"\5", b"\1\2\3"))
    refused(group(steps, b"\x62\0", b"\1\2\3"))
    refused(group(steps, b"", b"\1\2"))


def test_gaps_beyond_the_old_bytes_are_refused():
    steps = control(0, 100, 0)
    assert decode(group(steps, b"\x62", b"\0\1"), 100)[99] == (BASE[99] + 1) & 255
    refused(group(steps, b"\x63", b"\0\1"))
    refused(group(steps, b"\xff" * 300 + b"\0", b"\0\1"))
    refused(group(control(100, 0, 0), b"\1", b"\1", b"n" * 100))


def test_what_a_head_leaves_unused_is_refused_before_the_next_group_too():
    second = group(control(50, 0, 0), extra=b"n" * 50)
    refused(group(control(50, 0, 0), b"\1", b"", b"m" * 50) + second, 100, EOFError)
    refused(group(control(50, 0, 0), b"", b"\1", b"m" * 50) + second, 100, EOFError)
    refused(group(control(50, 0, 0) + b"\1\0\0", b"", b"", b"m" * 50), 50)


def test_bytes_behind_the_end_are_refused():
    stream = group(control(100, 0, 0), extra=b"n" * 100)
    refused(stream + b"\0")
    refused(stream + group(control(1, 0, 0), extra=b"n"))


def test_every_truncation_is_refused():
    gaps, values, _ = changed(90, {3: 1, 80: 2})
    stream = group(control(5, 90, 11), gaps, values, b"extra") + group(control(5, 0, 0), extra=b"other")
    decode(stream, 100)
    for n in range(len(stream)):
        refused(stream[:n], 100, EOFError)


def mutated(stream, n, decode):
    """How many of `n` streams with up to three other bytes are refused; the others give 2600 bytes."""
    seed, errors = 1, 0
    for _ in range(n):
        data = bytearray(stream)
        for _ in range(1 + seed % 3):
            seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
            data[(seed >> 8) % len(data)] = (seed >> 3) & 255
        try:
            assert len(decode(bytes(data))) == 2600
        except (ValueError, EOFError):
            errors += 1
    return errors


def test_mutated_streams_give_bytes_of_the_promised_length_or_an_error():
    gaps, values, _ = changed(2500, {3: 1, 80: 2, 2100: 7, 2499: 8})
    stream = group(control(5, 2500, 11), gaps, values, b"extra") + group(control(5, 90, -9), b"", b"\1", b"other")
    assert mutated(stream, 3000, lambda data: decode(data, 2600)) > 1000


def test_viper_adds_no_byte_beyond_the_piece_and_takes_none_beyond_the_values():
    page = bytearray(b"\1" * 8)
    head = bytearray(b"\1\0\0\0" + b"\x0a\xff\x0a\x0a\x63\x63")
    state = array("I", [0, 0, 4, 4, 8])
    # Gaps 1, 0, 0, 0 behind the first value; four values for the five places; six bytes of the page are the piece.
    assert delta.patch(memoryview(page)[1:4], 3, head, state) == 1
    assert bytes(page) == b"\1\x0b\1\0\1\1\1\1" and list(state) == [3, 2, 6, 4, 8]
    state[0] -= 3
    assert delta.patch(memoryview(page)[4:6], 2, head, state) == 1
    assert bytes(page) == b"\1\x0b\1\0\x0b\x0b\1\1" and list(state)[1:3] == [4, 8]
    state[0] -= 2
    assert delta.patch(memoryview(page)[6:8], 2, head, state) == 0
    assert bytes(page) == b"\1\x0b\1\0\x0b\x0b\1\1"
