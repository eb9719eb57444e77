"""A journal (journal.py) in two sectors of flash, for boards without NVS: one grows, then the other begins anew.

    sector: magic "MPL1" | number u32, the larger counts | CRC-32 of the 8 bytes before | records ... | marks
    record: bytes of the tag u8 | bytes of the data u8 | tag | data | CRC-32 of the sector's number, u32, and all before
    mark:   7F EF FD BF, written before the other sector is erased

Each is filled up to a program unit. A sector's head is written last, so it counts only when all of it is there. What
does not decode is passed over: a bad cell costs one record. A power-on never grows what another one wrote, whose last
bytes may be torn: its first put begins the other sector with all that is known. So does a full one, and a put that
does not read back; where the other one does not take it, it goes behind all that is not blank.

A sector is erased only if it is blank or proven to be this journal's. A torn erase may leave nothing that proves it:
the mark in the other sector does, for it is written after the look and before the erase.
"""

from binascii import crc32
from struct import pack, unpack

from mpota_boot.errors import FlashError

MAGIC = b"MPL1"
HEAD = "<4sII"
HEAD_SIZE = 12
MOST = 128
LONGEST = 2 + 15 + MOST + 4
# One bit of each byte is 0: a torn mark has few forms, and a single bit that turned over makes no mark.
MARK = b"\x7f\xef\xfd\xbf"
# INFO_TLV_HEADER of Beken's SDK. On a Tuya T1 module 0x1E3000 begins so (ltchiptool, beken-7238-tuya.json).
TLV = b"TLV\0"
_BLANK = b"\xff" * 64


def encode(tag, data, number):
    """A record in the sector of that number, not yet filled up."""
    body = bytes((len(tag), len(data))) + tag.encode() + data
    return body + pack("<I", crc32(body, crc32(pack("<I", number))))


def decode(data, at, number):
    """(tag, data, end) of the record at `at`, None where no whole record lies."""
    if at + 6 > len(data) or not 0 < data[at] < 16:
        return None
    mid = at + 2 + data[at]
    end = mid + data[at + 1]
    if end + 4 > len(data) or unpack("<I", data[end : end + 4])[0] != crc32(data[at:end], crc32(pack("<I", number))):
        return None
    return bytes(data[at + 2 : mid]).decode(), bytes(data[mid:end]), end + 4


def _used(view):
    """The byte count of a sector without the erased bytes at its end."""
    n = len(view)
    while n > 63 and view[n - 64 : n] == _BLANK:
        n -= 64
    while n and view[n - 1] == 255:
        n -= 1
    return n


