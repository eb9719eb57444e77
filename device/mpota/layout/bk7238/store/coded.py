"""Code in the flash as the CPU does not see it: after 32 bytes stand 2 of CRC-16, and an eFuse may scramble the words.

    physical = logical * 34 / 32     CRC-16: polynomial 0x8005, from 0xFFFF, high bit first, stored big-endian

`Coded` is a partition in logical offsets. It reads whatever is there and counts the blocks whose CRC is wrong in `bad`;
an erased block is no bad one. The scrambler's mask of a word depends on its logical address and four coefficients.
"""

# ruff: noqa: F821 - ptr8 and ptr16 are viper's.
from array import array

import micropython
from micropython import const

from mpota_boot.errors import FlashError

# Logical bytes of the buffer, in whole blocks.
_MOST = const(1024)


def _table():
    found = array("H", bytes(512))
    for i in range(256):
        c = i << 8
        for _ in range(8):
            c = c << 1 ^ (0x8005 if c & 0x8000 else 0)
        found[i] = c & 0xFFFF
    return found


TABLE = _table()


@micropython.viper
def crc16(table, buf, n: int) -> int:
    """CRC-16 of buf[:n]."""
    t = ptr16(table)
    p = ptr8(buf)
    c = 0xFFFF
    i = 0
    while i < n:
        c = ((c << 8) & 0xFFFF) ^ int(t[(c >> 8) ^ int(p[i])])
        i += 1
    return c


@micropython.viper
def gather(table, raw, plain, blocks: int) -> int:
    """Take the data out of so many blocks of 34 bytes; returns how many had a wrong CRC."""
    t = ptr16(table)
    r = ptr8(raw)
    p = ptr8(plain)
    bad = 0
    at = 0
    end = blocks * 34
    k = 0
    while at < end:
        c = 0xFFFF
        ones = 0xFF
        i = 0
        while i < 32:
            b = int(r[at + i])
            p[k + i] = b
            ones &= b
            c = ((c << 8) & 0xFFFF) ^ int(t[(c >> 8) ^ b])
            i += 1
        seen = (int(r[at + 32]) << 8) | int(r[at + 33])
        if c != seen and not (ones == 0xFF and seen == 0xFFFF):
            bad += 1
        at += 34
        k += 32
    return bad


@micropython.viper
def spread(table, plain, raw, blocks: int):
    """Put so many blocks of 32 bytes into 34 each."""
    t = ptr16(table)
    p = ptr8(plain)
    r = ptr8(raw)
    at = 0
    end = blocks * 34
    k = 0
    while at < end:
        c = 0xFFFF
        i = 0
        while i < 32:
            b = int(p[k + i])
            r[at + i] = b
            c = ((c << 8) & 0xFFFF) ^ int(t[(c >> 8) ^ b])
            i += 1
        r[at + 32] = c >> 8
        r[at + 33] = c & 0xFF
        at += 34
        k += 32


def scrambles(c):
    """Do these coefficients change anything? None and the value of blank eFuses do not."""
    return c is not None and 0 < c[3] >> 24 < 0xFF and c[3] & 15 != 15


def _erased(block):
    """No block of code has fewer than two bytes that are not FF, and a cell behind the code may be worn."""
    return bytes(block).count(b"\xff") > 32


class Coded:
    """`size` logical bytes from logical `start` of a Flash, which takes bytes whatever the unit of its sectors.

    `prog` begins at a multiple of 32 and fills the last block with FF; `erase` takes every sector that it touches.
    """

    prog_size = 32
    erased = 0xFF

    def __init__(self, flash, start, size, coefficients=None):
        if start * 17 % (16 * flash.erase_size) or size * 17 % (16 * flash.erase_size):
            raise FlashError("bounds", "code at %d of %d bytes does not end with a sector" % (start, size))
        self.flash = flash
        self.start = start
        self.size = size
        self.erase_size = flash.erase_size
        self.scramble = None
        if scrambles(coefficients):
            from mpota.layout.bk7238.store.scramble import scramble

            self.scramble = lambda buf, off: scramble(buf, start + off, coefficients)
        self.bad = 0
        self.raw = memoryview(bytearray(_MOST // 32 * 34))
        self.plain = bytearray(_MOST)

    def _at(self, off, n):
        if off < 0 or off + n > self.size:
            raise FlashError("bounds", "%d bytes at %d leave a partition of %d" % (n, off, self.size))
        return (self.start + off) * 17 // 16

    def read(self, off, buf):
        self._at(off, len(buf))
        view = memoryview(buf)
        plain = memoryview(self.plain)
        done = 0
        while done < len(view):
            skip = (off + done) % 32
            first = off + done - skip
            n = min(_MOST, (skip + len(view) - done + 31) // 32 * 32)
            raw = self.raw[: n * 17 // 16]
            self.flash.read(self._at(first, n), raw)
            self.bad += gather(TABLE, raw, self.plain, n // 32)
            if self.scramble:
                self.scramble(plain[:n], first)
            k = min(n - skip, len(view) - done)
            view[done : done + k] = plain[skip : skip + k]
            done += k

    def prog(self, off, buf):
        if off % 32:
            raise FlashError("bounds", "code is written in blocks of 32 bytes, not from %d" % off)
        plain = memoryview(self.plain)
        for done in range(0, len(buf), _MOST):
            k = min(_MOST, len(buf) - done)
            n = (k + 31) // 32 * 32
            self.plain[:k] = memoryview(buf)[done : done + k]
            self.plain[k:n] = b"\xff" * (n - k)
            if self.scramble:
                self.scramble(plain[:n], off + done)
            at = self._at(off + done, n)
            spread(TABLE, self.plain, self.raw, n // 32)
            self.flash.prog(at, self.raw[: n * 17 // 16])

    def clean(self, feed):
        """Is every CRC right, from the front up to the first block that is erased?"""
        for off in range(0, self.size, _MOST):
            self.flash.read(self._at(off, _MOST), self.raw)
            if gather(TABLE, self.raw, self.plain, _MOST // 32):
                n = 0
                while n < _MOST // 32 and not _erased(self.raw[34 * n : 34 * n + 34]):
                    n += 1
                if gather(TABLE, self.raw, self.plain, n):
                    return False
            if _erased(self.raw[-34:]):
                break
            feed()
        return True

    def erase(self, off, n):
        unit = self.erase_size
        low = self._at(off, n) // unit * unit
        high = self._at((off + n + 31) // 32 * 32, 0)
        while low < high:
            self.flash.erase(low, unit)
            low += unit
