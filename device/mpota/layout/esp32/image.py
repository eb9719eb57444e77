"""The first bytes of an ESP32 application image, judged before anything is erased, and its length.

    0 E9   1 segments   12 chip u16   15 min_rev u16   17 max_rev u16   23 hash_appended   24 first segment
    segment: load address u32, length u32, data; at 0x20, in the first of an application, esp_app_desc_t:
    CD AB 54 32 backwards   0x24 secure_version u32   0x90 the version of ESP-IDF, 32 characters

A refusal says what to give instead. What this lets through the full check of verify.py may still refuse.
"""

from micropython import const

from mpota_boot.errors import Corrupt, Refused

HEAD = 24  # sizeof(esp_image_header_t)
NEEDS = 0x24  # bytes that judge() wants to see
COMPARES = 0xB0  # bytes that follows() wants to see
# esp_chip_id_t of the chips that MicroPython runs on
CHIPS = {2: "S2", 5: "C3", 9: "S3", 12: "C2", 13: "C6", 16: "H2", 18: "P4", 23: "C5"}
_GIVE = const("; give micropython.bin, the application")


def chip_of(buf):
    """The chip id in an image header."""
    return buf[12] | buf[13] << 8


def chip_name(chip):
    """`ESP32-S3` for its id."""
    return "ESP32" if not chip else "ESP32-" + CHIPS.get(chip, "number %d" % chip)


def judge(buf, chip, size=0):
    """Refuse all but an application for `chip`, by its first bytes (NEEDS or more) and its size in bytes if known."""
    if not len(buf):
        raise Refused("empty", "an empty file" + _GIVE)
    if buf[0] != 0xE9:
        start = bytes(buf[:64])
        if start.lstrip()[:1] == b"<":
            raise Refused("html", "a web page" + _GIVE)
        if min(start) == 255:
            raise Refused("blank", "erased flash or a copy of a whole flash" + _GIVE)
        if min(start) > 8 and max(start) < 127:
            raise Refused("text", "a text file" + _GIVE)
        raise Refused("magic", "an image starts with e9, this with %02x" % buf[0] + _GIVE)
    if len(buf) < NEEDS:
        raise Refused("tiny", "%d bytes, a header has %d" % (len(buf), NEEDS) + _GIVE)
    # ESP_APP_DESC_MAGIC_WORD 0xABCD5432
    if bytes(buf[0x20:NEEDS]) != b"\x32\x54\xcd\xab":
        # The table at 0x8000 of the flash is at 0x7000 of a file for a chip that boots at 0x1000.
        if size > 0x7000 or buf[0x7000:0x7002] == b"\xaa\x50" or buf[0x8000:0x8002] == b"\xaa\x50":
            raise Refused("merged", "a merged image (bootloader, table, application)" + _GIVE)
        raise Refused("bootloader", "a bootloader" + _GIVE)
    if chip_of(buf) != chip:
        raise Refused("chip", "an image for %s, this board is %s" % (chip_name(chip_of(buf)), chip_name(chip)))


def follows(new, old):
    """Refuse an image that this chip would not start or could not leave; COMPARES bytes of it and of what runs."""
    low, high = _revisions(new)
    least, most = _revisions(old)
    if low > most or high < least:
        words = "for chip revisions %d to %d (300 is 3.0), what runs is for %d to %d"
        raise Refused("revision", words % (low, high, least, most))
    secure, burnt = [int.from_bytes(buf[0x24:0x28], "little") for buf in (new, old)]
    if secure < burnt:
        raise Refused("secure", "secure_version %d, what runs has %d: the eFuse forbids it" % (secure, burnt))
    if 0 < _idf(new) < 5 <= _idf(old):
        raise Refused("idf", "ESP-IDF %d, of before MicroPython 1.21, which cannot run this mpota" % _idf(new))


def _revisions(buf):
    """Lowest and highest revision; images of before ESP-IDF 5 have 0 for the highest."""
    return buf[15] | buf[16] << 8, buf[17] | buf[18] << 8 or 0xFFFF


def _idf(buf):
    """The major number of "v5.5.1"; 0 where that is no such text."""
    text = bytes(buf[0x90:COMPARES])
    return text[1] - 48 if text[:1] == b"v" and text[2:3] == b"." else 0


def walk(flash, size=0):
    """The length of the image at the start of `flash`, in at most 17 small reads of its headers.

    Raises Corrupt where the headers do not hang together or leave the first `size` bytes of `flash`, all of them
    by default; says nothing of the data between them.
    """
    buf = bytearray(HEAD)
    flash.read(0, buf)
    if buf[0] != 0xE9 or not 0 < buf[1] <= 16:  # ESP_IMAGE_MAX_SEGMENTS
        raise Corrupt("image", "an image starts with e9 and 1..16, this with %02x %d" % (buf[0], buf[1]))
    size = size or flash.size
    off = HEAD
    head = memoryview(buf)[:8]
    tail = 32 if buf[23] == 1 else 0
    for _ in range(buf[1]):
        n = 3
        if off + 8 <= size:
            flash.read(off, head)
            n = int.from_bytes(head[4:], "little")
        if n & 3 or n >= 1 << 24:  # SIXTEEN_MB of esp_image_format.c
            raise Corrupt("image", "no segment at 0x%x, or one of %d bytes" % (off, n))
        off += 8 + n
    off = (off | 15) + 1 + tail  # the checksum is the last byte of a 16-byte line
    if off > size:
        raise Corrupt("image", "an image of %d bytes in %d" % (off, size))
    return off
