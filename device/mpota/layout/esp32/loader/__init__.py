"""What the ESP-IDF bootloader does at reset: choose an image, and the little that it writes for it.

It reads the partition table and otadata, rewrites the states that a reset changes, and tries images in a fixed order
until one verifies. Falling through to another image writes nothing. It shares record codecs with the layout and no
decision, so that the two can disagree; the vectors hold both. A model: the real one is in flash and is never updated.
"""

from collections import namedtuple

from mpota.layout.esp32 import otadata, table
from mpota.layout.esp32.loader import verify
from mpota.store.flash import Region
from mpota_boot.errors import OtaError

FACTORY = -1  # FACTORY_INDEX
TEST = -2  # TEST_APP_INDEX, only ever the last to be tried

# otadata's states in words.
STATES = dict(enumerate(otadata.STATES))
STATES[otadata.UNDEFINED] = "undefined"

# name and row: the image that starts, None = reset again. index: what otadata chose. tried: names in order.
Boot = namedtuple("Boot", ("name", "row", "index", "tried"))


def blank(entry):
    """Is this otadata entry erased flash?"""
    return entry.seq == otadata.BLANK


def sealed(entry):
    """Is the crc that of the seq?"""
    return entry.crc == otadata.seal(entry.seq)


def dead(entry):
    """Blank, or its image failed: never booted, even if the crc is right."""
    return blank(entry) or entry.state in (otadata.INVALID, otadata.ABORTED)


class Images:
    """The image checks of one chip; a test gives its own."""

    def __init__(self, chip=None):
        self.chip = chip

    def verify(self, flash, row):
        """Raise OtaError unless the partition holds an image that this chip runs."""
        verify.verify(Region(flash, row.offset, row.size), self.chip)

    def secure_version(self, flash, row):
        """The anti-rollback version of the image; raise OtaError if there is none."""
        return verify.desc(Region(flash, row.offset, row.size)).secure_version


class Options:
    """How this bootloader was built, and the chip's eFuse counter, which `boot` may raise."""

    def __init__(self, images=None, rollback=True, efuse=None, efuse_bits=32, table_off=table.OFFSET):
        self.images = images or Images()
        self.rollback = rollback
        self.efuse = efuse  # None: built without anti-rollback
        self.efuse_bits = efuse_bits  # 32 on an ESP32, 4 on a C2, 16 on the others
        self.table_off = table_off


