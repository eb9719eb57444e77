"""A BK7238: as one process for tests and campaigns, and what a virtual board on the unix port needs of it.

A Chip has flash, the loader of layout/bk7238, and the shipped Board on them. `power_on` runs the loader
and gives the Board of what it starts; nothing else survives from one run to the next but the flash. The clock stands
still until somebody moves it. Runs on both interpreters. A virtual board's loader is `load`, in a process of its own;
its program finds the chip in the module `chip`.
"""

import json
import select
import sys
import time

from mpota.layout.bk7238 import loader, rbl
from mpota.layout.bk7238.port import Port
from mpota.layout.bk7238.store import table
from mpota.layout.bk7238.store.coded import Coded
from mpota.store.flash import Region
from mpota.store.log import Log
from mpota_boot.board import Board
from mpota_boot.errors import FlashError
from mpota_host.sim import reset
from mpota_host.sim.flash import Held, SimFlash
from mpota_host.sim.plain import Blobs, GivenBoard

SECTOR = 4096
SIZE = 0x200000
# Behind the radio's sector and the network's: nothing of the vendor's lies here.
LOG = 0x1E2000
# Where the entries stand in the loader's image of 0x10000 bytes.
TABLE_AT = 0xFF00
# Degrees of a chip at work, and of one that nobody should call healthy.
WARM, TOO_HOT = 41, 131


class Wire:
    """A simulated flash as a Flash: its failures are FlashErrors."""

    prog_size = 1
    erased = 0xFF

    def __init__(self, flash):
        self.flash = flash
        self.size = flash.size
        self.erase_size = flash.erase_size

    def _do(self, call, *args):
        try:
            call(*args)
        except OSError as e:
            raise FlashError("flash", "flash: %r" % e)

    def read(self, off, buf):
        self._do(self.flash.read, off, buf)

    def prog(self, off, buf):
        self._do(self.flash.prog, off, bytes(buf))

    def erase(self, off, n):
        self._do(self.flash.erase, off, n)


class ChipBoard(GivenBoard):
    """The shipped Board, wired to a Chip: its journal is a Log, its port a Port."""

    root = "/ota"

    def __init__(self, chip):
        self.chip = chip
        super().__init__(chip.settings, chip.keys)

    def memory(self, name):
        return Log(self.chip.log()) if name == "mpota" else Blobs()

    def port(self):
        return self.chip.port(self)

    def secrets(self):
        return self.chip.secrets


class Chip:
    """A chip and its builds: `rows` is the application's table, `theirs` the loader's."""

    def __init__(self, settings, keys, flash=None, rows=None, log=LOG):
        self.rows = rows or table.entries(SIZE)
        self.theirs = dict(self.rows)
        self.flash = Wire(flash or SimFlash(SIZE, SECTOR, 1))
        self.settings = dict(settings)
        self.settings["layout"] = "bk7238"
        self.keys = keys
        self.secrets = []
        self.secret = rbl.KEY, rbl.IV
        self.scrambler = None
        self.log_at = log
        self.kept = {"RF": 0x1E0000, "network": 0x1E1000} if log == LOG else {"RF": 0, "network": 0}
        self.radio = (True, -60)
        self.bare = False
        self.started = None

    def log(self):
        return Region(self.flash, self.log_at, 2 * SECTOR)

    def part(self, name, rows=None):
        """A partition by its name, as the loader sees it or as a table says."""
        row = (rows or self.theirs)[name]
        if row.code:
            return Coded(self.flash, row.offset, row.size, self.scrambler)
        return Region(self.flash, row.offset, row.size)

    def port(self, board):
        port = Port(board, self.flash, self.rows, lambda: self.radio)
        port.secret = self.secret
        port.scrambler = self.scrambler
        port.kept = self.kept
        port.bare = self.bare
        return port

    def write_loader(self):
        """What stands for the loader: its table, where its image has it."""
        code = self.part(b"bootloader")
        code.erase(TABLE_AT, code.size - TABLE_AT)
        entries = b"".join([self.theirs[name].encode() for name in (b"download", b"app", b"bootloader")])
        code.prog(TABLE_AT, entries)

    def write(self, image):
        """The application as a flashing tool writes it: no header behind it."""
        app = self.part(b"app")
        app.erase(app.size - rbl.SIZE, rbl.SIZE)
        app.erase(0, len(image))
        app.prog(0, image)

    def image(self, n):
        """The first `n` bytes of the application."""
        app = self.part(b"app")
        buf = bytearray(n)
        app.read(0, buf)
        return bytes(buf)

    def boot(self):
        """Run the loader: its Result."""
        parts = {name: self.part(name) for name in self.theirs}
        self.started = loader.boot(loader.Options(parts, self.secret))
        return self.started

    def power_on(self, cause=reset.PWRON):
        """Through the loader, as at any reset but a soft one. The Board of what starts, or None."""
        return self.run(cause) if self.boot().starts else None

    def run(self, cause):
        """A fresh interpreter on the application."""
        sys.modules["machine"] = reset.Machine(cause)
        Board._dog = None
        return ChipBoard(self)


def leash():
    """Ends this process as soon as the one that started it is gone: the power cut takes the loader too."""
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)

    def feed():
        if poll.poll(0):
            sys.exit(1)

    return feed


class Slow(Wire):
    """A program takes its time, as on a chip."""

    def prog(self, off, buf):
        time.sleep(0.002)
        super().prog(off, buf)


def load(path, size, hold):
    """The loader's turn on a board's flash file, with the table in its own image; prints its Result as JSON."""
    flash = Held(size, prog_size=1, path=path)
    flash.trace, flash.hold = None, hold
    wire = Slow(flash)
    rows = table.find(Coded(wire, 0, 0x10000), bytearray(1024))
    parts = {}
    for name in rows:
        row = rows[name]
        parts[name] = (Coded if row.code else Region)(wire, row.offset, row.size)
    got = loader.boot(loader.Options(parts, feed=leash()))
    flash.close()
    print(json.dumps({"code": got.code, "why": got.why, "starts": got.starts}))


class ChipModule:
    """Module `chip` of a virtual board: the raw flash, the eFuse, a thermometer. Offsets and bytes; OSError."""

    SIZE = SIZE

    def __init__(self, flash, healthy):
        self._flash = flash
        self._healthy = healthy

    def _do(self, call, off, what, n):
        if off < 0 or off + n > self.SIZE:
            raise OSError(22)
        call(off, what)

    def flash_read(self, off, buf):
        self._do(self._flash.read, off, memoryview(buf), len(buf))

    def flash_write(self, off, buf):
        self._do(self._flash.prog, off, bytes(buf), len(buf))

    def flash_erase(self, off):
        self._do(self._flash.erase, off, SECTOR, SECTOR)

    def efuse(self):
        """The scrambler's four words; most chips have none."""
        return 0, 0, 0, 0

    def temperature(self):
        return WARM if self._healthy else TOO_HOT


def modules(wire, flash, config):
    """What a program on a BK7238 can import and the unix port cannot give."""
    flash.prog_size = 1
    return {"chip": ChipModule(flash, config["behaviour"] != "unhealthy")}
