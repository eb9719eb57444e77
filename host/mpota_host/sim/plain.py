"""The shipped Board in one process: of any chip, and on a folder of this computer for a chip that is no ESP32.

Its clock stands still until somebody moves it. It runs on both interpreters.
"""

import sys

from mpota.store.pair import FileJournal
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_host.sim.reset import Dog, Reset


def leave() -> None:
    """Only this process remembers the path of a boot.py; a board starts with a new one."""
    for path in (shim.folder, shim.folder + "/lib"):
        while shim.folder and path in sys.path:
            sys.path.remove(path)
    shim.folder = ""


class Blobs:
    """A memory of a board besides its journal, in RAM: what no campaign is about."""

    def __init__(self, values=()):
        self.values = dict(values)

    def last(self, tag):
        return self.values.get(tag)

    def put(self, tag, data):
        self.values[tag] = data or None


class GivenBoard(Board):
    """The shipped Board of any chip; given are its settings and its keys, and `ms` moves its clock."""

    def __init__(self, settings, keys=None) -> None:
        self.trusted = keys
        self.ms = 0
        super().__init__()
        self._settings = settings

    def keys(self):
        return self.trusted

    def ticks_ms(self) -> int:
        return self.ms

    def since(self, then: int) -> int:
        return self.ms - then


class PlainBoard(GivenBoard):
    """The shipped Board; given are its settings, its keys, its folder, and why it started."""

    def __init__(self, plain, why: str) -> None:
        self.home = plain.root
        self.root = plain.root + "/ota"
        self.plain = plain
        self.why = why
        super().__init__(plain.settings, plain.keys)

    def memory(self, name: str):
        """The shipped journal in two files; the boards of one run share it, as they do on a chip."""
        if name not in self.plain.memories:
            self.plain.memories[name] = FileJournal(self.root + "/" + name)
        return self.plain.memories[name]

    def cause(self) -> str:
        return self.why

    def reset(self) -> None:
        raise Reset

    def watch(self, ms: int = 0) -> None:
        Board._dog = Dog()

    def relax(self) -> None:
        """Nobody waits for this watchdog."""

    def held(self) -> bool:
        return bool(self.settings.get("held"))

    def pause(self) -> None:
        self.ms += 10
