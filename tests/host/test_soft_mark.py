"""Before each soft reset that the host makes, the board is told: some ports cannot tell one from a real reset."""

from __future__ import annotations

import pytest

from mpota_host.board import push as push
from mpota_host.board import raw, repl
from mpota_host.board.push import TELL

RESET = b"\x04"


class Line:
    """A serial line whose board answers every key as MicroPython does."""

    in_waiting = 0
    timeout = None

    def __init__(self, said: list[bytes | str]) -> None:
        self.said = said

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def inWaiting(self) -> int:
        return 0

    def read(self, n: int = 1) -> bytes:
        return b""


class Tool:
    """mpremote's transport, or ampy's Pyboard: what was run, and the soft resets, in order."""

    def __init__(self, *_: object, **__: object) -> None:
        self.said: list[bytes | str] = []
        self.serial = Line(self.said)
        self.broken = False

    def exec(self, code: str) -> bytes:
        if self.broken:
            raise OSError("the line is gone")
        self.said.append(code)
        return b""

    exec_ = exec_raw_no_follow = exec

    def enter_raw_repl(self, soft_reset: bool = True, timeout_overall: float = 0) -> None:
        if soft_reset:
            self.said.append(RESET)

    def exit_raw_repl(self) -> None:
        pass

    def read_until(self, least: int, ending: bytes, timeout: float = 0) -> bytes:
        return ending

    def close(self) -> None:
        pass


def resets(tool: Tool) -> int:
    """How many soft resets there were, each right behind the word for it."""
    found = [i for i, what in enumerate(tool.said) if what == RESET]
    for i in found:
        before = [what for what in tool.said[:i] if isinstance(what, str)]
        assert before and before[-1] == TELL, tool.said
    assert len([what for what in tool.said if what == TELL]) == len(found), tool.said
    return len(found)


@pytest.fixture(autouse=True)
def _code_is_noted(monkeypatch):
    for name in ("run", "start"):
        monkeypatch.setattr(raw, name, Tool.exec)


@pytest.fixture(params=["mpremote", "ampy"])
def board(request, monkeypatch):
    monkeypatch.setattr("mpremote.transport_serial.SerialTransport", Tool)
    monkeypatch.setattr("ampy.pyboard.Pyboard", Tool)
    return repl.TOOLS[request.param]("/dev/ttyNONE")


def tool_of(board) -> Tool:
    return getattr(board, "transport", None) or board.board


def test_the_board_is_told_before_each_soft_reset(board):
    before = resets(tool_of(board))
    board.restart()
    assert resets(tool_of(board)) == before + 1
    board.close()
    assert resets(tool_of(board)) == before + 2


def test_a_reset_through_the_loader_is_not_announced(board):
    before = resets(tool_of(board))
    board.reset()
    board.close()
    assert resets(tool_of(board)) == before


def test_a_board_that_does_not_listen_is_restarted_all_the_same(board):
    tool = tool_of(board)
    tool.broken = True
    n = tool.said.count(RESET)
    board.close()
    assert tool.said.count(RESET) == n + 1


def test_a_push_tells_it_too():
    tool = Tool()
    push._start(tool, "the board's side")
    assert resets(tool) == 1 and tool.said[-1] == "the board's side"


def test_what_is_said_is_harmless_where_there_is_no_mpota(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mpota.console", None)
    exec(TELL, {})
