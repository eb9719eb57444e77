"""The boot control page of a PIC32MZW1, also the head of every .bin: which image lies behind it, and may it run.

    0 status u8   1 slot u8   2 order u8   3 type u8   4 bytes of the .bin u32   8 version u32   12 boot address u32
    16 SHA-256 of the .bin 32   48 reserved 208: zeros in a build; where we wrote it "MPO1", a CRC-32 of bytes 3..47,
    and the SHA-256 of the code as it was read back   256 filled up to 4096

Status and order only ever lose bits: FF blank, FE downloaded, FC not confirmed yet, F8 valid, F0 disabled; each zero
bit of order is a boot that an unconfirmed image has had. An erase that was cut sets bits, which the CRC, or the zeros
of a build, do not survive: such a page is as good as blank.
"""

from binascii import crc32
from struct import pack, unpack

PAGE = 4096
HEAD = 256
FMT = "<BBBBIII32s"
PRODUCTION, DEBUG, FACTORY = 1, 2, 3
BLANK, DOWNLOADED, UNBOOTED, VALID, DISABLED = 0xFF, 0xFE, 0xFC, 0xF8, 0xF0
NAMES = {BLANK: "blank", DOWNLOADED: "downloaded", UNBOOTED: "not confirmed", VALID: "valid", DISABLED: "disabled"}
# Boots that an image has to be confirmed in.
TRIES = 3
# What a build carries in place of its size.
NO_SIZE = 0xFFFFFFFF
MAGIC = b"MPO1"
_ORDER, _TYPE = 2, 3


class Control:
    """The fields of a page. `sealed`: we wrote it; `golden`: the factory image lies behind it, disabled or not."""

    sealed = True
    golden = False
    code = b"\xff" * 32

    def __init__(self, status, kind, version, boot, rest=(0xFF, 0xFF, NO_SIZE, bytes(32))):
        self.status = status
        self.kind = kind
        self.version = version
        self.boot = boot
        self.slot, self.order, self.size, self.digest = rest

    @classmethod
    def decode(cls, buf):
        """The fields in the first 256 bytes of a page; None for a blank page and for one that was cut."""
        rest = bytes(buf[48:HEAD])
        sealed = rest[:4] == MAGIC
        golden = False
        if sealed:
            if rest[4:8] != seal(buf):
                # disable() takes a bit of the factory's type.
                golden = buf[_TYPE] == PRODUCTION and rest[4:8] == seal(bytes(buf[:3]) + b"\3" + bytes(buf[4:48]))
                if not golden:
                    return None
        elif rest.strip(b"\0") and rest.strip(b"\xff"):
            return None
        # A file may end anywhere.
        if bytes(buf[:16]) == b"\xff" * 16 or len(buf) < 48:
            return None
        status, slot, order, kind, size, version, boot, digest = unpack(FMT, bytes(buf[:48]))
        found = cls(status, kind, version, boot, (slot, order, size, digest))
        found.sealed = sealed
        found.golden = golden or kind == FACTORY
        found.code = rest[8:40]
        return found

    def encode(self):
        """The 256 bytes of a page that is sealed."""
        head = pack(FMT, self.status, self.slot, self.order, self.kind, self.size, self.version, self.boot, self.digest)
        return head + MAGIC + seal(head) + self.code + b"\xff" * (HEAD - 88)

    def pristine(self):
        """Was it put here by a programmer, and not started yet?"""
        return (self.kind, self.status, self.size, self.sealed) == (FACTORY, BLANK, NO_SIZE, False)

    def tries(self):
        """The boots that were counted, or -1 where the vendor's bootloader wrote the page, which counts none."""
        n = 0
        while n < 8 and not self.order >> n & 1:
            n += 1
        return n if n < 8 else -1


def seal(head):
    """The CRC-32 of bytes 3..47, which never change once they are written."""
    return pack("<I", crc32(bytes(head[3:48])))


def read(flash):
    """The Control at the start of the slot, or None."""
    buf = bytearray(HEAD)
    flash.read(0, buf)
    return Control.decode(buf)


def clear(flash, at, value):
    """Clear the bits of byte `at` of the page that `value` has not; no write where they are clear."""
    n = flash.prog_size
    start = at - at % n
    buf = bytearray(n)
    flash.read(start, buf)
    if buf[at - start] & ~value:
        buf[at - start] &= value
        flash.prog(start, buf)


def disable(flash):
    """Make the next boot rank the images. The type is written first: a loader treats F8 with 01 like F0 with 01."""
    clear(flash, _TYPE, PRODUCTION)
    clear(flash, 0, DISABLED)


def validate(flash):
    """The image that runs is confirmed."""
    clear(flash, 0, VALID)


def count(flash, control):
    """One more boot without a confirmation: one more zero in order."""
    clear(flash, _ORDER, control.order << 1 & 0xFF)
