"""What boots on a PIC32MZW1: one slot in program flash, a store of images, and a database that the bootloader ranks.

The rule that makes it right: a row goes into the database before the control page says that the image that runs is
disabled, and a row says valid before the page does; settle() finishes a pair that was cut. The bootloader counts the
boots of a trial; nothing here erases anything but files that no row names.
"""

from mpota.layout import contract
from mpota.layout.pic32.port import ident, judge, sign_of
from mpota.layout.pic32.store import control, database, files
from mpota.layout.pic32.store.control import DISABLED, DOWNLOADED, PAGE, VALID
from mpota.layout.pic32.store.files import FACTORY_FILE, SIGN, SIGNATURE_SIZE, fold
from mpota.stream import FIRMWARE, RESOURCE
from mpota.version import encode
from mpota_boot.errors import FlashError, NotNow, Refused

# The resource of a package that is its image's signature.
SIGNATURE = "image_sign.txt"
UNSIGNED = (
    "this board's bootloader starts signed images: pack with --resource %s=NAME_sign.txt, as `pic32 pack` makes it"
)
# Bytes of the store that no image takes: seven files of a sector, as the database's others, two journals, a signature.
BOOKS = 7 * 4096
STAGED = "an image waits for its restart"


class Layout(contract.Layout):
    """Decides what boots."""

    NAME = "pic32"
    # Of the package that is looked at: has it a signature for the bootloader, and what is its image's digest?
    _signs = False
    _image = None

    def ready(self):
        """NotNow while an update waits for its reset or its verdict."""
        self._signs = False
        self._image = None
        self.waits()
        self.tidy(self.free())

    def waits(self):
        """The same check as ready(), without tidying."""
        self.idle()
        page = control.read(self.port.flash)
        if page and page.status == DISABLED and self.waiting():
            raise NotNow("staged", STAGED)

    def waiting(self):
        """Has the store an image for the next boot? Otherwise the image that runs is the only one, disabled or not."""
        size = self.port.files.size
        ready = [row for row in self.rows() if row.status in (DOWNLOADED, VALID) and size(row.name) is not None]
        if ready:
            return True
        from mpota.layout.pic32 import settle

        return settle.golden(self)

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

    def named(self):
        """The files that rows name, folded. FAT opens a file by its short name too, which no listing shows."""
        store = self.port.files
        rows = self.rows()
        found = [fold(row.name) for row in rows]
        try:
            there = store.names()
            shown = [fold(name) for name in there]
            hidden = [row.digest for row in rows if fold(row.name) not in shown and store.size(row.name) is not None]
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)
        for name in there if hidden else ():
            if fold(name) not in found and files.digest(store, name, bytearray(PAGE))[0] in hidden:
                found.append(fold(name))
        return found

    def free(self):
        """A name of ours for a file that no row names, and whose signature is no other image's."""
        taken = [name.rpartition(".")[0] or name for name in self.named()]
        i = 1
        while "image%d" % i in taken:
            i += 1
        return "image%d.bin" % i

    def target(self, part):
        """The Flash that a component goes to: a file that no row names, or the application's other tree."""
        if part.kind == RESOURCE and part.name == SIGNATURE:
            self._signs = True
            return files.Stored(self.port.files, sign_of(self.free()), SIGNATURE_SIZE)
        return self.incoming() if part.kind == FIRMWARE else self.place().target(part)

    def incoming(self):
        """The file that the next image goes to, whoever brings it. Its name never comes from the network."""
        name = self.free()
        there = self.port.files
        try:
            room = max(there.room() + (there.size(name) or 0) - BOOKS, 0)
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)
        return files.Stored(there, name, min(room, self.port.flash.size))

    def running(self, part):
        """The Flash that holds the base of a delta."""
        return self.port.current if part.kind == FIRMWARE else self.place().running(part)

    def admit(self, part, head):
        """Judge the first bytes of a component before anything is written for it."""
        if part.kind == FIRMWARE:
            judge(head, part.size, self.port.address)
            self._want_signature()
        elif part.kind != RESOURCE or part.name != SIGNATURE:
            self.place().admit(part, head)

    def check(self, part):
        """The installer has read the file back. Would the bootloader take it? Are all files of an application there?"""
        if part.kind == FIRMWARE:
            # A download that went on after a reset was begun by another start.
            self._want_signature()
            self._image = part.sha
        elif part.kind != RESOURCE or part.name != SIGNATURE:
            self.place().check(part)
        elif self.port.boot_key is not None:
            from mpota.layout.pic32.pipe import p256

            text = self.port.files.get(sign_of(self.free()), SIGNATURE_SIZE)
            if not p256.verify_text(self.port.boot_key, text, self._image):
                raise Refused("signature", "%s is not the bootloader's key's over this image" % SIGNATURE)

    def _want_signature(self):
        if self.port.boot_key is not None and not self._signs:
            raise Refused("signature", UNSIGNED % SIGNATURE)

    def arm(self, package):
        """Make the new image boot: a record, a row, and two bytes that lose bits."""
        if package.components[0].kind != FIRMWARE:
            return self.journal.put("armed", self.fresh(package, self.port.running).encode())
        n = self.following()
        if not self._signs:
            # Of an image that came to nothing.
            self.port.files.remove(sign_of(self.free()))
        self.put_armed(self.fresh(package, ident(database.coded(n))), n, self.free())
        # A row names the file now, so a new try at this package has to write another file.
        self.journal.put("progress", b"")

    def take(self, name, n, sha, size):
        """The same for a file that the vendor's service brought, with the number that its manifest gave it."""
        record = self.new(sha[:8], sha, encode([0, 0, 0, n]), size, ident(database.coded(n)))
        self.put_armed(record, n, name)

    def following(self):
        """The number of the next image that has none of its own: above all others."""
        n = max([database.number(v) for v in [self.port.version] + [row.version for row in self.rows()]]) + 1
        if n > 999:
            raise Refused("number", "image %d: the database counts to 999; the message RENUMBER begins at 1 again" % n)
        return n

    def put_armed(self, record, n, name):
        """The record, then what the bootloader reads."""
        try:
            self.port.files.remove(database.OLD)
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)
        if record.slot == record.back:
            record.back = -1  # else it were an application on trial
        self.journal.put("armed", record.encode())
        self.stage(record, n, name)

    def stage(self, record, n, name):
        """The row first, then the control page: without the row the page would lead to an older image."""
        rows = self._others(n)
        new = database.row(name, n, record.sha)
        if len(rows) < self.port.images:
            rows.append(new)
        else:
            rows[rows.index(min(rows, key=self._worth))] = new
        self.save(rows)
        control.disable(self.port.flash)

    def _others(self, n):
        # Of two rows with one number the bootloader takes the first.
        return [row for row in self.rows() if row.version != database.coded(n)]

    def full(self, n):
        """Will image `n` take another one's row?"""
        return len(self._others(n)) >= self.port.images

    def _worth(self, row):
        """The order in which rows may be dropped: those that will not run, then the oldest; never the one that runs."""
        return row is self.port.row([row]), row.status in (DOWNLOADED, VALID), row.version

    def on_trial(self):
        """As for every layout. ident() wraps at 120, so two images can share a number: the row's digest decides."""
        record = contract.Layout.on_trial(self)
        if record and record.slot != record.back:
            try:
                row = self.port.row(database.load(self.port.files) or ())
            except OSError:
                return record
            if row and row.digest != record.sha:
                return None
        return record

    def tidy(self, spared=""):
        """Remove image files that no row names: what a cut or a newer row has left of them."""
        rows = self.rows()
        if self.port.running and self.port.row(rows) is None:
            # A database that has lost the row of the running image cannot be trusted about the others.
            return
        names = self.named()
        names += [sign_of(name) for name in names + [spared]] + [FACTORY_FILE, SIGN, spared]
        store = self.port.files
        try:
            for name in store.names():
                low = fold(name)
                if low not in names and (low.endswith(".bin") or low.endswith("_sign.txt")):
                    store.remove(name)
        except OSError as e:
            raise FlashError("store", "the image store: %r" % e)

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

    # Few boots need these, so they lie in settle.py.

    def settle(self, why):
        from mpota.layout.pic32 import settle

        return settle.settle(self, why)

    def heal(self):
        from mpota.layout.pic32 import settle

        return settle.heal(self)

    def retreat(self, why):
        from mpota.layout.pic32 import settle

        return settle.retreat(self, why)

    def rollback(self, why):
        from mpota.layout.pic32 import settle

        return settle.rollback(self, why)

    def withdraw(self):
        from mpota.layout.pic32 import settle

        return settle.withdraw(self)

    def renumber(self):
        from mpota.layout.pic32 import settle

        return settle.renumber(self)

    def excuse(self, why):
        from mpota.layout.pic32 import settle

        return settle.excuse(self, why)

    def factory_reset(self):
        from mpota.layout.pic32 import settle

        return settle.factory_reset(self)

    def status(self):
        from mpota.layout.pic32 import settle

        return settle.status(self)
