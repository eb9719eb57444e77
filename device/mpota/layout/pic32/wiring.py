"""An example wiring of a PIC32MZW1 board: where program flash and the image store are. Yours to change.

The module `chip` stands for what your port gives: the program flash, and the external flash as a block device. The
store is a folder of a FAT file system there, as the vendor's bootloader and application have it.
"""

import os

import chip
import vfs

from mpota.layout.pic32.store.files import Folder
from mpota_boot import board
from mpota_boot.errors import FlashError

MOUNT, FOLDER = "/mnt", "/mnt/ota"


class Program:
    """The program flash as a Flash. A unit is the quad word that is programmed at once."""

    size, erase_size, prog_size, erased = chip.PROGRAM, 4096, 16, 0xFF

    def _do(self, call, *args):
        try:
            call(*args)
        except OSError as e:
            raise FlashError("flash", "program flash: %r" % e)

    def read(self, off, buf):
        self._do(chip.nvm_read, off, buf)

    def prog(self, off, buf):
        self._do(chip.nvm_write, off, buf)

    def erase(self, off, n):
        for at in range(off, off + n, 4096):
            self._do(chip.nvm_erase, at)


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
        self.program = Program()
        self.store = mounted()
