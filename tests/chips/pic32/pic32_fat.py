"""An update of a PIC32MZW1 on the port's own VfsFat, with the power failing at every block that FAT writes.

Runs on the unix port. The store is a FAT file system on a block device in RAM whose blocks of 512 bytes are written
whole or not at all; the bootloader, the layout and the journal's two files stand on it. Prints `N cuts, M bad`.
"""

import gc
import sys

import vfs

import mpota_host
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import database
from mpota.layout.pic32.store.files import Folder
from mpota_boot.errors import OtaError
from mpota_host.chips.pic32.sim.chip import Chip
from mpota_host.sim.flash import PowerCut, SimFlash
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_layout import update
from tests.chips.pic32.test_pic32_loader import A, B

assert mpota_host
BLOCKS = 400
EIO = -5
MOUNT = "/ota"


class Disk:
    """A block device that loses its power before the `cut`-th block."""

    def __init__(self):
        self.data = bytearray(BLOCKS * 512)
        self.n = 0
        self.cut = None
        self.dead = False

    def readblocks(self, i, buf, off=0):
        if self.dead:
            return EIO
        at = i * 512 + off
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, i, buf, off=0):
        for k in range(0, len(buf), 512):
            if self.dead:
                return EIO
            self.n += 1
            if self.n == self.cut:
                # A driver cannot raise here; the flash does at its next operation.
                self.dead = self.flash.dead = True
                return EIO
            at = (i + k // 512) * 512
            self.data[at : at + 512] = buf[k : k + 512]

    def ioctl(self, op, _):
        return {4: BLOCKS, 5: 512}.get(op, 0)


class Mounted:
    """A chip whose store is the mounted disk."""

    def __init__(self):
        self.disk = Disk()
        vfs.VfsFat.mkfs(self.disk)
        flash = SimFlash(maker.BASE + maker.SLOT, prog_size=16, overwrite=((maker.BASE, 4096),))
        self.disk.flash = flash
        self.chip = Chip(flash, Folder(MOUNT), maker.SETTINGS)
        self.mount()
        store = self.chip.store
        whole = bytes((0xF8,)) + maker.image(99)[1:]
        store.put(golden.FACTORY_FILE, whole + b"\xff" * (maker.SLOT - len(whole)))
        store.put("a.bin", A)
        store.put(database.NAME, database.encode([maker.row("a.bin", 2, A, "f8")]).encode())
        self.chip.power_on()
        self.umount()
        self.start = bytes(self.disk.data), flash.snapshot()

    def mount(self):
        vfs.mount(vfs.VfsFat(self.disk), MOUNT)

    def umount(self):
        vfs.umount(MOUNT)

    def begin(self, cut):
        self.disk.data[:] = self.start[0]
        self.chip.flash.restore(self.start[1])
        self.chip.flash.power_on()
        self.disk.n = 0
        self.disk.dead = False
        self.disk.cut = cut

    def life(self):
        """An update, a boot and a confirmation."""
        update(self.chip.power_on(), B)
        self.chip.power_on("reset").layout.confirm()


def one(m, cut):
    """None, or what is wrong after a cut at this block; False where there is no such block."""
    m.begin(cut)
    m.mount()
    try:
        m.life()
    except (PowerCut, OSError, OtaError, AssertionError, AttributeError) as e:
        # Without power nothing that is said means anything.
        if not m.disk.dead:
            raise e
    # A file that nobody closed must not be closed once the power is back.
    gc.collect()
    m.umount()
    if not m.disk.dead:
        return False
    m.disk.cut = None
    m.disk.dead = False
    m.chip.flash.power_on()
    m.mount()
    try:
        board = m.chip.power_on()
        if board is None or not (maker.holds(m.chip, A) or maker.holds(m.chip, B)):
            return "%r" % (board and m.chip.boots[-1],)
        if board.layout.on_trial():
            board.layout.confirm()
        if board.layout.version() is None:
            update(m.chip.power_on(), B)
            m.chip.power_on("reset").layout.confirm()
        return None if maker.holds(m.chip, B) else "the update did not come to its end"
    finally:
        m.umount()


def main():
    m = Mounted()
    bad = 0
    n = 1
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    while True:
        text = one(m, n)
        if text is False:
            break
        if text:
            bad += 1
            print("block %d: %s" % (n, text))
        n += step
    print("%d cuts, %d bad" % (n // step, bad))


if __name__ == "__main__":
    main()
