"""The journal in two sectors of flash: what every put promises, whatever the program unit, the cut and the cell."""

from device.errors import FlashError
from device.store import log
from device.store.flash import Region
from device.store.log import Log
from host.sim.flash import PowerCut, SimFlash
from tests.expect import raises

SECTOR = 4096
UNITS = (1, 4, 16, 256)


def journal(unit=1):
    """(flash, the Region of its two sectors)."""
    flash = SimFlash(2 * SECTOR, prog_size=unit)
    flash.trace = None
    return flash, Region(flash, 0, 2 * SECTOR)


def head_of(found):
    """Where the sector begins that counts."""
    return found.number % 2 * SECTOR


def test_it_remembers_over_a_restart_and_forgets_when_told():
    for unit in UNITS:
        flash, region = journal(unit)
        first = Log(region)
        assert first.last("armed") is None
        for i in range(200):
            first.put("n", bytes((i,)) * 100)
        first.put("armed", b"record")
        first.put("reason", b"why")
        first.put("reason", b"")
        again = Log(region)
        assert (again.last("n"), again.last("armed"), again.last("reason")) == (bytes((199,)) * 100, b"record", None)
        assert max(flash.wear) <= (5 if unit < 256 else 8)


def test_it_is_the_last_of_each_tag_over_many_restarts_and_one_sector_is_erased_in_each():
    flash, region = journal(4)
    for i in range(300):
        found = Log(region)
        assert found.last("n") == (b"%d" % (i - 1) if i else None)
        found.put("n", b"%d" % i)
        found.put("gone", b"x" * 100)
        found.put("gone", b"")
    assert Log(region).last("gone") is None and flash.wear == [150, 150]


def test_data_is_cut_at_what_a_record_takes():
    region = journal()[1]
    Log(region).put("a", bytes(range(200)))
    assert Log(region).last("a") == bytes(range(log.MOST)) and log.MOST == 128


def test_a_value_that_is_there_is_not_written_again_but_by_the_next_power_on():
    flash, region = journal()
    found = Log(region)
    for data in (b"value", b""):
        found.put("a", data)
        ops = flash.ops
        found.put("a", data)
        assert flash.ops == ops
    Log(region).put("a", b"")
    assert flash.ops > ops


def cut_put(flash, region, op, where, seed):
    """(puts that ended, what was put) of a power-on that is cut in its operation `op`."""
    found = Log(region)
    kept, values = 0, [bytes((op, where_of(where), i)) * 20 for i in range(60)]
    flash.ops, flash.cut, flash.cut_at, flash.seed = 0, op, where, seed
    try:
        for value in values:
            found.put("a", value)
            kept += 1
    except PowerCut:
        pass
    flash.power_on()
    return kept, values


def where_of(where):
    return ("before", "inside", "after").index(where)


def test_a_cut_anywhere_in_a_put_leaves_the_old_or_the_new_value_and_all_others():
    for unit in UNITS:
        for full in (False, True):
            flash, region = journal(unit)
            first = Log(region)
            first.put("kept", b"all the time")
            first.put("a", b"old")
            # A sector that is full, and a number that is even.
            for i in range(40 if full else 1):
                first.put("b", bytes((i,)) * 90)
            shot = flash.snapshot()
            for op in range(1, 12):
                for where in ("before", "inside", "after"):
                    for seed in range(3):
                        flash.restore(shot)
                        kept, values = cut_put(flash, region, op, where, seed)
                        seen = Log(region)
                        # The one that the cut was in may be there or not.
                        assert seen.last("a") in ([b"old"] + values)[kept : kept + 2], (unit, op, where, seed)
                        assert seen.last("kept") == b"all the time" and seen.last("b")
                        seen.put("c", b"x")
                        again = Log(region)
                        assert (again.last("a"), again.last("c")) == (seen.last("a"), b"x")


def test_a_power_on_needs_nothing_that_another_one_wrote_once_it_has_put():
    # What it read whole may have been torn all the same, and read otherwise the next time.
    flash, region = journal(4)
    found = Log(region)
    found.put("a", b"maybe torn")
    at = head_of(found)
    Log(region).put("b", b"new")
    flash.cells.put(at, b"\x5a" * SECTOR)
    seen = Log(region)
    assert (seen.last("a"), seen.last("b")) == (b"maybe torn", b"new")


def test_a_bad_cell_costs_one_record_wherever_it_is():
    for unit in UNITS:
        flash, region = journal(unit)
        Log(region).put("a", b"older")
        found = Log(region)
        ends = []
        for tag in "abc":
            found.put(tag, b"record " + tag.encode())
            ends.append(found.at)
        at = head_of(found)
        whole = bytes(flash.cells.get(at, found.at))
        head = (log.HEAD_SIZE + unit - 1) // unit * unit
        for i in range(8 * found.at):
            wrong = bytearray(whole)
            wrong[i >> 3] ^= 1 << (i & 7)
            flash.cells.put(at, wrong)
            lost = [tag for tag in "abc" if Log(region).last(tag) != b"record " + tag.encode()]
            if i >> 3 < head:
                # The head: the other sector has what was put before. What fills it up, nobody reads.
                assert (lost == ["a", "b", "c"] and Log(region).last("a") == b"older") or i >> 3 >= log.HEAD_SIZE, i
            else:
                hit = "abc"[sum([i >> 3 >= end for end in ends])]
                assert lost in ([], [hit]) and (lost or unit > 1), (unit, i, lost)


def test_each_record_counts_in_its_own_sector_only():
    # An erase that did nothing leaves records that are whole: they are none of the sector that is begun over them.
    region = journal()[1]
    data = log.encode("armed", b"stale", 3)
    assert log.decode(data, 0, 3) == ("armed", b"stale", len(data))
    assert log.decode(data, 0, 5) is None and region.size == 2 * SECTOR


