"""Program flash under the bootloader of a PIC32MZW1, and the factory image, which is kept at a device's first boot.

The control page goes before the first sector changes and comes back after the last one was read back.
"""

from collections import namedtuple

from device.errors import FlashError
from device.layout.pic32 import control, database, files
from device.layout.pic32.control import BLANK, FACTORY, PAGE, VALID, Control
from device.stream import pull

FACTORY_FILE = "factory_reset.bin"
FACTORY_DIGEST = "factory_image_digest.txt"
TRIES = 3

# Where the processor goes, None for nowhere; the version that runs, as the page has it; what was done, in words.
Boot = namedtuple("Boot", ("address", "version", "did"))


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
        from device.layout.pic32 import p256

        text = self.store.get(name.rpartition(".")[0] + "_sign.txt", 96)
        return text is not None and p256.verify_text(self.options.key, text, sha)

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

    def factory(self, rows):
        """Nothing in the store may run: the image that the device came with."""
        head = self.golden()
        if head is None:
            return self.last()
        try:
            if rows is not None and not self.skipped:
                database.drop(self.store, rows)
            self.program(FACTORY_FILE)
        except (OSError, FlashError) as e:
            self.did.append("factory: %r" % e)
            return Boot(None, None, self.did)
        head.status = BLANK
        self.page(head)
        control.clear(self.flash, 0, VALID)
        return self.jump(head.version)

    def golden(self):
        """The Control in front of the factory image, None where it is not there or not whole."""
        head = Control.decode(self.store.get(FACTORY_FILE, control.HEAD) or b"\xff" * 256)
        if head is None or (head.status, head.kind) != (VALID, FACTORY):
            return None
        sha, n = files.digest(self.store, FACTORY_FILE, self.buf)
        wanted = self.store.get(FACTORY_DIGEST, 32)
        if n != self.flash.size or (wanted and sha != wanted):
            return None
        return head if self.signed("factory_image.bin", sha) else None

    def last(self):
        """There is no other image. A page with a status says that all of one lies behind it."""
        page = self.control
        if page is None or (page.status == BLANK and not page.pristine()):
            return Boot(None, None, self.did + ["no image"])
        self.did.append("no other image")
        return self.jump()

    def backup(self):
        """The first boot of a device: keep what it came with, then say so. A cut repeats it."""
        self.did.append("keeps the factory image")
        store, buf = self.store, self.buf
        database.drop(store)
        store.remove(FACTORY_DIGEST)
        for name in store.names():
            if name.endswith(".bin"):
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
