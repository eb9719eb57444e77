"""An update of a BK7238 by the shipped agent: the dry run before the restart, the header last, no way back."""

from mpota.agent import Agent
from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.loader import copier
from mpota.layout.bk7238.store import table
from mpota_boot import shim
from mpota_boot.errors import Corrupt, FlashError, NotNow, Refused, UpToDate
from mpota_boot.journal import trial
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.chips.esp32.sim import soc
from mpota_host.sim.flash import PowerCut, SimFlash
from tests import packages
from tests.chips.bk7238.rbl_maker import application, linked, package
from tests.expect import raises

SETTINGS = {"product": "lamp", "room": 4096}
OLD, NEW, NEWER = application(5003, 1), application(9001, 2), application(7001, 3)


def chip(old=OLD):
    it = sim.Chip(SETTINGS, None)
    it.write_loader()
    it.write(old)
    return it


def release(staged, *numbers):
    maker = packages.Maker(staged, product=b"lamp")
    maker.layout = b"bk7238"
    maker.version = packages.version(*numbers)
    return maker


def boot(it, cause=soc.HARD):
    """Reset to main.py: the Board, and what boot.py noted."""
    board = it.power_on(cause)
    try:
        shim.boot(lambda: board)
    except soc.Reset:
        return boot(it)
    assert shim.error is None, shim.error
    return it.run(cause)


def run(board, data, health=None):
    """Steps of an agent up to a reset or a rest: (state, agent)."""
    agent = Agent(board, [packages.Ram(data)], board.keys(), health)
    for _ in range(200):
        state = agent.step()
        if state in ("reset", "idle") and not (state == "idle" and agent.job):
            return state, agent
    raise AssertionError("no end")


def installed(it, staged, *numbers):
    """Take the update, restart, confirm."""
    state, agent = run(boot(it), release(staged, *numbers).bytes())
    assert state == "reset", agent.error
    board = boot(it)
    assert board.layout.on_trial()
    state, agent = run(board, None, lambda: True)
    assert state == "idle" and agent.error is None, agent.error
    return board


def refused(it, maker, cls, code, word=""):
    """The agent gives this error, and nothing lets the loader install anything."""
    before = it.image(len(OLD))
    _, agent = run(boot(it), maker.bytes())
    assert isinstance(agent.error, cls) and agent.error.code == code, agent.error
    assert word in str(agent.error), agent.error
    assert it.boot().code == copier.NONE and it.image(len(OLD)) == before
    return agent.error


def test_an_update_is_fetched_judged_armed_installed_and_confirmed():
    it = chip()
    board = installed(it, package(NEW), 1, 1)
    assert it.image(len(NEW)) == NEW
    layout = board.layout
    assert layout.version() == packages.version(1, 1) and trial(board.journal) is None
    assert layout.header() == package(NEW)[: rbl.SIZE]
    # The next one.
    assert installed(it, package(NEWER), 1, 2).layout.version() == packages.version(1, 2)
    _, agent = run(boot(it), release(package(NEWER), 1, 2).bytes())
    assert isinstance(agent.error, UpToDate)


def test_a_chip_of_4_mib_updates_by_its_own_table():
    size = 0x400000
    it = sim.Chip(SETTINGS, None, SimFlash(size, prog_size=1), table.entries(size), table.RADIO[size] + 0x2000)
    it.flash.flash.trace = None
    it.write_loader()
    it.write(OLD)
    # Past what an application of 2 MiB chips may have.
    staged = package(linked(NEW, 0x200000))
    assert installed(it, staged, 1, 1).layout.header() == staged[: rbl.SIZE]
    head = bytearray(32)
    it.flash.read(0x286000 - 3 * 34, head)
    assert head == staged[:32]


def test_the_header_is_the_last_thing_written_and_one_program():
    it = chip()
    board = boot(it)
    it.flash.flash.trace = []
    state, agent = run(board, release(package(NEW), 1, 1).bytes())
    assert state == "reset", agent.error
    at = it.rows[b"download"].offset
    trace = it.flash.flash.trace
    assert trace[-1] == ("prog", at, rbl.SIZE)
    assert [op for op, off, n in trace[:-1] if op == "prog" and off < at + rbl.SIZE <= off + n] == []
    assert trial(board.journal) and not board.layout.on_trial()


