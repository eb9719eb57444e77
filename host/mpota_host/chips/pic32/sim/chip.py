"""A PIC32MZW1: as one process for tests and campaigns, and what a virtual board on the unix port needs of it.

A Chip is program flash, an image store and the shipped Board, for both interpreters. A virtual board's bootloader is
`load`, in a process of its own; its program finds the chip in the module `chip`.

Shelf is a store in RAM with the methods of device/layout/pic32/files.Folder, and nothing of its own that a file system
would not have: a file that is opened for writing is empty at once, and holds what was written when it is closed.
Nothing survives from one power-on to the next but the flash and the store.
"""

import json
import os
from io import BytesIO

from mpota.layout.pic32 import loader, make
from mpota.layout.pic32.loader.programmer import Options
from mpota.layout.pic32.port import BASE, SLOT
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.files import Folder
from mpota.store.flash import Region
from mpota.store.pair import FileJournal
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_host.sim.flash import Held
from mpota_host.sim.plain import PlainBoard
from mpota_host.sim.reset import Reset

# Program flash of a virtual board, and behind it in its file the external flash, here as large as an SST26VF064B.
PROGRAM, EXTERNAL = 0x100000, 0x800000
# What stands for the bootloader's code at the start of program flash; a public key may follow.
BOOTLOADER = b"bootloader"
# Degrees of a chip at work, and of one that nobody should call healthy.
WARM, TOO_HOT = 41, 131


class _File(BytesIO):
    # Told before a close changes the file.
    before = None

    def __init__(self, shelf: "Shelf", name: str, data: bytes, how: str) -> None:
        super().__init__(data)
        self.shelf = shelf
        self.name = name
        self.how = how

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        if self.how != "rb":
            if self.before:
                self.before(self.name, self.getvalue())
            self.shelf.files[self.name] = self.getvalue()


