"""The flash of a chip as a Flash, out of the three functions that a port has for it."""

from mpota_boot.errors import FlashError


class Raw:
    """`read(off, buf)`, `prog(off, buf)` and `erase(off)` of one sector are the port's; each raises OSError.

    A sector has 4096 bytes, as on every NOR chip of these boards.
    """

    erase_size = 4096
    erased = 0xFF

    def __init__(self, size, read, prog, erase, prog_size=1):
        self.size = size
        self.prog_size = prog_size
        self._calls = read, prog, erase

    def _do(self, i, off, *args):
        try:
            self._calls[i](off, *args)
        except OSError as e:
            raise FlashError("flash", "the chip's flash: %r" % e)

    def _fits(self, off, n, unit):
        if off < 0 or off + n > self.size:
            raise FlashError("bounds", "%d bytes at %d leave a flash of %d" % (n, off, self.size))
        if off % unit or n % unit:
            raise FlashError("align", "%d bytes at %d are not in units of %d" % (n, off, unit))

    def read(self, off, buf):
        self._fits(off, len(buf), 1)
        self._do(0, off, buf)

    def prog(self, off, buf):
        self._fits(off, len(buf), self.prog_size)
        self._do(1, off, buf)

    def erase(self, off, n):
        self._fits(off, n, self.erase_size)
        for at in range(off, off + n, self.erase_size):
            self._do(2, at)
