"""The end of an upgrade by phone: every image is there, so what is compressed is installed and the rest is armed.

All that is staged is proven and decoded to its end before anything is erased for it. From `INSTALL` on a cut leads
back here; the user program itself is armed like any other update, and the loader installs it.
"""

from gc import collect
from struct import pack

from mpota.layout.sifli.link.codes import FLASH, FW_INVALID, OK
from mpota.layout.sifli.loader.install import describe, header, run, survey
from mpota.layout.sifli.pipe.com import Com, Stored
from mpota.layout.sifli.port import User, known, moved
from mpota.layout.sifli.store import control, packets, progress
from mpota.layout.sifli.upgrade import IN_PLACE, Upgrade, sound
from mpota.store.writer import digest
from mpota_boot.errors import Corrupt, FlashError, OtaError
from mpota_boot.journal import TRIALS


def finish(chip, buf):
    """Install what came, but for the user program, which is armed. Corrupt where something is not as it was signed."""
    up = Upgrade(chip)
    now = up.now
    if up.control is None:
        raise Corrupt("image", "the control packet of this upgrade is gone")
    found = []
    for image in sorted(up.control.images, key=lambda i: i.id):
        if not sound(chip, image, up.target(image), buf):
            raise Corrupt("image", "image %d is not the one that was signed" % image.id)
        collect()
        if image.flags & control.COMPRESS:
            stored = Stored(up.target(image), image.length, packets.cipher(chip, up.control, image))
            found.append((image, stored, survey(chip, stored, chip.place(image.id), buf)[1]))
    now.fw = progress.INSTALLING
    up.keep(progress.INSTALL)
    for image, stored, want in found:
        if image.id != control.HCPU:
            # From its first erase on it is half written, and whatever ends this then leads to the manager.
            now.force |= 1 << image.id
            up.keep(progress.INSTALL)
            _write(chip, Com(stored), want, chip.place(image.id), buf)
    image = up.control.image(control.HCPU)
    if image:
        _arm(up, image, buf)
    else:
        # No program will say which version was brought.
        chip.journal.put("brought", pack("<I", up.control.fw))
    _end(chip, up)


def _end(chip, up):
    """Over; but what an earlier upgrade left half written, and this one did not bring, still keeps the manager."""
    left = up.now.force
    for image in up.control.images:
        left &= ~(1 << image.id)
    if not left:
        return progress.forget(chip)
    now = progress.Progress()
    now.state, now.force = progress.FORCE_UPDATE, left
    progress.save(chip, now)


def _write(chip, com, want, place, buf):
    """A compressed image that is not the user program, into its place."""
    run(com, com.stored.cipher, buf, chip.feed, place)
    if digest(place, com.total, buf, chip.feed) != want:
        raise FlashError("readback", "the place of a compressed image does not hold what was written")


def _arm(up, image, buf):
    """Put the user program on trial."""
    # What stays must not lie behind what decoding has left.
    collect()
    from mpota.layout import arming

    chip = up.chip
    staged = image.flags & control.COMPRESS
    sha = digest(up.target(image), image.length, buf, chip.feed)
    slot = up.now.slot if staged else IN_PLACE
    known(chip)
    if not staged:
        describe(chip, header(chip, image.length, up.control, image))
        chip.journal.put("user", User(slot, image.flags, image.length, sha, image.length, sha).encode())
    new = up.now.same[:8], sha, control.version(up.control.fw), image.length, slot
    # Nothing runs on trial here: a phone is refused then.
    record = arming.new(chip.journal, chip.running, TRIALS, new, lambda: False)
    chip.journal.put("armed", moved(record).encode())


def complete(chip):
    """The whole end, in the manager: 0, or the code of what went wrong."""
    from mpota.layout.sifli.loader import put_in_place

    buf = bytearray(chip.flash.erase_size)
    try:
        finish(chip, buf)
        return OK if put_in_place(chip, buf) else FW_INVALID
    except Corrupt:
        refuse(chip)
        return FW_INVALID
    except (OtaError, OSError):
        return FLASH


def refuse(chip):
    """What was signed does not decode: all of it comes again, if it comes."""
    up = Upgrade(chip)
    for i in range(len(up.now.images)):
        up.now.images[i] = progress.FAILED if up.now.images[i] else progress.NONE
    up.keep(progress.TRAN_START)
