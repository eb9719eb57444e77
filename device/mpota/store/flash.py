"""The Flash contract and a window on it.

A Flash has `size`, `erase_size`, `prog_size` in bytes and `erased`, the value of an erased byte (0xFF), and

    read(off, buf)    fill buf from off
    prog(off, buf)    write buf to erased bytes; off and len(buf) are multiples of prog_size
    erase(off, n)     set n bytes to `erased`; off and n are multiples of erase_size

All three raise FlashError outside the flash or off its alignment, before anything is changed.
"""

from mpota_boot.errors import FlashError


class Region:
    """The window `start .. start + size` of a Flash; itself a Flash that refuses to leave the window."""

    def __init__(self, flash, start, size):
        if start < 0 or size < 0 or start + size > flash.size:
            raise FlashError("bounds", "a region of %d bytes at %d leaves a flash of %d" % (size, start, flash.size))
        self.flash = flash
        self.start = start
        self.size = size
        self.erase_size = flash.erase_size
        self.prog_size = flash.prog_size
        self.erased = flash.erased

    def _at(self, off, n):
        if off < 0 or off + n > self.size:
            raise FlashError("bounds", "%d bytes at %d leave a region of %d" % (n, off, self.size))
        return self.start + off

    def read(self, off, buf):
        self.flash.read(self._at(off, len(buf)), buf)

    def prog(self, off, buf):
        self.flash.prog(self._at(off, len(buf)), buf)

    def erase(self, off, n):
        self.flash.erase(self._at(off, n), n)
