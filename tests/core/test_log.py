"""The journal in two sectors of flash: what every put promises, whatever the program unit, the cut and the cell."""

from mpota.store import log
from mpota.store.flash import Region
from mpota.store.log import Log
from mpota_boot.errors import FlashError
from mpota_host.sim.flash import PowerCut, SimFlash
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


def stuck(flash, at, bit=16):
    """From now on a bit of the byte at `at` is 0, whatever is programmed and erased; nobody is to blame for that."""

    def hold():
        flash.cells.put(at, bytes((flash.cells.get(at, 1)[0] & ~bit,)))

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


def test_a_sector_of_its_own_that_wears_out_leaves_the_other_one():
    for unit in UNITS:
        for spot in (0, 3, 12, 300, 600, 1500):
            for bit in (0, 4):
                flash, region = journal(unit)
                for i in range(3):
                    Log(region).put("kept", b"%d" % i)
                found = Log(region)
                stuck(flash, (1 - found.number % 2) * SECTOR + spot, 1 << bit)
                for i in range(9):
                    if i % 4 == 0:
                        found = Log(region)
                    assert found.closed() == ""
                    found.put("n", bytes((i,)) * 60)
                    seen = Log(region)
                    assert (seen.last("n"), seen.last("kept")) == (bytes((i,)) * 60, b"2"), (unit, spot, i)


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


# Whose is a sector?

TLV = b"TLV\0" + bytes(range(1, 253))
# (offset, bytes) of what a journal may find where somebody pointed it to.
STRANGERS = (
    (0, TLV),
    (0, b"\0"),
    (0, b"M"),
    (0, b"MPL2" + bytes(60)),
    (0, b"\xff\xff\xfe"),
    (12, b"\5\3armed"),
    (2048, b"bonding"),
    (SECTOR - 8, b"\x7f\xef\0\xbf"),
    (SECTOR - 1, b"\0"),
)


def placed(flash, sector, off, data):
    """Somebody else writes the sector anew."""
    flash.cells.put(sector * SECTOR, b"\xff" * SECTOR)
    flash.cells.put(sector * SECTOR + off, data)
    return bytes(flash.cells.get(sector * SECTOR, SECTOR))


def test_a_strangers_sector_is_never_erased_and_the_error_says_where_and_what():
    for unit in UNITS:
        for sector in (0, 1):
            for off, data in STRANGERS:
                flash, region = journal(unit)
                there = placed(flash, sector, off, data)
                found = Log(region)
                wrong = raises(FlashError, "journal", found.put, "a", b"value")
                at = off // 8 * 8 + sector * SECTOR
                seen = " ".join(["%02x" % c for c in flash.cells.get(at, 8)])
                for text in (str(wrong), found.closed()):
                    assert "0x%x" % (sector * SECTOR) in text and seen in text and "move JOURNAL" in text, text
                assert ("RF calibration of a Tuya module" in str(wrong)) == (data == TLV)
                assert flash.cells.get(sector * SECTOR, SECTOR) == there and sum(flash.wear) == 0 == flash.ops
                assert Log(region).last("a") is None


def test_what_a_stranger_wrote_over_a_journal_stays_and_its_other_sector_is_used_up():
    for unit in UNITS:
        for puts in (1, 2):
            for off, data in STRANGERS:
                flash, region = journal(unit)
                for i in range(puts):
                    found = Log(region)
                    found.put("a", b"%d" % i)
                other = 1 - found.number % 2
                there = placed(flash, other, off, data)
                wear = list(flash.wear)
                n = 0
                try:
                    while n < 100:
                        found = Log(region)
                        assert "0x%x" % (other * SECTOR) in found.closed()
                        found.put("n", b"%d" % n)
                        n += 1
                except FlashError as e:
                    assert e.code == "journal" and "is not erased" in str(e)
                assert 4 < n < 100 and Log(region).last("n") == b"%d" % (n - 1) and Log(region).last("a")
                assert flash.cells.get(other * SECTOR, SECTOR) == there and flash.wear == wear, (unit, off)


def scattered(old, new, pick):
    """Torn in any of its bits: what an interrupted erase of a real chip may leave."""
    return bytes([(a | b) & (a | pick(256) | (a & b)) if b == 255 else b | (a & pick(256)) for a, b in zip(old, new)])


