"""The factory image: what a device comes with, kept at its first boot, started where nothing in the store may run."""

from collections import namedtuple

from device.errors import FlashError
from device.layout.pic32 import control, database, files
from device.layout.pic32.control import BLANK, FACTORY, PAGE, VALID, Control

FACTORY_FILE = "factory_reset.bin"
FACTORY_DIGEST = "factory_image_digest.txt"

# Where the processor goes, None for nowhere; the version that runs, as the page has it; what was done, in words.
Boot = namedtuple("Boot", ("address", "version", "did"))


class Golden:
    """The part of the bootloader that knows the factory image."""

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
        if self.control is None or self.control.status == BLANK:
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
