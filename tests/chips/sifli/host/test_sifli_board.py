"""Upgrades of a real board: MicroPython's unix port with the shipped modules, two programs, a pty and TCP."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from mpota.layout.sifli.store import control, progress
from mpota.version import text
from mpota_boot.journal import Record
from mpota_host.chips.sifli import bench, demo, sample, workshop
from mpota_host.chips.sifli.phone import play
from mpota_host.chips.sifli.sim import machine
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sim.flash import SimFlash
from tests.host.command import call

OLD, NEW = workshop.program(20000, 1), workshop.program(24000, 2)
RES = workshop.program(60000, 3)


def look(flash, what):
    memory = SimFlash(machine.SIZE, path=str(flash))
    try:
        return what(machine.chip_of(memory))
    finally:
        memory.close()


def held(place, n):
    buf = bytearray(n)
    place.read(0, buf)
    return bytes(buf)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return folder, workshop.keys(folder)


@pytest.fixture
def board(tmp_path, keys):
    """A board that is off, with a TCP port for phones; its program confirms itself."""
    return made(tmp_path, keys)


def made(tmp_path, keys, **more):
    """(flash, port) of a new board with these settings besides."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"product": "watch", "layout": "sifli", "phone_port": port, **more}
    files = mpota_files(settings, layout="sifli") | {"/app.py": sample.APP}
    flash = tmp_path / "board.bin"
    create_for("sifli", flash, OLD, files, lambda f: machine.make(f, OLD, keys[1]))
    return flash, port


def pack(folder, keys, *images, fw="1.1.0"):
    words = []
    for name, data, flags, id in images:
        (folder / f"{name}.bin").write_bytes(data)
        words += [folder / f"{name}.bin", flags, id]
    given = ["--key", keys[0] / workshop.ROOT_KEY, "--sigkey", keys[0] / workshop.SIGNING_KEY, "--fw_ver", fw]
    assert call("sifli", "pack", *words, *given, "-o", folder / "up") == 0
    return folder / "up"


def version(chip):
    record = Record.decode(chip.journal.last("running"))
    return record and text(record.version)


def until(flash, what, timeout=30):
    end = time.monotonic() + timeout
    while not look(flash, what):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_demo_tells_the_story(capsys):
    demo.main()
    said = demo.out.file.getvalue() if hasattr(demo.out.file, "getvalue") else capsys.readouterr().out
    assert re.search(r"1\d\d packets of hcpu; it may go back", said) and "of res; it stays in its manager" in said
    assert "gone on with where it was" in said and "1.1.0 runs" in said and "Done" in said


def test_an_upgrade_over_tcp_ends_in_a_confirmed_program(board, tmp_path, keys, capsys):
    flash, port = board
    up = pack(tmp_path, keys, ("app", NEW, 17, 0), ("res", RES, 1, 3))
    with VirtualBoard(flash) as b:
        b.wait("reset", image="user")
        assert call("sifli", "push", up, "--port", f"127.0.0.1:{port}", "--json") == 0
        said = json.loads(_last_json(capsys))
        assert said["done"] and not said["resumed"]
        until(flash, lambda chip: version(chip) == "1.1.0")
        assert look(flash, lambda chip: chip.installed().size) == len(NEW)
        # It is the newest that it knows of: an older one is refused by its number, and nothing is written.
        old = pack(tmp_path, keys, ("app", NEW, 16, 0), fw="1.0.9")
        for name in ("encapp.bin", "enccom_app.bin", "encres.bin"):
            (old / name).unlink(missing_ok=True)
        before = look(flash, lambda chip: progress.load(chip).encode())
        assert call("sifli", "push", old, "--port", f"127.0.0.1:{port}") == 3
        assert "07" in capsys.readouterr().err
        assert look(flash, lambda chip: progress.load(chip).encode()) == before


def test_a_key_that_the_board_does_not_name_is_error_9_and_another_root_key_error_1(board, tmp_path, keys, capsys):
    flash, port = board
    other = tmp_path / "other"
    workshop.keys(other)
    with VirtualBoard(flash) as b:
        b.wait("reset", image="user")
        for folder, code in ((other, "01"), (keys[0], "")):
            up = pack(tmp_path, (folder, None), ("app", NEW, 16, 0))
            status = call("sifli", "push", up, "--port", f"127.0.0.1:{port}")
            assert (status == 3 and code in capsys.readouterr().err) if code else status == 0


def test_the_program_on_a_pty_and_a_program_of_the_wrong_kind(board, tmp_path, keys, capsys):
    flash, _ = board
    up = pack(tmp_path, keys, ("app", NEW, 16, 0))
    (up / "outhat.bin").write_bytes(b"x" * 52)
    with VirtualBoard(flash) as b:
        b.wait("reset", image="user")
        assert call("sifli", "push", up, "--port", b.port) == 3
        assert "--id hat=ID" in capsys.readouterr().err
        (up / "outhat.bin").unlink()
        assert call("sifli", "push", up, "--port", b.port) == 0
        until(flash, lambda chip: version(chip) == "1.1.0")
        assert call("status", "--port", b.port, "--json") == 0
        facts = json.loads(_last_json(capsys))
        assert facts["layout"] == "sifli" and facts["version"] == "1.1.0" and facts["running"] == "area 1"


def test_a_push_that_is_refused_at_the_console_gives_it_back(board, tmp_path, keys, capsys):
    flash, port = board
    up = pack(tmp_path, keys, ("app", NEW, 16, 0), fw="0.9.0")
    with VirtualBoard(flash) as b:
        b.wait("reset", image="user")
        assert call("sifli", "push", up, "--port", b.port) == 3
        assert "07" in capsys.readouterr().err
        # Its program goes on, for it soon answers at the port that it listens on.
        assert call("sifli", "push", up, "--port", f"127.0.0.1:{port}") == 3
        assert "07" in capsys.readouterr().err
        assert call("status", "--port", b.port, "--json") == 0
        assert json.loads(_last_json(capsys))["version"] == "1.0.0"


