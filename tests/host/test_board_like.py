"""Virtual boards that answer as another port does: `mpota board --like`, with the commands of a person."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import serial

from mpota_host.package import keys
from mpota_host.sim.board import BoardError, VirtualBoard, create_for, mpota_files, run_board
from mpota_host.sim.ports.table import POWER, RESET, ROWS, SOFT, SUPPORTED
from mpota_host.sim.supervisor import load_side
from tests.host.command import call

SETTINGS = {"product": "lamp", "layout": "files", "window_ms": 100}
APP = b"def step():\n    pass\n"
UNDECIDED = b"import time\ndef step():\n    print('new')\n    time.sleep_ms(50)\ndef health():\n    return None\n"
LOOK = """
import machine, os, sys, time
from mpota_boot import board
b = board.Board()
print((sys.platform, machine.reset_cause(), time.localtime()[0], board.port.__name__, b.cause(), board.HOME))
"""
pytestmark = pytest.mark.board


def made(folder: Path, like: str, key: bytes = b"") -> Path:
    carried = mpota_files(SETTINGS, {"release": key} if key else {}, "files", ROWS[like].platform)
    return create_for("files", folder / "flash.bin", b"", {**carried, "/app.py": APP}, like=like)


def look(board: VirtualBoard) -> tuple[object, ...]:
    return tuple(ast.literal_eval(board.run(LOOK)))


def starts(board: VirtualBoard) -> None:
    """Until the application on trial has its turns."""
    with serial.Serial(board.port, timeout=20) as line:
        assert line.read_until(b"new").endswith(b"new")


def types(board: VirtualBoard, keys_: bytes, event: str) -> None:
    """Somebody types this at the prompt, until that happens."""
    with serial.Serial(board.port, timeout=10) as line:
        line.write(b"\x03\x03")
        line.read_until(b">>> ")
        line.write(keys_)
        board.wait(event)


@pytest.mark.parametrize("like", SUPPORTED)
def test_a_board_answers_as_its_port_does(tmp_path: Path, like: str) -> None:
    row = ROWS[like]
    module = f"mpota_boot.ports.{row.platform}"
    with VirtualBoard(made(tmp_path, like)) as board:
        board.wait("reset")
        assert look(board) == (row.platform, row.numbers[POWER], row.year, module, "power", row.place[0])
        types(board, b"import machine; machine.reset()\r", "reset")
        assert look(board)[1:5] == (row.numbers[RESET], row.year, module, "reset")
        types(board, b"\x04", "soft")
        kept = row.numbers[RESET] if row.numbers[SOFT] is None else row.numbers[SOFT]
        assert look(board)[1:5] == (kept, row.year, module, "")


@pytest.mark.parametrize("like", SUPPORTED)
def test_a_watchdog_has_the_times_of_its_port(tmp_path: Path, like: str) -> None:
    row = ROWS[like]
    code = "import machine\ntry:\n    machine.WDT(timeout=3600000)\nexcept ValueError:\n    print('no')"
    with VirtualBoard(made(tmp_path, like)) as board:
        board.wait("reset")
        assert board.run(code) == ("" if row.clamps or row.most > 3600000 else "no\n")


@pytest.mark.slow  # a push and some soft resets for each port
@pytest.mark.parametrize("like", SUPPORTED)
def test_tools_cost_a_trial_nothing_and_the_update_is_kept(tmp_path: Path, like: str, monkeypatch, capsys) -> None:
    keys.generate(tmp_path / "release.pem")
    key = (tmp_path / "release.pub").read_bytes()
    (tmp_path / "app").mkdir()
    (tmp_path / "app/app.py").write_bytes(UNDECIDED)
    options = ["--product", "lamp", "--layout", "files", "--version", "2.0.0", "--key", tmp_path / "release.pem"]
    assert call("pack", "--app", tmp_path / "app", *options, "-o", tmp_path / "p.mpota") == 0
    with VirtualBoard(made(tmp_path, like, key)) as board:
        board.wait("reset")
        assert call("push", tmp_path / "p.mpota", "--port", board.port) == 0
        board.wait("reset")
        starts(board)
        for _ in range(4):
            types(board, b"\x04", "soft")
            starts(board)
            capsys.readouterr()
            assert call("status", "--port", board.port, "--json") == 0
            facts = json.loads(capsys.readouterr().out)
            assert facts["trial"] == {"version": "2.0.0", "trials": 2, "runs": True}, like
            assert facts["boot_error"] is None
        assert call("confirm", "--port", board.port) == 0
        assert call("status", "--port", board.port, "--json") == 0
        assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["version"] == "2.0.0"


@pytest.mark.parametrize("like", ["stm32", "samd"])
def test_flash_puts_the_ports_own_table_where_its_boot_py_lies(tmp_path: Path, like: str, capsys) -> None:
    path = create_for("files", tmp_path / "flash.bin", b"", {}, like=like)
    with VirtualBoard(path) as board:
        board.wait("reset")
        assert call("flash", "--port", board.port, "--layout", "files", "--product", "lamp", "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert said["status"]["boot_error"] is None and said["status"]["product"] == "lamp"
        names = ast.literal_eval(
            board.run(f"import os; print(os.listdir('{ROWS[like].place[0]}/lib/mpota_boot/ports'))")
        )
        assert {name for name in names if name != "__init__.mpy"} == {ROWS[like].platform + ".mpy", "mark.mpy"}


def test_what_no_board_is_like_is_refused(tmp_path: Path) -> None:
    flash = tmp_path / "b.bin"
    with pytest.raises(BoardError, match="has layout files"):
        run_board(flash, "bk7238", like="rp2")
    with pytest.raises(BoardError, match="has layout files"):
        run_board(flash, "esp32", like="samd")
    made(tmp_path, "rp2")
    with pytest.raises(BoardError, match="like rp2: leave --like off"):
        run_board(tmp_path / "flash.bin", "files", like="samd")
    assert load_side(tmp_path / "flash.bin").like == "rp2"
    assert call("board", "--like", "pic32", "--flash", flash) == 2 and not flash.exists()