def test_what_the_header_shows_is_refused_with_no_erase():
    it = chip()
    for staged, word in (
        (package(NEW, 0), "algorithm"),
        (package(NEW, rbl.XOR), "algorithm"),
        (package(NEW, rbl.AES | rbl.QUICKLZ), "quicklz"),
        (package(NEW, rbl.AES | 0x500), "0x500"),
        (package(NEW, rbl.AES | 0x10000), "0x10002"),
        (package(NEW, name=b"bootloader"), "name"),
        (package(NEW, raw=127), "sizes"),
        (package(NEW, raw=0x110000), "sizes"),
        (package(NEW, body=9009), "sizes"),
        (package(NEW, body=0xAE000), "sizes"),
        (package(NEW, magic=b"TEXT"), "header"),
        (package(NEW)[:50] + b"x" + package(NEW)[51:], "header"),
        (NEW, "header"),
    ):
        it.flash.flash.trace = []
        refused(it, release(staged, 1, 1), Refused, "rbl", word)
        assert [off for op, off, n in it.flash.flash.trace if op == "erase" and off < sim.LOG] == []


def test_firmware_of_another_chip_of_the_family_is_refused_by_its_version():
    for version, chip_name in (
        (b"1.17.5-bk7231n", "bk7231n"),
        (b"1.17.5-BK7231T", "bk7231t"),
        (b"OpenBK7231N_1.17.5", "bk7231n"),
        (b"26.11.30-bk7252", "bk7252"),
        (b"bk7238-on-bk7231", "bk7231"),
    ):
        it = chip()
        error = refused(it, release(package(NEW, version=version), 1, 1), Refused, "rbl", "chip: version ")
        assert "is for a %s, this is a bk7238" % chip_name in str(error), error
    for version in (b"1.17.5-bk7238", b"2-bk7231-to-BK7238", b"1.0.1", b"bk7", b"bk72", b"1.0-bk7abc", b""):
        it = chip()
        assert run(boot(it), release(package(NEW, version=version), 1, 1).bytes())[0] == "reset", version


