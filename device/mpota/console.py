"""The functions that a host calls over the REPL, each time with the Board of the owner's wiring.

from wiring import Board; from mpota import console; print(console.status(Board()))
"""

import sys

from mpota import tried
from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.errors import UpToDate


def status(board):
    """A dict of facts, ready for JSON."""
    from mpota.pipe.package import STAGES
    from mpota_boot.rescue import wanted, words

    facts = board.layout.status()
    facts["stages"] = [name for name in STAGES.values() if _has("mpota.pipe." + name)]
    facts["tree"] = shim.folder or None
    facts["updater"] = shim.folder if shim.own is True else "lib"
    facts["rescue"] = wanted(board)
    boots = board.journal.last("boots")
    facts["failed_starts"] = boots and {"number": boots[0], "reason": words(boots)}
    facts["tried"] = tried.facts(board)
    facts["product"] = board.product
    facts["keys"] = _keys(board)
    facts["settings_error"] = board.unread
    facts["channel"] = board.channel
    facts["room"] = board.room
    error = shim.error or (shim.own is not True and shim.own)
    facts["boot_error"] = repr(error) if error else board.fault
    return facts


def _keys(board):
    """Of a board with roots; None without."""
    ring = board.keys()
    if not hasattr(ring, "proven"):
        return None
    from mpota.keyring import facts

    return facts(ring)


def _has(module):
    try:
        __import__(module)
        return True
    except (ImportError, MemoryError):
        return False


def confirm(board):
    """Keep the image that runs: a host that reaches the board is its link."""
    board.layout.confirm()
    board.relax()


def soft(board):
    """Before a soft reset that a host makes: it costs the version on trial nothing, also where no port can tell it."""
    if board.layout.on_trial():
        board.journal.put("soft", b"1")


def rollback(board):
    """Boot the image before this one at the next reset, which is the host's to make: its answer has to arrive first."""
    board.layout.rollback("rolled back by hand")


def forget(board):
    """Let a package that was given up be tried again, and the application after its failed starts."""
    board.layout.forget()
    board.journal.put("boots", b"")


def wifi(board, networks):
    """Keep names and passwords of Wi-Fis, b"" for none, where network/net.py looks and no package reaches."""
    from mpota.network.port import PLACES

    memory = board.memory("wifi")
    left = [(b"", b"")] * (len(PLACES) - len(networks))
    for place, pair in zip(PLACES, networks + left):
        for tag, data in zip(("ssid" + place, "psk" + place), pair):
            if memory.last(tag) != (data or None):
                memory.put(tag, data)


def device_keys(board, keys, replace):
    """Keep device keys beside those that are there, or instead of them: a list of "new" or "same", None for too many.

    Nothing of a key goes back to the host.
    """
    memory, names = board.memory("mpota_keys"), "0123"
    held = [] if replace else board.secrets()
    words = ["same" if key in held else "new" for key in keys]
    held += [key for key in keys if key not in held]
    if len(held) > len(names):
        return None
    for name, key in zip(names, held + [b""] * len(names)):
        if memory.last(name) != (key or None):
            memory.put(name, key)
    return words


def line(board):
    """(longest payload of a frame, bytes that a host may send ahead): the setting `console`, else what fits the port.

    The console of an ESP32 and of most other ports is a ring of 260 bytes (ports/esp32/mphalport.c,
    stdin_ringbuf_array), and a UART has no flow control: 242 bytes ahead leave room for a SENT. An RP2's console is USB
    and a pty is a pipe: what nobody reads waits at the host. An ESP32 cannot know which of its plugs the host uses.
    """
    pair = board.settings.get("console")
    if isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int) and 32 <= n <= 4112 for n in pair):
        return pair
    if sys.platform in ("linux", "darwin", "rp2"):
        return 4096, 4112
    # A board with more room has the RAM.
    return (4096 if board.room > 8192 else 2048), 242


def push(board):
    """Install what the host offers over this very line; resets the board when it is armed."""
    from mpota.link.serial import console

    link = console(*line(board))
    link.feed = board.feed
    agent = Agent(board, [link], board.keys())
    agent.trial = None
    # A console reads until it has what it asked for: a host that dies in between is ended by the watchdog alone.
    board.watch()
    # A person may begin one package over another; the hold is for those that a bad network brings in turn.
    if board.journal.last("begun"):
        board.journal.put("begun", b"")
    try:
        state = agent.step()
        told = None
        while state == "busy":
            if told is not agent.progress:
                told = agent.progress
                link.progress(*told)
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
