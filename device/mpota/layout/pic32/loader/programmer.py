"""Program flash under the bootloader of a PIC32MZW1, and the factory image, which is kept at a device's first boot.

The control page goes before the first sector changes and comes back after the last one was read back.
"""

from collections import namedtuple

from mpota.layout.pic32.store import control, database, files
from mpota.layout.pic32.store.control import BLANK, FACTORY, PAGE, TRIES, VALID, Control
from mpota.layout.pic32.store.files import FACTORY_DIGEST, FACTORY_FILE
from mpota.store.flash import Region
from mpota.store.writer import digest
from mpota.stream import pull
from mpota_boot.errors import FlashError

# address: where the processor jumps, None for nowhere. version: of what runs, as on the page. did: in words.
Boot = namedtuple("Boot", ("address", "version", "did"))


class Options:
    """How this bootloader was built: where the slot lies, boots of an unconfirmed image, the public key that signs."""

    def __init__(self, base=0x20000, tries=TRIES, key=None, feed=None):
        self.address = 0xB0000000 + base + PAGE
        self.tries = tries
        self.key = key
        self.feed = feed or (lambda: None)


class Programmer:
    """One boot: what may be in the slot, and what was done to it."""

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

    def signed(self, name, sha):
        """Is there a signature of the bootloader's key over the digest? Without a key none is asked for."""
        if self.options.key is None:
            return True
        from mpota.layout.pic32.pipe import p256

        text = self.store.get(name.rpartition(".")[0] + "_sign.txt", 96)
        return text is not None and p256.verify_text(self.options.key, text, sha)

    def program(self, name):
        """The page goes, then each sector that differs is written."""
        self.did.append("programs " + name)
        flash, buf = self.flash, self.buf
        seen = bytearray(PAGE)
        flash.read(0, seen)
        if seen != b"\xff" * PAGE:
            self.again(lambda: flash.erase(0, PAGE))
        self.control = None
        with self.store.open(name, "rb") as f:
            f.seek(PAGE)
            off = PAGE
            while n := pull(f, buf):
                self.options.feed()
                buf[n:] = b"\xff" * (PAGE - n)
                flash.read(off, seen)
                if seen != buf:
                    self.again(lambda: self.sector(off, seen))  # noqa: B023  # it is called at once
                off += PAGE

    def sector(self, off, seen):
        """Write one sector and read it back."""
        flash, buf = self.flash, self.buf
        flash.erase(off, PAGE)
        flash.prog(off, buf)
        flash.read(off, seen)
        # Behind the end of an image no code can miss a byte.
        n = len(bytes(buf).rstrip(b"\xff"))
        if seen[:n] != buf[:n]:
            raise FlashError("readback", "0x%x does not hold what was written" % off)

    def again(self, call):
        """A flash that failed once may do it the next time."""
        for _ in range(2):
            try:
                return call()
            except (OSError, FlashError) as e:
                self.did.append("again: %r" % e)
        return call()

    def page(self, page):
        """The page, blank in its status: that comes after."""
        page.code = self.code(page.size)
        self.again(lambda: self.flash.prog(0, page.encode()))

    def clear(self, value):
        """Fewer bits in the status of the page."""
        self.again(lambda: control.clear(self.flash, 0, value))

    def code(self, size):
        """SHA-256 of the code behind the page in the flash."""
        flash = Region(self.flash, PAGE, self.flash.size - PAGE)
        return digest(flash, min(size, self.flash.size) - PAGE, bytearray(PAGE), self.options.feed)

    def rotten(self):
        """Does the flash no longer hold the programmed image? False where there is nothing to compare it with."""
        page = self.control
        if page.sealed:
            bad = self.code(page.size) != page.code
        else:
            wanted = self.promised() if page.kind == FACTORY else None
            whole = files.Programmed(self.flash, self.store, FACTORY_FILE)
            # A file that is not whole either proves nothing.
            bad = wanted and digest(whole, whole.size, bytearray(PAGE), self.options.feed) != wanted and self.golden()
        if bad:
            self.did.append("the flash does not hold what was programmed")
        return bad

    def factory(self, rows):
        """Nothing in the store may run: the image that the device came with."""
        try:
            head = self.golden()
        except OSError as e:
            self.did.append("factory: %r" % e)
            head = None
        if head is None:
            return self.last()
        try:
            if rows is not None and not self.skipped:
                self.again(lambda: database.drop(self.store, rows))
        except OSError as e:
            # It holds nothing that may run.
            self.did.append("store: %r" % e)
        try:
            self.program(FACTORY_FILE)
            head.status, head.size = BLANK, self.flash.size
            self.page(head)
            self.clear(VALID)
        except (OSError, FlashError) as e:
            self.did.append("factory: %r" % e)
            return Boot(None, None, self.did)
        return self.jump(head.version)

    def golden(self):
        """The Control in front of the factory image, None where it is not there or not whole."""
        head = Control.decode(self.store.get(FACTORY_FILE, control.HEAD) or b"\xff" * 256)
        if head is None or (head.status, head.kind) != (VALID, FACTORY):
            return None
        sha, n = files.digest(self.store, FACTORY_FILE, self.buf)
        wanted = self.promised()
        if n != self.flash.size or (wanted and sha != wanted):
            return None
        return head if self.signed("factory_image.bin", sha) else None

    def promised(self):
        """The digest of the factory image, None where the store has none."""
        sha = self.store.get(FACTORY_DIGEST, 32)
        return sha if sha and len(sha) == 32 else None

    def last(self):
        """There is no other image. A page with a status says that all of one lies behind it."""
        page = self.control
        if page is None or (page.status == BLANK and not page.pristine()) or (page.sealed and self.rotten()):
            return Boot(None, None, self.did + ["no image"])
        self.did.append("no other image")
        return self.jump()

    def backup(self):
        """The first boot of a device: keep its image as the factory image, then mark the page. A cut repeats it."""
        self.did.append("keeps the factory image")
        store, buf = self.store, self.buf
        database.drop(store)
        store.remove(FACTORY_DIGEST)
        for name in store.names():
            if files.fold(name).endswith(".bin"):
                store.remove(name)
        with store.open(FACTORY_FILE, "wb") as f:
            for off in range(0, self.flash.size, PAGE):
                self.options.feed()
                self.flash.read(off, buf)
                if not off:
                    buf[0] = VALID
                f.write(buf)
        store.put(FACTORY_DIGEST, files.digest(store, FACTORY_FILE, buf)[0])
        control.validate(self.flash)
