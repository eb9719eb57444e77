"""What a host calls over the REPL: status, confirm, rollback, forget, and push over the console's own line."""

import sys

from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_boot.errors import UpToDate


def status():
    """A dict of facts, ready for JSON."""
    from mpota.pipe.package import STAGES
    from mpota.runner import wanted, words

    board = Board()
    facts = board.layout.status()
    facts["stages"] = [name for name in STAGES.values() if _has("mpota.pipe." + name)]
    facts["tree"] = shim.folder or None
    facts["rescue"] = wanted(board)
    boots = board.journal.last("boots")
    facts["failed_starts"] = boots and {"number": boots[0], "reason": words(boots)}
    facts["product"] = board.product
    facts["chunk"] = board.chunk
    facts["boot_error"] = repr(shim.error) if shim.error else None
    return facts


def _has(module):
    try:
        __import__(module)
        return True
    except (ImportError, MemoryError):
        return False


def confirm():
    """Keep the image that runs: a host that reaches the board is its link."""
    board = Board()
    board.layout.confirm()
    board.relax()


def soft():
    """Before a soft reset that a host makes: it costs the version on trial nothing, also where no port can tell it."""
    board = Board()
    if board.layout.on_trial():
        board.journal.put("soft", b"1")


def rollback():
    """Boot the image before this one; does not return."""
    board = Board()
    board.layout.rollback("rolled back by hand")
    board.reset()


def forget():
    """Let a package that was given up be tried again, and the application after its failed starts."""
    board = Board()
    board.layout.forget()
    board.journal.put("boots", b"")


def push():
    """Install what the host offers over this very line; resets the board when it is armed."""
    from mpota.link.serial import console

    board = Board()
    # An ESP32's UART console buffers 260 bytes and has no flow control; a pty and USB have it.
    small = (192, 1) if sys.platform == "esp32" else (4096, 2)
    link = console(*board.settings.get("console", small))
    link.feed = board.feed
    agent = Agent(board, [link], board.keys())
    agent.trial = None
    # A console reads until it has what it asked for: a host that dies in between is ended by the watchdog alone.
    board.watch()
    try:
        state = agent.step()
        while state == "busy":
            link.progress(*agent.progress)
            state = agent.step()
        if isinstance(agent.error, UpToDate):
            # An agent that polls keeps this to itself; a person wants to read it.
            link.report(agent.error.code, str(agent.error))
    finally:
        # Else Ctrl-C would stay data for good.
        link.bye()
        board.relax()
    if state == "reset":
        board.reset()
