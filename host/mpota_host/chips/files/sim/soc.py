"""A board that is no ESP32, inside one process: a file system, two journals in files, the shipped Board.

`power_on` gives a Board as boot.py would; nothing else survives from one run to the next but what lies under `root`.
The clock stands still until somebody moves it. Runs on both interpreters.
"""

import sys

from mpota.store.pair import FileJournal
from mpota_boot import shim
from mpota_boot.board import Board


class Reset(BaseException):
    """The board restarts now. No `except Exception` may swallow it."""


def leave() -> None:
    """Only this process remembers the path of a boot.py; a board starts with a new one."""
    while shim.folder and shim.folder in sys.path:
        sys.path.remove(shim.folder)
    shim.folder = ""


class Dog:
    """machine.WDT."""

    fed = 0

    def feed(self) -> None:
        self.fed += 1


class PlainBoard(Board):
    """The shipped Board; given are its settings, its keys, its folder, and why it started."""

    def __init__(self, plain, why: str) -> None:
        self.home = plain.root
        self.root = plain.root + "/ota"
        self.plain = plain
        self.why = why
        self.trusted = plain.keys
        self.ms = 0
        super().__init__()
        self._settings = plain.settings

    def memory(self, name: str):
        """The shipped journal in two files; the boards of one run share it, as they do on a chip."""
        if name not in self.plain.memories:
            self.plain.memories[name] = FileJournal(self.root + "/" + name)
        return self.plain.memories[name]

    def keys(self):
        return self.trusted

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

    def ticks_ms(self) -> int:
        return self.ms

    def since(self, then: int) -> int:
        return self.ms - then


class Plain:
    """`root` is a folder of its own. `power_on(why)`: a word of Board.cause(), "" for a soft reset."""

    def __init__(self, root: str, settings, keys=None) -> None:
        self.root = root
        self.settings = dict(settings)
        self.settings["layout"] = "files"
        self.keys = keys
        self.forget()

    def forget(self) -> None:
        """A new run begins: no Python object of the one before is left."""
        self.memories: dict[str, FileJournal] = {}
        Board._dog = None
        leave()

    def board(self, why: str) -> PlainBoard:
        """What `Board()` gives in boot.py, and once more in main.py."""
        return PlainBoard(self, why)

    def power_on(self, why: str = "power") -> PlainBoard:
        """What boot.py does; the Board that main.py would make."""
        self.forget()
        shim.boot(lambda: self.board(why))
        found = shim.folder
        leave()
        shim.folder = found
        return self.board(why)
