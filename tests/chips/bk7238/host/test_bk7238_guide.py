"""The guide, README.md of the layout, typed from its first line to its last, from the wheel."""

import os
import re
from pathlib import Path

import pytest

from mpota_host.chips.bk7238 import demo
from tests.chips.bk7238.host.test_bk7238_dump import until
from tests.host.test_sample import confirmed, place, running, typed

README = Path(__file__).resolve().parents[4] / "device/mpota/layout/bk7238/README.md"
SERVER = "http://127.0.0.1:8000"
# A wheel is built, and a board of processes is updated twice.
pytestmark = [pytest.mark.slow, pytest.mark.board, pytest.mark.timeout(300)]
__all__ = ["place"]


def blocks():
    """The lines of each block of the guide: continued lines are one."""
    found = re.findall(r"```text\n(.*?)```", README.read_text(), re.S)
    return [re.sub(r" \\\n +", " ", block).splitlines() for block in found]


def test_the_guide_is_typed_from_the_first_line_to_the_last(place):
    release, board, server, console = blocks()
    assert release[:2] == ["mpota sample bk7238 plug", "cd plug"] and board[0] == "mpota board --flash board.bin"
    assert server.pop() == "python3 -m http.server 8000"
    done = typed(place, place.work, release[0])
    assert done.returncode == 0, done.stdout + done.stderr
    folder = place.work / "plug"
    for command in release[2:]:
        done = typed(place, folder, command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert " verify ota.rbl" not in command or "the loader installs it" in done.stdout
    with running(place, folder, board[0]) as port:
        for command in board[1:]:
            if " confirm " in command:
                confirmed(place, folder, port, "1.0.1", command)
                continue
            done = typed(place, folder, command, port)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "1.0.1" in done.stdout and "Wi-Fi" in done.stdout
        for command in server:
            done = typed(place, folder, command)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        served(folder, port, console)
        confirmed(place, folder, port, "1.0.2", board[2])
    told = typed(place, folder, "mpota inspect board.bin").stdout
    assert "whole flash of a BK7238" in told and "last download" in told and "installed" in told


def served(folder, port, console):
    """The lines of the console, typed; the server's port is a free one."""
    server = demo.shelf(folder)
    line = demo.Line(port)
    try:
        assert console[0].startswith(">>> ")
        line.type(console[0][4:])
        until(line, "\n# ")
        answers = ("joined ssid", "the loader's and the application's agree", "[loader] installed (0)")
        for words, answer in zip(console[1:], answers, strict=True):
            assert words.startswith("# ")
            words = words[2:].replace(SERVER, f"http://127.0.0.1:{server.server_address[1]}")
            os.write(line.fd, words.encode() + b"\r")
            until(line, answer)
    finally:
        line.close()
        server.shutdown()
        server.server_close()
