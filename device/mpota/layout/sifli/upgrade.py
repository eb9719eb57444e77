"""An upgrade by phone, below its messages: begun, written block by block, proven.

Everything here answers with a result code of the protocol. Nothing is written before the whole control packet was
judged (policy.py), and nothing outside the image's own place. An image that is staged leaves the user program as it is;
one that is written in place makes the manager stay until it is whole.
"""

from mpota.layout.sifli.link.codes import FLASH, FW_INVALID, GENERAL, MISS_PACKET, OK, PARAMETER
from mpota.layout.sifli.pipe import signed, wire
from mpota.layout.sifli.port import wanted
from mpota.layout.sifli.store import control, packets, progress
from mpota.store.flash import Region
from mpota.store.writer import digest, put
from mpota_boot.errors import Corrupt, FlashError

# Where a Record points that was written in place: no area of the two.
IN_PLACE = -2


class Upgrade:
    """One upgrade under way: `now` is its Progress, `control` what it brings."""

    def __init__(self, chip):
        self.chip = chip
        self.now = progress.load(chip)
        self.control = packets.load(chip, self.now.slot) if self.now.fw and self.now.slot < len(chip.slots) else None
        if self.control is None or self.control.same() != self.now.same:
            self.control = None
        self.image = self.cipher = None
        # The progress before START, until the first block of its image is written.
        self.before = None
        self.block = b""

    def matches(self, found):
        """Is `found` the upgrade that was begun?"""
        return self.control is not None and found.same() == self.now.same and not self._taken()

    def _taken(self):
        """Has an update by another way made its area the one that a retreat needs?"""
        record = wanted(self.chip.journal)
        return record is not None and record.slot == self.now.slot != self.chip.free()

    def begin(self, found, fresh):
        """Keep the agreement, so that it outlives a reset. `fresh`: from the first packet of the first image."""
        now = self.now
        if fresh or not self.matches(found):
            # An image that was half written in place stays marked until a whole one is written over it.
            force = now.force
            self.now = now = progress.Progress()
            now.force = force
            now.slot = self.chip.free()
            packets.save(self.chip, now.slot, found)
            now.same = found.same()
            self.control = found
        elif now.image != progress.NO_IMAGE:
            now.packets = now.resume(found.block, self.chip.flash.erase_size)
        now.fw = progress.DOWNLOADING
        self.keep(progress.PREPARE_START)

    def keep(self, state):
        """Store the progress, with this state."""
        self.now.state = state
        progress.save(self.chip, self.now)

    def where(self):
        """(image, packets) of the first one that is not whole: what a resume answers; image FF where all are."""
        now = self.now
        images = self.control.images if self.control else []
        for image in sorted(images, key=lambda i: i.id):
            i = self.number(image)
            if now.images[i] == progress.PART and now.image == image.id:
                return image.id, now.resume(self.control.block, self.chip.flash.erase_size)
            if now.images[i] != progress.WHOLE:
                return image.id, 0
        return progress.NO_IMAGE, 0

    def number(self, image):
        return self.control.images.index(image)

    def target(self, image):
        """The Flash that an image's stored bytes go to."""
        if not image.flags & control.COMPRESS:
            return self.chip.place(image.id)
        area = self.chip.slots[self.now.slot]
        at = self.control.staging(image.id, self.chip.flash.erase_size)
        return Region(area, at, area.size - at)

    def start(self, id, length, total, every):
        """IMAGE_SEND_START: (result, skip). A resumed image repeats what it was started with."""
        image = self.control and self.control.image(id)
        if image is None:
            return PARAMETER, 0
        i = self.number(image)
        block = self.control.block
        if total != wire.count(image.length, block) or length != wire.size(image.length, block) or not every:
            return PARAMETER, 0
        now = self.now
        if now.images[i] == progress.WHOLE:
            return OK, 1
        before = now.encode()
        if now.images[i] == progress.PART and now.image == id:
            if now.packets and (now.length, now.started) != (length, every):
                return PARAMETER, 0
            now.packets = now.resume(block, self.chip.flash.erase_size)
        else:
            now.packets = 0
        now.image, now.length, now.every, now.started = id, length, every, every
        now.images[i] = progress.PART
        # Nothing is kept yet: a START without a packet changes nothing.
        self.before = before
        self.image = image
        if not self.block:
            self.block = bytearray(2048 + self.chip.flash.prog_size)
        self.cipher = packets.cipher(self.chip, self.control, image)
        return OK, 0

    def _begin_image(self):
        """Before the first block is written: what is in place is lost from then on, whatever ends the download."""
        image = self.image
        if not image.flags & control.COMPRESS:
            self.now.force |= 1 << image.id
            if image.id == control.HCPU:
                self.chip.journal.put("user", b"")
        self.keep(progress.TRAN_START)
        self.before = None

    def write(self, index, record):
        """Block `index`, the first is 1, of the image that was started."""
        image = self.image
        off = (index - 1) * self.control.block
        want = min(self.control.block, image.length - off)
        room = memoryview(self.block)[:want]
        try:
            if len(record) != wire.HEAD_SIZE + want:
                raise Corrupt("chunk", "a record of %d bytes, wanted %d" % (len(record), wire.HEAD_SIZE + want))
            n = wire.check(record, off, room, self.cipher)
            if self.before:
                self._begin_image()
            put(self.target(image), off, self.block, n)
        except Corrupt:
            return GENERAL
        except (FlashError, OSError):
            return FLASH
        self.now.packets = index
        return OK

    def end(self, id):
        """IMAGE_SEND_END: check the image in the flash against the signature."""
        image = self.control.image(id)
        if image is None:
            return PARAMETER
        i = self.number(image)
        now = self.now
        if now.images[i] == progress.WHOLE:
            return OK
        if now.image != id or now.packets != wire.count(image.length, self.control.block):
            return MISS_PACKET
        # Of an image without bytes no block was written.
        self.before = None
        good = sound(self.chip, image, self.target(image), self.block)
        now.images[i] = progress.WHOLE if good else progress.FAILED
        now.image, now.packets = progress.NO_IMAGE, 0
        self.image = None
        self.keep(progress.TRAN_START)
        return OK if good else FW_INVALID

    def fail(self):
        """The download is over before its end. True where the manager has to stay for another one."""
        self.image = None
        if self.before:
            self.now = progress.Progress.decode(self.before)
            self.before = None
        stays = self.now.force != 0
        self.keep(progress.FORCE_UPDATE if stays else progress.IDLE)
        return stays


def sound(chip, image, flash, buf):
    """Does `flash` begin with the stored bytes that were signed? Reads through `buf`."""
    sha = digest(flash, image.length, buf, chip.feed)
    return signed.verify(chip.public(), image.sig, sha)