@pytest.mark.parametrize("phones", [False, None, ["again"], "yes", 1])
def test_a_board_lets_no_phone_in_that_its_owner_did_not_let_in(phones, tmp_path, keys, capsys):
    flash, port = made(tmp_path, keys, phones=phones)
    up = pack(tmp_path, keys, ("app", NEW, 16, 0))
    with VirtualBoard(flash) as b:
        b.wait("reset", image="user")
        before = look(flash, lambda chip: progress.load(chip).encode())
        assert call("sifli", "push", up, "--port", f"127.0.0.1:{port}") == 3
        said = capsys.readouterr().err
        assert "11" in said and '"phones": true' in said
        assert look(flash, lambda chip: progress.load(chip).encode()) == before
        if phones is False:
            assert call("status", "--port", b.port, "--json") == 0
            assert "none is let in but by cable" in str(json.loads(_last_json(capsys))["findings"])
            # Who has the cable in hand is the owner.
            assert call("sifli", "push", up, "--port", b.port) == 0
            until(flash, lambda chip: version(chip) == "1.1.0")


@pytest.mark.parametrize("phones", [True, "again"])
def test_the_version_that_runs_comes_again_by_a_restart_that_the_owner_allows(phones, tmp_path, keys, capsys):
    flash, port = made(tmp_path, keys, phones=phones)
    up = pack(tmp_path, keys, ("app", NEW, 16, 0), ("res", RES, 0, 3))
    push = ["sifli", "push", up, "--port", f"127.0.0.1:{port}"]
    with VirtualBoard(flash) as b:
        b.wait("reset", image="user")
        assert call(*push) == 0
        until(flash, lambda chip: version(chip) == "1.1.0")
        before = look(flash, lambda chip: progress.load(chip).encode())
        for more in ([], ["--older"]):
            assert call(*push, *more) == 3
            assert "07" in capsys.readouterr().err
            if phones is True:
                assert call(*push, *more, "--restart") == 3
                assert "07" in capsys.readouterr().err
            assert look(flash, lambda chip: progress.load(chip).encode()) == before
        if phones == "again":
            assert call(*push, "--restart") == 0
            until(flash, lambda chip: progress.load(chip).encode() == before)
            assert call("status", "--port", b.port, "--json") == 0
            assert "`sifli push --restart`" in json.loads(_last_json(capsys))["findings"][0]


def _last_json(capsys):
    out = capsys.readouterr().out
    return out[out.index("{") :]


def test_a_board_of_the_command_line_is_made_with_its_keys_and_starts_again(tmp_path, keys):
    app = tmp_path / "app.bin"
    app.write_bytes(OLD)
    command = [sys.executable, "-m", "mpota_host", "board", "--layout", "sifli", "--flash", "watch.bin"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for more in (["--firmware", "app.bin"], []):
        with subprocess.Popen([*command, *more], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as board:
            said = [board.stdout.readline() for _ in range(3)]
            board.terminate()
        assert "The board is at" in said[0] and "manager starts" in said[1] and "user starts" in said[2]
    assert workshop.keys(tmp_path / "build/keys").root == look(tmp_path / "watch.bin", lambda chip: chip.root_key)
    assert (tmp_path / "build/keys" / workshop.SIGNING_KEY).stat().st_mode & 0o77 == 0


def test_a_port_where_nobody_answers_says_so(monkeypatch, tmp_path, keys, capsys):
    monkeypatch.setattr(play.carry, "PATIENCE_S", 0.5)
    monkeypatch.setattr(play.carry.connect, "__defaults__", (0.5,))
    up = pack(tmp_path, keys, ("res", RES, 0, 3))
    assert call("sifli", "push", up, "--port", "127.0.0.1:9") == 4
    assert "no chip answers" in capsys.readouterr().err
    assert call("sifli", "push", up) == 2
    assert call("sifli", "push", up / "ctrl_packet.bin", "--port", "127.0.0.1:9") == 4


def test_bytes_on_a_paced_line_are_nearly_all_the_images_and_a_lost_packet_costs_little(tmp_path):
    clean = bench.push(tmp_path, size=60_000)
    bad = bench.push(tmp_path, loss=100, size=60_000)
    assert 60_000 / clean.sent >= 0.88 and clean.lost == 0 and bad.lost >= 1
    assert clean.wire <= 1.01, "the line is paced"
    # Each loss is one packet in a hundred and what was under way behind it.
    assert bad.sent < clean.sent * 1.1


def test_bluetooth_without_its_package_says_what_to_install(monkeypatch, tmp_path, keys, capsys):
    up = pack(tmp_path, keys, ("res", RES, 0, 3))
    monkeypatch.setitem(sys.modules, "bleak", None)
    assert call("sifli", "push", up, "--ble", "SIFLI_APP-f0f1") == 4
    assert "'.[ble]'" in capsys.readouterr().err


def test_image_files_are_known_by_the_vendors_names(tmp_path, keys):
    up = pack(tmp_path, keys, ("app", NEW, 17, control.HCPU), ("font", RES, 0, control.FONT))
    found = play.load(up, {})
    assert sorted(image.id for image in found.images) == [control.HCPU, control.FONT]
    assert {play.block_of((up / name).read_bytes()) for name in ("enccom_app.bin", "outfont.bin")} == {512}
