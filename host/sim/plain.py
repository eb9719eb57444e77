"""A board that is no ESP32, inside one process: a file system, two journals in files, the shipped `device.board.Board`.

`power_on` gives a Board as boot.py would; nothing else survives from one run to the next but what lies under `root`.
The clock stands still until somebody moves it. Runs on both interpreters.
"""

import sys

from device import shim
from device.board import Board
from device.store.pair import FileJournal


class Reset(BaseException):
    """The board restarts now. No `except Exception` may swallow it."""


class Dog:
    """machine.WDT."""

    fed = 0

    def feed(self):
        self.fed += 1


class PlainBoard(Board):
    """The shipped Board; given are its settings, its keys, its folder, and why it started."""

    def __init__(self, plain, why):
        self.root = plain.root + "/mpota"
        self.why = why
        self.trusted = plain.keys
        self.ms = 0
        super().__init__()
        Board._dog = None
        self._settings = plain.settings

    def _memory(self, name):
        return FileJournal(self.root + "/" + name)

    def keys(self):
        return self.trusted

    def cause(self):
        return self.why

    def reset(self):
        raise Reset

    def watch(self, ms=0):
        Board._dog = Dog()

    def relax(self):
        pass

    def held(self):
        return bool(self.settings.get("held"))

    def pause(self):
        self.ms += 10

    def ticks_ms(self):
        return self.ms

    def since(self, then):
        return self.ms - then


class Plain:
    """`root` is a folder of its own. `power_on(why)`: "power", "reset", "watchdog", or "" for a soft reset."""

    def __init__(self, root, settings, keys=None):
        self.root = root
        self.settings = dict(settings)
        self.settings["layout"] = "files"
        self.keys = keys

    def power_on(self, why="power"):
        """What boot.py does; the Board that main.py would make."""
        shim.boot(lambda: PlainBoard(self, why))
        if shim.folder:
            # Only this process remembers the path; a board starts with a new one.
            sys.path[:] = sys.path[2:]
        return PlainBoard(self, why)
