"""What the board remembers over a reset: small records, each by its tag, each whole or as it was before.

    last(tag) -> bytes | None      the value of the last put that ended, None where there is none
    put(tag, data)                 all of data, or the previous value; b"" forgets the tag

Tags: `progress` of a download; `armed`, the image that was made bootable last; `running`, the image that was
confirmed last; `failed`, the one given up last, and its `reason`; `floor`, the lowest version accepted; in a trial
`wakes`, how often it woke from deep sleep and how many tenths of its time are over, and `soft`, a soft reset that a
host has announced.
A trial is open while `armed` is neither confirmed nor given up.
"""

from struct import pack, unpack

# Boots that an image on trial may have, unless the setting `trials` says otherwise.
TRIALS = 3


class Record:
    """An image that was armed: whose, which, where it lies, and how many boots it may still try.

    0 package id 8 | 8 SHA-256 of the image 32 | 40 version 8 | 48 size u32 | 52 times armed u16 | 54 slot i8 |
    55 the slot to go back to i8 | 56 the application's tree, and 16 times the one to go back to u8 | 57 trials left u8
    """

    FMT = "<8s32s8sIHbbBB"
    SIZE = 58

    def __init__(self, *fields):
        (self.id, self.sha, self.version, self.size, self.count, self.slot, self.back, self.tree, self.trials) = fields

    @classmethod
    def decode(cls, data):
        """The record, or None where the bytes are none, of another length or erased flash."""
        if not data or len(data) != cls.SIZE or data == b"\xff" * cls.SIZE:
            return None
        return cls(*unpack(cls.FMT, data))

    def encode(self):
        """The record's 58 bytes."""
        where = self.slot, self.back, self.tree, self.trials
        return pack(self.FMT, self.id, self.sha, self.version, self.size, self.count, *where)


def _armings(journal):
    """The records armed, running and failed as bytes, each without its last one: the trials left."""
    return [(journal.last(tag) or b"")[:-1] for tag in ("armed", "running", "failed")]


def trial(journal):
    """The Record of the trial that is open, or None; nothing is written."""
    armed, running, failed = _armings(journal)
    return None if armed in (running, failed) else Record.decode(journal.last("armed"))


def tree(journal, on_trial):
    """The number of the application's tree that runs, 0 for none. `on_trial()`: does the image on trial run?"""
    armed, running, failed = _armings(journal)
    if len(armed or running) != Record.SIZE - 1:
        return 0
    new = (armed or running)[-1]
    if armed and armed != running and (armed == failed or not on_trial()):
        return new >> 4
    return new & 15
