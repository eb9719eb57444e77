"""Every wait of the host for a board ends by the clock: for one that prints for ever, says nothing, or goes away."""

from __future__ import annotations

import ast
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpota.link import frame
from mpota.link import serial as wire_frames
from mpota_boot.errors import LinkError
from mpota_host.board import push as push
from mpota_host.board import repl
from mpota_host.board.errors import PushError
from mpota_host.board.repl import open_board
from mpota_host.chips.esp32.cut.life import image
from mpota_host.sim.board import VirtualBoard, create, mpota_files
from mpota_host.sim.line import open_pair
from tests.host.command import call

ROOT = Path(__file__).resolve().parents[2]
# What takes bytes from a board; `recv` of the tools' own modules is not ours.
READS = {"read", "readinto", "recv", "in_waiting", "inWaiting"}


def loops_without_end(text: str) -> list[int]:
    """Lines of `while` loops that read from a board and never look at the clock."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.While):
            continue
        names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        if names & READS and "monotonic" not in names:
            found.append(node.lineno)
    return found


def test_each_loop_that_reads_from_a_board_looks_at_the_clock() -> None:
    files = sorted((ROOT / "host" / "mpota_host" / "board").glob("*.py"))
    loops = sum(path.read_text().count("while ") for path in files)
    assert len(files) >= 6 and loops >= 6, f"{loops} loops in {len(files)} files"
    assert {path.name: loops_without_end(path.read_text()) for path in files} == {path.name: [] for path in files}


def test_the_rule_sees_a_loop_that_has_no_end() -> None:
    assert loops_without_end("while came := wire.read(0.3):\n    pass") == [1]
    assert loops_without_end("while tool.serial.in_waiting:\n    tool.flush()") == [1]
    assert loops_without_end("while time.monotonic() < end and wire.read(1):\n    pass") == []
    assert loops_without_end("while rest:\n    rest = rest[1:]") == []


def prints(fd: int, gone: threading.Event) -> None:
    """A board whose prompt never comes, for something prints all the time."""
    while not gone.wait(0.01):
        with contextlib.suppress(BlockingIOError):
            os.write(fd, b"I (1) radio: beacon\r\n")
            os.read(fd, 4096)


def says_nothing(fd: int, gone: threading.Event) -> None:
    gone.wait(60)


def takes_nothing(fd: int, gone: threading.Event) -> None:
    """It answers the first question and then neither reads nor writes."""
    while not gone.wait(0.01):
        with contextlib.suppress(BlockingIOError):
            if b"\x01" in os.read(fd, 4096):
                os.write(fd, b"raw REPL; CTRL-B to exit\r\n>")
                break
    gone.wait(60)


@contextmanager
def board_that(behaves: Callable[[int, threading.Event], None]) -> Iterator[str]:
    """The port of a board that does so until the block ends."""
    near, far = open_pair()
    os.set_blocking(near, False)
    gone = threading.Event()
    thread = threading.Thread(target=behaves, args=(near, gone))
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        gone.set()
        thread.join(10)
        os.close(near)
        os.close(far)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter."""
    for name in ("CONNECT_S", "RUN_S", "LEAVE_S", "HUSH_S"):
        monkeypatch.setattr(repl, name, 1.5 if name != "HUSH_S" else 0.2)
    for name in ("START_S", "LEAVE_S", "LISTEN_S", "WRITE_S"):
        monkeypatch.setattr(push, name, 1.5 if name != "LISTEN_S" else 0.2)
    monkeypatch.setattr(push, "PAUSE_S", 0.05)


@pytest.mark.parametrize("behaves", [prints, says_nothing, takes_nothing])
@pytest.mark.parametrize("tool", ["mpremote", "ampy"])
def test_a_board_without_a_prompt_costs_bounded_time(
    behaves: Callable[[int, threading.Event], None], tool: str, short: None
) -> None:
    with board_that(behaves) as port:
        began = time.monotonic()
        with pytest.raises(LinkError, match=r"no MicroPython prompt|stopped answering") as e, open_board(port, tool):
            pass
        assert time.monotonic() - began < 15
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("behaves", [prints, says_nothing, takes_nothing])
def test_a_push_to_a_board_without_a_prompt_costs_bounded_time(
    behaves: Callable[[int, threading.Event], None], short: None
) -> None:
    with board_that(behaves) as port:
        began = time.monotonic()
        with pytest.raises(PushError, match="no MicroPython prompt"):
            push.push(port, push.Sender(b"package"))
        assert time.monotonic() - began < 15


