"""How far an upgrade by phone is: one record of the journal, so that it is there whole or as it was before.

    0 state u8 | 1 firmware state u8 | 2 area u8 | 3 image u8, FF none | 4 packets a response u8 | 5 as started u8 |
    6 a bit for each image id whose place is half written u16 | 8 bytes on the wire u32 | 12 packets stored u32 |
    16 a state for each image 11 | 28 digest of the control packet 32

A packet counts once a response has answered for it. After a reset it goes on at the first packet of that sector, which
is erased again.
"""

from struct import pack, unpack

# Of the controller, as the vendor numbers them.
IDLE, NEG, PREPARE_START, TRAN_START, INSTALL, UPDATING, FORCE_UPDATE = range(7)
# Of the whole upgrade, and of each image.
NONE, DOWNLOADING, INSTALLING, INSTALLED = range(4)
READY, PART, FAILED, WHOLE = range(4)
NO_IMAGE = 255


class Progress:
    """The record's fields, as attributes."""

    FMT = "<BBBBBBHII11sx32s"
    SIZE = 60

    def __init__(self):
        self.state = self.fw = self.slot = self.force = self.every = self.started = 0
        self.length = self.packets = 0
        self.image = NO_IMAGE
        self.images = bytearray(11)
        self.same = bytes(32)

    @classmethod
    def decode(cls, data):
        """From a record; a new one where there is none."""
        p = cls()
        if data and len(data) == cls.SIZE:
            (p.state, p.fw, p.slot, p.image, p.every, p.started, p.force, p.length, p.packets, images, p.same) = unpack(
                cls.FMT, data
            )
            p.images = bytearray(images)
        return p

    def encode(self):
        head = self.state, self.fw, self.slot, self.image, self.every, self.started, self.force
        return pack(self.FMT, *(head + (self.length, self.packets, bytes(self.images), self.same)))

    def resume(self, block, sector):
        """The packets that stand: those before the sector that the last one lies in."""
        return self.packets * block // sector * sector // block


def load(chip):
    """The Progress in the journal."""
    return Progress.decode(chip.journal.last("dfu"))


def save(chip, p):
    """Keep a Progress."""
    chip.journal.put("dfu", p.encode())


def forget(chip):
    """No upgrade is under way, nor will one be gone on with."""
    chip.journal.put("dfu", b"")
