"""Writes an image to its target, front to back, and reads it back.

A sector is erased right before its first byte is written: never all at once, which would starve the radio and the
watchdog for seconds, and never twice.
"""

from hashlib import sha256


def put(flash, off, buf, n):
    """Write the first `n` bytes of the bytearray `buf` at `off`, at most a sector; the last unit is filled up."""
    if off % flash.erase_size == 0:
        flash.erase(off, flash.erase_size)
    while n % flash.prog_size:
        buf[n] = flash.erased
        n += 1
    flash.prog(off, memoryview(buf)[:n])


def digest(flash, size, buf, feed):
    """SHA-256 (32 bytes) of the first `size` bytes of a Flash, read through `buf`; `feed` is called for each piece."""
    h = sha256()
    view = memoryview(buf)
    for off in range(0, size, len(buf)):
        piece = view[: size - off]
        flash.read(off, piece)
        h.update(piece)
        feed()
    return h.digest()
