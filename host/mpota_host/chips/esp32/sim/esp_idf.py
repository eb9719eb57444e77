"""What stands behind `esp32.Partition` and `esp32.NVS`: the application's side of ESP-IDF on a simulated flash.

`Idf` is esp_ota_ops.c and esp_partition.c: every call returns ESP-IDF's error code and writes exactly what the C code
writes. `Idf.Partition` and `Idf.NVS` are MicroPython's classes over it, and raise its OSErrors. The choice of the image
at a reset is not here: that is the bootloader's. Runs on both interpreters.
"""

from mpota.layout.esp32 import loader, otadata, table
from mpota.store.flash import Region
from mpota_boot.errors import OtaError, Refused
from mpota_host.chips.esp32.sim import nvs
from mpota_host.sim.reset import Abort

OK = 0
FAIL = -1
INVALID_ARG = 0x102
INVALID_SIZE = 0x104
NOT_FOUND = 0x105
NOT_ALLOWED = 0x10D
PARTITION_CONFLICT = 0x1501
VALIDATE_FAILED = 0x1503
SMALL_SEC_VER = 0x1504
ROLLBACK_FAILED = 0x1505
ROLLBACK_INVALID_STATE = 0x1506

NAMES = {
    FAIL: "ESP_FAIL",
    INVALID_ARG: "ESP_ERR_INVALID_ARG",
    INVALID_SIZE: "ESP_ERR_INVALID_SIZE",
    NOT_FOUND: "ESP_ERR_NOT_FOUND",
    NOT_ALLOWED: "ESP_ERR_NOT_ALLOWED",
    PARTITION_CONFLICT: "ESP_ERR_OTA_PARTITION_CONFLICT",
    VALIDATE_FAILED: "ESP_ERR_OTA_VALIDATE_FAILED",
    SMALL_SEC_VER: "ESP_ERR_OTA_SMALL_SEC_VER",
    ROLLBACK_FAILED: "ESP_ERR_OTA_ROLLBACK_FAILED",
    ROLLBACK_INVALID_STATE: "ESP_ERR_OTA_ROLLBACK_INVALID_STATE",
}

SECTOR = 4096
WHOLE = (0, 0xFFFFFFFF)  # image sizes that esp_ota_begin takes for the whole partition; OTA_SIZE_UNKNOWN
SEQUENTIAL = 0xFFFFFFFE  # OTA_WITH_SEQUENTIAL_WRITES
READ_ONLY = 2  # bit 1 of a partition's flags


def check(code):
    """Raise what MicroPython makes of an ESP-IDF error code."""
    if code != OK:
        raise OSError(-code, NAMES.get(code, "0x%x" % code))


def _vfs(rows, flash_size):
    """MicroPython registers the rest of the flash as `vfs` in RAM, unless a data row is labelled vfs or ffat."""
    end = max(row.offset + row.size for row in rows)
    if end >= flash_size or any(row.type == table.DATA and row.label in ("vfs", "ffat") for row in rows):
        return []
    return [table.Row(table.DATA, 0x81, end, flash_size - end, "vfs", 0)]


def next_seq(seq, slot, n):
    """The least number from `seq` on that names `slot` of `n`, as ESP-IDF counts: for its own slot `seq` itself."""
    least = (slot + 1) % n
    if seq > least:
        least += (seq - least + n - 1) // n * n
    # ESP-IDF searches for ever here: a sum of 32 bits never gets there.
    if least >= otadata.BLANK:
        raise Refused("sequence", "after the sequence number %d none is left for slot %d of %d" % (seq, slot, n))
    return least


