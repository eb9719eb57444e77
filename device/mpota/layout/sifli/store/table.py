"""The flash table, `sec_configuration`: where each image lies, what is known of it, which one the chip starts.

    0x0000 magic u32 | 0x0004 16 places of 16: base, size, address it runs at, flags, u32 each | 0x0104 public key 294
    0x1000 14 headers of 512, number = flash id - 2: length u32, block u16, flags u16, key 32, signature 256, version 20
    0x2C00 4 addresses u32, each of the header of the image that a core runs; FFFFFFFF is none

The chip has one copy and looks at once: the magic, one address of the four, the place it names, that header's flags. So
a sector that a start needs is never erased here. The header of the user program (flash id 8) is written where a cut
hurts nobody: into erased bytes, or, if its sector holds nothing else, with an erase.
"""

import struct
from collections import namedtuple

from mpota.layout.sifli.pipe import signed
from mpota_boot.errors import FlashError, Refused

MAGIC = 0x53454346
SIZE = 0x2C10
PLACES_AT, PLACE_FMT, PLACES = 4, "<IIII", 16
KEY_AT = 0x104
HEADERS_AT, HEADER_SIZE, HEADERS = 0x1000, 512, 14
HEADER_FMT = "<IHH32s256s20s"
HEADER_USED = 316
RUNNING_AT = 0x2C00
NONE = 0xFFFFFFFF
LCPU_CORE, BL_CORE, HCPU_CORE, BOOT_CORE = range(4)
IMG_BL, IMG_HCPU, IMG_HCPU2, IMG_EXT1, IMG_EXT2 = 3, 4, 8, 10, 11
# Flags of a header.
ENC, AUTO = 1, 2

Place = namedtuple("Place", ("base", "size", "xip", "flags"))
Header = namedtuple("Header", ("length", "block", "flags", "key", "sig", "version"))


def _get(flash, off, n):
    buf = bytearray(n)
    flash.read(off, buf)
    return bytes(buf)


def check(flash):
    """Refused where there is no table at the start of `flash`."""
    magic = struct.unpack("<I", _get(flash, 0, 4))[0]
    if magic != MAGIC:
        raise Refused("table", "the flash table begins with %08x, wanted %08x" % (magic, MAGIC))


def place(flash, id):
    """The Place of a flash id."""
    return Place(*struct.unpack(PLACE_FMT, _get(flash, PLACES_AT + 16 * id, 16)))


def header(flash, id):
    """The Header of a flash id; None where it was never written."""
    found = Header(*struct.unpack(HEADER_FMT, _get(flash, header_at(id), HEADER_USED)))
    return None if found.length == NONE else found


def header_at(id):
    """The offset of a header; Refused where the id has none."""
    if not 2 <= id < 2 + HEADERS:
        raise Refused("table", "flash id %d has no header" % id)
    return HEADERS_AT + HEADER_SIZE * (id - 2)


def public_key(flash):
    """The 294 bytes of the public key, not checked."""
    return _get(flash, KEY_AT, signed.KEY_SIZE)


def running(flash, core, base):
    """The flash id that a core starts, None where there is none; `base` is the address of the table."""
    at = struct.unpack("<I", _get(flash, RUNNING_AT + 4 * core, 4))[0]
    if at == NONE:
        return None
    i, odd = divmod(at - base - HEADERS_AT, HEADER_SIZE)
    if odd or not 0 <= i < HEADERS:
        raise Refused("table", "core %d runs what the header at %08x says, which is none" % (core, at))
    return i + 2


def encode_header(h):
    """The 512 bytes of a header."""
    data = struct.pack(HEADER_FMT, *h)
    return data + b"\xff" * (HEADER_SIZE - len(data))


def encode(places, key, headers, cores, base):
    """The bytes of a whole table: dicts of Place and Header by flash id, of flash ids by core."""
    out = bytearray(b"\xff" * SIZE)
    struct.pack_into("<I", out, 0, MAGIC)
    for id in places:
        struct.pack_into(PLACE_FMT, out, PLACES_AT + 16 * id, *places[id])
    out[KEY_AT : KEY_AT + len(key)] = key
    for id in headers:
        off = header_at(id)
        out[off : off + HEADER_SIZE] = encode_header(headers[id])
    for core in cores:
        struct.pack_into("<I", out, RUNNING_AT + 4 * core, base + header_at(cores[core]))
    return bytes(out)


def writable(flash, id):
    """Can this header be written so that a cut leaves a table that starts the chip?"""
    at = header_at(id)
    if _blank(flash, at, HEADER_SIZE):
        return True
    n = flash.erase_size
    start = at // n * n
    # The magic and the cores' addresses lie in other sectors, unless a chip erases more than 4 KiB at once.
    if start < HEADERS_AT or start + n > RUNNING_AT:
        return False
    for off in range(start, start + n, HEADER_SIZE):
        if off != at and not _blank(flash, off, HEADER_SIZE):
            return False
    return True


def _blank(flash, off, n):
    return _get(flash, off, n) == b"\xff" * n


def put_header(flash, id, h):
    """Write a header. True where it stands; False where a cut could cost the start of the chip, so nothing is done."""
    data = encode_header(h)
    at = header_at(id)
    if _get(flash, at, HEADER_SIZE) == data:
        return True
    if not writable(flash, id):
        return False
    if not _blank(flash, at, HEADER_SIZE):
        n = flash.erase_size
        flash.erase(at // n * n, n)
    flash.prog(at, data)
    if _get(flash, at, HEADER_SIZE) != data:
        raise FlashError("readback", "the flash table does not hold the header that was written")
    return True
