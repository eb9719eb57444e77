"""Puts a staged user program into its place: decrypt, inflate, write, and hold what was written to what was read.

The order is the promise. The staged bytes are proven and decoded to their end before the first sector is erased; from
then on the journal has no `user`, so whoever finds it so begins again; `user` is written when the place was read back.
Nothing is taken from RAM that a cut could cost, so an install that was cut is simply done again.
"""

from gc import collect
from hashlib import sha256

from mpota.layout.sifli.pipe.com import Com, Stored
from mpota.layout.sifli.port import User
from mpota.layout.sifli.store import control, packets, table
from mpota.store.writer import digest, put
from mpota.stream import pull
from mpota_boot.errors import Corrupt, FlashError, OtaError

# The block size that a header names where no control packet does.
BLOCK = 512
# Why an update is given up where the flash is at fault, and the next one would fare no better.
WORN = b"the flash does not hold the program"


def run(com, cipher, buf, feed, flash=None):
    """Decode all of a Com through `buf`, a sector of `flash`, and write it there if it is given; the SHA-256."""
    com.rewind()
    h = sha256()
    view = memoryview(buf)
    off = 0
    n = pull(com, buf)
    while n:
        if cipher:
            cipher.xor(off, view[:n])
        h.update(view[:n])
        if flash:
            put(flash, off, buf, n)
        off += n
        feed()
        n = pull(com, buf)
    return h.digest()


def survey(chip, stored, flash, buf):
    """(Com, SHA-256 of what it decodes to) of stored bytes that decode whole and fit; Corrupt where they do not."""
    com = Com(stored)
    if not 0 < com.total <= flash.size:
        raise Corrupt("decode", "a compressed image of %d bytes, its place has %d" % (com.total, flash.size))
    return com, run(com, stored.cipher, buf, chip.feed)


def staged(chip, slot, size, sha, buf):
    """(Com, Control, Image, SHA-256 to come) of the user program in a staging area; Corrupt where it is not whole."""
    area = chip.slots[slot]
    if size > area.size or digest(area, size, buf, chip.feed) != sha:
        raise Corrupt("image", "area %d does not hold what was armed" % slot)
    packet, image = packets.owner(chip, slot, size, sha)
    stored = Stored(area, size, packets.cipher(chip, packet, image))
    # RSA leaves garbage, and what is taken now is large.
    collect()
    com, seen = survey(chip, stored, chip.user, buf)
    return com, packet, image, seen


def install(chip, record, buf):
    """Make the user program's place hold the image of a Record. Corrupt: it is not in its area, and nothing changed."""
    com, packet, image, want = staged(chip, record.slot, record.size, record.sha, buf)
    head = header(chip, com.total, packet, image)
    if image and image.flags & control.ENC and not table.writable(chip.table, table.IMG_HCPU2):
        raise Corrupt("image", "the flash table cannot take the key of an encrypted user program")
    chip.journal.put("user", b"")
    run(com, com.stored.cipher, buf, chip.feed, chip.user)
    if digest(chip.user, com.total, buf, chip.feed) != want:
        raise FlashError("readback", "the user program's place does not hold what was written")
    describe(chip, head)
    flags = image.flags if image else control.COMPRESS
    done = User(record.slot, flags, record.size, record.sha, com.total, want)
    _note(chip.journal, done.encode())


def _note(journal, user):
    for _ in (0, 1):
        try:
            journal.put("user", user)
            return
        except FlashError:
            pass  # it lies there whole and may start; the next reset installs it again


def describe(chip, head):
    """Write the header of the user program; nothing that starts looks at that of one that is not encrypted."""
    try:
        table.put_header(chip.table, table.IMG_HCPU2, head)
    except (FlashError, OSError):
        if head.flags & table.ENC:
            raise


def header(chip, size, packet, image):
    """What the flash table says of the user program; its version is not ours to change."""
    old = table.header(chip.table, table.IMG_HCPU2)
    version = old.version if old else b"\xff" * 20
    if image is None:
        return table.Header(size, BLOCK, table.AUTO, b"\xff" * 32, b"\xff" * 256, version)
    flags = table.AUTO | (image.flags & table.ENC)
    return table.Header(size, packet.block, flags, chip.wrap(packet.key), image.sig, version)


def fits(chip, record, buf):
    """Is the staged image of a Record whole, so that the place is at fault?"""
    try:
        return record.slot >= 0 and staged(chip, record.slot, record.size, record.sha, buf)[3] is not None
    except (OtaError, OSError):
        return False