class Idf:
    """One run of an application: `running` is its table row, gone with the next reset.

    idf: "5.5.2" or "master", which differ in set_boot of the slot in force. options: as for the bootloader, here how
    the application was built; the two need not agree.
    """

    def __init__(self, flash, running, idf="5.5.2", options=None):
        self.flash = flash
        self.running = running
        self.in_place = idf != "5.5.2"  # since IDF 6.0 the entry in force is rewritten where it is
        self.options = options or loader.Options()
        self.rebooted = False
        self.rows = table.decode(flash, self.options.table_off)
        self.rows += _vfs(self.rows, flash.size)
        self.slots = table.slots(self.rows)
        self.otadata = table.find(self.rows, table.DATA, table.OTADATA)
        self.factory = table.find(self.rows, table.APP, table.FACTORY)
        self.Partition = _partition_class(self)
        self.NVS = self._nvs_class()

    def _nvs_class(self):
        row = table.find(self.rows, table.DATA, table.NVS)
        return None if row is None else nvs.bind(Region(self.flash, row.offset, row.size))

    # esp_partition: a range of one row

    def _range(self, row, off, n):
        if off > row.size:
            return INVALID_ARG
        return INVALID_SIZE if off + n > row.size else OK

    def _guard(self, off, n):
        """CONFIG_SPI_FLASH_DANGEROUS_WRITE_ABORTS: the bootloader, the table and what runs are not for writing."""
        run = self.running
        if off <= self.options.table_off + table.AREA or (off < run.offset + run.size and run.offset < off + n):
            raise Abort("a write of %d bytes at 0x%x touches the bootloader, the table or what runs" % (n, off))

    def read(self, row, off, buf):
        code = self._range(row, off, len(buf))
        if code == OK:
            self.flash.read(row.offset + off, buf)
        return code

    def erase(self, row, off, n):
        if row.flags & READ_ONLY:
            return NOT_ALLOWED
        code = self._range(row, off, n)
        if code != OK:
            return code
        if n % SECTOR or off % SECTOR:
            return INVALID_SIZE if n % SECTOR else INVALID_ARG
        self._guard(row.offset + off, n)
        for at in range(row.offset + off, row.offset + off + n, SECTOR):
            self.flash.erase(at, SECTOR)
        return OK

    def write(self, row, off, buf):
        if row.flags & READ_ONLY:
            return NOT_ALLOWED
        code = self._range(row, off, len(buf))
        if code != OK:
            return code
        self._guard(row.offset + off, len(buf))
        self._prog(row.offset + off, buf)
        return OK

    def _prog(self, off, buf):
        """The chip takes any byte range: FF on either side, which programs nothing, makes whole units of it."""
        unit = self.flash.prog_size
        before = off % unit
        after = -(off + len(buf)) % unit
        if before or after:
            buf = b"\xff" * before + bytes(buf) + b"\xff" * after
        self.flash.prog(off - before, buf)

    # esp_ota_ops: what is read

    def entries(self):
        return otadata.read(Region(self.flash, self.otadata.offset, self.otadata.size))

    def _verifies(self, row):
        try:
            self.options.images.verify(self.flash, row)
        except OtaError:
            return False
        return True

    def _slot_row(self, entry):
        return self.slots[entry.slot(len(self.slots))]

    def _default_boot(self):
        for subtype in [table.FACTORY] + list(range(table.OTA_0, table.TEST + 1)):
            row = table.find(self.rows, table.APP, subtype)
            if row is not None:
                return row
        return None

    def boot_partition(self):
        """The row that otadata names for the next reset; None without otadata."""
        if self.otadata is None:
            return None
        pair = self.entries()
        i = otadata.active(*pair)
        return self._default_boot() if i < 0 or not self.slots else self._slot_row(pair[i])

    def next_update(self, start):
        """The next higher OTA slot after the row `start`, else the lowest; with one slot that is `start` itself."""
        found = None
        for subtype in range(table.OTA_0, table.TEST):
            row = table.find(self.rows, table.APP, subtype)
            if row is None:
                continue
            if start.type == table.APP and start.subtype >= table.OTA_0 and start.subtype < subtype < table.TEST:
                return row
            found = found or row
        return found

    def last_invalid(self):
        """The row of the failed entry with the smaller seq, if its image still verifies."""
        if self.otadata is None or not self.slots:
            return None
        failed = [e for e in self.entries() if loader.sealed(e) and not loader.blank(e) and loader.dead(e)]
        if not failed:
            return None
        entry = failed[0]
        if len(failed) == 2 and failed[1].seq < failed[0].seq:
            entry = failed[1]
        row = self._slot_row(entry)
        return row if self._verifies(row) else None

    def rollback_possible(self):
        """Another image would start if the one in force were given up."""
        if self.otadata is None or not self.slots:
            return False
        pair = self.entries()
        i = otadata.active(*pair)
        if i < 0:
            return False
        other = pair[1 - i]
        row = self._slot_row(other) if other.valid() else self.factory
        return row is not None and self._verifies(row)

    def state(self, row):
        """(error code, state) of a slot: that of the first entry which names it."""
        if row.type != table.APP or not table.OTA_0 <= row.subtype < table.TEST:
            return INVALID_ARG if row.subtype != table.FACTORY else 0x106, 0
        if self.otadata is None:
            return NOT_FOUND, 0
        for entry in self.entries():
            if self.slots and loader.sealed(entry) and self._slot_row(entry) == row:
                return OK, entry.state
        return NOT_FOUND, 0

    # esp_ota_ops: what is written

    def _rewrite(self, i, entry):
        entry.crc = otadata.seal(entry.seq)
        code = self.erase(self.otadata, i * SECTOR, SECTOR)
        return code or self.write(self.otadata, i * SECTOR, otadata.encode(entry))

    def set_boot(self, row):
        """esp_ota_set_boot_partition: verify, then name the row in otadata."""
        if not self._verifies(row):
            return VALIDATE_FAILED
        if row.type != table.APP:
            return INVALID_ARG
        if row.subtype == table.FACTORY:
            return NOT_FOUND if self.otadata is None else self.erase(self.otadata, 0, self.otadata.size)
        if self._too_old(row):
            return self.erase(row, 0, row.size) or SMALL_SEC_VER
        if self.otadata is None:
            return NOT_FOUND
        slot = row.subtype & 0xF
        return INVALID_ARG if slot >= len(self.slots) else self._name(slot)

    def _too_old(self, row):
        if self.options.efuse is None:
            return False
        return self.options.images.secure_version(self.flash, row) < self.options.efuse

    def _name(self, slot):
        pair = self.entries()
        i = otadata.active(*pair)
        n = len(self.slots)
        if i < 0:
            target, seq = 0, slot + 1
        elif self.in_place and pair[i].slot(n) == slot:
            target, seq = i, pair[i].seq
        else:
            try:
                target, seq = 1 - i, next_seq(pair[i].seq, slot, n)
            except Refused as e:
                raise Abort("the search for a sequence number does not end: %s" % e)
        entry = pair[target]
        entry.seq = seq
        entry.state = otadata.NEW if self.options.rollback else otadata.UNDEFINED
        return self._rewrite(target, entry)

    def _mark(self, judge):
        """Find the entry in force and let `judge(i, entry)` write it; it is not asked whether that is what runs."""
        if self.otadata is None:
            return NOT_FOUND
        pair = self.entries()
        i = otadata.active(*pair)
        return FAIL if i < 0 or not self.slots else judge(i, pair[i])

    def mark_valid(self):
        """esp_ota_mark_app_valid_cancel_rollback."""

        def judge(i, entry):
            if entry.state == otadata.VALID:
                return OK
            entry.state = otadata.VALID
            return self._rewrite(i, entry)

        return self._mark(judge)

    def mark_invalid(self):
        """esp_ota_mark_app_invalid_rollback_and_reboot; `rebooted` says that the chip would reset now."""

        def judge(i, entry):
            if not self.rollback_possible():
                return ROLLBACK_FAILED
            entry.state = otadata.INVALID
            code = self._rewrite(i, entry)
            self.rebooted = code == OK
            return code

        return self._mark(judge)

    def begin(self, row, size=0):
        """esp_ota_begin: refuse what must not be overwritten, erase, and forget the entry of what was there."""
        if row.type != table.APP or not table.OTA_0 <= row.subtype < table.TEST:
            return INVALID_ARG
        if row == self.running:
            return PARTITION_CONFLICT
        if self.options.rollback and self.state(self.running) == (OK, otadata.PENDING):
            return ROLLBACK_INVALID_STATE
        code = OK
        if size != SEQUENTIAL:
            code = self.erase(row, 0, row.size if size in WHOLE else (size + SECTOR - 1) // SECTOR * SECTOR)
        if code == OK and self.options.rollback and self.otadata is not None:
            self._forget()
        return code

    def _forget(self):
        """Since IDF 5.5: erase the entry that is not in force, unless it names what runs."""
        pair = self.entries()
        i = otadata.active(*pair)
        other = pair[1 - i] if i >= 0 else pair[0]
        if i >= 0 and loader.sealed(other) and not loader.blank(other) and self._slot_row(other) != self.running:
            self.erase(self.otadata, (1 - i) * SECTOR, SECTOR)


def _partition_class(idf):
    class Partition(_Partition):
        _idf = idf

        @staticmethod
        def find(type=table.APP, subtype=0xFF, label=None, block_size=SECTOR):
            """The rows of one type; 0xff is any subtype."""
            return [
                Partition(row, block_size)
                for row in idf.rows
                if row.type == type and subtype in (0xFF, row.subtype) and label in (None, row.label)
            ]

        @classmethod
        def mark_app_valid_cancel_rollback(cls):
            check(idf.mark_valid())

    return Partition


class _Partition:
    """esp32.Partition as ports/esp32/esp32_partition.c behaves, for the `Idf` of one run."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = table.APP
    TYPE_DATA = table.DATA
    _idf = None

    def __init__(self, which, block_size=SECTOR):
        self._row = which if isinstance(which, tuple) else self._lookup(which)
        if self._row is None:
            raise OSError(2)
        self._block = block_size & 0xFFFF  # the C object keeps 16 bits of it

    def _lookup(self, which):
        idf = self._idf
        if isinstance(which, str):
            for kind in (table.APP, table.DATA):
                for row in idf.rows:
                    if row.type == kind and row.label == which:
                        return row
            return None
        if which not in (self.BOOT, self.RUNNING):
            raise ValueError
        return idf.boot_partition() if which == self.BOOT else idf.running

    def info(self):
        row = self._row
        return (row.type, row.subtype, row.offset, row.size, row.label, bool(row.flags & 1))

    def readblocks(self, n, buf, off=0):
        check(self._idf.read(self._row, n * self._block + off, memoryview(buf)))

    def writeblocks(self, n, buf, off=None):
        """Without `off` it erases first; with one, also 0, it never does."""
        buf = memoryview(buf)
        start = n * self._block
        if off is not None:
            start += off
        elif self._block < SECTOR:
            self._through_cache(start, buf)
            return
        else:
            check(self._idf.erase(self._row, start, len(buf)))
        check(self._idf.write(self._row, start, buf))

    def _through_cache(self, start, buf):
        """Blocks smaller than a sector: read, change, erase and write each sector; power may take the rest of it."""
        cache = bytearray(SECTOR)
        done = 0
        while done < len(buf):
            at = (start + done) % SECTOR
            n = min(SECTOR - at, len(buf) - done)
            sector = start + done - at
            check(self._idf.read(self._row, sector, cache))
            cache[at : at + n] = buf[done : done + n]
            check(self._idf.erase(self._row, sector, SECTOR))
            check(self._idf.write(self._row, sector, cache))
            done += n

    def ioctl(self, op, arg):
        if op in (1, 2, 3):
            return 0
        if op == 4:
            return self._row.size // self._block
        if op == 5:
            return self._block
        if op != 6:
            return None
        if self._block != SECTOR:
            return -22
        check(self._idf.erase(self._row, arg * SECTOR, SECTOR))
        return 0

    def set_boot(self):
        check(self._idf.set_boot(self._row))

    def get_next_update(self):
        row = self._idf.next_update(self._row)
        if row is None:
            raise OSError(2)
        return type(self)(row)
