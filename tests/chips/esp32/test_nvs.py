"""NVS on a simulated flash: values, MicroPython's errors, every power cut, and the wear."""

import struct

from mpota_host.chips.esp32.sim import nvs
from mpota_host.sim.flash import PowerCut, SimFlash
from tests.expect import raises

PAGES = 4
SIZE = PAGES * nvs.PAGE


def flash_of(pages=PAGES):
    return SimFlash(pages * nvs.PAGE, overwrite=[(0, pages * nvs.PAGE)])


def opened(flash, name="mpota"):
    return nvs.bind(flash)(name)


def oserror(code, call, *args):
    e = raises(OSError, None, call, *args)
    assert e.args == (-code, nvs.NAMES[code]), e.args


def blob(space, key, most=4096):
    buf = bytearray(most)
    return bytes(buf[: space.get_blob(key, buf)])


def test_values_come_back_from_the_flash_alone():
    flash = flash_of()
    space = opened(flash)
    for value in (0, 1, -1, 2**31 - 1, -(2**31)):
        space.set_i32("number", value)
        assert opened(flash).get_i32("number") == value
    for value in (b"", b"x", b"y" * 31, b"z" * 32, b"\xff" * 33, bytes(range(200))):
        space.set_blob("bytes", value)
        assert blob(opened(flash), "bytes") == value
    space.commit()
    assert space.get_i32("number") == -(2**31)


def test_an_i32_keeps_thirty_two_bits():
    space = opened(flash_of())
    space.set_i32("n", 0xFFFFFFFF)
    assert space.get_i32("n") == -1


def test_namespaces_are_apart_and_opening_one_again_writes_nothing():
    flash = flash_of()
    NVS = nvs.bind(flash)
    NVS("a").set_i32("k", 1)
    NVS("b").set_i32("k", 2)
    ops = flash.ops
    assert NVS("a").get_i32("k") == 1 and NVS("b").get_i32("k") == 2
    assert opened(flash, "b").get_i32("k") == 2
    assert flash.ops == ops


def test_micropythons_errors():
    space = opened(flash_of())
    oserror(nvs.NOT_FOUND, space.get_i32, "none")
    oserror(nvs.NOT_FOUND, space.get_blob, "none", bytearray(8))
    oserror(nvs.NOT_FOUND, space.erase_key, "none")
    space.set_blob("b", b"123456789")
    oserror(nvs.INVALID_LENGTH, space.get_blob, "b", bytearray(8))
    oserror(nvs.NOT_FOUND, space.get_i32, "b")
    oserror(nvs.KEY_TOO_LONG, space.set_i32, "k" * 16, 1)
    oserror(nvs.KEY_TOO_LONG, space.set_blob, "k" * 16, b"1")
    oserror(nvs.TOO_LONG, space.set_blob, "b", b"x" * (3 * nvs.CHUNK_MAX + 1))
    assert blob(space, "b") == b"123456789"
    space.erase_key("b")
    oserror(nvs.NOT_FOUND, space.get_blob, "b", bytearray(9))


def test_the_same_value_again_writes_nothing():
    flash = flash_of()
    space = opened(flash)
    space.set_i32("n", 5)
    space.set_blob("b", b"abc")
    ops = flash.ops
    space.set_i32("n", 5)
    space.set_blob("b", b"abc")
    assert flash.ops == ops


def test_a_page_is_laid_out_as_esp_idf_reads_it():
    flash = flash_of()
    space = opened(flash)
    space.set_i32("n", -2)
    space.set_blob("b", b"0123456789" * 4)
    page = bytes(flash.snapshot()[: nvs.PAGE])
    assert page[:9] == b"\xfe\xff\xff\xff\0\0\0\0\xfe" and page[9:28] == b"\xff" * 19
    assert struct.unpack("<I", page[28:32])[0] == nvs.seal(page[4:28])
    # Six entries written, two bits each: 10 10 10 10, 11 11 10 10.
    assert page[32:36] == b"\xaa\xfa\xff\xff"
    assert page[64:68] == b"\0\x01\x01\xff" and page[72:88] == b"mpota" + b"\0" * 11 and page[88] == 1
    number = page[96:128]
    assert number[:4] == b"\1\x14\1\xff" and number[8:10] == b"n\0"
    assert number[24:] == b"\xfe\xff\xff\xff\xff\xff\xff\xff"
    chunk = page[128:224]
    assert chunk[:4] == b"\1\x42\3\0" and chunk[24:28] == b"\x28\0\xff\xff"
    assert chunk[32:72] == b"0123456789" * 4 and chunk[72:] == b"\xff" * 24
    index = page[224:256]
    assert index[:4] == b"\1\x48\1\xff" and index[24:] == b"\x28\0\0\0\1\0\xff\xff"