class Shelf:
    """Files by name. `capacity` is the bytes that all of them may have."""

    def __init__(self, capacity: int = 1 << 22) -> None:
        self.files: dict[str, bytes] = {}
        self.capacity = capacity

    def open(self, name: str, mode: str) -> _File:
        if mode == "wb":
            self.files[name] = b""
        elif name not in self.files:
            raise OSError(2)
        return _File(self, name, self.files[name], mode)

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def size(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    def names(self) -> list[str]:
        return list(self.files)

    def room(self) -> int:
        return self.capacity - sum([len(data) for data in self.files.values()])

    def get(self, name: str, most: int) -> bytes | None:
        return self.files[name][:most] if name in self.files else None

    def put(self, name: str, data: bytes) -> None:
        self.files[name] = bytes(data)


class StoreJournal(FileJournal):
    """The journal's two files, in the store."""

    def __init__(self, store: Shelf, path: str) -> None:
        self.store = store
        super().__init__(path)

    def _read(self, name: str) -> bytes:
        return self.store.get(self.path + name, 512) or b""

    def _write(self, name: str, image: bytes) -> None:
        name = self.path + name
        with self.store.open(name, "wb" if self.store.size(name) is None else "r+b") as f:
            f.write(image)


class ChipBoard(PlainBoard):
    """The shipped Board over a flash and a store. `chip` has them, and settings, keys and root."""

    def __init__(self, chip, why) -> None:
        self.store = chip.store
        self.program = chip.flash
        super().__init__(chip, why)
        # The owner of a board knows how its bootloader was built.
        built = getattr(chip, "options", None)
        if built and built.key:
            self._settings = dict(self.settings)
            self._settings.setdefault("boot_key", "".join(["%02x" % c for c in built.key]))

    def memory(self, name: str) -> StoreJournal:
        return StoreJournal(self.store, name)

    @property
    def layout(self):
        if self._layout is None:
            self._layout = make(self)
        return self._layout


class Chip:
    """`flash` is the program flash, `store` what its external flash holds; `base` and `slot` say where images start."""

    root = "/nowhere"

    def __init__(self, flash, store, settings, keys=None) -> None:
        self.flash = flash
        self.store = store
        self.settings = {"base": 0x20000, "slot": 0xDF000, "layout": "pic32"}
        self.settings.update(settings)
        self.keys = keys
        self.options = Options(self.settings["base"])
        self.boots = []

    def load(self):
        """What the bootloader does; its Boot."""
        slot = Region(self.flash, self.settings["base"], self.settings["slot"])
        self.boots.append(loader.boot(slot, self.store, self.options))
        return self.boots[-1]

    def power_on(self, why: str = "power"):
        """The bootloader, then boot.py with the resets that it asks for; the Board that main.py makes, None without."""
        for _ in range(9):
            if self.load().address is None:
                return None
            try:
                shim.boot(lambda why=why: ChipBoard(self, why))
            except Reset:
                why = "reset"
                continue
            if shim.error is not None:
                raise AssertionError(repr(shim.error))
            dog = Board._dog
            board = ChipBoard(self, why)
            Board._dog = dog
            return board
        raise AssertionError("the board resets for ever")


class Blocks:
    """The external flash as a block device: a block is a sector, erased and written."""

    def __init__(self, flash) -> None:
        self.flash = flash

    def readblocks(self, block, buf, off=0) -> None:
        self.flash.read(PROGRAM + block * 4096 + off, buf)

    def writeblocks(self, block, buf, off=0) -> None:
        # The port's FAT writes whole blocks.
        self.flash.erase(PROGRAM + block * 4096, len(buf))
        self.flash.prog(PROGRAM + block * 4096, buf)

    def ioctl(self, op, arg):
        return {4: EXTERNAL // 4096, 5: 4096}.get(op, 0)


def power():
    """Ends this process as soon as the one that started it is gone: the power cut takes the bootloader too."""
    import select
    import sys
    import time

    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)

    def feed() -> None:
        # A sector takes its time, as on a chip.
        time.sleep(0.002)
        if poll.poll(0):
            sys.exit(1)

    return feed


def built_with(flash):
    """The public key in the bootloader of a virtual board, None where it asks for no signatures."""
    buf = bytearray(len(BOOTLOADER) + 64)
    flash.read(0, buf)
    key = bytes(buf[len(BOOTLOADER) :])
    return None if key == bytes(64) else key


def load(path, size, hold) -> None:
    """The bootloader's turn on a board's flash file; prints what it did as JSON. A blank store is formatted."""
    import vfs  # the unix port has it

    flash = Held(size, prog_size=16, path=path, overwrite=((BASE, 4096),))
    flash.hold = hold
    flash.trace = None  # type: ignore[assignment]
    disk = Blocks(flash)
    head = bytearray(4096)
    disk.readblocks(0, head)
    if head == b"\xff" * 4096:
        vfs.VfsFat.mkfs(disk)
    vfs.mount(vfs.VfsFat(disk), "/mnt")
    try:
        os.mkdir("/mnt/ota")
    except OSError:
        pass  # it is there
    slot = Region(flash, BASE, SLOT)
    got = loader.boot(slot, Folder("/mnt/ota"), Options(key=built_with(flash), feed=power()))
    vfs.umount("/mnt")
    page = control.read(slot)
    own = page and not page.golden
    name = "image %d" % database.number(page.version) if own else "factory image"
    digest = "".join(["%02x" % c for c in page.digest]) if own else ""
    flash.close()
    print(json.dumps({"image": name if got.address else None, "digest": digest, "did": got.did}))


class ChipModule:
    """Module `chip` of a virtual board: program flash, external flash, a thermometer. Offsets and bytes; OSError."""

    PROGRAM = PROGRAM

    def __init__(self, flash, healthy) -> None:
        self._flash = flash
        self._healthy = healthy
        self.external = Blocks(flash)

    def _do(self, call, off, what, n):
        if off < 0 or off + n > PROGRAM:
            raise OSError(22)
        call(off, what)

    def nvm_read(self, off, buf) -> None:
        self._do(self._flash.read, off, memoryview(buf), len(buf))

    def nvm_write(self, off, buf) -> None:
        self._do(self._flash.prog, off, bytes(buf), len(buf))

    def nvm_erase(self, off) -> None:
        self._do(self._flash.erase, off, 4096, 4096)

    def temperature(self) -> int:
        return WARM if self._healthy else TOO_HOT


def modules(wire, flash, config):
    """What a program on a PIC32MZW1 can import and the unix port cannot give."""
    module = ChipModule(flash, config["behaviour"] != "unhealthy")
    module.external = wire.whole(module.external)
    return {"chip": module}
