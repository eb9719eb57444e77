"""The RBL header: 96 bytes before the body in `download`, and once more at the end of `app` when it was installed.

    0 magic "RBL\\0" | 4 algorithm u32 | 8 timestamp u32 | 12 name 16 | 28 version 24 | 52 serial 24 | 76 CRC-32 of
    the body | 80 FNV-1a of the raw image | 84 raw size u32 | 88 body size u32 | 92 CRC-32 of bytes 0..91

As in the vendor's loader the CRC alone says whether a header is one; the magic is for people.
"""

# ruff: noqa: F821 - ptr8 and ptr16 are viper's.
from array import array
from binascii import crc32
from struct import pack, unpack

import micropython
from micropython import const

FMT = "<4sII16s24s24sIIIII"
SIZE = 96
MAGIC = b"RBL\0"
SERIAL = b"0" * 23 + b"\0"
# The low four bits of the algorithm are the cipher, bits 8 to 15 the compression.
NONE, XOR, AES = 0, 1, 2
GZIP, QUICKLZ, FASTLZ, LZMA = 0x100, 0x200, 0x300, 0x400
CIPHERS = {NONE: "none", XOR: "xor", AES: "aes"}
COMPRESSIONS = {NONE: "none", GZIP: "gzip", QUICKLZ: "quicklz", FASTLZ: "fastlz", LZMA: "lzma"}
# The vendor's own, which its loaders are compiled with.
KEY = b"0123456789ABCDEF0123456789ABCDEF"
IV = b"0123456789ABCDEF"
# The loader reads a package, and writes an image, in pieces of so many bytes.
PIECE = const(4096)
# The loader's loops need at least 128 bytes of image and 32 of body (FORMAT.md).
LEAST_RAW = const(128)
LEAST_BODY = const(32)


@micropython.viper
def _fnv(half, buf, n: int):
    """FNV-1a in halves of 16 bits, low one first, so that no product leaves 31 bits; the prime is 2**24 + 0x193."""
    h = ptr16(half)
    p = ptr8(buf)
    low = int(h[0])
    high = int(h[1])
    i = 0
    while i < n:
        low ^= int(p[i])
        high = (high * 0x193 + (low << 8) + (low * 0x193 >> 16)) & 0xFFFF
        low = (low * 0x193) & 0xFFFF
        i += 1
    h[0] = low
    h[1] = high


class Fnv:
    """FNV-1a, 32 bits: feed it, then ask `value`."""

    def __init__(self):
        self.half = array("H", (0x9DC5, 0x811C))

    def update(self, buf):
        _fnv(self.half, buf, len(buf))

    @property
    def value(self):
        return self.half[1] << 16 | self.half[0]


class Header:
    """A header's fields; `name` and `version` are bytes without their padding."""

    def __init__(self, *fields):
        (self.magic, self.algo, self.time, name, version, self.serial, self.crc, self.hash, self.raw, self.body) = (
            fields
        )
        self.name = name.split(b"\0")[0]
        self.version = version.split(b"\0")[0]

    @classmethod
    def decode(cls, data):
        """The header in 96 bytes, None where their CRC is another one."""
        data = bytes(data)
        fields = unpack(FMT, data)
        return None if crc32(data[: SIZE - 4]) != fields[-1] else cls(*fields[:-1])

    def encode(self):
        """The header's 96 bytes."""
        sizes = self.hash, self.raw, self.body, 0
        data = pack(FMT, self.magic, self.algo, self.time, self.name, self.version, self.serial, self.crc, *sizes)
        return data[: SIZE - 4] + pack("<I", crc32(data[: SIZE - 4]))

    @property
    def cipher(self):
        return self.algo & 15

    @property
    def compression(self):
        """As the loader reads it: of the low 16 bits."""
        return self.algo & 0xFF00