def test_numbers_of_all_widths_and_strings_are_stored():
    flash = flash_of()
    store = nvs.Store(flash)
    kinds = {nvs.U8: 255, nvs.I8: -128, nvs.U16: 65535, nvs.I16: -1, nvs.U32: 2**32 - 1, nvs.I64: -(2**63)}
    for kind, value in kinds.items():
        store.put(1, "k%d" % kind, kind, value)
    store.put(1, "text", nvs.STR, "ssid of a network that is longer than an entry")
    store = nvs.Store(flash)
    for kind, value in kinds.items():
        assert store.get(1, "k%d" % kind, kind) == value
    assert store.get(1, "text", nvs.STR) == "ssid of a network that is longer than an entry"
    store.put(1, "text", nvs.STR, "short")
    assert nvs.Store(flash).get(1, "text", nvs.STR) == "short"
    raises(nvs.NvsError, nvs.TOO_LONG, store.put, 1, "text", nvs.STR, "x" * 4000)
    raises(nvs.NvsError, nvs.KEY_TOO_LONG, store.put, 1, "t" * 16, nvs.STR, "x")
    raises(nvs.NvsError, nvs.NOT_FOUND, store.get, 1, "text", nvs.U8)


def cut_points(prepare, change, judge):
    """Cut the power before, inside (six shapes) and after every operation of `change`; judge what is mounted then."""
    flash = flash_of()
    prepare(opened(flash))
    start = flash.snapshot()
    before = flash.ops
    change(opened(flash))
    total = flash.ops - before
    cuts = 0
    for n in range(1, total + 1):
        for where, seed in [("before", 0), ("after", 0)] + [("inside", seed) for seed in range(6)]:
            flash.restore(start)
            flash.cut = flash.ops + n
            flash.cut_at = where
            flash.seed = seed
            try:
                change(opened(flash))
                raise AssertionError("the power stayed on")
            except PowerCut:
                flash.power_on()
            judge(opened(flash))
            # The value can be written again, and what was found stays found.
            change(opened(flash))
            judge(opened(flash))
            cuts += 1
    return total, cuts


def test_every_cut_of_a_blob_leaves_the_old_or_the_new_one():
    old, new = b"old" * 20, b"\xff\xff\xff\xffnew!" * 9
    seen = set()

    def judge(space):
        value = blob(space, "armed")
        assert value in (old, new), value
        assert space.get_i32("other") == 7
        seen.add(value)

    def prepare(space):
        space.set_i32("other", 7)
        space.set_blob("armed", old)

    total, cuts = cut_points(prepare, lambda space: space.set_blob("armed", new), judge)
    assert seen == {old, new} and total >= 9 and cuts == 8 * total


def test_every_cut_of_a_number_leaves_the_old_or_the_new_one():
    def judge(space):
        assert space.get_i32("n") in (1, 2)

    total, _ = cut_points(lambda s: s.set_i32("n", 1), lambda s: s.set_i32("n", 2), judge)
    assert total == 3


def test_every_cut_while_a_page_is_moved_loses_nothing():
    keep = b"kept" * 30

    def prepare(space):
        space.set_blob("keep", keep)
        for i in range(95):
            space.set_blob("armed", b"%060d" % i)

    def change(space):
        # Enough to fill the third page, so that the first one is moved into the last free one.
        for i in range(100, 135):
            space.set_blob("armed", b"%060d" % i)

    def judge(space):
        assert blob(space, "keep") == keep
        assert 94 <= int(blob(space, "armed")) <= 134

    flash = flash_of()
    prepare(opened(flash))
    start = flash.snapshot()
    ops = flash.ops
    change(opened(flash))
    assert sum(flash.wear) >= 1
    # Counted in operations from `ops`; the trace is done with.
    erase = next(i for i, (op, _, _) in enumerate(flash.trace[ops:]) if op == "erase")
    flash.trace = None
    for n in range(max(1, erase - 24), erase + 6):
        for where, seed in (("before", 0), ("inside", 1), ("inside", 2), ("after", 0)):
            flash.restore(start)
            flash.cut, flash.cut_at, flash.seed = flash.ops + n, where, seed
            try:
                change(opened(flash))
                raise AssertionError("the power stayed on")
            except PowerCut:
                flash.power_on()
            judge(opened(flash))
            change(opened(flash))
            assert blob(opened(flash), "armed") == b"%060d" % 134


