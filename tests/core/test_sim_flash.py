"""The simulated flash refuses what a chip would get wrong, and dies and forgets exactly as told."""

import os

from mpota.store.raw import Raw
from mpota_boot.errors import FlashError
from mpota_host.sim.flash import PowerCut, SimFlash, Violation
from tests.expect import raises

DATA = bytes(range(256)) * 16
PATH = "sim_flash_test.bin"


def flash(size=16384, **kw):
    return SimFlash(size, **kw)


def at(f, off, n):
    buf = bytearray(n)
    f.read(off, buf)
    return bytes(buf)


def test_a_new_flash_is_erased_and_reads_back_what_was_programmed():
    f = flash()
    assert at(f, 0, 16384) == b"\xff" * 16384
    f.prog(4096, DATA)
    assert at(f, 4096, 4096) == DATA and at(f, 0, 4096) == b"\xff" * 4096
    f.erase(4096, 4096)
    assert at(f, 4096, 4096) == b"\xff" * 4096


def test_a_program_that_sets_a_bit_is_a_violation_and_changes_nothing():
    f = flash(overwrite=[(0, 4096)])
    f.prog(0, b"\x0f" * 8)
    for bit in range(8):
        word = bytearray(b"\x0f" * 8)
        word[5] = 1 << bit
        if bit > 3:
            raises(Violation, None, f.prog, 0, word)
    assert at(f, 0, 8) == b"\x0f" * 8 and f.ops == 1


def test_a_second_program_of_a_unit_is_a_violation_even_with_the_same_bytes():
    f = flash()
    f.prog(8, b"abcd")
    for again in (b"abcd", b"\0\0\0\0", b"\xff" * 4, b"abcd" + b"\xff" * 4):
        raises(Violation, None, f.prog, 8, again)
    raises(Violation, None, f.prog, 0, b"\xff" * 8 + b"abcd")
    f.prog(12, b"efgh")
    assert at(f, 8, 8) == b"abcdefgh"


def test_a_window_lets_a_unit_be_programmed_again_but_only_inside():
    f = flash(overwrite=[(4096, 4096)])
    for off in (0, 4096):
        f.prog(off, b"\xfe\xff\xff\xff")
    f.prog(4096, b"\xf0\xff\xff\xff")
    assert at(f, 4096, 1) == b"\xf0"
    raises(Violation, None, f.prog, 0, b"\xf0\xff\xff\xff")


def test_bounds_and_alignment_are_flash_errors_before_anything_changes():
    f = flash()
    before = f.digest()
    for off, n in ((16384, 4), (16380, 8), (-4, 4)):
        raises(FlashError, "bounds", f.prog, off, bytes(n))
        raises(FlashError, "bounds", f.read, off, bytearray(n))
    for off, n in ((16384, 4096), (-4096, 4096), (0, 20480)):
        raises(FlashError, "bounds", f.erase, off, n)
    for off, n in ((2, 4), (0, 2), (4, 7)):
        raises(FlashError, "align", f.prog, off, bytes(n))
    for off, n in ((4, 4096), (0, 4092), (2048, 4096)):
        raises(FlashError, "align", f.erase, off, n)
    f.read(1, bytearray(3))
    assert f.digest() == before and f.ops == 0 and not f.trace and sum(f.wear) == 0


def test_sizes_that_do_not_divide_are_refused():
    raises(ValueError, None, SimFlash, 5000)
    raises(ValueError, None, SimFlash, 8192, 4096, 3)


def test_operations_are_counted_traced_and_worn():
    f = flash()
    f.erase(4096, 8192)
    f.prog(4096, b"abcd")
    f.prog(4096, b"")
    assert f.ops == 2 and f.trace == [("erase", 4096, 8192), ("prog", 4096, 4)] and f.wear == [0, 1, 1, 0]
    f.trace = None
    f.erase(0, 4096)
    assert f.ops == 3 and f.trace is None


def cut(where, op, seed=0):
    """A flash that died `where` in its third operation, switched on again."""
    f = flash()
    f.seed = seed
    f.prog(0, DATA)
    f.prog(4096, DATA[:2048])
    f.cut, f.cut_at = 3, where
    args = (8192, DATA) if op == "prog" else (0, 8192)
    raises(PowerCut, None, getattr(f, op), *args)
    raises(PowerCut, None, f.read, 0, bytearray(4))
    raises(PowerCut, None, f.prog, 12288, b"abcd")
    raises(PowerCut, None, f.erase, 0, 4096)
    f.power_on()
    assert at(f, 12288, 4) == b"\xff" * 4
    return f


def test_a_cut_before_leaves_the_old_and_a_cut_after_the_new():
    assert at(cut("before", "prog"), 8192, 4096) == b"\xff" * 4096
    assert at(cut("after", "prog"), 8192, 4096) == DATA
    assert at(cut("before", "erase"), 0, 4096) == DATA
    assert at(cut("after", "erase"), 0, 8192) == b"\xff" * 8192


def test_a_torn_program_is_a_prefix_and_the_seed_chooses_it():
    lengths = set()
    for seed in range(20):
        got = at(cut("inside", "prog", seed), 8192, 4096)
        n = 0
        while n < 4096 and got[n] == DATA[n]:
            n += 1
        assert got[n + 1 :] == b"\xff" * (4095 - n)
        assert n == 4096 or got[n] & DATA[n] == DATA[n]
        lengths.add(n)
        assert at(cut("inside", "prog", seed), 8192, 4096) == got
    assert len(lengths) > 10


