"""Writes an image to its target, front to back, and reads it back; and the record of how far a package has come.

A sector is erased right before its first byte is written: never all at once, which would starve the radio and the
watchdog for seconds, and never twice. One that reads blank is erased too: so does one whose erase was cut, and its bits
may turn later. The journal does not tell the two apart. It does tell which sectors another package has finished: those
stay where they hold the right bytes.
"""

from hashlib import sha256
from struct import pack, unpack

from micropython import const

# Package id 8; of the next chunk: SHA-256 32, its bytes u16, the sectors that it decodes to u8, where these lie in the
# component u32, its offset in the package u32, its component u8.
_PROGRESS = const("<8s32sHBIIB")
_PROGRESS_SIZE = const(52)


def encode_progress(*fields):
    """The journal's `progress`, 52 bytes: id of the package; of its next chunk SHA-256, bytes, sectors, offset in the
    component, offset in the package, and number of the component.
    """
    return pack(_PROGRESS, *fields)


def decode_progress(data):
    """The same seven fields, or None where the bytes are none."""
    return unpack(_PROGRESS, data) if data and len(data) == _PROGRESS_SIZE else None


def put(flash, off, buf, n, between=None):
    """Write the first `n` bytes of the bytearray `buf` at `off`, at most a sector; the last unit is filled up.

    `between` is called between erase and program, each of which stops all else.
    """
    if off % flash.erase_size == 0:
        flash.erase(off, flash.erase_size)
        if between:
            between()
    while n % flash.prog_size:
        buf[n] = flash.erased
        n += 1
    flash.prog(off, memoryview(buf)[:n])


def digest(flash, size, buf, feed, start=0):
    """SHA-256 (32 bytes) of `size` bytes from byte `start` of a Flash, read through `buf`; `feed()` for each piece."""
    h = sha256()
    view = memoryview(buf)
    for off in range(0, size, len(buf)):
        piece = view[: size - off]
        flash.read(start + off, piece)
        h.update(piece)
        feed()
    return h.digest()
