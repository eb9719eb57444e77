"""The partition table that both the loader and the application are compiled with: entries of 64 bytes.

    0 magic "01PE" | 4 name 24 | 28 flash 24 | 52 offset u32 | 56 size u32 | 60 CRC-32 of bytes 0..59

Code (flash `beken_onchip_crc`) is given in logical bytes, see coded.py; the rest (`beken_onchip`) as it lies there. The
loader's own entries stand near the end of its image, where `find` looks for them.
"""

from binascii import crc32
from struct import pack, unpack

from micropython import const

FMT = "<I24s24sII"
SIZE = 64
MAGIC = const(0x45503130)
CODE = b"beken_onchip_crc"
DATA = b"beken_onchip"
# The whole flash to its two tables; names in the order of the loader's image.
SIZES = {
    0x200000: ((b"download", 0x132000, 0xAE000), (b"app", 0x10000, 0x110000), (b"bootloader", 0, 0x10000)),
    0x400000: ((b"download", 0x286000, 0x15A000), (b"app", 0x10000, 0x250000), (b"bootloader", 0, 0x10000)),
}
# Where the radio's calibration and the network's settings lie, one sector each, right behind `download`.
RADIO = {0x200000: 0x1E0000, 0x400000: 0x3E0000}


class Entry:
    """A partition: `name` and `flash` are bytes."""

    def __init__(self, name, flash, offset, size):
        self.name = name
        self.flash = flash
        self.offset = offset
        self.size = size

    @classmethod
    def decode(cls, data):
        """The entry in 64 bytes, or None."""
        data = bytes(data)
        magic, name, flash, offset, size = unpack(FMT, data[:60])
        if magic != MAGIC or crc32(data[:60]) != unpack("<I", data[60:])[0]:
            return None
        return cls(name.split(b"\0")[0], flash.split(b"\0")[0], offset, size)

    def encode(self):
        """The entry's 64 bytes."""
        data = pack(FMT, MAGIC, self.name, self.flash, self.offset, self.size)
        return data + pack("<I", crc32(data))

    @property
    def code(self):
        return self.flash == CODE

    @property
    def ends(self):
        """Where it begins and ends in flash: 34 bytes of flash are 32 of code."""
        ends = self.offset, self.offset + self.size
        return (ends[0] * 17 // 16, ends[1] * 17 // 16) if self.code else ends

    def __eq__(self, other):
        return (self.name, self.flash, self.offset, self.size) == (other.name, other.flash, other.offset, other.size)


def entries(size):
    """The vendor's table for a flash of `size` bytes: name -> Entry."""
    return {name: Entry(name, DATA if name == b"download" else CODE, off, n) for name, off, n in SIZES[size]}


def find(view, buf):
    """The entries in a loader's image, name -> Entry, looked for from its end through `buf`; {} where none stand."""
    found = {}
    n = len(buf)
    off = view.size - n
    before = -1
    # They stand in a row, which may lie across two pieces.
    while off >= 0 and not len(found) == before > 0:
        before = len(found)
        view.read(off, buf)
        at = bytes(buf).find(b"01PE")
        while at >= 0:
            entry = bytearray(SIZE)
            if off + at + SIZE <= view.size:
                view.read(off + at, entry)
                row = Entry.decode(entry)
                if row:
                    found[row.name] = row
            at = bytes(buf).find(b"01PE", at + 1)
        off -= n - 3 if off else n
        if -n < off < 0:
            off = 0
    return found