def test_a_journal_that_was_cut_in_anything_it_does_is_never_a_stranger_to_itself():
    for unit in (1, 16):
        for puts in (0, 1, 3):
            for op in range(1, 7):
                for again in range(1, 6):
                    flash, region = journal(unit)
                    for i in range(puts):
                        Log(region).put("kept", b"%d" % i)
                    flash.tears = {"prog": scattered, "erase": scattered}
                    for cut in (op, again):
                        flash.ops, flash.cut, flash.cut_at, flash.seed = 0, cut, "inside", op + again
                        try:
                            found = Log(region)
                            for i in range(3):
                                found.put("n", b"%d %d" % (cut, i))
                        except PowerCut:
                            pass
                        flash.power_on()
                    found = Log(region)
                    assert found.closed() == "", (unit, puts, op, again, found.closed())
                    assert found.last("kept") == (b"%d" % (puts - 1) if puts else None)
                    for i in range(3):
                        found = Log(region)
                        found.put("last", b"%d" % i)
                    assert found.grows and Log(region).last("last") == b"2"


def test_a_bit_that_turned_makes_no_stranger_of_a_sector_and_no_friend_of_a_strangers():
    for unit in (1, 256):
        flash, region = journal(unit)
        for i in range(3):
            Log(region).put("a", b"%d" % i)
        shot = flash.snapshot()
        for sector in (0, 1):
            for bit in range(8 * log.HEAD_SIZE):
                flash.restore(shot)
                at = sector * SECTOR + bit // 8
                flash.cells.put(at, bytes((flash.cells.get(at, 1)[0] ^ 1 << bit % 8,)))
                found = Log(region)
                assert found.closed() == "" and found.last("a") in (b"1", b"2")
                found.put("b", b"x")
                assert Log(region).last("b") == b"x" and found.grows
        flash.restore(shot)
        found = Log(region)
        mine, other = found.number % 2, 1 - found.number % 2
        there = placed(flash, other, 0, TLV)
        for bit in range(8 * (SECTOR - found.tail)):
            at = mine * SECTOR + found.tail + bit // 8
            flash.cells.put(at, bytes((0xFF ^ 1 << bit % 8,)))
            single = len(found.slots) == 1 and not found.mark[bit // 8] & 1 << bit % 8
            # Where there is room for one mark only, as much of it as a bit does count.
            assert single or Log(region).closed()
            flash.cells.put(at, b"\xff")
        assert flash.cells.get(other * SECTOR, SECTOR) == there


class Misread:
    """A Flash of which `times` reads of some bytes give a wrong bit."""

    def __init__(self, flash, at, times):
        self.flash, self.at, self.times = flash, at, times
        self.size, self.erase_size, self.prog_size, self.erased = flash.size, SECTOR, flash.prog_size, 255
        self.prog, self.erase = flash.prog, flash.erase

    def read(self, off, buf):
        self.flash.read(off, buf)
        if self.times and off <= self.at < off + len(buf):
            self.times -= 1
            buf[self.at - off] ^= 16


def test_one_wrong_read_costs_nothing_wherever_it_is():
    region = journal()[1]
    for i in range(3):
        found = Log(region)
        for tag in "abc":
            found.put(tag, tag.encode() + b"%d" % i)
    for sector in (0, 1):
        for at in range(found.at):
            seen = Log(Misread(region, sector * SECTOR + at, 1))
            assert [seen.last(tag) for tag in "abc"] == [b"a2", b"b2", b"c2"], (sector, at)


class Fails:
    """Its n-th read raises."""

    def __init__(self, region, n):
        self.region = region
        self.n = n
        self.size, self.erase_size, self.prog_size = region.size, region.erase_size, region.prog_size
        self.prog, self.erase = region.prog, region.erase

    def read(self, off, buf):
        self.n -= 1
        if self.n == 0:
            raise FlashError("flash", "this read fails")
        self.region.read(off, buf)


def test_a_read_that_fails_once_is_asked_again_wherever_it_is():
    n = reads = 1
    while reads:
        _, region = journal()
        Log(region).put("floor", b"1")
        flash = Fails(region, n)
        found = Log(flash)
        assert found.last("floor") == b"1"
        found.put("floor", b"2")
        assert Log(region).last("floor") == b"2"
        reads = flash.n <= 0
        n += 1
    assert n > 8
    raises(FlashError, "flash", Log, Fails(Fails(region, 1), 2))


def test_a_sector_that_reads_well_again_is_not_begun_over():
    flash, region = journal()
    for i in range(2):
        found = Log(region)
        found.put("a", b"%d" % i)
        found.put("b%d" % i, b"x")
    seen = Log(Misread(region, head_of(found) + 5, 2))
    assert seen.last("a") == b"0"
    wear = flash.wear[head_of(found) // SECTOR]
    seen.put("c", b"new")
    assert (seen.last("a"), seen.last("b1"), seen.last("c")) == (b"1", b"x", b"new")
    assert flash.wear[head_of(found) // SECTOR] == wear and Log(region).last("a") == b"1"


def test_a_sector_that_cannot_be_read_before_it_is_begun_is_not_erased():
    flash, region = journal()
    Log(region).put("a", b"1")
    found = Log(region)
    wear = list(flash.wear)
    keep = flash.read

    def fails(off, buf):
        if off < SECTOR:
            raise OSError(5)
        keep(off, buf)

    flash.read = fails
    found.put("a", b"2")
    flash.read = keep
    assert flash.wear == wear and Log(region).last("a") == b"2"


def test_what_is_left_of_a_sector_of_its_own_proves_it():
    for unit in (1, 16):
        flash, region = journal(unit)
        for i in range(2):
            found = Log(region)
            for n in range(24):
                found.put("n", bytes((i, n)) * 40)
        other = (1 - found.number % 2) * SECTOR
        whole = flash.cells.get(other, SECTOR)
        begun = log.encode("n", b"next", found.number + 1)
        rotten = bytearray(whole)
        for at in range(log.HEAD_SIZE, SECTOR):
            rotten[at] &= 0xFE
        for there in (
            # An erase that stopped half way; one that left the last records alone; a head that was not yet written.
            b"\xff" * 1500 + whole[1500:],
            b"\0" * 1500 + whole[1500:],
            b"\xff" * found._up(log.HEAD_SIZE) + begun + b"\xff" * (SECTOR - 100),
            # A magic that rotted, and with it every record.
            b"\x4c" + bytes(rotten[1:]),
        ):
            flash.cells.put(other, there[:SECTOR])
            assert Log(region).closed() == "", (unit, there[:20])


def test_of_two_torn_marks_both_count_and_of_one_none():
    flash, region = journal()
    found = Log(region)
    found.put("a", b"1")
    mine, other = found.number % 2 * SECTOR, (1 - found.number % 2) * SECTOR
    flash.cells.put(other, b"\x55" * SECTOR)
    flash.cells.put(mine + found.slots[0], found.mark[:2])
    assert Log(region).closed()
    flash.cells.put(mine + found.slots[1], found.mark[:1])
    assert Log(region).closed() == ""
    flash.cells.put(mine + found.slots[1], b"\x50")
    assert Log(region).closed()


def test_a_mark_at_the_end_of_what_is_no_journal_proves_nothing():
    flash, region = journal()
    found = Log(region)
    for sector in (0, 1):
        placed(flash, sector, 100, b"strange")
        flash.cells.put(sector * SECTOR + found.slots[0], found.mark)
    assert Log(region).closed() and "0x0" in Log(region).strange(0) and "0x1000" in Log(region).strange(1)


def test_records_that_lie_where_marks_would_are_none():
    flash, region = journal()
    full = Log(region)
    for i in range(29):
        full.put("t%d" % i, bytes((i,)) * 128)
    last = b"\xff" * 110 + log.MARK
    full.put("z", last)
    assert full.at == SECTOR > full.tail
    other = 1 - full.number % 2
    there = placed(flash, other, 0, TLV)
    again = Log(region)
    assert full.closed() and again.closed()
    before = flash.snapshot()
    for found in (full, again):
        raises(FlashError, "journal", found.put, "t1", b"short")
        assert flash.snapshot() == before and there in before
    assert [i for i in range(29) if Log(region).last("t%d" % i) != bytes((i,)) * 128] == []
    assert Log(region).last("z") == last