def test_what_only_the_body_shows_is_found_before_the_restart():
    bad = bytearray(package(NEW))
    bad[5000] ^= 1
    for staged, word in (
        (bytes(bad), "body CRC"),
        (package(NEW, hash=7), "another key"),
        (package(NEW, raw=len(NEW) - 1), "length"),
        (package(NEW, raw=len(NEW) + 1), "length"),
        (package(linked(NEW, 0x200000)), "linked"),
        (package(NEW, rbl.AES | rbl.LZMA), "decode"),
    ):
        refused(chip(), release(staged, 1, 1), Corrupt, "image", word)
    it = chip()
    it.secret = rbl.KEY, b"F" * 16
    refused(it, release(package(NEW, rbl.AES | rbl.GZIP), 1, 1), Corrupt, "image", "another key")
    raw = bytearray(4096 // 32 * 34)
    it.write(NEW)
    it.flash.read(0x11000, raw)
    refused(chip(), release(package(bytes(raw)), 1, 1), Corrupt, "image", "plain")


def test_the_very_package_that_runs_is_up_to_date_whatever_version_is_written_around_it():
    it = chip()
    installed(it, package(NEW), 1, 1)
    _, agent = run(boot(it), release(package(NEW), 1, 2).bytes())
    assert isinstance(agent.error, UpToDate) and "very package" in str(agent.error)


def test_a_delta_files_and_bytes_behind_the_package_are_refused():
    it = chip()
    maker = release(package(NEW), 1, 1)
    maker.base = OLD
    refused(it, maker, Refused, "base")
    maker = release(package(NEW), 1, 1)
    maker.kind = 2
    refused(it, maker, Refused, "kind")
    refused(it, release(package(NEW) + b"more", 1, 1), Refused, "rbl", "component")


def test_tables_that_disagree_are_named_and_no_update_begins():
    it = chip()
    it.theirs = dict(it.rows)
    it.theirs[b"download"] = table.Entry(b"download", table.DATA, 0x12A000, 0xA6000)
    it.write_loader()
    error = refused(it, release(package(NEW), 1, 1), Refused, "table", "download")
    assert "0x12a000" in str(error) and "0x132000" in str(error)
    status = boot(it).layout.status()
    assert "0x12a000" in status["updates"] and status["updates"] in status["findings"]
    it = sim.Chip(SETTINGS, None)
    it.write(OLD)
    assert "no partition table" in boot(it).layout.status()["updates"]


def test_a_row_that_the_loaders_table_has_not_or_has_otherwise_is_named():
    it = chip()
    missing = dict(it.rows)
    del missing[b"download"]
    row = it.rows[b"download"]
    raw = dict(it.rows)
    raw[b"download"] = table.Entry(b"download", table.CODE, row.offset, row.size)
    for theirs, words in (
        (missing, "the loader has none, the application 0x132000"),
        (raw, "only one of them with CRCs"),
    ):
        code = it.part(b"bootloader")
        code.erase(sim.TABLE_AT, code.size - sim.TABLE_AT)
        code.prog(sim.TABLE_AT, b"".join([theirs[name].encode() for name in theirs]))
        # What runs is not asked to start: a loader with such a table does nothing.
        layout = it.run(soc.HARD).layout
        assert words in layout.status()["updates"], layout.status()["updates"]
        raises(Refused, "table", layout.ready)


def test_a_version_that_is_no_text_does_not_take_the_status_away():
    it = chip()
    assert installed(it, package(NEW, version=b"1\xff\n"), 1, 1).layout.status()["rbl"] == "1\\xff\\n"


def test_a_cut_inside_confirm_lends_no_version_to_an_image_that_is_given_up_after_all():
    it = chip()
    board = installed(it, package(NEW), 1, 1)
    assert run(board, release(package(NEWER), 1, 2).bytes())[0] == "reset"
    board = boot(it)
    journal = board.layout.journal
    keep = journal.put

    def cut(tag, data):
        keep(tag, data)
        if tag == "header":
            raise KeyboardInterrupt

    journal.put = cut
    try:
        board.layout.confirm()
        raise AssertionError("no cut")
    except KeyboardInterrupt:
        pass
    board = boot(it)
    assert board.layout.version() == packages.version(1, 2)
    board.layout.retreat("unhealthy")
    assert board.layout.version() is None
    # So the version before it is no news that "runs already".
    assert installed(it, package(NEW, time=7), 1, 1).layout.version() == packages.version(1, 1)


def test_status_says_what_the_vendors_page_asks_about():
    it = chip()
    it.radio = (False, None)
    found = boot(it).layout.status()["findings"]
    assert "Wi-Fi: not joined" in found and "last download: none is known" in found
    assert "RF sector at 0x1e0000: blank, not calibrated" in found
    it.radio = (True, -71)
    it.flash.prog(0x1E0000, b"calibrated")
    found = boot(it).layout.status()["findings"]
    assert "Wi-Fi: joined, -71 dBm" in found and "RF sector at 0x1e0000: written" in found
    link = packages.Ram(release(package(NEW), 1, 1).bytes(), 6000)
    board = boot(it)
    agent = Agent(board, [link], None)
    while agent.step() == "busy":
        pass
    assert "stopped, goes on at byte" in board.layout.status()["findings"][-1]
    for staged, word in ((package(NEW, hash=1), "hash: "), (package(NEW, 0), "algorithm: ")):
        run(boot(it), release(staged, 1, 1).bytes())
        # Over a restart too.
        told = boot(it).layout.status()["findings"][-1]
        assert told.startswith("last download: refused before the restart: " + word), told
    board = installed(it, package(NEW), 1, 1)
    status = board.layout.status()
    assert status["findings"][-1] == "last download: installed"
    assert (status["version"], status["rbl"], status["retreats"]) == ("1.1.0", "1.0.1", False)


# What ltchiptool 4.15.0 gives for a BK7238, boards/_base/beken-72xx.json and beken-7238-tuya.json: sectors with owners.
GENERIC = {"calibration": 0x1E0000, "ble_bonding": 0x1E1000, "userdata": 0x1E3000}
TUYA = {"diff2ya": 0x1E1000, "ble_bonding": 0x1E2000, "calibration": 0x1E3000}
CALIBRATION = b"TLV\0" + bytes(range(1, 253))
OTHERS = {"calibration": CALIBRATION, "ble_bonding": b"\x01\x02bonds", "userdata": b"{}", "diff2ya": b"D2YA"}


def owned(it, board, names):
    """Put what these owners have on the chip; {address: bytes}."""
    there = {}
    for name in names:
        data = OTHERS[name] + bytes(40)
        it.flash.prog(board[name], data)
        there[board[name]] = data
    return there


def kept(it, there):
    for off in there:
        buf = bytearray(len(there[off]))
        it.flash.read(off, buf)
        assert buf == there[off], hex(off)


def test_on_a_generic_map_the_journal_lies_beside_calibration_and_bonds():
    it = chip()
    there = owned(it, GENERIC, ("calibration", "ble_bonding"))
    for n in range(1, 4):
        board = installed(it, package(NEW if n % 2 else NEWER), 1, n)
    kept(it, there)
    found = board.layout.status()["findings"]
    assert "RF sector at 0x1e0000: written" in found and not [line for line in found if "journal" in line]


def test_what_stands_where_the_journal_would_lie_stays_and_no_update_begins():
    for board, names, at in (
        (TUYA, ("diff2ya", "ble_bonding", "calibration"), 0x1E2000),
        (TUYA, ("calibration",), 0x1E3000),
        (TUYA, ("ble_bonding",), 0x1E2000),
        (GENERIC, ("calibration", "userdata"), 0x1E3000),
    ):
        it = chip()
        there = owned(it, board, names)
        it.flash.flash.trace = []
        error = refused(it, release(package(NEW), 1, 1), Refused, "foreign", "0x%x" % at)
        assert "is not erased: move JOURNAL" in str(error)
        assert ("RF calibration of a Tuya module" in str(error)) == (names == ("calibration",))
        assert it.flash.flash.trace == []
        bare = release(package(NEW), 1, 1).bytes()
        bad = bytearray(bare)
        bad[len(bad) // 2] ^= 1
        assert run(boot(it), bytes(bad))[1].error.code == "foreign"
        status = boot(it).layout.status()
        assert "0x%x" % at in status["updates"] and "journal: " + status["updates"] in status["findings"]
        # It starts, and what runs it may be asked for.
        assert it.started.starts and it.image(len(OLD)) == OLD and status["version"] is None
        kept(it, there)


def test_a_calibration_that_lies_elsewhere_is_found_by_its_first_bytes():
    it = chip()
    owned(it, TUYA, ("calibration",))
    found = boot(it).layout.status()["findings"]
    assert "RF sector at 0x1e3000: TLV, the RF calibration of a Tuya module; 0x1e0000 is blank" in found
    # The network's settings are TLV too.
    it = chip()
    it.flash.prog(0x1E1000, CALIBRATION)
    found = boot(it).layout.status()["findings"]
    assert "RF sector at 0x1e0000: blank, not calibrated" in found and "network sector at 0x1e1000: written" in found


def test_a_calibration_that_is_written_over_a_journal_is_not_erased_and_a_trial_still_ends():
    for n in (1, 2):
        it = chip()
        for i in range(1, n + 1):
            installed(it, package(NEW if i % 2 else NEWER), 1, i)
        state, agent = run(boot(it), release(package(NEWER if n % 2 else NEW), 1, n + 1).bytes())
        assert state == "reset", agent.error
        log = boot(it).journal
        off = sim.LOG + (1 - log.number % 2) * 4096
        it.flash.erase(off, 4096)
        it.flash.prog(off, CALIBRATION)
        board = boot(it)
        assert board.layout.on_trial()
        board.layout.confirm()
        board = boot(it)
        assert board.layout.version() == packages.version(1, n + 1)
        assert board.layout.status()["updates"].startswith("the journal's sector at 0x%x" % off)
        kept(it, {off: CALIBRATION})


def test_a_radio_that_fails_does_not_take_the_status_away():
    board = boot(chip())

    def broken():
        raise OSError(5)

    board.layout.port.radio = broken
    found = board.layout.status()["findings"]
    assert len(found) == 5 and found[1].startswith("Wi-Fi: the radio does not answer, OSError(5")


def test_an_image_that_is_not_wanted_stays_says_why_and_lets_the_next_one_in():
    it = chip()
    assert run(boot(it), release(package(NEW), 1, 1).bytes())[0] == "reset"
    board = boot(it)
    assert run(board, None, lambda: False)[0] == "reset"
    board = boot(it)
    assert it.image(len(NEW)) == NEW and board.layout.version() is None and not board.layout.on_trial()
    assert board.layout.status()["failed"] == {"version": "1.1.0", "reason": "unhealthy"}
    refused_again = run(board, release(package(NEW), 1, 1).bytes())[1].error
    assert isinstance(refused_again, Refused) and refused_again.code == "failed"
    assert installed(it, package(NEWER), 1, 2).layout.version() == packages.version(1, 2)


def test_trials_are_counted_and_used_up_they_end_the_trial():
    it = chip()
    assert run(boot(it), release(package(NEW), 1, 1).bytes())[0] == "reset"
    for left in (2, 1, 0):
        layout = boot(it, soc.WDT).layout
        assert layout.on_trial().trials == left
        assert layout.status()["findings"][-1] == "last download: installed, on trial"
    board = boot(it, soc.WDT)
    assert not board.layout.on_trial()
    assert board.layout.status()["failed"]["reason"] == "watchdog"


def test_by_hand_there_is_no_way_back_but_an_update_that_waits_is_dropped():
    it = chip()
    board = boot(it)
    error = raises(NotNow, "rollback", board.layout.rollback, "by hand")
    assert "as a newer version" in str(error)
    assert run(board, release(package(NEW), 1, 1).bytes())[0] == "reset"
    board = it.run(soc.SOFT)
    raises(NotNow, "staged", board.layout.confirm)
    raises(NotNow, "trial", board.layout.ready)
    raises(NotNow, "trial", board.layout.retreat, "x")
    board.layout.rollback("by hand")
    board = boot(it)
    assert it.image(len(OLD)) == OLD and board.layout.status()["failed"]["reason"] == "by hand"
    board.layout.forget()
    installed(it, package(NEW), 1, 1)
    raises(NotNow, "rollback", boot(it).layout.rollback, "by hand")


def test_a_package_that_the_loader_would_not_have_is_given_up():
    """Its own checks and the loader's disagree: another key in the loader."""
    it = chip()
    assert run(boot(it), release(package(NEW, rbl.AES | rbl.GZIP), 1, 1).bytes())[0] == "reset"
    it.secret = rbl.KEY, b"F" * 16
    board = boot(it)
    assert board.layout.status()["failed"]["reason"] == "the loader refused the package"
    assert board.layout.front() == b"\xff" * rbl.SIZE


def test_a_package_that_rotted_while_it_waited_is_fetched_again():
    it = chip()
    assert run(boot(it), release(package(NEW), 1, 1).bytes())[0] == "reset"
    it.flash.flash.cells.put(it.rows[b"download"].offset + 5000, b"\0")
    board = boot(it)
    assert trial(board.journal) is None and board.layout.failure() is None
    installed(it, package(NEW), 1, 1)


def test_bytes_that_lie_in_download_already_are_not_written_again():
    it = chip()
    board = boot(it)
    one, two = release(package(NEW), 1, 1), packages.Maker(package(NEW), product=b"lamp", deflate=True)
    two.layout, two.version = b"bk7238", packages.version(1, 1)
    for maker in (two, one):
        # The line breaks in the second chunk.
        it.flash.flash.trace = []
        agent = Agent(board, [packages.Ram(maker.bytes(), 4500)], None)
        while agent.step() == "busy":
            pass
        assert agent.error.code == "link", agent.error
        at, size = it.rows[b"download"].offset, it.part(b"download").size
        wrote = [op for op, off, _ in it.flash.flash.trace if at <= off < at + size]
        assert (wrote == []) == (maker is one), wrote
    assert run(board, two.bytes())[1].error.code == "begun"
    assert run(board, one.bytes())[0] == "reset"
    boot(it)
    assert it.image(len(NEW)) == NEW


def test_a_cut_while_what_rotted_is_forgotten_does_not_end_in_a_resume():
    it = chip()
    state, agent = run(boot(it), release(package(NEW), 1).bytes())
    assert state == "reset", agent.error
    part = it.part(b"download")
    part.erase(4096, 4096)
    log = it.log()
    flash = log.flash.flash
    for n in range(1, 12):
        flash.power_on()
        flash.ops, flash.cut = 0, n
        try:
            boot(it)
        except PowerCut:
            pass
        flash.cut = None
        flash.power_on()
        journal = it.run(soc.HARD).journal
        assert journal.last("armed") or not journal.last("progress"), n


def test_a_header_that_does_not_stay_is_an_error_and_the_next_try_writes_it_again():
    it = chip()
    board = boot(it)
    flash = it.flash.flash
    keep = flash.prog
    at = it.rows[b"download"].offset

    def spoil(off, buf):
        keep(off, bytes(95) + b"\x01" if off == at else buf)

    flash.prog = spoil
    _, agent = run(board, release(package(NEW), 1, 1).bytes())
    assert isinstance(agent.error, FlashError) and agent.error.code == "arm"
    del flash.prog
    assert it.boot().code == copier.NONE
    installed(it, package(NEW), 1, 1)