class _Loader:
    def __init__(self, flash, options):
        self.flash = flash
        self.options = options
        self.rows = table.decode(flash, options.table_off, as_bootloader=True)
        self.count = table.app_count(self.rows)
        self.factory = table.find(self.rows, table.APP, table.FACTORY)
        self.otadata = table.find(self.rows, table.DATA, table.OTADATA)
        self.initial = False
        self.tried = []

    def row(self, index):
        if index == FACTORY:
            return self.factory
        return table.find(self.rows, table.APP, table.TEST if index == TEST else table.OTA_0 + index)

    def write(self, i, entry):
        """As the bootloader writes: one sector erased, then 32 bytes at its start."""
        off = self.otadata.offset + i * otadata.SECTOR
        self.flash.erase(off, otadata.SECTOR)
        self.flash.prog(off, otadata.encode(entry))

    def allowed(self, row):
        """Anti-rollback: the image is not older than the eFuse counter."""
        if self.options.efuse is None:
            return True
        try:
            return self.options.images.secure_version(self.flash, row) >= self.options.efuse
        except OtaError:
            return False

    def burn(self, row):
        """Raise the eFuse counter to the image's version, where its bits reach that far."""
        if self.options.efuse is not None and row is not None and self.allowed(row):
            version = self.options.images.secure_version(self.flash, row)
            if version <= self.options.efuse_bits:
                self.options.efuse = version

    def select(self):
        """The index that otadata names, after the states that a reset changes are written; None: no boot at all."""
        if self.otadata is None:
            return FACTORY
        if self.otadata.size < 2 * otadata.SECTOR:
            return None
        pair = otadata.read(Region(self.flash, self.otadata.offset, self.otadata.size))
        if self.options.rollback:
            self.abort(pair)
        unused = all(blank(e) or not sealed(e) for e in pair)
        if self.options.efuse is not None:
            self.initial = unused
            return FACTORY if unused else self.enter(pair)
        if (dead(pair[0]) and dead(pair[1])) or not self.count:
            self.initial = unused and self.factory is None
            return 0 if self.factory is None else FACTORY
        return self.enter(pair)

    def abort(self, pair):
        """An image that was on trial at the last reset has failed; the crc is not looked at."""
        for i, entry in enumerate(pair):
            if entry.state == otadata.PENDING:
                entry.state = otadata.ABORTED
                self.write(i, entry)

    def enter(self, pair):
        """The index of the entry in force; a new one goes on trial before its image is even looked at."""
        good = [e.valid() and self.current(e) for e in pair]
        i = otadata.choose(pair, good)
        if i < 0:
            return FACTORY
        entry = pair[i]
        index = entry.slot(self.count)
        if self.options.rollback and entry.state == otadata.NEW:
            entry.state = otadata.PENDING
            self.write(i, entry)
        if entry.state == otadata.VALID:
            self.burn(self.row(index))
        return index

    def woken(self):
        """The index that otadata names, as a chip without RTC fast memory reads it after deep sleep; writes nothing."""
        if self.otadata is None or self.otadata.size < 2 * otadata.SECTOR or not self.count:
            return FACTORY
        pair = otadata.read(Region(self.flash, self.otadata.offset, self.otadata.size))
        i = otadata.choose(pair, [e.valid() and self.current(e) for e in pair])
        if i >= 0:
            return pair[i].slot(self.count)
        return 0 if self.factory is None else FACTORY

    def current(self, entry):
        if self.options.efuse is None:
            return True
        row = self.row(entry.slot(self.count)) if self.count else None
        return row is not None and self.allowed(row)

    def starts(self, index):
        """The row of this index if its image may start."""
        row = self.row(index)
        if row is None or not row.size or not self.allowed(row):
            return None
        self.tried.append(table.name(row))
        try:
            self.options.images.verify(self.flash, row)
        except OtaError:
            return None
        return row

    def load(self, index):
        """Down from the chosen one to ota_0 and factory, then up, then the test image."""
        for i in list(range(index, FACTORY - 1, -1)) + list(range(index + 1, self.count)) + [TEST]:
            row = self.starts(i)
            if row is None:
                continue
            if self.initial and i > FACTORY:
                self.write(0, otadata.Entry(i + 1, otadata.VALID))
                self.burn(row)
            return Boot(table.name(row), row, index, self.tried)
        return Boot(None, None, index, self.tried)


def boot(flash, options=None):
    """Decide as at a reset and return a Boot; its name is None where the chip would reset for ever."""
    try:
        loader = _Loader(flash, options or Options())
    except OtaError:
        return Boot(None, None, None, [])
    index = loader.select()
    if index is None:
        return Boot(None, None, None, [])
    return loader.load(index)


def wake(running):
    """After deep sleep: the image that ran before starts again, and otadata is neither read nor written.

    CONFIG_BOOTLOADER_SKIP_VALIDATE_IN_DEEP_SLEEP keeps its place in RTC memory; a slot that set_boot staged waits on.
    """
    return Boot(table.name(running), running, None, [])


def wake_by_otadata(flash, options=None):
    """After deep sleep on a chip without RTC fast memory, an ESP32-C2: the slot in force starts, staged or not.

    Nothing is written, so a slot that set_boot staged runs without being on trial for the loader
    (bootloader_utility.c, `!SOC_RTC_FAST_MEM_SUPPORTED`).
    """
    try:
        loader = _Loader(flash, options or Options())
    except OtaError:
        return Boot(None, None, None, [])
    return loader.load(loader.woken())
