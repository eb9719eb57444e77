"""Xtensa programs made here, with calls, literals and pointers: what moved is seen through, on each chip's map."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpota.pipe import xtensa as stage
from mpota_host.package.encode import delta, xtensa
from tests.chips.esp32.image_maker import image
from tests.host.test_delta_encoder import DEFLATE, decode, inflated, most

# Chip id, where flash is mapped to as data, where as code.
MAPS = {"ESP32": (0, 0x3F400020, 0x400D0020), "S2": (2, 0x3F000020, 0x40080020), "S3": (9, 0x3C000020, 0x42000020)}


def program(chip, grown=(), seed=5):
    """An image of 150 functions that call each other and load pointers to texts; those in `grown` are longer."""
    number, data_at, code_at = MAPS[chip]
    rng = random.Random(seed)
    texts, text_at = b"", []
    for i in range(150):
        text_at.append(len(texts))
        texts += bytes(rng.choices(b"abcdefghij ", k=rng.randrange(8, 40))) + b"\0" + (b"longer" if i in grown else b"")
    texts += bytes(-len(texts) % 4)
    plans = [[(rng.randrange(150), rng.randrange(150), rng.randrange(256)) for _ in range(12)] for _ in range(150)]
    sizes = [4 * 12 + 3 * 12 * 3 + 12 + (36 if i in grown else 0) for i in range(150)]
    starts = [sum(sizes[:i]) for i in range(150)]
    code = b""
    for i, calls in enumerate(plans):
        at = len(code)
        assert at == starts[i] and at % 4 == 0
        code += b"".join(struct.pack("<I", data_at + text_at[text]) for _, text, _ in calls)
        for n, (function, _, value) in enumerate(calls):
            code += bytes((0x21,)) + struct.pack("<H", (at + 4 * n - (len(code) + 3 & ~3)) >> 2 & 0xFFFF)
            field = (starts[function] + 48 - (len(code) & ~3) - 4) >> 2 & 0x3FFFF
            code += (field << 6 | 0x25).to_bytes(3, "little") + bytes((0x32, 0xA0, value))
        code += b"\x1d\xf0" * 6 + bytes(36 if i in grown else 0)
    return image(chip=number, segments=[(data_at, texts), (code_at, code)])


def plan(old, new, predict=True):
    return delta.plan(old, new, DEFLATE, most(4096), predict)


@pytest.mark.parametrize("chip", list(MAPS))
def test_a_program_in_which_code_and_texts_moved_travels_in_a_part_of_what_it_took(chip):
    old, new = program(chip), program(chip, (20, 75, 76, 120))
    plain, made = plan(old, new, False), plan(old, new)
    assert made.predicted and not plain.predicted and decode(old, made.pieces, stage) == new
    assert sum(len(piece.data) for piece in made.pieces) < 0.6 * sum(len(piece.data) for piece in plain.pieces)


def test_of_a_chip_with_another_instruction_set_only_the_pointers_are_followed():
    old, new = (bytearray(program("S3", grown)) for grown in ((), (20, 75)))
    old[12] = new[12] = 5  # ESP32-C3
    assert xtensa.Image(bytes(new)).modes() == [(0, stage.POINTERS | stage.WIDE)]
    assert decode(bytes(old), plan(bytes(old), bytes(new)).pieces, stage) == bytes(new)


def test_modes_are_those_of_the_chips_memory_map_and_of_its_segments():
    for chip, wide in (("ESP32", 0), ("S2", 0), ("S3", stage.WIDE)):
        one = xtensa.Image(program(chip))
        code = next(part.start for part in one.segments if part.address >= xtensa.CODE_FROM)
        assert one.modes() == [(0, 1 | wide), (code, 3 | wide)]


def test_a_place_in_the_file_and_its_address_are_told_from_each_other():
    one = xtensa.Image(program("ESP32"))
    for part in one.segments:
        for off in (part.start, part.start + 4, part.end - 1):
            assert one.offset(one.address(off)) == off
        assert one.address(part.start) == part.address
    assert one.offset(0) is None and one.offset(0x3F400020 - 1) is None and one.address(0) is None


@pytest.mark.parametrize("data", [b"", b"\xe9", b"x" * 99, bytes(99)], ids=["empty", "short", "text", "zeros"])
def test_what_is_no_image_has_no_segments_and_needs_no_prediction(data):
    assert xtensa.Image(data).segments == [] and xtensa.Image(data).modes() == []


def test_an_image_that_is_cut_off_has_no_segments():
    whole = program("ESP32")
    for n in range(24, len(whole) - 64, 977):
        assert xtensa.Image(whole[:n]).segments == []


def test_a_delta_between_what_is_an_image_and_what_is_none_is_made_all_the_same():
    new = program("ESP32")
    for old in (b"no image", whole := program("ESP32")[:5000], bytes(9000)):
        made = plan(old, new)
        assert not made.predicted and decode(old, made.pieces, stage) == new
    assert decode(new, plan(new, whole).pieces, stage) == whole


def test_shifts_are_those_of_the_longest_match_and_of_the_last_one_before():
    shifts = xtensa.Shifts([xtensa.Cover(8, 108, 40), xtensa.Cover(16, 8, 8), xtensa.Cover(60, 64, 4)], 100)
    assert [shifts.of(off) for off in (0, 8, 16, 47, 52, 60, 63, 64, 99)] == [0, 100, 100, 100, 100, 4, 4, 4, 4]
    assert shifts.of(-4) == shifts.of(1 << 20) == 0


OLD, NEW = program("ESP32"), program("ESP32", (20, 75, 76, 120))
PIECE = plan(OLD, NEW).pieces[0]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6), st.integers(0, 1 << 16))
def test_a_mutated_stream_is_refused_or_gives_as_many_bytes_as_promised(changes, cut):
    stream = bytearray(inflated(PIECE.data))
    for at, value in changes:
        # Mostly in the head, where the numbers are.
        stream[at % (len(stream) if at & 1 else 600)] = value
    if cut % 3 == 0:
        del stream[cut % len(stream) :]
    try:
        out = decode(OLD, [PIECE._replace(data=DEFLATE.encode(bytes(stream)))], stage)
    except (ValueError, EOFError):
        return
    assert len(out) == PIECE.output
