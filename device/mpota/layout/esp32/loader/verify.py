"""The whole check that the ESP32 bootloader makes of an image, and the application's description.

Segments within the partition and on their pages, the XOR checksum, the appended SHA-256 where there is one, the chip
and its revision. It streams the image once through one buffer of 4 KiB. A board need not carry this file: its
bootloader has the same check, and set_boot() runs it.
"""

import struct
from collections import namedtuple
from hashlib import sha256

from mpota.layout.esp32.image import HEAD, chip_name, walk
from mpota_boot.errors import Corrupt, Refused

SEED = 0xEF  # ESP_ROM_CHECKSUM_INITIAL
PAGE = 0x10000  # CONFIG_MMU_PAGE_SIZE
SEGMENTS = 16  # ESP_IMAGE_MAX_SEGMENTS
DESC_AT = 0x20
DESC_MAGIC = b"\x32\x54\xcd\xab"  # ESP_APP_DESC_MAGIC_WORD 0xABCD5432
DESC_FMT = "<4sI8x32s32s16s16s32s32s"
DESC_SIZE = 176

# Addresses that the MMU maps from flash (DROM, IROM) by chip id; a chip that is not here is not held to its pages.
MAPPED = {
    0: ((0x3F400000, 0x3F800000), (0x400D0000, 0x40400000)),
    5: ((0x3C000000, 0x3C800000), (0x42000000, 0x42800000)),
    9: ((0x3C000000, 0x3E000000), (0x42000000, 0x44000000)),
    12: ((0x3C000000, 0x3C400000), (0x42000000, 0x42400000)),
    16: ((0x42000000, 0x43000000),),
}

# Memory of the bootloader itself (dram_seg, iram_loader_seg of its linker script): an image that loads there is another
# bootloader, such as the front of a merged image. Known for the ESP32 alone.
OWN = {0: ((0x3FFF0000, 0x3FFF6000), (0x40078000, 0x40080000))}

Head = namedtuple("Head", ("segments", "chip", "min_rev", "max_rev", "hashed", "flash_mb", "entry"))
Desc = namedtuple("Desc", ("secure_version", "version", "project", "time", "date", "idf", "elf_sha256"))


def head(buf):
    """The 24 bytes in front of an image; raises Corrupt unless the bootloader would read on."""
    if buf[0] != 0xE9:
        raise Corrupt("image", "an image starts with e9, this with %02x" % buf[0])
    if not 0 < buf[1] <= SEGMENTS:
        raise Corrupt("image", "an image of %d segments, 1..%d fit" % (buf[1], SEGMENTS))
    entry, chip, min_rev, max_rev = struct.unpack("<4xI4xHxHH", buf[:19])
    return Head(buf[1], chip, min_rev, max_rev, buf[23] == 1, 1 << (buf[3] >> 4), entry)


def _text(raw):
    return raw.split(b"\0")[0].decode()


def desc(flash):
    """The application's description (esp_app_desc_t); raises Corrupt where there is none."""
    buf = bytearray(DESC_SIZE)
    flash.read(DESC_AT, buf)
    if bytes(buf[:4]) != DESC_MAGIC:
        raise Corrupt("image", "no application description at 0x20")
    raw = struct.unpack(DESC_FMT, buf)
    return Desc(raw[1], _text(raw[2]), _text(raw[3]), _text(raw[4]), _text(raw[5]), _text(raw[6]), raw[7])


def fold(buf):
    """The XOR of all bytes: halves of one long number, as neither interpreter loops over bytes fast enough."""
    x = int.from_bytes(buf, "little")
    n = 8
    while n < 8 * len(buf):
        n <<= 1
    while n > 8:
        n >>= 1
        x ^= x >> n
    return x & 0xFF


class _Reader:
    """Reads a flash once, front to back, and hashes what it reads."""

    def __init__(self, flash):
        self.flash = flash
        self.off = 0
        self.view = memoryview(bytearray(4096))
        self.sha = sha256()

    def take(self, n):
        """The next `n` bytes, at most 4096; they stand until the next call."""
        part = self.view[:n]
        self.flash.read(self.off, part)
        self.off += n
        self.sha.update(part)
        return part


def _suits(info, chip, revision):
    """Refuse an image for another chip, or for another revision of it where that is known."""
    if chip is not None and info.chip != chip:
        raise Refused("chip", "an image for %s, this board is %s" % (chip_name(info.chip), chip_name(chip)))
    last = info.max_rev if info.max_rev != 0xFFFF else 0
    if revision is not None and (revision < info.min_rev or (last and revision > last)):
        raise Refused("chip", "an image for revisions %d..%d, this is %d" % (info.min_rev, info.max_rev, revision))


def _place(info, address, n, off):
    """What runs from flash keeps its place in a page, as the MMU maps pages; the rest must miss the bootloader."""
    for low, high in OWN.get(info.chip, ()):
        if address < high and low < address + n:
            raise Corrupt("image", "a segment for 0x%x overlaps the bootloader" % address)
    mapped = any(low <= address < high for low, high in MAPPED.get(info.chip, ()))
    if mapped and (address - off) % PAGE:
        raise Corrupt("image", "a segment for 0x%x lies at 0x%x, not at the same place in a page" % (address, off))


def _segment(reader, info, xor):
    """The checksum after one segment more."""
    address, n = struct.unpack("<II", reader.take(8))
    _place(info, address, n, reader.off)
    while n:
        part = reader.take(min(n, 4096))
        xor ^= fold(part)
        n -= len(part)
    return xor


def verify(flash, chip=None, revision=None):
    """The length of the image at the start of `flash` (a partition), every check of the bootloader passed.

    chip: the id it must be for, None = any; revision: major * 100 + minor of this chip, None = any.
    """
    end = walk(flash)
    reader = _Reader(flash)
    info = head(reader.take(HEAD))
    _suits(info, chip, revision)
    xor = SEED
    for _ in range(info.segments):
        xor = _segment(reader, info, xor)
    seen = reader.take(16 - reader.off % 16)[-1]
    if seen != xor:
        raise Corrupt("checksum", "the image's checksum is %02x, its segments have %02x" % (seen, xor))
    if info.hashed:
        digest = reader.sha.digest()
        reader.flash.read(reader.off, reader.view[:32])
        if bytes(reader.view[:32]) != digest:
            raise Corrupt("sha256", "the appended SHA-256 is not that of the %d bytes before it" % reader.off)
    return end
