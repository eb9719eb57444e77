"""What boots on a PIC32MZW1: one slot in program flash, a store of images, and a database that the bootloader ranks.

The rule that makes it right: a row goes into the database before the control page says that the image that runs is
disabled, and a row says valid before the page does; settle() finishes a pair that was cut. The bootloader counts the
boots of a trial; nothing here erases anything but files that no row names.
"""

from device.errors import FlashError, NotNow, Refused
from device.layout.pic32 import control, database, files
from device.layout.pic32.control import DISABLED, DOWNLOADED, FACTORY, PAGE, VALID
from device.layout.pic32.loader import FACTORY_FILE, TRIES, Programmed
from device.store.flash import Region
from device.store.records import FIRMWARE, Records

# The rows that the store keeps beside the factory image, and where the slot lies since release 3.7.
IMAGES = 2
BASE, SLOT = 0x20000, 0xDF000
STAGED = "an image waits for its restart"


def make(board):
    """The Layout of a Board, which has `program`, the flash, and `store`, the folder of images."""
    base = board.setting("base", BASE, 1 << 20)
    flash = Region(board.program, base, board.setting("slot", SLOT, 1 << 20))
    port = Port(board, flash, board.store)
    port.address = 0xB0000000 + base + PAGE
    port.images = max(2, board.setting("images", IMAGES, 5))
    return Layout(port, board.journal, board.setting("trials", TRIES, 7))


def ident(version):
    """What the journal calls an image by: a number of one byte, 0 for the factory image."""
    return database.number(version) % 120 + 1


class Port:
    """The slot `flash`, control page first; `files`, the store; what runs, as a number of the journal."""

    images = IMAGES
    address = 0xB0000000 + BASE + PAGE

    def __init__(self, board, flash, store):
        self.flash = flash
        self.files = store
        self.feed = board.feed
        self.root = board.root
        self.protected = board.protected
        page = control.read(flash)
        self.version = page.version if page else 0
        self.running = 0 if page is None or page.kind == FACTORY else ident(self.version)

    def row(self, rows):
        """The row of the image that runs, None for the factory image."""
        return find(rows, self.version) if self.running else None

    @property
    def current(self):
        """The image that runs, as it was before it got its page."""
        row = self.row(database.load(self.files) or ())
        return Programmed(self.flash, self.files, row.name if row else FACTORY_FILE)


def find(rows, version):
    """The last whole row of a version."""
    for row in rows[::-1]:
        if row.whole and row.version == version:
            return row
    return None


class Layout(Records):
    """Decides what boots."""

    NAME = "pic32"

    def ready(self):
        """NotNow while an update waits for its reset or its verdict."""
        self.idle()
        page = control.read(self.port.flash)
        if page and page.status == DISABLED:
            raise NotNow("staged", STAGED)

    def rows(self):
        """The rows of the database that are whole."""
        try:
            return [row for row in database.load(self.port.files) or () if row.whole]
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)

    def save(self, rows):
        try:
            database.save(self.port.files, rows)
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)

    def free(self):
        """A file's name that no row has."""
        taken = [row.name for row in self.rows()]
        i = 1
        while "image%d.bin" % i in taken:
            i += 1
        return "image%d.bin" % i

    def target(self, part):
        """The Flash that a component goes to: a file that no row names, or the application's other tree."""
        if part.kind != FIRMWARE:
            return self.place().target(part)
        name = self.free()
        there = self.port.files
        try:
            room = there.room() + (there.size(name) or 0)
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)
        return files.Stored(there, name, min(room, self.port.flash.size))

    def running(self, part):
        """The Flash that a delta stands on."""
        return self.port.current if part.kind == FIRMWARE else self.place().running(part)

    def admit(self, part, head):
        """Judge the first bytes of a component before anything is written for it."""
        if part.kind != FIRMWARE:
            return self.place().admit(part, head)
        judge(head, part.size, self.port.address)

    def check(self, part):
        """The installer has read the file back; are all files of an application there?"""
        if part.kind != FIRMWARE:
            self.place().check(part)

    def arm(self, package):
        """Make what was written boot: a record, a row, and two bytes that lose bits."""
        self.journal.put("reason", b"")
        if package.components[0].kind != FIRMWARE:
            return self.journal.put("armed", self.fresh(package, self.port.running).encode())
        n = self.following()
        self.put_armed(self.fresh(package, ident(database.coded(n))), n, self.free())

    def following(self):
        """The number of the next image that has none of its own: above all others."""
        n = max([database.number(v) for v in [self.port.version] + [row.version for row in self.rows()]]) + 1
        if n > 999:
            raise Refused("number", "image %d: the database counts to 999" % n)
        return n

    def put_armed(self, record, n, name):
        """The record, then what the bootloader reads."""
        try:
            self.port.files.remove(database.OLD)
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)
        self.journal.put("armed", record.encode())
        self.stage(record, n, name)

    def stage(self, record, n, name):
        """The row first, then the control page: without the row the page would lead to an older image."""
        rows = self.rows()
        new = database.row(name, n, record.sha)
        if len(rows) < self.port.images:
            rows.append(new)
        else:
            rows[rows.index(min(rows, key=self._worth))] = new
        self.save(rows)
        control.disable(self.port.flash)

    def _worth(self, row):
        """Which row is missed least: one that will not run, then the oldest; never the one that runs."""
        return row is self.port.row([row]), row.status in (DOWNLOADED, VALID), row.version

    def tidy(self, *spared):
        """Remove image files that no row names."""
        names = [row.name for row in self.rows()]
        names += [name.rpartition(".")[0] + "_sign.txt" for name in names] + [FACTORY_FILE]
        for name in self.port.files.names():
            if name.endswith((".bin", "_sign.txt")) and name not in names and name not in spared:
                self.port.files.remove(name)

    def confirm(self):
        """The image that runs is good: its row says so, then its page, then the journal."""
        record = self.on_trial()
        if record is None or record.slot != record.back:
            rows = self.rows()
            row = self.port.row(rows)
            if row:
                if row.status != VALID:
                    row.mark(VALID)
                    self.save(rows)
                control.validate(self.port.flash)
        if record:
            self.kept(record)

    def __getattr__(self, name):
        """settle, heal, retreat, rollback, factory_reset, status: what few boots need lies in settle.py."""
        from device.layout.pic32 import settle

        call = getattr(settle, name)
        return lambda *args: call(self, *args)


def judge(head, size, address):
    """Refuse what is no .bin for this slot, by its first bytes."""
    give = "; give the .bin that `pack --layout pic32` makes"
    start = bytes(head[:64])
    if start[:1] == b":":
        raise Refused("hex", "an Intel HEX file" + give)
    if len(head) < PAGE or size <= PAGE:
        raise Refused("tiny", "%d bytes, a control page has %d" % (size, PAGE) + give)
    page = control.Control.decode(head)
    if page is None or page.boot != address:
        seen = "no control page" if page is None else "an image for 0x%x" % page.boot
        raise Refused("address", "%s, this board starts at 0x%x" % (seen, address) + give)
