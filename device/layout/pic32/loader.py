"""The bootloader of a PIC32MZW1: starts the image in program flash, or ranks those of the store and programs the best.

Entry, ranking and what is written are the vendor's; where that loses a device this one differs, and FORMAT.md numbers
each case. Its order is what makes it safe: a file is proven before anything is erased, the control page goes first
and comes back last, so a page that is there says that what lies behind it is whole. It never loops on anything
outside.
"""

from device.errors import FlashError
from device.layout.pic32 import control, database, files
from device.layout.pic32.control import BLANK, DISABLED, DOWNLOADED, FACTORY, PAGE, UNBOOTED, VALID, Control
from device.layout.pic32.golden import Boot, Golden
from device.store.writer import digest
from device.stream import pull

TRIES = 3


class Options:
    """How this bootloader was built: where the slot lies, boots of an unconfirmed image, the public key that signs."""

    def __init__(self, base=0x20000, tries=TRIES, key=None, feed=None):
        self.address = 0xB0000000 + base + PAGE
        self.tries = tries
        self.key = key
        self.feed = feed or (lambda: None)


class Programmed:
    """What a .bin is made of once it runs: its head as the file has it, its code as the flash has it."""

    def __init__(self, flash, store, name):
        self.flash = flash
        self.head = files.Stored(store, name, PAGE)
        self.size = flash.size

    def read(self, off, buf):
        (self.flash if off >= PAGE else self.head).read(off, buf)


class _Loader(Golden):
    def __init__(self, flash, store, options):
        self.flash = flash
        self.store = store
        self.options = options
        self.buf = bytearray(PAGE)
        self.did = []
        self.skipped = []
        self.control = control.read(flash)
        # A page that names another place was not written for this slot.
        if self.control and (self.control.boot ^ options.address) & 0x1FFFFFFF:
            self.control = None

    def jump(self, version=None):
        return Boot(self.options.address, self.control.version if version is None else version, self.did)

    def boot(self):
        """The vendor's entry decision."""
        page = self.control
        if page and (page.kind == control.DEBUG or (page.kind == FACTORY and page.status == VALID)):
            return self.jump()
        try:
            if page and page.pristine():
                self.backup()
                return self.jump()
            rows = database.load(self.store)
        except OSError as e:
            # Without its store there is what lies in the flash.
            self.did.append("store: %r" % e)
            return self.last()
        for row in rows[::-1] if page and rows else ():
            if row.whole and row.version == page.version:
                if page.status == VALID and row.status == VALID and page.kind != FACTORY:
                    return self.jump()
                break
        return self.select(rows)

    def select(self, rows):
        """Down the ranking until one starts."""
        while True:
            row = self.best(rows or ())
            if row is None:
                return self.factory(rows)
            try:
                if self.judge(row):
                    return self.start(row)
                self.did.append("%s disabled" % row.name)
                row.mark(DISABLED)
                database.save(self.store, rows)
            except (OSError, FlashError) as e:
                # Not its fault: it keeps its place in the ranking, and another one runs today.
                self.did.append("%s: %r" % (row.name, e))
                self.skipped.append(row)

    def best(self, rows):
        """The row of the highest version that may run; of two the first."""
        found = None
        for row in rows:
            if row.whole and row.status in (DOWNLOADED, VALID) and row not in self.skipped:
                if row.version > (found.version if found else 0) and self.store.size(row.name) is not None:
                    found = row
        return found

    def judge(self, row):
        """Is the file what its row says, does it fit, is it signed, has it boots left?"""
        sha, n = files.digest(self.store, row.name, self.buf)
        if sha is None:
            raise OSError(5)
        self.size = n
        if sha != row.digest or not PAGE < n <= self.flash.size or not self.signed(row.name, sha):
            return False
        page = self.control
        # This very image lies in the flash, and was started without coming to be confirmed.
        self.same = page is not None and page.status == UNBOOTED and page.version == row.version and self.lies(row)
        return not (self.same and row.status == DOWNLOADED and page.tries() >= self.options.tries)

    def signed(self, name, sha):
        """Is there a signature of the bootloader's key over the digest? Without a key none is asked for."""
        if self.options.key is None:
            return True
        from device.layout.pic32 import p256

        text = self.store.get(name.rpartition(".")[0] + "_sign.txt", 96)
        return text is not None and p256.verify_text(self.options.key, text, sha)

    def lies(self, row):
        """Does the slot hold all of this image?"""
        whole = Programmed(self.flash, self.store, row.name)
        return digest(whole, self.size, bytearray(1024), self.options.feed) == row.digest

    def start(self, row):
        """Program the image unless it is there, note that it gets a boot, and go."""
        if not self.same or (row.status == DOWNLOADED and self.control.tries() < 0):
            self.program(row.name)
            if not self.lies(row):
                raise FlashError("readback", "the flash does not hold %s" % row.name)
            rest = 0xFF, 0xFF, self.size, row.digest
            self.page(Control(BLANK, control.PRODUCTION, row.version, self.options.address, rest))
        control.clear(self.flash, 0, row.status & UNBOOTED)
        if row.status == DOWNLOADED:
            control.count(self.flash, control.read(self.flash))
        return self.jump(row.version)

    def program(self, name):
        """The page goes, then each sector that differs is written."""
        self.did.append("programs " + name)
        flash, buf = self.flash, self.buf
        seen = bytearray(PAGE)
        flash.read(0, seen)
        if seen != b"\xff" * PAGE:
            flash.erase(0, PAGE)
        self.control = None
        with self.store.open(name, "rb") as f:
            f.seek(PAGE)
            off = PAGE
            while n := pull(f, buf):
                self.options.feed()
                buf[n:] = b"\xff" * (PAGE - n)
                flash.read(off, seen)
                if seen != buf:
                    flash.erase(off, PAGE)
                    flash.prog(off, buf)
                    flash.read(off, seen)
                    if seen != buf:
                        raise FlashError("readback", "0x%x does not hold %s" % (off, name))
                off += PAGE

    def page(self, page):
        """The page, blank in its status: that comes after."""
        self.flash.prog(0, page.encode())


def boot(flash, store, options=None):
    """Decide as at a reset. `flash` is the slot, control page first; `store` the folder of images."""
    return _Loader(flash, store, options or Options()).boot()
