"""Code reaches a board through the raw REPL although a thread prints between any two of the board's answers."""

from __future__ import annotations

import pytest
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from mpota_host.board import raw

SAYS = b"I (7) radio: a > b\r\n"
CODE = "".join(f"x{i} = {i}\n" for i in range(300))


class Board:
    """The raw REPL of MicroPython (shared/runtime/pyexec.c) on a line, and a thread that prints before each answer."""

    def __init__(self, window: int = 128, mode: bytes = raw.CAN, err: bytes = b"", stops_at: int = 1 << 20) -> None:
        self.window, self.mode, self.err, self.stops_at = window, mode, err, stops_at
        self.out = bytearray(b">")
        self.code = self.ran = b""
        self.pasting = False
        self.asked = 0
        self.most = 0

    def say(self, data: bytes) -> None:
        self.out += SAYS + data

    @property
    def in_waiting(self) -> int:
        return len(self.out)

    inWaiting = in_waiting.fget

    def read(self, n: int = 1) -> bytes:
        data, self.out = bytes(self.out[:n]), self.out[n:]
        return data

    def write(self, data: bytes) -> None:
        if data == raw.PASTE and not self.pasting:
            self._enter()
        elif data.endswith(b"\x04"):
            self._end(data[:-1])
        else:
            self._take(data)

    def _enter(self) -> None:
        if self.mode == raw.BANNER:
            self.say(raw.BANNER)
            self.say(b">")
            return
        self.say(self.mode)
        if self.mode == raw.CAN:
            self.pasting = True
            self.say(self.window.to_bytes(2, "little") + b"\x01")
            self.asked = self.window

    def _take(self, data: bytes) -> None:
        self.code += data
        if not self.pasting:
            return
        assert len(self.code) <= self.asked, "more than the board has room for"
        if len(self.code) >= self.stops_at:
            self.stops_at = 1 << 20
            self.say(b"\x04")
        while self.asked - len(self.code) < self.window // 2:
            self.asked += self.window
            self.say(b"\x01")

    def _end(self, data: bytes) -> None:
        self._take(data)
        self.say(b"\x04" if self.pasting else b"OK")
        self.pasting, self.ran, self.code = False, self.code, b""
        self.say(b"out\x04")
        self.say(self.err + b"\x04")
        self.say(b">")


def transport(board: Board) -> SerialTransport:
    made = SerialTransport.__new__(SerialTransport)
    made.serial, made.is_pty, made.use_raw_paste = board, False, True
    return made


@pytest.mark.parametrize("window", [32, 128, 256, 512])
def test_code_comes_whole_whatever_a_thread_prints(window: int) -> None:
    board = Board(window)
    tool = transport(board)
    for code in (CODE, "", "y = 1", CODE[:window], CODE[: 2 * window]):
        assert raw.run(tool, code).endswith(b"out")
        assert board.ran == code.encode()
    assert tool.use_raw_paste


@pytest.mark.parametrize("mode", [raw.CANNOT, raw.BANNER])
def test_a_board_without_raw_paste_gets_its_code_all_the_same(mode: bytes) -> None:
    board = Board(mode=mode)
    tool = transport(board)
    for _ in range(2):
        assert raw.run(tool, CODE).endswith(b"out")
        assert board.ran == CODE.encode()
    assert not tool.use_raw_paste


def test_what_a_thread_prints_is_no_error_of_the_code() -> None:
    assert raw.run(transport(Board()), "1") == SAYS + b"out"
    board = Board(err=raw.TRACEBACK + b":\r\nValueError: 7\r\n")
    with pytest.raises(TransportExecError) as e:
        raw.run(transport(board), "1")
    assert e.value.error_output.startswith("Traceback") and "ValueError: 7" in e.value.error_output


def test_a_board_that_wants_no_more_code_gets_none() -> None:
    board = Board(stops_at=300)
    raw.start(transport(board), CODE)
    assert board.out.endswith(b">") and 300 <= len(board.ran) < 600


def test_a_board_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = transport(Board())
    tool.serial.out = bytearray(b"hello")
    monkeypatch.setattr(tool, "read_until", lambda least, ends: b"hello")
    with pytest.raises(TransportError, match="the board says b'hello', wanted b'>'"):
        raw.run(tool, "1")
