"""The partitions of a BK7238 over its whole flash, for a wiring: `Board.port()` returns one of these.

The application's partition table is the one that it was compiled with; the loader has its own, and `theirs` reads it
out of the loader's image. `radio` is asked by `status`: it gives (joined, signal in dBm or None).
"""

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store import table
from mpota.layout.bk7238.store.coded import Coded
from mpota.store.flash import Region


class Port:
    """`flash` is the whole chip, single bytes may be written; `rows` name -> table.Entry, of the application."""

    running = 0

    def __init__(self, board, flash, rows, radio=None):
        self.feed = board.feed
        self.root = board.root
        self.protected = board.protected
        self.flash = flash
        self.rows = rows
        self.secret = rbl.KEY, rbl.IV
        # Coefficients of the eFuse, and where the radio's calibration and the network's settings lie.
        self.scrambler = None
        self.kept = {"RF": 0, "network": 0}
        self.radio = radio
        # Does this board take an unsigned RBL?
        self.bare = False
        self._theirs = None

    @property
    def current(self):
        """The application that runs."""
        row = self.rows[b"app"]
        return Coded(self.flash, row.offset, row.size, self.scrambler)

    @property
    def download(self):
        row = self.rows[b"download"]
        return Region(self.flash, row.offset, row.size)

    def theirs(self):
        """The loader's table, name -> table.Entry; {} where its image has none."""
        if self._theirs is None:
            row = self.rows[b"bootloader"]
            view = Coded(self.flash, row.offset, row.size, self.scrambler)
            self._theirs = table.find(view, bytearray(1024))
        return self._theirs
