"""The vendor's two problems: answered on the PC from a dump of the flash, and at the board's console."""

import json
import os
import select
import time

from mpota.layout.bk7238.store import table
from mpota_host.chips.bk7238 import demo, packer, sample
from mpota_host.chips.bk7238.look import dump, tables
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.package.read import explain
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sim.flash import SimFlash
from tests.chips.bk7238 import board_maps
from tests.chips.bk7238.rbl_maker import application, package
from tests.chips.bk7238.test_bk7238_layout import (
    NEW,
    NEWER,
    SETTINGS,
    Agent,
    boot,
    chip,
    installed,
    packages,
    release,
    run,
)
from tests.host.command import call

ASSUMED = "; the application's own is not in its code, the vendor's is assumed"


def asked(it):
    """What inspect says of a chip's dump: sentences by what they are of."""
    report = explain(bytes(it.flash.flash.cells.get(0, it.flash.size)))
    assert report.kind == "flash dump" and report.ok
    found = {}
    for line in report.facts["findings"]:
        name, _, text = line.partition(": ")
        found.setdefault(name, []).append(text)
    return found


def test_a_dump_says_what_the_board_says():
    """The board's sentences, but those of the radio, in each state of an update."""
    it = chip()
    it.flash.prog(0x1E0000, board_maps.RF)
    steps = [
        lambda: installed(it, package(NEW), 1, 1),
        lambda: run(boot(it), release(package(NEWER, hash=1), 1, 2).bytes()),
        lambda: run(boot(it), release(package(NEWER), 1, 3).bytes()),
    ]
    seen = []
    for step in [lambda: None, *steps]:
        step()
        it.radio = None
        board = it.run(0)
        board.layout.port.radio = None
        said = board.layout.status()["findings"]
        report = explain(bytes(it.flash.flash.cells.get(0, sim.SIZE)))
        told = report.facts["findings"]
        assert [said[0] + ASSUMED, *said[1:]] == told[:-1]
        seen.append(told[-2:])
    assert [line.partition(": ")[2] for line, _ in seen] == [
        "none is known",
        "installed",
        "refused before the restart: hash: the image has FNV-1a 0x%08x, the header says 0x00000001; "
        "so has one under another key or IV" % packer.fnv1a(NEWER),
        "complete, armed",
    ]
    assert seen[-1][1] == "next reset: the loader installs '1.0.1'"


def test_problem_1_tables_that_disagree_are_told_from_a_dump():
    it = chip()
    assert run(boot(it), release(package(NEW), 1, 1).bytes())[0] == "reset"
    it.theirs = dict(it.rows)
    it.theirs[b"download"] = table.Entry(b"download", table.DATA, 0x12A000, 0xA6000)
    it.write_loader()
    found = asked(it)
    assert found["download"] == [
        "the loader has 0x12a000+0xa6000, the application 0x132000+0xae000; flash a loader with this table" + ASSUMED,
        "an RBL package lies at 0x132000, the loader looks at 0x12a000",
    ]
    assert found["next reset"][0].startswith("the loader does nothing with `download`, its header is not there")


def test_problem_1_a_table_in_the_applications_code_is_what_it_is_held_against():
    rows = dict(table.entries(sim.SIZE))
    rows[b"download"] = table.Entry(b"download", table.DATA, 0x132000, 0xA6000)
    own = b"".join([rows[name].encode() for name in (b"download", b"app", b"bootloader")])
    image = application(30000)[:20000] + own + application(9000)
    it = chip(image)
    assert asked(it)["download"] == [
        "the loader has 0x132000+0xae000, the application 0x132000+0xa6000; flash a loader with this table"
    ]
    it.theirs = rows
    it.write_loader()
    assert asked(it)["partition tables"] == ["the loader's and the application's agree"]


def test_problem_1_a_loader_that_takes_no_rbl_is_told():
    it = sim.Chip(SETTINGS, None)
    it.write(application(90000))
    it.part(b"bootloader").prog(0, bytes(3000))
    it.flash.prog(0x1E3000, board_maps.RF)
    found = asked(it)
    assert found["next reset"] == ["the loader takes no RBL package"]
    assert found["RF sector at 0x1e3000"] == ["TLV, the RF calibration of a Tuya module; 0x1e0000 is blank"]
    assert "it is none that takes RBL packages" in found["the loader has no partition table"][0]


