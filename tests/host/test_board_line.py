"""The virtual board on a UART that loses bytes and on USB that waits, with a flash that takes its time."""

import json
import socket
import time

import pytest
import serial

from mpota_host.sim import supervisor
from mpota_host.sim.board import VirtualBoard, create, mpota_files, run_board
from mpota_host.sim.line import Pace
from mpota_host.sim.supervisor import Options
from tests.chips.esp32 import image_maker
from tests.firmware import image
from tests.host.command import call

UART = [2048, 242]


def heard(port, until, seconds=20):
    """What the board printed, this included."""
    said, end = b"", time.monotonic() + seconds
    while until not in said:
        assert time.monotonic() < end, f"{until!r} did not come: {said[-300:]!r}"
        said += port.read(max(1, port.in_waiting))
    return said


def test_a_pace_lets_through_what_the_time_allows_and_saves_nothing():
    pace = Pace(1000)
    assert pace.due(0, 5.0) == 0
    assert pace.due(1000, 6.0) == 100
    assert pace.due(900, 6.005) == 0 and pace.due(900, 6.015) == 1
    assert pace.due(7, 9.0) == 7
    assert pace.due(0, 20.0) == 0 and pace.due(50, 20.1) == 10


# The board is deaf until a server of ours lets it go on.
DEAF = """
import network, socket, sys
w = network.WLAN(0)
w.active(True)
w.connect('any')
while not w.isconnected():
    pass
s = socket.socket()
s.connect(socket.getaddrinfo('127.0.0.1', %d)[0][-1])
print('be' + 'gin')
s.read(1)
print(sys.stdin.read(%d))
print('en' + 'd')
"""


def lost(board, n):
    """Wait until so many bytes found no room in the UART's buffer; how many did."""
    found = 0
    while found < n:
        found += board.wait("lost")["bytes"]
    return found


@pytest.mark.board
@pytest.mark.slow  # its lines and its flash take real time
@pytest.mark.parametrize("line", ["uart", "usb"])
def test_bytes_that_nobody_reads_are_lost_on_a_uart_alone(tmp_path, line):
    sent = bytes(range(33, 127)) * 10
    n = len(sent) if line == "usb" else supervisor.RING
    flash = create(tmp_path / "board.bin", image_maker.image())
    server = socket.create_server(("127.0.0.1", 0))
    options = Options(line=line)
    with server, VirtualBoard(flash, options) as board, serial.Serial(board.port, timeout=0.05) as port:
        board.wait("repl")
        port.write(b"\r\x01")
        heard(port, b"raw REPL")
        port.write((DEAF % (server.getsockname()[1], n)).encode() + b"\x04")
        heard(port, b"begin")
        port.write(sent)
        assert lost(board, len(sent) - n) == len(sent) - n
        with server.accept()[0] as waiting:
            waiting.send(b".")
        assert sent[:n] in heard(port, b"end")
        assert sum(e["bytes"] for e in board.events if e["event"] == "lost") == len(sent) - n


@pytest.mark.board
@pytest.mark.slow  # its lines and its flash take real time
@pytest.mark.parametrize("line, settings", [("uart", {"console": UART}), ("usb", {})])
def test_push_over_a_line_and_a_flash_that_take_their_time(tmp_path, line, settings, capsys):
    (tmp_path / "app.bin").write_bytes(image(40_000, 3))
    package = tmp_path / "lamp.mpota"
    assert call("keygen", tmp_path / "k.pem") == 0
    args = ("--key", tmp_path / "k.pem", "--compress", "none", "--product", "lamp", "--version", "1", "-o", package)
    assert call("pack", tmp_path / "app.bin", *args) == 0
    files = mpota_files({"product": "lamp", **settings}, {"k": (tmp_path / "k.pub").read_bytes()})
    flash = create(tmp_path / "board.bin", image_maker.image(), files=files)
    with VirtualBoard(flash, Options(line=line)) as board:
        board.wait("reset")
        began = time.monotonic()
        assert call("push", package, "--port", board.port) == 0, capsys.readouterr()
        # Ten sectors of 52 ms, and 40,000 bytes at 115200 baud.
        assert time.monotonic() - began > (3.4 if line == "uart" else 0.5)


def test_a_new_board_on_a_uart_has_the_settings_of_one(tmp_path, monkeypatch):
    kept = {}
    monkeypatch.setattr("mpota_host.sim.board.serve", lambda *_: None)
    monkeypatch.setattr("mpota_host.sim.board.create", lambda path, image, files, nvs, like: kept.update(files))
    for line, wanted in (("uart", UART), ("usb", None), ("", None)):
        run_board(tmp_path / "new.bin", options=Options(line=line), firmware=image_file(tmp_path))
        assert json.loads(kept["/mpota.json"]).get("console") == wanted


def image_file(folder):
    path = folder / "firmware.bin"
    path.write_bytes(image_maker.image())
    return path
