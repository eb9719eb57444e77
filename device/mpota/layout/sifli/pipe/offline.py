"""Packages that are installed without a phone, `offline_install.bin`.

    v0: magic u32 | n u8 | 5 n u32 | n times: id u8, length u32 | the parts; the first one is the control packet, id 10
    v1: magic u32 | 1 u8 | install state u8 | n u16 | CRC-32/MPEG-2 of the parts u32 | n times: id u8, flags u8,
        length u32 | the parts: compressed form where the flags are 16, raw otherwise

Both begin alike: byte 4 is a count there and a version here. A v0 package is signed by its control packet; a v1 package
is protected by its checksum alone, so it proves damage and no origin.
"""

import struct
from array import array

import micropython

from mpota_boot.errors import Corrupt

MAGIC = 0x53454346
CTRL_PACKET = 10
# Install states of v1: each step only clears bits.
NEW, INSTALLING, FINISHED = 0xFF, 0x7F, 0x3F
V0, V0_SIZE, V0_ENTRY = "<IBI", 9, 5
V1, V1_SIZE, V1_ENTRY = "<IBBHI", 12, 6
MOST = 16


def _rows():
    """The CRCs of the 16 numbers of 4 bits (polynomial 04C11DB7), high half and low half in turn."""
    rows = array("H")
    for i in range(16):
        crc = i << 28
        for _ in range(4):
            crc = (crc << 1) ^ (0x104C11DB7 if crc >> 31 else 0)
        rows.append(crc >> 16)
        rows.append(crc & 0xFFFF)
    return rows


@micropython.viper
def _add(state: ptr16, buf: ptr8, n: int, rows: ptr16):  # noqa: F821
    """Take `n` bytes into the CRC, whose halves are two numbers, as 32 bits are more than an ESP32's small int."""
    hi = int(state[0])
    lo = int(state[1])
    for i in range(n):
        for turn in range(4, -4, -4):
            k = ((hi >> 12) ^ (int(buf[i]) >> turn)) & 15
            hi = ((hi << 4) & 0xFFFF | lo >> 12) ^ int(rows[2 * k])
            lo = ((lo << 4) & 0xFFFF) ^ int(rows[2 * k + 1])
    state[0] = hi
    state[1] = lo


class Crc:
    """CRC-32/MPEG-2 over the bytes fed: from all ones, no reflection, no last exclusive or."""

    def __init__(self):
        self.rows = _rows()
        self.state = array("H", (0xFFFF, 0xFFFF))

    def feed(self, buf):
        _add(self.state, buf, len(buf), self.rows)  # type: ignore[arg-type]
        return self

    def value(self):
        return self.state[0] << 16 | self.state[1]


class Entry:
    """A part: `id`, `flags` (None in v0), `length`, `off` in the package."""

    def __init__(self, id, flags, length, off):
        self.id = id
        self.flags = flags
        self.length = length
        self.off = off


class Package:
    """The head of a package in a Flash. `version`, `entries`, `size`; v1 has `state` and `crc` too."""

    def __init__(self, flash):
        self.flash = flash
        head = _get(flash, 0, V1_SIZE)
        if len(head) < V1_SIZE:
            raise Corrupt("image", "an offline package of %d bytes" % len(head))
        magic, n, info = struct.unpack(V0, head[:V0_SIZE])
        if magic != MAGIC:
            raise Corrupt("image", "an offline package begins with %08x, wanted %08x" % (magic, MAGIC))
        # In v0 the number of the parts is told twice.
        self.version = 0 if info == V0_ENTRY * n else 1
        if self.version:
            _, _, self.state, n, self.crc = struct.unpack(V1, head)
        if (self.version and head[4] != 1) or not 0 < n <= MOST:
            raise Corrupt("image", "version %d with %d parts" % (head[4], n))
        self.entries = []
        self._list(n)

    def _list(self, n):
        width = V1_ENTRY if self.version else V0_ENTRY
        at = V1_SIZE if self.version else V0_SIZE
        data = _get(self.flash, at, n * width)
        if len(data) < n * width:
            raise Corrupt("image", "a list of %d parts leaves the package" % n)
        off = self.start = at + n * width
        for i in range(0, n * width, width):
            id, flags, length = data[i], data[i + 1], struct.unpack("<I", data[i + width - 4 : i + width])[0]
            if length > self.flash.size - off:
                raise Corrupt("image", "part %d of %d bytes at %d leaves the package" % (id, length, off))
            self.entries.append(Entry(id, flags if self.version else None, length, off))
            off += length
        self.size = off
        if not self.version and self.entries[0].id != CTRL_PACKET:
            raise Corrupt("image", "the first part is %d, wanted the control packet" % self.entries[0].id)

    def prove(self, buf, feed):
        """v1: Corrupt where the checksum is not that of the parts; reads through `buf`, `feed` after each piece."""
        crc = Crc()
        at = self.start
        while at < self.size:
            piece = memoryview(buf)[: min(len(buf), self.size - at)]
            self.flash.read(at, piece)
            crc.feed(piece)
            at += len(piece)
            feed()
        if crc.value() != self.crc:
            raise Corrupt("image", "the parts have the checksum %08x, wanted %08x" % (crc.value(), self.crc))


def _get(flash, off, n):
    buf = bytearray(min(n, max(0, flash.size - off)))
    flash.read(off, buf)
    return bytes(buf)


def encode_v0(parts):
    """The bytes of a v0 package: (id, bytes) of each part, the control packet first."""
    out = struct.pack(V0, MAGIC, len(parts), V0_ENTRY * len(parts))
    out += b"".join([struct.pack("<BI", id, len(data)) for id, data in parts])
    return out + b"".join([data for _, data in parts])


def encode_v1(parts):
    """The bytes of a new v1 package: (id, flags, bytes) of each part."""
    crc = Crc()
    for _, _, data in parts:
        crc.feed(data)
    out = struct.pack(V1, MAGIC, 1, NEW, len(parts), crc.value())
    out += b"".join([struct.pack("<BBI", id, flags, len(data)) for id, flags, data in parts])
    return out + b"".join([data for _, _, data in parts])
