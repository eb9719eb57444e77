"""The journal (store/journal.py) of a chip that keeps it in two sectors of flash: a log, and once full a fresh one.

    sector: magic "SFJ1" | number u32, the larger counts | CRC-32 of the 8 bytes before | records
    record: bytes of the tag u8 | bytes of the data u8 | tag | data | CRC-32 of all before, filled up to a program unit

The number of a sector is written last, so a fresh log counts only when all of it is there. What does not decode is
passed over, so a bad cell costs one record. Where it is the last, whatever comes next goes to a fresh log: a unit that
a cut left half programmed is never programmed again.
"""

from binascii import crc32
from struct import pack, unpack

from device.errors import FlashError

MAGIC = b"SFJ1"
HEAD_SIZE = 12
_BLANK = b"\xff" * 64


def encode(tag, data):
    """A record, not yet filled up."""
    body = bytes((len(tag), len(data))) + tag.encode() + data
    return body + pack("<I", crc32(body))


def decode(data, at):
    """(tag, data, end) of the record at `at`, None where there is none that is whole."""
    if at + 6 > len(data) or not 0 < data[at] < 16:
        return None
    mid = at + 2 + data[at]
    end = mid + data[at + 1]
    if end + 4 > len(data) or pack("<I", crc32(data[at:end])) != data[end : end + 4]:
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


class Log:
    """A journal over a Flash of two sectors, or more of which two are used."""

    def __init__(self, flash):
        self.flash = flash
        self.unit = flash.prog_size
        self.size = flash.erase_size
        self.sector = 1
        self.number = 0
        self.records = {}
        # Where the next record goes; the sector's end: into a fresh one.
        self.at = self.size
        view = memoryview(bytearray(self.size))
        for i in (0, 1):
            self._load(i, view)

    def _up(self, n):
        return (n + self.unit - 1) // self.unit * self.unit

    def _load(self, i, data):
        self.flash.read(i * self.size, data)
        magic, number, crc = unpack("<4sII", data[:HEAD_SIZE])
        if magic != MAGIC or crc != crc32(data[:8]) or number <= self.number:
            return
        self.sector, self.number, self.records = i, number, {}
        at = end = self._up(HEAD_SIZE)
        last = _used(data)
        while at < last:
            found = decode(data, at)
            if found:
                self._note(found[0], found[1])
                end = self._up(found[2])
            at = end if found else at + self.unit
        self.at = end if end >= last else self.size

    def _note(self, tag, data):
        if data:
            self.records[tag] = data
        else:
            self.records.pop(tag, None)

    def last(self, tag):
        return self.records.get(tag)

    def put(self, tag, data):
        data = bytes(data[:128])
        if (data or None) == self.last(tag):
            return
        record = encode(tag, data)
        try:
            if self.at + len(record) > self.size:
                self._fresh(tag, data)
            else:
                at, self.at = self.at, self.size
                end = self._prog(self.sector, at, record)
                self.at = end
        except OSError as e:
            raise FlashError("journal", "the flash did not keep %s: %r" % (tag, e))
        self._note(tag, data)

    def _fresh(self, tag, data):
        """All that counts, and this, into the other sector."""
        records = dict(self.records)
        records.pop(tag, None)
        if data:
            records[tag] = data
        i = self.sector ^ 1
        self.flash.erase(i * self.size, self.size)
        at = self._up(HEAD_SIZE)
        for name in records:
            record = encode(name, records[name])
            if at + len(record) > self.size:
                raise FlashError("journal", "no room for %s" % name)
            at = self._prog(i, at, record)
        head = pack("<4sI", MAGIC, self.number + 1)
        self._prog(i, 0, head + pack("<I", crc32(head)))
        self.sector, self.number, self.at = i, self.number + 1, at

    def _prog(self, i, at, data):
        """Program and read back; where the next record goes."""
        end = self._up(at + len(data))
        data += b"\xff" * (end - at - len(data))
        self.flash.prog(i * self.size + at, data)
        seen = bytearray(len(data))
        self.flash.read(i * self.size + at, seen)
        if seen != data:
            raise FlashError("journal", "the flash does not hold what was written at %d" % at)
        return end