def test_problem_2_a_download_that_did_not_end_is_told_from_a_dump():
    it = chip()
    found = asked(it)
    assert found["next reset"] == ["the loader does nothing with `download`, it is blank"]
    assert found["RF sector at 0x1e0000"] == ["blank, not calibrated"]
    link = packages.Ram(release(package(NEW), 1, 1).bytes(), 6000)
    agent = Agent(boot(it), [link], None)
    while agent.step() == "busy":
        pass
    found = asked(it)
    assert found["last download"][0].startswith("stopped, goes on at byte")
    assert "a download that did not end, or was installed" in found["next reset"][0]
    # Written by the vendor's own http_ota, which checks nothing: its end is missing, or was never right.
    for data, words in (
        (package(NEW)[:-500], "body CRC"),
        (package(NEW, 0), "algorithm"),
        (package(NEW, version=b"1-bk7231n"), "do not install it: chip"),
        (package(NEW), "the loader installs"),
    ):
        it = chip()
        it.flash.prog(0x132000, data)
        assert words in asked(it)["next reset"][0], words
    assert it.boot().code == 0
    it.part(b"download").erase(0, 0x4000)
    it.flash.prog(0x132000, data)
    assert "this very package is what runs" in asked(it)["next reset"][0]


def test_a_dump_is_looked_at_whatever_its_size_and_wherever_its_journal_lies():
    for at in (0x1E4000, 0x1E5000, 0x1FE000):
        it = sim.Chip(SETTINGS, None, None, None, at)
        it.kept = {"RF": 0, "network": 0}
        it.write_loader()
        it.write(application(5003, 1))
        for n in range(1, 4):
            installed(it, package(NEW if n % 2 else NEWER), 1, n)
            assert asked(it)["last download"] == ["installed"], (hex(at), n)
    size = 0x400000
    it = sim.Chip(SETTINGS, None, SimFlash(size, prog_size=1), table.entries(size), table.RADIO[size] + 0x2000)
    it.write_loader()
    it.write(application(5003, 1))
    assert asked(it)["RF sector at 0x3e0000"] == ["blank, not calibrated"]
    assert asked(it)["partition tables"] == ["the loader's and the application's agree" + ASSUMED]


def test_a_dump_whose_table_is_not_in_whole_sectors_is_told():
    it = chip()
    rows = dict(it.rows)
    rows[b"app"] = table.Entry(b"app", table.CODE, 0x10000, 0x108700)
    data = bytes(it.flash.flash.cells.get(0, sim.SIZE))
    found = dict(dump.answers(data, rows))
    assert "the loader has 0x10000+0x108700" in found["app"]
    assert tables.rows_in(data[:0x11000]) == it.rows


def until(line, mark, seconds=30):
    """What the console says up to `mark`."""
    end = time.monotonic() + seconds
    while mark not in line.seen:
        assert time.monotonic() < end, (mark, line.seen)
        if select.select([line.fd], [], [], 0.1)[0]:
            line.seen += os.read(line.fd, 4096).decode(errors="replace")
    told, _, line.seen = line.seen.partition(mark)
    return told


def test_the_lines_of_the_vendors_page_are_typed_at_a_boards_console(tmp_path, capsys):
    files = mpota_files({"product": "plug", "layout": "bk7238", "bare": True}, layout="bk7238") | {
        "/app.py": sample.APP
    }
    flash = create_for("bk7238", tmp_path / "b.bin", application(5003, 1), files)
    new = application(9001, 2)
    (tmp_path / "bk7238_ota.bin").write_bytes(package(new))
    (tmp_path / "cut.bin").write_bytes(package(new)[:-100])
    server = demo.shelf(tmp_path)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with VirtualBoard(flash) as board:
            line = demo.Line(board.port)
            line.type("from wiring import cli; cli()")
            until(line, "\n# ")
            for typed, words in (
                ("sta ssid password", "joined ssid"),
                ("sta", "Refused: sta has 0 words behind it, wanted sta SSID PASSWORD"),
                ('sta "my home" "pass word"', "joined my home"),
                ("reboot", "Refused: there is no command reboot"),
                (f"http_ota {url}/none.bin", "Error: "),
                (f"http_ota {url}/cut.bin", "LinkError: the RBL ends after"),
                ("status", "RF sector at 0x1e0000: written"),
                ("status", "last download: stopped, begins again"),
                ("status", "the loader's and the application's agree"),
            ):
                os.write(line.fd, typed.encode() + b"\r")
                assert words in until(line, "\n# "), typed
            os.write(line.fd, f"http_ota {url}/bk7238_ota.bin\r".encode())
            assert "9104 of 9104 bytes" in until(line, "[loader] installed (0)")
            line.close()
            board.wait("reset", image="app", cause=2)
    finally:
        server.shutdown()
        server.server_close()
    assert demo.machine_image(flash, len(new)) == new
    capsys.readouterr()
    assert call("inspect", flash, "--json") == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert "RF sector at 0x1e0000: written" in found
