"""What an ESP32 has and the unix port has not: modules esp and esp32 on one simulated flash, its volume, its NVS."""

import vfs

from mpota.layout.esp32 import loader, table
from mpota_host.chips.esp32.sim import esp_idf

# raw_temperature() in Fahrenheit: a chip at work, and one that nobody should call healthy.
WARM, TOO_HOT = 128, 255


class Idf(esp_idf.Idf):
    """ESP-IDF where an abort resets the chip instead of raising."""

    def __init__(self, wire, *args):
        self.wire = wire
        super().__init__(*args)

    def _guard(self, off, n):
        self._or_abort(super()._guard, off, n)

    def set_boot(self, row):
        return self._or_abort(super().set_boot, row)

    def _or_abort(self, call, *args):
        try:
            return call(*args)
        except esp_idf.Abort as e:
            print("abort() was called:", e)
            self.wire.down("abort")


class Esp:
    """Module `esp`: the raw flash."""

    def __init__(self, idf):
        self._idf = idf
        self._all = table.Row(table.DATA, 0xFF, 0, idf.flash.size, "flash", 0)

    def flash_size(self):
        return self._idf.flash.size

    def flash_read(self, off, buf):
        esp_idf.check(self._idf.read(self._all, off, memoryview(buf)))

    def flash_write(self, off, buf):
        esp_idf.check(self._idf.write(self._all, off, memoryview(buf)))

    def flash_erase(self, sector):
        esp_idf.check(self._idf.erase(self._all, sector * esp_idf.SECTOR, esp_idf.SECTOR))

    def osdebug(self, *_):
        pass


class Esp32:
    """Module `esp32`."""

    def __init__(self, idf, healthy):
        self.Partition = idf.Partition
        self.NVS = idf.NVS
        self._healthy = healthy

    def raw_temperature(self):
        return WARM if self._healthy else TOO_HOT


def volume(flash):
    """(block device, kind) of the file system, as flashbdev.py finds it, while no application runs."""
    # Nothing is protected but the bootloader and the table.
    find = esp_idf.Idf(flash, table.Row(table.APP, 0, 0, 0, "", 0)).Partition.find
    found = find(table.DATA, label="vfs")
    if found:
        return found[0], vfs.VfsLfs2
    found = find(table.DATA, label="ffat", block_size=512)
    return (found[0], vfs.VfsFat) if found else (None, None)


def memory(flash, space):
    """A namespace of the NVS, while no application runs."""
    return esp_idf.Idf(flash, table.Row(table.APP, 0, 0, 0, "", 0)).NVS(space)


def modules(wire, flash, config):
    """What an ESP32 has beside these."""
    running = next(row for row in table.decode(flash) if row.offset == config["running"])
    idf = Idf(wire, flash, running, config["idf"], loader.Options(rollback=config["rollback"]))
    wire.shield(idf.Partition, "readblocks", "writeblocks", "ioctl", "set_boot")
    wire.shield(idf.NVS, "set_i32", "get_i32", "set_blob", "get_blob", "erase_key", "commit")
    return {"esp": Esp(idf), "esp32": Esp32(idf, config["behaviour"] != "unhealthy")}