def test_a_torn_erase_is_erased_in_front_and_old_behind():
    old = DATA + DATA[:2048] + b"\xff" * 2048
    lengths = set()
    for seed in range(20):
        got = at(cut("inside", "erase", seed), 0, 8192)
        n = next(i for i in range(1, 8193) if got[i:] == old[i:])
        assert got[:n] == b"\xff" * n
        lengths.add(n)
    assert len(lengths) > 10


def test_a_tear_shape_can_be_replaced_and_gets_old_and_new():
    f = flash()
    f.prog(0, DATA)
    seen = []

    def shape(old, new, pick):
        seen.append((bytes(old), bytes(new), pick(7) < 7))
        return b"\x12" * len(new)

    f.tears["erase"] = shape
    f.cut = f.ops + 1
    raises(PowerCut, None, f.erase, 0, 4096)
    f.power_on()
    assert seen == [(DATA, b"\xff" * 4096, True)] and at(f, 0, 4096) == b"\x12" * 4096


def test_power_on_ends_the_cut_and_operations_go_on_counting():
    f = cut("before", "erase")
    f.erase(0, 4096)
    assert f.ops == 4 and f.cut is None


def test_a_cut_number_that_has_passed_hits_the_next_operation():
    f = flash()
    f.prog(0, DATA)
    f.cut, f.cut_at = 1, "before"
    raises(PowerCut, None, f.prog, 4096, DATA)


def test_a_cut_place_that_does_not_exist_is_refused():
    f = flash()
    f.cut, f.cut_at = 1, "midway"
    raises(ValueError, None, f.prog, 0, DATA)


def test_power_cut_passes_every_except_exception():
    assert not issubclass(PowerCut, Exception) and issubclass(Violation, AssertionError)


def test_a_snapshot_brings_back_every_byte():
    f = flash()
    f.prog(0, DATA)
    kept, digest = f.snapshot(), f.digest()
    f.erase(0, 4096)
    assert f.digest() != digest
    f.restore(kept)
    assert f.digest() == digest
    raises(ValueError, None, f.restore, kept[1:])


def test_a_file_holds_each_operation_at_once_and_is_found_again():
    try:
        f = SimFlash(8192, path=PATH)
        f.prog(4096, DATA)
        other = SimFlash(8192, path=PATH)
        assert at(other, 4096, 4096) == DATA and at(other, 0, 4096) == b"\xff" * 4096
        raises(Violation, None, other.prog, 4096, DATA)
        f.erase(4096, 4096)
        assert at(other, 0, 8192) == b"\xff" * 8192
        f.close()
        other.close()
        raises(ValueError, None, lambda: SimFlash(4096, path=PATH))
    finally:
        os.remove(PATH)


def test_file_and_ram_have_the_same_digest_after_the_same_operations():
    try:
        both = (flash(), flash(path=PATH))
        for f in both:
            f.prog(4096, DATA)
            f.erase(0, 8192)
            f.prog(0, memoryview(DATA)[:100])
        assert both[0].digest() == both[1].digest()
        both[1].close()
    finally:
        os.remove(PATH)


def raw(flash):
    """What a wiring makes of the functions of its port."""
    return Raw(flash.size, flash.read, flash.prog, lambda off: flash.erase(off, 4096), flash.prog_size)


def test_a_flash_out_of_a_ports_functions_does_what_they_do():
    flash = SimFlash(4 * 4096)
    it = raw(flash)
    assert (it.size, it.erase_size, it.prog_size, it.erased) == (4 * 4096, 4096, 4, 0xFF)
    it.prog(8188, b"12345678")
    buf = bytearray(8)
    it.read(8188, buf)
    assert buf == b"12345678"
    it.erase(4096, 8192)
    assert flash.trace == [("prog", 8188, 8), ("erase", 4096, 4096), ("erase", 8192, 4096)]
    it.read(8188, buf)
    assert buf == b"\xff" * 8


def test_a_flash_out_of_a_ports_functions_refuses_before_it_calls_one():
    flash = SimFlash(4 * 4096)
    it = raw(flash)
    for code, call, args in (
        ("bounds", it.read, (-1, bytearray(1))),
        ("bounds", it.read, (4 * 4096 - 3, bytearray(4))),
        ("bounds", it.prog, (4 * 4096, bytes(4))),
        ("bounds", it.erase, (3 * 4096, 8192)),
        ("align", it.prog, (2, bytes(4))),
        ("align", it.prog, (0, bytes(3))),
        ("align", it.erase, (100, 4096)),
        ("align", it.erase, (0, 4000)),
    ):
        raises(FlashError, code, call, *args)
    assert flash.ops == 0


def test_what_a_port_cannot_do_is_a_flash_error():
    def broken(off, buf=None):
        raise OSError(5)

    it = Raw(4096, broken, broken, broken)
    for call, what in ((it.read, bytearray(1)), (it.prog, b"1"), (it.erase, 4096)):
        assert "5" in str(raises(FlashError, "flash", call, 0, what))
