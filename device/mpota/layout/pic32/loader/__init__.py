"""The bootloader of a PIC32MZW1: starts the image in program flash, or ranks those of the store and programs the best.

Entry, ranking and what is written are the vendor's; where that loses a device this one differs, and FORMAT.md numbers
each case. Its order is what makes it safe: a file is proven before anything is erased, the control page goes first
and comes back last, so a page that is there says that what lies behind it is whole. It never loops on anything
outside.
"""

from mpota.layout.pic32.loader.programmer import Boot, Options, Programmer
from mpota.layout.pic32.store import control, database, files
from mpota.layout.pic32.store.control import BLANK, DISABLED, DOWNLOADED, FACTORY, PAGE, UNBOOTED, VALID, Control
from mpota.store.writer import digest
from mpota_boot.errors import FlashError


class _Loader(Programmer):
    """Entry and ranking."""

    def boot(self):
        """The vendor's entry decision."""
        page = self.control
        if page and page.kind == control.DEBUG:
            return self.jump()
        try:
            if page and page.kind == FACTORY and page.status == VALID and not self.rotten():
                return self.jump()
            if page and page.pristine():
                self.backup()
                return self.jump()
            rows = database.load(self.store)
        except (OSError, FlashError) as e:
            # Without its store the device starts the image in its flash.
            self.did.append("store: %r" % e)
            return self.last()
        for row in rows[::-1] if page and rows else ():
            if row.whole and row.version == page.version:
                if page.status == VALID and row.status == VALID and not page.golden and not self.rotten():
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

    def lies(self, row):
        """Does the slot hold all of this image?"""
        whole = files.Programmed(self.flash, self.store, row.name)
        return digest(whole, self.size, bytearray(1024), self.options.feed) == row.digest

    def start(self, row):
        """Program the image unless it is there, note that it gets a boot, and go."""
        if not self.same or (row.status == DOWNLOADED and self.control.tries() < 0):
            self.program(row.name)
            if not self.lies(row):
                raise FlashError("readback", "the flash does not hold %s" % row.name)
            rest = 0xFF, 0xFF, self.size, row.digest
            self.page(Control(BLANK, control.PRODUCTION, row.version, self.options.address, rest))
        self.clear(row.status & UNBOOTED)
        if row.status == DOWNLOADED:
            page = control.read(self.flash)
            if page is None:
                # Where its boots cannot be counted it would have them without end.
                raise FlashError("readback", "the flash does not hold the page of %s" % row.name)
            self.again(lambda: control.count(self.flash, page))
        return self.jump(row.version)


def boot(flash, store, options=None):
    """Decide as at a reset. `flash` is the slot, control page first; `store` the folder of images."""
    try:
        return _Loader(flash, store, options or Options()).boot()
    except (OSError, FlashError) as e:
        # Start nothing that cannot be read. The next reset tries again.
        return Boot(None, None, ["flash: %r" % e])
