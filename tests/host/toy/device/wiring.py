"""The wiring of a toy chip: its flash, and where its journal lies. Yours to change.

The module `chip` is what your port gives: SIZE, flash_read(off, buf), flash_write(off, buf), flash_erase(off) of one
sector, and slot(), the number of the slot that the loader started.
"""

import chip

from mpota.layout.toy import port
from mpota.store.log import Log
from mpota.store.raw import Raw
from mpota_boot import board

flash = Raw(chip.SIZE, chip.flash_read, chip.flash_write, chip.flash_erase, 4)


class Board(board.Board):
    """This board. One journal for all of a run: it remembers where it ends."""

    def memory(self, name):
        if name != "mpota":
            return super().memory(name)
        if name not in self._memories:
            self._memories[name] = Log(port.journal(flash))
        return self._memories[name]

    def port(self):
        """What the layout works on."""
        return port.Port(self, flash, chip.slot())
