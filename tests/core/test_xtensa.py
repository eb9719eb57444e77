"""Prediction in the delta stage: addresses that moved are followed after the first one, on both interpreters alike."""

from array import array
from hashlib import sha256
from io import BytesIO
from struct import pack, pack_into

from mpota.pipe import delta, xtensa
from tests.core.test_delta import Chunks, control, group, mutated

NOP = b"\xf0\x20\x00"  # three bytes


def call8(at, target):
    """CALL8 at `at`: a signed word count from the word behind the call's own (ISA manual: CALLn)."""
    field = (target - (at & ~3) - 4) >> 2 & 0x3FFFF
    return (field << 6 | 0x25).to_bytes(3, "little")


def l32r(at, target):
    """L32R a2: a negative word count from the next word boundary (ISA manual: L32R)."""
    return bytes((0x21,)) + pack("<H", (target - (at + 3 & ~3)) >> 2 & 0xFFFF)


def pointer(at, target):
    return pack("<I", 0x3F400000 + target)


KINDS = (call8, l32r, pointer)


def image(make, places, size=8000):
    """NOPs, and at each place of {place: target} what `make` makes."""
    data = bytearray(NOP * (size // 3))
    for at in places:
        code = make(at, places[at])
        data[at : at + len(code)] = code
    return bytes(data)


def predicted(base, start, size, new_at, mode=3, corrections=()):
    """What the stage makes of `size` bytes at `start` of the base for `new_at`; `corrections`: (place, value) each."""
    places = sorted(set([0] + [at for at, _ in corrections]))
    values = bytes(dict(corrections).get(at, 0) for at in places)
    gaps = b""
    for i in range(1, len(places)):
        gap = places[i] - places[i - 1] - 1
        gaps += b"\xff" * (gap // 255) + bytes((gap % 255,))
    stream = group(control(0, size, start - new_at), gaps, values, b"", mode)
    chunks = Chunks(base)
    return decode(stream, size, chunks, new_at - new_at % 4096)


def decode(stream, size, chunks, start=0):
    chunks.start = start
    chunks.left = size
    src = xtensa.stage(chunks)(BytesIO(stream))
    buf = bytearray(size)
    assert src.readinto(buf) == size and src.readinto(bytearray(1)) == 0
    return bytes(buf)


def differences(old, new):
    return [(at, b - a & 255) for at, (a, b) in enumerate(zip(old, new)) if a != b]


def test_an_address_is_followed_after_the_first_one_to_the_same_target():
    for make in KINDS:
        # Three places lie still; what they point to moved by 68 bytes.
        old = image(make, {600: 4800, 804: 4800, 960: 4800})
        new = image(make, {600: 4868, 804: 4868, 960: 4868})
        first = [pair for pair in differences(old, new) if pair[0] < 700]
        assert first and len(first) < len(differences(old, new))
        assert predicted(old, 0, 1000, 0, 3, first) == new[:1000]


def test_an_address_near_one_that_is_known_is_thought_to_have_moved_with_it():
    for make in KINDS:
        old = image(make, {600: 5140, 804: 5140 + 512, 960: 5140 + 1000})
        new = image(make, {600: 5208, 804: 5208 + 512, 960: 5208 + 1000})
        first = [pair for pair in differences(old, new) if pair[0] < 700]
        assert predicted(old, 0, 1000, 0, 3, first) == new[:1000]


def test_the_shift_of_the_same_16_bytes_goes_before_that_of_its_kib():
    for make in KINDS:
        old = image(make, {600: 5140, 660: 5396, 804: 5396 + 512, 960: 5140})
        new = image(make, {600: 5208, 660: 5396, 804: 5396 + 512, 960: 5208})
        # The second one is thought to have moved as the first one did, and is put right.
        guess = image(make, {600: 5140, 660: 5396 + 68})
        assert predicted(old, 0, 1000, 0, 3, differences(guess[:700], new[:700])) == new[:1000]


def test_an_address_is_left_as_it_is_while_nothing_is_known():
    for make in KINDS:
        old = image(make, {600: 4800, 804: 4900})
        assert predicted(old, 0, 1000, 0) == old[:1000]
        # Also where the code itself moved: what it points to may have moved with it.
        assert predicted(old, 68, 1000, 0) == old[68:1068]


def test_code_that_moved_finds_a_target_that_did_not():
    for make in KINDS[:2]:
        old = image(make, {600: 4800, 804: 4800})
        new = image(make, {540: 4800, 744: 4800})
        first = [pair for pair in differences(old[60:], new) if pair[0] < 700]
        assert predicted(old, 60, 900, 0, 3, first) == new[:900]


def test_code_is_looked_at_only_where_the_group_says_so():
    for mode, moved in ((0, False), (1, False), (2, True), (3, True), (4, False), (5, False), (6, True), (7, True)):
        old = image(call8, {600: 4800, 804: 4800})
        new = image(call8, {600: 4868, 804: 4868})
        out = predicted(old, 0, 1000, 0, mode, [pair for pair in differences(old, new) if pair[0] < 700])
        assert (out == new[:1000]) == moved


def test_pointers_are_those_of_the_chips_memory_map():
    for top, modes in ((0x3B, ()), (0x3C, (4,)), (0x3F, (1, 4)), (0x40, (1, 4)), (0x42, (4,)), (0x43, ())):
        old, new = (pack("<I", top << 24 | 0x4000 + shift) * 2 for shift in (0, 68))
        base = old + image(call8, {})
        for mode in (1, 4):
            out = predicted(base, 0, 8, 0, mode, [(0, 68)])
            assert out == (new if mode in modes else new[:4] + old[4:])


def test_pointers_are_looked_for_at_whole_words_of_the_old_image():
    old, new = (pack("<I", 0x3F404000 + shift) * 2 for shift in (0, 68))
    for off in range(8):
        out = predicted(bytes(off) + old + bytes(99), off, 8, 0, 1, [(0, 68)])
        assert out == (new if off % 4 == 0 else new[:4] + old[4:])


def test_an_address_across_the_end_of_a_page_is_left_alone():
    for make in KINDS[:2]:
        for at in range(delta.PAGE - 4, delta.PAGE + 2):
            if at % 3:
                continue
            old = image(make, {600: 4800, at: 4800, 1500: 4800})
            new = image(make, {600: 4868, at: 4868, 1500: 4868})
            crosses = at < delta.PAGE < at + 3
            wrong = [d for d in differences(old, new) if d[0] < 700 or (crosses and at <= d[0] < at + 3)]
            # The walk goes on behind it: the one at 1500 is found again.
            assert predicted(old, 0, 2000, 0, 3, wrong) == new[:2000]


def test_what_was_learned_is_forgotten_with_the_chunk():
    old = image(call8, {600: 4800, 804: 4800})
    new = image(call8, {600: 4868, 804: 4868})
    chunks = Chunks(old)
    open = xtensa.stage(chunks)
    out = bytearray(900)
    first = [pair for pair in differences(old, new) if pair[0] < 700]
    for values, want in ((first, new), ([], old)):
        chunks.left = 900
        places = [0] + [at for at, _ in values]
        gaps = b"".join(b"\xff" * ((b - a - 1) // 255) + bytes(((b - a - 1) % 255,)) for a, b in pairs(places))
        src = open(BytesIO(group(control(0, 900, 0), gaps, bytes([0] + [v for _, v in values]), b"", 3)))
        assert src.readinto(out) == 900 and out == want[:900]


def pairs(row):
    return [(row[i], row[i + 1]) for i in range(len(row) - 1)]


def test_a_value_that_is_missing_at_an_address_is_refused():
    old = image(call8, {600: 4800, 804: 4800})
    good = group(control(0, 900, 0), b"\xff\xff\x5a", b"\0\1", b"", 3)
    decode(good, 900, Chunks(old))
    # A gap that ends in the call, and no value behind it.
    bad = group(control(0, 900, 0), b"\xff\xff\x5a", b"\0", b"", 3)
    try:
        decode(bad, 900, Chunks(old))
    except ValueError:
        return
    raise AssertionError("no ValueError was raised")


def test_a_mode_that_is_not_known_is_refused():
    stream = group(control(3, 0, 0), b"", b"", b"new", 8)
    for module, known in ((delta, 0), (xtensa, 7)):
        for mode in (known, known + 1, 255):
            chunks = Chunks()
            chunks.left = 3
            src = module.stage(chunks)(BytesIO(bytes((mode,)) + stream[1:]))
            try:
                assert src.readinto(bytearray(3)) == 3 and mode <= known
            except ValueError:
                assert mode > known


def noise(n, seed):
    out = bytearray(n)
    for i in range(n):
        seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
        out[i] = seed >> 11 & 255
        if i & 3 == 3 and seed & 4:
            out[i] = 0x3C + (seed >> 20) % 8
        elif seed & 16:
            out[i] = (0x25, 0x21, 0x65, 0x41)[seed >> 21 & 3]
    return out


def test_noise_anywhere_in_16_mib_is_predicted_alike_by_every_interpreter():
    state = array("I", bytes(4 * xtensa.Predicted.WORDS))
    h, found = sha256(), 0
    for round in range(24):
        page = noise(delta.PAGE - round, round + 1)
        want = noise(delta.PAGE - round, round + 77)
        for i, value in enumerate((0, 0, 0, (round * 999983) & 0xFFFFFF, (round * 700001 + 13) & 0xFFFFFF)):
            state[5 + i] = value
        state[17] = round % 8
        end = xtensa.follow(page, len(page), state)
        while end:
            assert 3 <= end <= len(page) and state[12] + 3 <= end
            h.update(page[end - 3 : end])
            # Some are learned as they should be, some as noise.
            if found % 3:
                page[end - 3 : end] = want[end - 3 : end]
            found += 1
            end = xtensa.follow(page, len(page), state)
        pack_into("<I", page, 0, round)
        h.update(page)
    assert found > 2000
    assert max(state) < 1 << 31
    assert h.digest()[:8] == GOLDEN


# Told by CPython, whose ints have no end.
GOLDEN = b"\x87\xb8M\xa0\x12\x00\x01<"


def test_mutated_streams_give_bytes_of_the_promised_length_or_an_error():
    base = bytes(noise(5000, 3))
    stream = group(control(5, 2500, 11), b"\3\x50\xff\xff\7", b"\1\2\3\4", b"extra", 7)
    stream += group(control(5, 90, -9), b"", b"\1", b"other", 2)
    assert len(decode(stream, 2600, Chunks(base))) == 2600
    assert mutated(stream, 300, lambda data: decode(data, 2600, Chunks(base))) > 100