def test_a_cut_in_the_recovery_itself_loses_nothing():
    old, new = b"old" * 20, b"new" * 20
    flash = flash_of()
    opened(flash).set_blob("armed", old)
    start = flash.snapshot()
    ops = flash.ops
    opened(flash).set_blob("armed", new)
    total = flash.ops - ops
    for n in range(1, total + 1):
        flash.restore(start)
        flash.cut, flash.cut_at = flash.ops + n, "inside"
        try:
            opened(flash).set_blob("armed", new)
        except PowerCut:
            flash.power_on()
        torn = flash.snapshot()
        for second in range(1, 8):
            flash.restore(torn)
            flash.cut = flash.ops + second
            try:
                assert blob(opened(flash), "armed") in (old, new)
            except PowerCut:
                pass
            flash.power_on()
            assert blob(opened(flash), "armed") in (old, new)


def test_every_flipped_bit_of_an_entry_gives_the_value_before_or_none():
    flash = flash_of()
    opened(flash).set_blob("armed", b"new" * 20)
    start = flash.snapshot()
    # Entry 0 is the namespace; 1 the head of the chunk, 2 and 3 its data, 4 the index.
    for i in range(64 + 32, 64 + 5 * 32):
        for bit in range(8):
            flash.restore(start[:i] + bytes((start[i] ^ 1 << bit,)) + start[i + 1 :])
            space = opened(flash)
            try:
                value = blob(space, "armed")
            except OSError as e:
                assert e.args[0] == -nvs.NOT_FOUND, e
                continue
            # Padding behind the 60 bytes is under no crc.
            assert value == b"new" * 20 and i >= 64 + 2 * 32 + 60


def test_ninety_two_updates_of_a_small_blob_cost_at_most_three_erases():
    flash = flash_of()
    space = opened(flash)
    for i in range(92):
        space.set_blob("progress", b"%060d" % i)
    assert blob(opened(flash), "progress") == b"%060d" % 91
    assert sum(flash.wear) <= 3, flash.wear


def test_many_updates_cost_an_erase_for_each_page_they_fill():
    flash = flash_of()
    space = opened(flash)
    space.set_blob("keep", b"k" * 100)
    for i in range(700):
        space.set_blob("progress", b"%060d" % i)
    assert blob(opened(flash), "progress") == b"%060d" % 699 and blob(opened(flash), "keep") == b"k" * 100
    # Four entries an update, 126 a page; the page with the value that stays is the last one to be moved.
    assert sum(flash.wear) <= 700 * 4 // 126 and max(flash.wear) <= 8, flash.wear


def test_a_full_partition_says_so_and_keeps_what_it_holds():
    flash = flash_of()
    space = opened(flash)
    n = 0
    try:
        while n < 200:
            space.set_blob("k%d" % n, bytes((n,)) * 300)
            n += 1
    except OSError as e:
        assert e.args == (-nvs.NO_SPACE, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
    assert 20 < n < 40
    space = opened(flash)
    for i in range(n):
        assert blob(space, "k%d" % i) == bytes((i,)) * 300
    oserror(nvs.NOT_FOUND, space.get_blob, "k%d" % n, bytearray(300))
    space.erase_key("k0")
    space.set_blob("again", b"a" * 100)
    assert blob(opened(flash), "again") == b"a" * 100


def test_a_blob_larger_than_a_page_is_cut_in_chunks():
    flash = flash_of(6)
    value = bytes(i * 31 & 0xFF for i in range(9000))
    space = opened(flash)
    space.set_blob("big", value)
    assert blob(opened(flash), "big", 9000) == value
    space.set_blob("big", value[1:])
    assert blob(opened(flash), "big", 9000) == value[1:]


def test_a_partition_without_a_free_page_is_erased_as_micropython_does():
    flash = SimFlash(nvs.PAGE * 2, overwrite=[(0, nvs.PAGE * 2)])
    for n in (0, 1):
        page = nvs.Page(flash, n)
        page.seq = n
        page.begin()
    raises(nvs.NvsError, nvs.NO_FREE_PAGES, nvs.Store, flash)
    opened(flash).set_i32("n", 3)
    assert opened(flash).get_i32("n") == 3


def test_garbage_in_a_page_is_not_a_page():
    flash = flash_of()
    flash.prog(nvs.PAGE, b"\0garbage")
    flash.prog(3 * nvs.PAGE + 100, b"\xf0\xf0\xf0\xf0")
    space = opened(flash)
    for i in range(130):
        space.set_blob("b", b"%060d" % i)
    assert blob(opened(flash), "b") == b"%060d" % 129
