"""A journal (journal.py) in two sectors of flash, for boards without NVS: one grows, then the other begins anew.

    sector: magic "MPL1" | number u32, the larger counts | CRC-32 of the 8 bytes before | records
    record: bytes of the tag u8 | bytes of the data u8 | tag | data | CRC-32 of the sector's number, u32, and all before

Each is filled up to a program unit. A sector's head is written last, so it counts only when all of it is there. What
does not decode is passed over: a bad cell costs one record. A power-on never grows what another one wrote, whose last
bytes may be torn: its first put begins the other sector with all that is known. So does a full one, and a put that
does not read back; where the other one does not take it, it goes behind all that is not blank.
"""

from binascii import crc32
from struct import pack, unpack

from device.errors import FlashError

MAGIC = b"MPL1"
HEAD = "<4sII"
HEAD_SIZE = 12
MOST = 128
LONGEST = 2 + 15 + MOST + 4
_BLANK = b"\xff" * 64


def encode(tag, data, number):
    """A record in the sector of that number, not yet filled up."""
    body = bytes((len(tag), len(data))) + tag.encode() + data
    return body + pack("<I", crc32(body, crc32(pack("<I", number))))


def decode(data, at, number):
    """(tag, data, end) of the record at `at`, None where there is none that is whole."""
    if at + 6 > len(data) or not 0 < data[at] < 16:
        return None
    mid = at + 2 + data[at]
    end = mid + data[at + 1]
    if end + 4 > len(data) or unpack("<I", data[end : end + 4])[0] != crc32(data[at:end], crc32(pack("<I", number))):
        return None
    return bytes(data[at + 2 : mid]).decode(), bytes(data[mid:end]), end + 4


def _used(view):
    """Bytes of a sector in front of what is erased at its end."""
    n = len(view)
    while n > 63 and view[n - 64 : n] == _BLANK:
        n -= 64
    while n and view[n - 1] == 255:
        n -= 1
    return n


def _noted(records, tag, data):
    """The dict `records`, with this put in it."""
    records.pop(tag, None)
    if data:
        records[tag] = data
    return records


class Log:
    """A journal over a Flash of two sectors, or more of which two are used."""

    def __init__(self, flash):
        self.flash = flash
        self.unit = flash.prog_size
        self.size = self.at = flash.erase_size
        self.number = 0
        self.records = {}
        view = memoryview(bytearray(self.size))
        for i in (0, 1):
            self._load(i, view)
        self.grows = False

    def _up(self, n):
        return (n + self.unit - 1) // self.unit * self.unit

    def _load(self, i, data):
        self.flash.read(i * self.size, data)
        magic, number, crc = unpack(HEAD, data[:HEAD_SIZE])
        if magic != MAGIC or crc != crc32(data[:8]) or number <= self.number:
            return
        self.number, self.records = number, {}
        at = self._up(HEAD_SIZE)
        last = _used(data)
        while at < last:
            found = decode(data, at, number)
            if found:
                _noted(self.records, found[0], found[1])
            at = self._up(found[2]) if found else at + self.unit
        # Where a cut tore the last record, cells as far as one reaches may be torn though they read blank.
        self.at = at + self._up(LONGEST)

    def last(self, tag):
        return self.records.get(tag)

    def put(self, tag, data):
        data = bytes(data[:MOST])
        if self.grows and (data or None) == self.last(tag):
            return
        records = _noted(dict(self.records), tag, data)
        done = False
        # A sector that does not take it leaves the other one, as long as that has room.
        for grow in (self.grows, not self.grows):
            try:
                done = done or (self._grow(tag, data) if grow else self._begin(records))
            except (OSError, FlashError):
                self.grows = False
        if not done:
            raise FlashError("journal", "%s was not kept: %d bytes, %d known" % (tag, len(data), len(records)))
        self.records = records

    def _grow(self, tag, data):
        """Append to the sector that counts. False where it is full."""
        record = encode(tag, data, self.number)
        at = self.at
        if at + len(record) > self.size:
            return False
        # Whatever becomes of it, nothing is programmed there again.
        self.at = self._up(at + len(record))
        self._prog(self.number % 2 * self.size + at, record)
        return True

    def _begin(self, records):
        """Begin the other sector with these. False where they do not fit."""
        head = self._up(HEAD_SIZE)
        if head + sum([self._up(len(tag) + len(records[tag]) + 6) for tag in records]) > self.size:
            return False
        number = self.number + 1
        start = at = number % 2 * self.size
        self.flash.erase(start, self.size)
        at += head
        for tag in records:
            at = self._prog(at, encode(tag, records[tag], number))
        data = pack("<4sI", MAGIC, number)
        self._prog(start, data + pack("<I", crc32(data)))
        self.number, self.at, self.grows = number, at - start, True
        return True

    def _prog(self, at, data):
        """Program and read back; where the next record goes."""
        data += b"\xff" * (self._up(len(data)) - len(data))
        seen = bytearray(len(data))
        self.flash.prog(at, data)
        self.flash.read(at, seen)
        if seen != data:
            raise FlashError("journal", "the flash does not hold what was written at %d" % at)
        return at + len(data)