def test_the_command_line_says_so_with_its_exit_status(short: None, capsys: pytest.CaptureFixture[str]) -> None:
    with board_that(prints) as port:
        assert call("status", "--port", port) == 4
    said = capsys.readouterr().err
    assert "reset it, or stop what it prints" in said and len(said.strip().splitlines()) == 1


class Repeats:
    """A wire on which the same comes for ever; its clock runs with each read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.now = 0.0
        self.reads = 0

    def monotonic(self) -> float:
        return self.now

    def read(self, timeout_s: float) -> bytes:
        self.now += 0.01
        self.reads += 1
        assert self.reads < 100_000, "it reads without end"
        return self.data

    def write(self, data: bytes) -> None:
        """Taken."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Repeats]:
    def wire(data: bytes) -> Repeats:
        made = Repeats(data)
        monkeypatch.setattr(push, "time", made)
        return made

    return wire


PULL = bytes(frame.encode(wire_frames._PULL, 1, 0, b"\x00\x04\xf2\x00"))


@pytest.mark.parametrize("data", [b"radio: beacon\r\n", PULL])
def test_neither_text_nor_a_question_repeated_is_progress(data: bytes, clock: Callable[[bytes], Repeats]) -> None:
    wire = clock(data)
    with pytest.raises(PushError, match="came no further for 60 s; push again"):
        push.speak(wire, push.Sender(bytes(100_000)))
    assert 60 <= wire.now < 65


class Began(Repeats):
    """A board that pulls once, and then only its thread prints."""

    def __init__(self, data: bytes) -> None:
        super().__init__(PULL + data)
        self.text = data
        self.written: list[bytes] = []

    def read(self, timeout_s: float) -> bytes:
        data = super().read(timeout_s)
        self.data = self.text
        return data

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_a_board_that_prints_and_waits_for_the_rest_of_a_frame_is_helped(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Began(b"radio: beacon\r\n")
    monkeypatch.setattr(push, "time", wire)
    with pytest.raises(PushError, match="came no further"):
        push.speak(wire, push.Sender(bytes(100_000)))
    offer, data, *rest = wire.written
    asks = bytes(frame.encode(wire_frames._SENT, 1, 226))
    assert (offer[2], data[2]) == (wire_frames._OFFER, wire_frames._DATA)
    assert rest[:4] == [asks, bytes(1024 + frame.EXTRA)] * 2 and len(rest) > 50


def test_a_program_that_ended_is_named_though_the_board_prints_on(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Began(b"radio: beacon\r\n")
    wire.data += b"\x04Traceback (most recent call last):\r\nOSError: 5\r\n\x04>"
    monkeypatch.setattr(push, "time", wire)
    with pytest.raises(PushError, match=r"the board's program ended: OSError: 5$"):
        push.speak(wire, push.Sender(bytes(100_000)))
    assert wire.now < 3


@pytest.mark.parametrize(
    "data, seconds", [(b"radio: beacon\r\n", push.LISTEN_S), (PULL, (1 + len(push.FILL)) * push.LISTEN_S)]
)
def test_a_board_that_never_pauses_is_freed_in_bounded_time(
    data: bytes, seconds: float, clock: Callable[[bytes], Repeats]
) -> None:
    wire = clock(data)
    push.free(wire)
    assert wire.now < seconds + 2


@pytest.mark.parametrize(
    "made, words",
    [
        (frame.encode(wire_frames._PULL, 1, 0, b"\x00\x04"), "2 bytes in a PULL frame, wanted 4"),
        (frame.encode(wire_frames._PROGRESS, 1, 0, b"\x00"), "1 bytes in a PROGRESS frame, wanted 4"),
    ],
)
def test_a_frame_of_another_length_is_a_sentence(made: bytes, words: str) -> None:
    with pytest.raises(PushError, match=words):
        push.Sender(b"package", on_update=lambda *_: None).feed(bytes(made))


CHAT = b"""
import _thread, time
def chat():
    n = 0
    while True:
        n += 1
        print("I (%%d) radio: beacon" %% n)
        time.sleep_ms(%d)
_thread.start_new_thread(chat, ())
"""


@pytest.mark.board
@pytest.mark.parametrize("ms", [250, 30])
def test_a_board_whose_thread_prints_answers_status(
    ms: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = mpota_files({"product": "lamp"})
    files["/main.py"] = CHAT % ms + files["/main.py"]
    with VirtualBoard(create(tmp_path / "board.bin", image(3000, 1), files=files)) as board:
        board.wait("reset")
        began = time.monotonic()
        status = call("status", "--port", board.port)
        said = capsys.readouterr()
        assert time.monotonic() - began < 40
        assert status == 0 and "lamp" in said.out, said
