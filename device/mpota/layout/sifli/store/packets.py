"""A control packet as it is kept for a staging area: what is there, or is to come, and how to prove it after a reset.

magic "SFC1" | bytes u16 | 0 u16 | CRC-32 of the content u32 | content, its image key wrapped for this chip
"""

from binascii import crc32
from struct import pack, unpack

from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.pipe.ctr import Ctr
from mpota.layout.sifli.store import control
from mpota.store.writer import put
from mpota_boot.errors import FlashError, Refused

MAGIC = b"SFC1"
HEAD = "<4sHHI"
HEAD_SIZE = 12


def save(chip, slot, packet):
    """Keep `packet`, a Control, for a staging area; it stands when this returns."""
    from mpota.layout.sifli.policy import erasable

    if not erasable(chip, slot):
        raise FlashError("page", "the page of area %d holds another's data and is not erased: move `state`" % slot)
    # This tag proves that the page is ours, even after a torn erase.
    chip.journal.put("page", bytes((slot,)))
    key = packet.key
    packet.key = chip.wrap(key)
    data = packet.encode()
    packet.key = key
    whole = bytearray(pack(HEAD, MAGIC, len(data), 0, crc32(data)) + data)
    n = len(whole)
    whole.extend(bytes(chip.flash.prog_size))
    put(chip.pages[slot], 0, whole, n)
    seen = load(chip, slot)
    if seen is None or seen.same() != packet.same():
        raise FlashError("readback", "the flash does not hold the control packet that was written")
    chip.journal.put("page", b"")


def content(chip, slot):
    """(the fields of a page's head, what they say follows it: b"" where they cannot)"""
    head = bytearray(HEAD_SIZE)
    chip.pages[slot].read(0, head)
    fields = unpack(HEAD, head)
    data = bytearray(fields[1] if fields[1] <= control.SIZE else 0)
    chip.pages[slot].read(HEAD_SIZE, data)
    return fields, data


def load(chip, slot):
    """The Control that was kept for a staging area, or None."""
    head, data = content(chip, slot)
    if head[0] != MAGIC or crc32(data) != head[3]:
        return None
    try:
        packet = control.Control.decode(bytes(data))
    except Refused:
        return None
    packet.key = chip.unwrap(packet.key)
    return packet


def owner(chip, slot, size, sha):
    """(Control, Image) of the staged user program with this SHA-256, (None, None) where no kept packet signed it."""
    packet = load(chip, slot)
    image = packet and packet.image(control.HCPU)
    try:
        if image and image.length == size and signed.verify(chip.public(), image.sig, sha):
            return packet, image
    except Refused:
        pass  # a key that the eFuses do not name has signed nothing
    return None, None


def cipher(chip, packet, image):
    """The Ctr of an image, None where it is not encrypted."""
    return Ctr(packet.key, chip.nonce) if image and image.flags & control.ENC else None
