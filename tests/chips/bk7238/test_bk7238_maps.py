"""On every public map of a Beken board another owner's data stays, and RF calibration is found where it lies."""

from mpota.agent import Agent
from mpota.layout.bk7238 import bare
from mpota.layout.bk7238.store import foreign, table
from mpota_boot.errors import Refused
from mpota_boot.journal import trial
from tests import packages
from tests.chips.bk7238 import board_maps as maps
from tests.chips.bk7238.rbl_maker import application, package
from tests.chips.bk7238.test_bk7238_layout import NEW, NEWER, OLD, SETTINGS, boot, installed, release, run
from tests.expect import raises

SECTOR = 4096
# Maps of chips with 2 MiB, whose owners can flash the vendor's loader of a BK7238.
SMALL = ("beken-7231n-tuya", "beken-7231t-tuya", "beken-7238-tuya", "beken-72xx")


def lives(it, make=lambda n: release(package(NEW if n % 2 else NEWER), 1, n).bytes()):
    """An ordinary boot, an update that is broken, then two: the last Error or None, of each."""
    run(boot(it), None)
    bad = bytearray(make(1))
    bad[len(bad) // 2] ^= 1
    found = [run(boot(it), bytes(bad))[1].error]
    for n in (1, 2):
        state, agent = run(boot(it), make(n))
        found.append(agent.error)
        if state == "reset":
            run(boot(it), None, lambda: True)
    return found


def test_there_are_maps_and_each_board_has_one():
    assert len(maps.recorded("maps")) == 5 and len(maps.recorded("boards")) == 29
    assert tuple([name for name in sorted(maps.recorded("maps")) if maps.size_of(name) == 0x200000]) == SMALL
    chips = {maps.recorded("boards")[name]["chip"] for name in maps.recorded("boards")}
    assert chips == {"BK7231N", "BK7231T", "BK7231Q", "BK7238", "BK7251"}
    for name in maps.recorded("boards"):
        assert maps.recorded("boards")[name]["map"] in maps.recorded("maps")


def test_the_place_that_the_guide_names_for_the_journal_is_free_on_each_map():
    assert tuple(sorted(maps.JOURNALS)) == SMALL
    for name in SMALL:
        for off in (maps.JOURNALS[name], maps.JOURNALS[name] + SECTOR):
            owners = [w for w, (start, n) in maps.recorded("maps")[name].items() if start <= off < start + n]
            assert owners == ["userdata"], (name, owners)
            assert off >= table.RADIO[0x200000] + 2 * SECTOR


def test_a_journal_that_lies_in_a_partition_is_named_and_no_update_begins():
    for at, words in (
        (0x1DB000, "lies in download, 0x132000 to 0x1e0000"),
        (0x1DF000, "lies in download"),
        (0x130000, "lies in app, 0x11000 to 0x132000"),
        (0x10000, "lies in"),
        (0x1E0000, "lies in RF, 0x1e0000 to 0x1e1000"),
        (0x1E1000, "lies in network, 0x1e1000 to 0x1e2000"),
    ):
        it = maps.chip(SETTINGS, "beken-72xx", at)
        layout = it.run(0).layout
        error = raises(Refused, "table", layout.ready)
        assert "the journal at 0x%x" % at in str(error) and words in str(error), error
        assert words in layout.status()["updates"]
    for at in (0x1E2000, 0x1FE000):
        it = maps.chip(SETTINGS, "beken-72xx", at)
        it.write(OLD)
        boot(it).layout.ready()


def test_a_loader_with_the_boards_own_table_is_named_and_nothing_is_erased():
    for name in sorted(maps.recorded("maps")):
        it = maps.chip(SETTINGS, name)
        start, size = maps.recorded("maps")[name]["download"]
        it.theirs = dict(it.rows)
        it.theirs[b"download"] = table.Entry(b"download", table.DATA, start, size)
        it.write_loader()
        it.write(OLD)
        there = maps.own(it, name, inside=maps.DATA)
        it.flash.flash.trace = []
        for error in lives(it):
            assert isinstance(error, Refused), (name, error)
        maps.kept(it, there)
        assert maps.erased(it) == [], name


def test_where_the_journal_would_lie_on_anothers_data_no_update_begins():
    for name in SMALL:
        it = maps.chip(SETTINGS, name)
        it.write(OLD)
        there = maps.own(it, name)
        it.flash.flash.trace = []
        for error in lives(it):
            assert isinstance(error, Refused) and error.code == "foreign", (name, error)
        maps.kept(it, there)
        assert maps.erased(it) == [], name


def test_with_the_journal_where_the_guide_puts_it_updates_come_and_all_else_stays():
    for name in SMALL:
        at = maps.JOURNALS[name]
        it = maps.chip(SETTINGS, name, at)
        it.write(OLD)
        there = maps.own(it, name, (at, at + SECTOR), ("calibration", "kvs"))
        it.flash.flash.trace = []
        errors = lives(it)
        assert errors[0] is not None and errors[1:] == [None, None], (name, errors)
        maps.kept(it, there)
        row = it.rows[b"download"]
        places = [(row.offset, row.offset + row.size), (0x11000, 0x132000), (at, at + 2 * SECTOR)]
        for off in maps.erased(it):
            assert True in [low <= off < high for low, high in places], (name, hex(off))
        assert it.image(len(NEWER)) == NEWER


def test_calibration_and_key_values_inside_download_stop_an_update_that_would_reach_them():
    """BK7231N modules have the calibration at 0x1D0000, LibreTiny its key-values at 0x1D8000 or 0x1D3000."""
    for name, at, words in (
        ("beken-7231n-tuya", 0x1D0000, "TLV, the RF calibration of a Tuya module"),
        ("beken-72xx", 0x1D8000, "FDB0, key-values of FlashDB"),
    ):
        it = maps.chip(SETTINGS, name, maps.JOURNALS[name])
        it.write(OLD)
        there = maps.own(it, name, (maps.JOURNALS[name], maps.JOURNALS[name] + SECTOR), ("calibration", "kvs"))
        row = it.rows[b"download"]
        least = at - row.offset
        for v, n, taken in ((1, least - 112 + 16, False), (2, least - 112, True)):
            app = application(n, 7)
            it.flash.flash.trace = []
            # The padding is 16 bytes, the header 96.
            agent = Agent(boot(it), [packages.Ram(release(package(app), 1, v).bytes())], None)
            state = ""
            for _ in range(2000 if taken else 9):
                state = state if state == "reset" else agent.step()
            if taken:
                assert state == "reset" and trial(it.run(0).journal), (state, agent.error)
                assert max([off for off in maps.erased(it) if off < 0x1E0000]) == at - SECTOR
                continue
            assert agent.error.code == "foreign", agent.error
            assert "0x%x" % at in str(agent.error) and words in str(agent.error), agent.error
            assert [off for off in maps.erased(it) if off < 0x1E0000] == []
            found = boot(it).layout.status()["findings"]
            assert found[-1].startswith("last download: refused before the restart: download: 0x%x" % at), found
            assert [line for line in found if line.startswith("download: 0x%x holds %s" % (at, words))], found
        maps.kept(it, there)


def test_a_bare_package_stops_before_a_calibration_too():
    it = maps.chip(SETTINGS, "beken-72xx")
    it.write(OLD)
    it.bare = True
    at = it.rows[b"download"].offset + SECTOR
    it.flash.prog(at, maps.RF)
    board = boot(it)
    it.flash.flash.trace = []
    error = raises(Refused, "foreign", list, bare.install(board, packages.Ram(package(NEW))))
    assert "0x%x" % at in str(error)
    assert [off for off in maps.erased(it) if off < 0x1E0000] == []
    maps.kept(it, {at: maps.RF})


def test_sectors_that_mpota_wrote_itself_are_no_calibration():
    """A package may have the four bytes at the front of a sector by chance: it does not block the next one."""
    it = maps.chip(SETTINGS, "beken-72xx")
    it.write(OLD)
    installed(it, package(NEW), 1, 1)
    it.flash.erase(it.rows[b"download"].offset + SECTOR, SECTOR)
    it.flash.prog(it.rows[b"download"].offset + SECTOR, maps.RF)
    installed(it, package(NEWER), 1, 2)
    # What lies behind all of it was not written by mpota.
    it.flash.erase(it.rows[b"download"].offset + 2 * SECTOR, SECTOR)
    it.flash.prog(it.rows[b"download"].offset + 2 * SECTOR, maps.RF)
    _, agent = run(boot(it), release(package(application(9901, 5)), 1, 3).bytes())
    assert agent.error.code == "foreign", agent.error


def test_the_calibration_is_found_by_its_tlv_wherever_it_lies():
    for name in sorted(maps.recorded("maps")):
        at = maps.recorded("maps")[name]["calibration"][0]
        it = maps.chip(SETTINGS, name, maps.JOURNALS.get(name))
        it.flash.prog(at, maps.RF)
        expected = it.kept["RF"]
        found = [line for line in it.run(0).layout.status()["findings"] if line.startswith("RF")]
        tuya = " of a Tuya module" if at in foreign.TUYA else ""
        words = ": TLV, the RF calibration%s; 0x%x is blank" % (tuya, expected) if at != expected else ": written"
        assert found == ["RF sector at 0x%x%s" % (at, words)], (name, found)


def test_a_second_calibration_and_settings_of_the_network_are_told_apart_by_their_items():
    it = maps.chip(SETTINGS, "beken-72xx")
    for off, data in ((0x1E0000, maps.RF), (0x1E1000, maps.RF), (0x1E5000, maps.NETWORK)):
        it.flash.prog(off, data)
    found = it.run(0).layout.status()["findings"]
    for line in (
        "RF sector at 0x1e0000: written",
        "RF sector at 0x1e1000: TLV, the RF calibration; 0x1e0000 is written too",
        "network sector at 0x1e5000: TLV, the network's settings; 0x1e1000 is written too",
    ):
        assert line in found, found
    # OpenBeken's own items, and data without items where the network's settings lie.
    for data in (maps.tlv(0x2CCCCCCC), b"TLV\0" + bytes(range(1, 90))):
        it = maps.chip(SETTINGS, "beken-72xx")
        it.flash.prog(0x1E1000, data)
        found = it.run(0).layout.status()["findings"]
        assert "RF sector at 0x1e0000: blank, not calibrated" in found, found
        assert "network sector at 0x1e1000: written" in found, found
    # A wiring that does not say where they lie.
    it.kept = {"RF": 0, "network": 0}
    found = it.run(0).layout.status()["findings"]
    assert "RF sector at 0x1e1000: TLV, the RF calibration" in found, found


def test_what_lies_in_code_is_no_calibration():
    it = maps.chip(SETTINGS, "beken-72xx")
    for off in (0x11000, 0x131000, 0x10000):
        it.flash.prog(off, maps.RF)
    found = it.run(0).layout.status()["findings"]
    assert "RF sector at 0x1e0000: blank, not calibrated" in found and not [line for line in found if "TLV" in line]


def test_a_package_where_the_loader_does_not_look_is_named():
    """The vendor's first problem: an application with another table wrote the package elsewhere."""
    it = maps.chip(SETTINGS, "beken-72xx")
    it.flash.prog(0x12A000 + 0x10000, package(NEW))
    assert (
        it.run(0)
        .layout.status()["findings"]
        .count("download: an RBL package lies at 0x13a000, the loader looks at 0x132000")
    )
    it = maps.chip(SETTINGS, "beken-72xx")
    it.flash.prog(0x132000, package(NEW))
    broken = bytearray(package(NEW))
    broken[20] ^= 1
    it.flash.prog(0x13A000, bytes(broken))
    assert not [line for line in it.run(0).layout.status()["findings"] if "package lies" in line]
