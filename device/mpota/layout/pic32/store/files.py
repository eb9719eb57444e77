"""The image store: a folder of any file system that is mounted, and one file of it as a Flash.

Every write is closed before the next one begins, and nothing is renamed: what FAT makes of a cut in a rename is two
names for one file. A name has no path in it.
"""

import os
from hashlib import sha256

from mpota.layout.pic32.store.control import PAGE
from mpota_boot.errors import FlashError

# The image that the device came with, and its 32 bytes of SHA-256.
FACTORY_FILE = "factory_reset.bin"
FACTORY_DIGEST = "factory_image_digest.txt"
# Its signature, which its owner puts there, and the bytes that the vendor's bootloader reads of one.
SIGN = "factory_image_sign.txt"
SIGNATURE_SIZE = 96


def fold(name):
    """A name as FAT compares it: without its case, and without dots and spaces at its end."""
    return name.lower().rstrip(". ")


class Folder:
    """The files of the store at `root`. Errors are OSError, as the file system gives them."""

    def __init__(self, root):
        self.root = root

    def open(self, name, mode):
        return open(self.root + "/" + name, mode)

    def remove(self, name):
        """No file of that name any more, if there was one."""
        if self.size(name) is not None:
            os.remove(self.root + "/" + name)

    def size(self, name):
        """Bytes of a file, None where there is none."""
        try:
            return os.stat(self.root + "/" + name)[6]
        except OSError:
            return None

    def names(self):
        """Every file's name."""
        return os.listdir(self.root)

    def room(self):
        """Bytes that are free."""
        facts = os.statvfs(self.root)
        return facts[0] * facts[3]

    def get(self, name, most):
        """The first `most` bytes of a file, None where there is none."""
        if self.size(name) is None:
            return None
        with self.open(name, "rb") as f:
            return f.read(most)

    def put(self, name, data):
        """A file anew."""
        with self.open(name, "wb") as f:
            f.write(data)


class Stored:
    """The Flash contract over one file, which may have `size` bytes."""

    # Did the download into this file break off, so that it has the beginning of an image?
    again = False
    erase_size = prog_size = 1
    erased = 0xFF

    def __init__(self, files, name, size):
        self.files = files
        self.name = self.label = name
        self.size = size

    def erase(self, off, n):
        """A file needs none."""

    def read(self, off, buf):
        self._move(off, buf, "rb")

    def prog(self, off, buf):
        # A line that breaks again and again must not wear out the store.
        if not (self.again and self._holds(off, buf)):
            # What is behind the end of a new image belongs to an older one.
            self._move(off, buf, "r+b" if off else "wb")

    def _holds(self, off, buf):
        if (self.files.size(self.name) or 0) < off + len(buf):
            return False
        view = memoryview(buf)
        seen = bytearray(256)
        for at in range(0, len(buf), 256):
            piece = view[at : at + 256]
            self.read(off + at, memoryview(seen)[: len(piece)])
            if seen[: len(piece)] != piece:
                return False
        return True

    def end(self, n):
        """The image has `n` bytes. FlashError where more lies behind them, of an older one: then the file goes."""
        have = self.files.size(self.name)
        if have != n:
            try:
                self.files.remove(self.name)
            except OSError:
                pass  # it is written over from its beginning
            raise FlashError("store", "%s has %s bytes, wanted %d: fetched again" % (self.name, have, n))

    def _move(self, off, buf, mode):
        try:
            with self.files.open(self.name, mode) as f:
                f.seek(off)
                if mode != "rb":
                    f.write(buf)
                elif f.readinto(buf) != len(buf):
                    raise OSError(5)
        except OSError as e:
            raise FlashError("store", "%s, byte %d: %r" % (self.name, off, e))


class Programmed:
    """A .bin once it runs, to be hashed: its head out of the file, its code out of the flash."""

    def __init__(self, flash, store, name):
        self.flash = flash
        self.head = Stored(store, name, PAGE)
        self.size = flash.size

    def read(self, off, buf):
        (self.flash if off >= PAGE else self.head).read(off, buf)


def digest(files, name, buf):
    """(SHA-256, bytes) of a file, read through `buf`; (None, 0) where it cannot be read."""
    h = sha256()
    total = 0
    view = memoryview(buf)
    try:
        with files.open(name, "rb") as f:
            n = f.readinto(buf)
            while n:
                h.update(view[:n])
                total += n
                n = f.readinto(buf)
    except OSError:
        return None, 0
    return h.digest(), total