def test_no_length_of_a_record_is_believed():
    data = log.encode("a", b"value", 1)
    for at in range(len(data) + 1):
        for n in range(len(data)):
            assert log.decode(data[:n], at, 1) is None
    for wrong in (b"\xff" * 40, bytes(40), b"\x0f\xff" + bytes(38), b"\x10" + bytes(300)):
        assert log.decode(wrong, 0, 1) is None


def test_a_blank_sector_says_numbers_that_a_chip_of_32_bits_takes_for_no_index():
    keep = log.unpack
    # On this machine an index may have 63 bits: what is 0xFFFFFFFF there must be more here.
    log.unpack = lambda *args: [n if isinstance(n, bytes) or n < 1 << 31 else n << 40 for n in keep(*args)]
    try:
        region = journal()[1]
        assert Log(region).last("a") is None
        Log(region).put("a", b"x")
    finally:
        log.unpack = keep
    # The other sector is blank still.
    assert Log(region).last("a") == b"x"


def stuck(flash, at):
    """From now on a bit of the byte at `at` is 0, whatever is programmed and erased; nobody is to blame for that."""

    def hold():
        flash.cells.put(at, bytes((flash.cells.get(at, 1)[0] & 0xEF,)))

    def prog(off, buf):
        flash.cells.put(off, bytes([a & b for a, b in zip(buf, flash.cells.get(off, len(buf)))]))
        hold()

    def erase(off, n, keep=flash.erase):
        keep(off, n)
        hold()

    flash.prog, flash.erase = prog, erase
    hold()


def test_a_sector_that_does_not_take_a_put_leaves_the_other_one():
    for unit in UNITS:
        for spot in (0, 3, 12, 300, 600, 1500):
            for sector in (0, 1):
                flash, region = journal(unit)
                found = Log(region)
                found.put("kept", b"all the time")
                if sector != found.number % 2:
                    stuck(flash, sector * SECTOR + spot)
                for i in range(20):
                    # Another power-on now and then, which begins the other sector if it can.
                    if i % 4 == 0:
                        found = Log(region)
                    found.put("n", bytes((i,)) * 60)
                    seen = Log(region)
                    assert (seen.last("n"), seen.last("kept")) == (bytes((i,)) * 60, b"all the time"), (unit, spot, i)
                    if unit == 256 and i > 8:
                        break


def refuses(off, n):
    raise OSError(5)


def test_behind_a_torn_record_nothing_is_programmed_a_second_time():
    # The other sector takes nothing, so the torn one has to grow: SimFlash refuses a second program.
    for unit in UNITS:
        for n in (1, 70, 90):
            flash, region = journal(unit)
            found = Log(region)
            found.put("a", b"old")
            at, start = head_of(found), found.at
            # The front of the longest record, of which the rest may be torn though it reads blank.
            torn = log.encode("a" * 15, bytes(128), found.number)
            flash.cells.put(at + start, torn[:n])
            found = Log(region)
            assert found.last("a") == b"old"
            keep, flash.erase = flash.erase, refuses
            found.put("b", b"new")
            found.put("c", b"newer")
            flash.erase = keep
            assert flash.cells.get(at + start, len(torn)) == torn[:n] + b"\xff" * (len(torn) - n)
            seen = Log(region)
            assert [seen.last(tag) for tag in "abc"] == [b"old", b"new", b"newer"] and head_of(seen) == at


def test_where_a_put_failed_nothing_is_programmed_a_second_time():
    flash, region = journal(4)
    found = Log(region)
    found.put("a", b"old")
    prog, erase = flash.prog, flash.erase

    def half(off, buf):
        prog(off, bytes(buf[:4]))
        raise OSError(5)

    flash.prog, flash.erase = half, refuses
    raises(FlashError, "journal", found.put, "a", b"new")
    flash.prog = prog
    found.put("a", b"newer")
    assert found.last("a") == Log(region).last("a") == b"newer"
    flash.erase = erase


def test_a_journal_that_keeps_nothing_says_so_and_the_next_put_tries_again():
    def does_nothing(off, buf):
        pass

    def fails(off, buf):
        raise OSError(5)

    flash, region = journal(4)
    found = Log(region)
    prog = flash.prog
    for broken in (does_nothing, fails):
        flash.prog = broken
        raises(FlashError, "journal", found.put, "n", b"1")
        assert found.last("n") is None
    flash.prog = prog
    found.put("n", b"2")
    for broken in (does_nothing, fails):
        flash.prog = broken
        raises(FlashError, "journal", found.put, "n", b"3")
        flash.prog = prog
        assert found.last("n") == Log(region).last("n") == b"2"
    found.put("n", b"4")
    assert Log(region).last("n") == b"4"


def test_a_journal_that_has_no_room_says_so_and_keeps_what_it_has():
    for unit in UNITS:
        flash, region = journal(unit)
        full = Log(region)
        taken = []
        try:
            for i in range(40):
                full.put("t%d" % i, bytes((i,)) * 128)
                taken.append(i)
        except FlashError as e:
            assert e.code == "journal"
        assert len(taken) == {1: 29, 4: 29, 16: 28, 256: 15}[unit], (unit, len(taken))
        wear = sum(flash.wear)
        raises(FlashError, "journal", full.put, "t99", bytes(128))
        # Nothing is erased for what does not fit.
        assert sum(flash.wear) == wear
        seen = Log(region)
        assert [i for i in taken if seen.last("t%d" % i) != bytes((i,)) * 128] == []
        # There is room for what takes the place of another.
        seen.put("t1", b"short")
        assert Log(region).last("t1") == b"short"
