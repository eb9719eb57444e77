"""One ESP32 inside one process: flash, bootloader, ESP-IDF's functions and the shipped Board on them.

For tests and campaigns that start thousands of boards: `power_on` runs the loader, puts the hardware modules of the run
in place, and gives a Board; nothing else survives from one run to the next but the flash. The clock stands still until
somebody moves it. Runs on both interpreters.
"""

import sys

from mpota.layout.esp32 import loader, table
from mpota_boot.board import Board
from mpota_host.chips.esp32.sim import esp_idf
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.plain import GivenBoard

# Tests of an ESP32 name its causes here.
from mpota_host.sim.reset import DEEPSLEEP, HARD, PWRON, SOFT, WDT, Machine, Reset  # noqa: F401

# The least of a table with two slots: everything an update touches, in sectors of 4 KiB.
NVS_AT, OTADATA_AT, SLOTS_AT = 0x9000, 0xD000, 0x10000


def rows(slot_size, slots=2, factory=False):
    """A partition table like MicroPython's 4MiB-ota, its slots of `slot_size` bytes."""
    found = [
        table.Row(table.DATA, table.NVS, NVS_AT, 0x4000, "nvs", 0),
        table.Row(table.DATA, table.OTADATA, OTADATA_AT, 0x2000, "otadata", 0),
    ]
    kinds = [table.OTA_0 + i for i in range(slots)] + [table.FACTORY] * factory
    for i, kind in enumerate(kinds):
        found.append(table.Row(table.APP, kind, SLOTS_AT + i * slot_size, slot_size, "app%d" % i, 0))
    return found


class _Esp32:
    def __init__(self, idf):
        self.Partition = idf.Partition
        self.NVS = idf.NVS


class _Esp:
    """Module `esp`: the raw flash. `encrypts`: does the chip hold other bytes there than its partitions give?"""

    encrypts = False

    def __init__(self, flash):
        self.flash = flash

    def flash_read(self, off, buf):
        self.flash.read(off, buf)
        if self.encrypts:
            for i in range(len(buf)):
                buf[i] ^= 0xA5


class SocBoard(GivenBoard):
    """The shipped Board on NVS, without a file system; a test that has one says where."""

    root = "/dev/null/ota"

    def __init__(self, settings, keys):
        Board._dog = Board._why = Board._feeder = Board.fault = None
        super().__init__(settings, keys)


class Soc:
    """A chip: `bootloader`, `application` are loader.Options of their builds, `idf` what is behind esp32.Partition."""

    def __init__(self, table_rows, settings, keys, flash=None, table_off=table.OFFSET):
        end = max(row.offset + row.size for row in table_rows)
        nvs = table.find(table_rows, table.DATA, table.NVS)
        self.rows = table_rows
        self.flash = flash or SimFlash(end, overwrite=[(nvs.offset, nvs.size)])
        self.settings = settings
        self.keys = keys
        self.bootloader = loader.Options(table_off=table_off)
        self.application = loader.Options(table_off=table_off)
        self.idf = "5.5.2"
        self.started = None
        self.write(table_off, table.encode(table_rows))

    def write(self, off, data):
        """Program bytes as a flashing tool does, from the start of a sector: erase what they cover, then write."""
        size = self.flash.erase_size
        self.flash.erase(off, (len(data) + size - 1) // size * size)
        unit = self.flash.prog_size
        self.flash.prog(off, data + b"\xff" * (-len(data) % unit))

    def row(self, name):
        """The row of `ota_0`, `ota_1`, `factory`."""
        for row in self.rows:
            if row.type == table.APP and table.name(row) == name:
                return row
        raise KeyError(name)

    def image(self, name, n):
        """The first `n` bytes of a slot."""
        buf = bytearray(n)
        self.flash.read(self.row(name).offset, buf)
        return bytes(buf)

    def power_on(self, cause=PWRON):
        """Run the loader, as at any reset but a soft one, and start the image it names. Returns its Board."""
        self.started = loader.boot(self.flash, self.bootloader)
        if self.started.name is None:
            return None
        return self.run(cause)

    def wake(self, fast_memory=True):
        """Wake from deep sleep. `fast_memory`: has the chip RTC fast memory? An ESP32-C2 has none."""
        if not fast_memory:
            self.started = loader.wake_by_otadata(self.flash, self.bootloader)
        return self.run(DEEPSLEEP)

    def run(self, cause):
        """A fresh interpreter on the image that was started last: what a soft reset gives."""
        idf = esp_idf.Idf(self.flash, self.started.row, self.idf, self.application)
        sys.modules["esp32"] = _Esp32(idf)
        sys.modules["esp"] = _Esp(self.flash)
        sys.modules["machine"] = Machine(cause)
        return SocBoard(self.settings, self.keys)