def _numbered(data):
    """The number in a sector's head, 0 where the head is not whole."""
    magic, number, crc = unpack(HEAD, data[:HEAD_SIZE])
    if magic != MAGIC or crc != crc32(data[:8]):
        return 0
    return number


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
        self.size = flash.erase_size
        self.mark = MARK + b"\xff" * (self._up(len(MARK)) - len(MARK))
        # Where the marks lie: a second one, should a cut tear the first, unless it would take the room of a record.
        n = len(self.mark)
        self.slots = (self.size - n,) if n > LONGEST else (self.size - 2 * n, self.size - n)
        self.tail = self.slots[0]
        self._read()

    def _read(self):
        self.at = self.size
        # Do records lie where marks would?
        self.full = False
        self.number = 0
        self.records = {}
        view = memoryview(bytearray(self.size))
        for i in (0, 1):
            self._load(i, view)
        self.grows = False

    def _fill(self, at, buf):
        """Read; once more where that fails, for it may pass."""
        try:
            self.flash.read(at, buf)
        except (OSError, FlashError):
            self.flash.read(at, buf)

    def _up(self, n):
        return (n + self.unit - 1) // self.unit * self.unit

    def _load(self, i, data):
        self._fill(i * self.size, data)
        if not _numbered(data):
            # One wrong read must not cost a sector.
            self._fill(i * self.size, data)
        number = _numbered(data)
        if not number or number <= self.number:
            return
        self.number, self.records = number, {}
        at = self._up(HEAD_SIZE)
        last = _used(data[: self.tail])
        again = True
        while at < self.size:
            found = decode(data, at, number)
            if not found and again and at < last:
                # Nor a record.
                again = False
                self._fill(i * self.size, data)
                found = decode(data, at, number)
            if found:
                _noted(self.records, found[0], found[1])
                last = max(last, found[2])
            at = self._up(found[2]) if found else at + self.unit
            if last <= at < self.tail:
                at = self.tail
        self.full = last > self.tail
        # Where a cut tore the last record, cells as far as one reaches may be torn though they read blank.
        self.at = self._up(last) + self._up(LONGEST)

    def last(self, tag):
        return self.records.get(tag)

    def put(self, tag, data):
        data = bytes(data[:MOST])
        if not self.grows and self._newer():
            self._read()
        if self.grows and (data or None) == self.last(tag):
            return
        records = _noted(dict(self.records), tag, data)
        done = False
        why = ""
        # A sector that does not take it leaves the other one, as long as that has room.
        for grow in (self.grows, not self.grows):
            try:
                done = done or (self._grow(tag, data) if grow else self._begin(records))
            except (OSError, FlashError) as e:
                self.grows = False
                why = why or "; %s" % e
        if not done:
            words = "%s was not kept: %d bytes, %d known%s" % (tag, len(data), len(records), why)
            raise FlashError("journal", words)
        self.records = records

    def _grow(self, tag, data):
        """Append to the sector that counts. False where it is full."""
        record = encode(tag, data, self.number)
        at = self.at
        if at + len(record) > self.tail:
            return False
        # Move on first: even if the program fails, these cells are not programmed again.
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
        # The first head of all says that both sectors are this journal's.
        wrong = self.strange(number % 2) if self.number else self.closed()
        if wrong:
            raise FlashError("journal", wrong)
        self._claim(self.number % 2)
        self.flash.erase(start, self.size)
        at += head
        for tag in records:
            at = self._prog(at, encode(tag, records[tag], number))
        data = pack("<4sI", MAGIC, number)
        self._prog(start, data + pack("<I", crc32(data)))
        self.number, self.at, self.grows, self.full = number, at - start, True, at - start > self.tail
        return True

    def _prog(self, at, data):
        """Program and read back; where the next record goes."""
        data += b"\xff" * (self._up(len(data)) - len(data))
        seen = bytearray(len(data))
        self.flash.prog(at, data)
        self._fill(at, seen)
        if seen != data:
            raise FlashError("journal", "the flash does not hold what was written at %d" % at)
        return at + len(data)

    def _newer(self):
        """Does the other sector read better now than when it was loaded?"""
        head = bytearray(HEAD_SIZE)
        try:
            self._fill((self.number + 1) % 2 * self.size, head)
        except (OSError, FlashError):
            return False
        return _numbered(head) > self.number

    def strange(self, i):
        """Why the sector `i`, 0 or 1, is never erased: it holds another's data; "" where it may be erased."""
        if self._get(i * self.size, len(MAGIC)) == MAGIC or self.unused(i):
            return ""
        from mpota.store.claim import strange

        return strange(self, i)

    def closed(self):
        """Why this journal cannot be relied on, a sentence: one of its sectors is another's; "" where none is."""
        return self.strange(0) or self.strange(1)

    def unused(self, i):
        """Is a sector blank but for marks, or what a torn program left of them?"""
        view = memoryview(bytearray(len(_BLANK)))
        for at in range(0, self.tail, len(_BLANK)):
            part = view[: self.tail - at]
            self._fill(i * self.size + at, part)
            if part != _BLANK[: len(part)]:
                return False
        return False not in [self.torn(mark) for mark in self._marks(i)]

    def torn(self, seen):
        """Are these bytes a mark, or as much of one as a torn program left?"""
        return seen == bytes([a | b for a, b in zip(seen, self.mark)])

    def _get(self, at, n):
        buf = bytearray(n)
        self._fill(at, buf)
        return buf

    def _marks(self, i):
        return [self._get(i * self.size + at, len(self.mark)) for at in self.slots]

    def _claim(self, i):
        """Say in the sector `i` that the other one was looked at and may be erased."""
        marks = self._marks(i)
        if self.full or self.mark in marks:
            return
        for at, mark in zip(self.slots, marks):
            if mark == b"\xff" * len(mark):
                return self._prog(i * self.size + at, self.mark)
