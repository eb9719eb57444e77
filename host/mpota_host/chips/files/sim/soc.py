"""A board that is no ESP32, inside one process: a file system, two journals in files, the shipped Board.

`power_on` gives a Board as boot.py would; nothing else survives from one run to the next but what lies under `root`.
The clock stands still until somebody moves it. Runs on both interpreters.
"""

from mpota.store.pair import FileJournal
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_host.sim.plain import PlainBoard, leave


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
        Board._dog = Board._why = Board._feeder = None
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
