"""One otadata entry: which slot boots, and how far it is trusted. Two of them lie at 0 and 4096 of the partition.

    0 seq u32 (1 = first, FFFFFFFF = blank)    4 label[20] (unused, carried over)    24 state u32    28 crc u32

The crc covers `seq` alone. The larger `seq` of the two good entries wins, and its slot is (seq - 1) % slots. A blank
entry is never valid, whatever its crc: erased flash passes a plain CRC-32. Nothing here writes flash.
"""

import struct
from binascii import crc32

FMT = "<I20sII"
SIZE = 32
SECTOR = 4096

NEW, PENDING, VALID, INVALID, ABORTED = range(5)  # esp_ota_img_states_t
STATES = ("new", "pending", "valid", "invalid", "aborted")
# The state of an image that no loader judges; also the seq of an erased entry.
UNDEFINED = BLANK = 0xFFFFFFFF


def seal(seq):
    """The crc that belongs to `seq`: reflected, the register starts at 0 and the result is inverted."""
    return crc32(struct.pack("<I", seq), BLANK)


class Entry:
    """One entry, good or not: `crc` is what the flash holds."""

    def __init__(self, seq, state, label=b"\xff" * 20, crc=None):
        self.seq = seq
        self.state = state
        self.label = label
        self.crc = seal(seq) if crc is None else crc

    def valid(self):
        """May the loader boot it? Not a blank entry, though its crc is right, and not one that failed."""
        return self.seq != BLANK and self.state not in (INVALID, ABORTED) and self.crc == seal(self.seq)

    def slot(self, n):
        """The OTA slot of `n` that this entry names; seq 0 wraps as it does in 32 bits."""
        return ((self.seq - 1) & BLANK) % n


def decode(buf):
    """The Entry in 32 bytes, good or not."""
    seq, label, state, crc = struct.unpack(FMT, buf)
    return Entry(seq, state, label, crc)


def encode(entry):
    """The entry's 32 bytes."""
    return struct.pack(FMT, entry.seq, entry.label, entry.state, entry.crc)


def read(flash):
    """Both entries of an otadata partition."""
    buf = bytearray(SIZE)
    pair = []
    for off in (0, SECTOR):
        flash.read(off, buf)
        pair.append(decode(buf))
    return pair


def choose(pair, good):
    """Of the entries that are `good` the one with the larger seq, the first in a tie; -1 for none."""
    if good[1] and not (good[0] and pair[0].seq >= pair[1].seq):
        return 1
    return 0 if good[0] else -1


def active(a, b):
    """The index of the entry in force, or -1."""
    return choose((a, b), (a.valid(), b.valid()))
