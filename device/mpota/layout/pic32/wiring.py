"""An example wiring of a PIC32MZW1 board: where program flash and the image store are. Yours to change.

The module `chip` stands for what your port gives: the program flash, and the external flash as a block device. The
store is a folder of a FAT file system there, as the vendor's bootloader and application have it.
"""

import os

import chip
import vfs

from mpota.layout.pic32.store.files import Folder
from mpota.store.raw import Raw
from mpota_boot import board

MOUNT, FOLDER = "/mnt", "/mnt/ota"


def mounted():
    """The store's folder; mounted once a run."""
    try:
        vfs.mount(vfs.VfsFat(chip.external), MOUNT)
        os.mkdir(FOLDER)
    except OSError:
        pass  # it is there
    return Folder(FOLDER)


class Board(board.Board):
    """This board."""

    def __init__(self):
        super().__init__()
        # A unit is the quad word that is programmed at once.
        self.program = Raw(chip.PROGRAM, chip.nvm_read, chip.nvm_write, chip.nvm_erase, 16)
        self.store = mounted()
