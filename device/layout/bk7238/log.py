"""A journal in two sectors of flash, for boards without NVS: each begins with all that was known, then grows.

    0 magic "MPL1" | 4 number u32 | 8 bytes of records u32 | 12 CRC-32 of bytes 0..11 and the records | 16 records
    a record: 0 bytes of the tag u8 | 1 bytes of the data u8 | 2 tag | data | CRC-32 of the number, u32, and all before

The sector with the larger number counts, records up to the first that is not whole. A power-on never grows what another
one wrote, whose last bytes may be torn: its first put begins the other sector. So does a full one, and a put
that does not read back.
"""

from binascii import crc32
from struct import pack, unpack

from device.errors import FlashError

HEAD = "<4sIII"
HEAD_SIZE = 16
MAGIC = b"MPL1"
MOST = 128


def record(tag, data, number):
    """The bytes of one record in the sector of that number."""
    body = bytes((len(tag), len(data))) + tag.encode() + data
    return body + pack("<I", crc32(body, crc32(pack("<I", number))))


def records(data, number, found):
    """Read records into the dict `found`; returns where the first that is not whole begins."""
    at = 0
    while at + 2 <= len(data):
        n = 2 + data[at] + data[at + 1]
        body = data[at : at + n]
        end = data[at + n : at + n + 4]
        if len(end) < 4 or crc32(body, crc32(pack("<I", number))) != unpack("<I", end)[0]:
            break
        tag = body[2 : 2 + body[0]].decode()
        found.pop(tag, None)
        if body[1]:
            found[tag] = body[2 + body[0] :]
        at += n + 4
    return at


class Log:
    """A journal over a Flash of two sectors that takes single bytes."""

    def __init__(self, flash):
        self.flash = flash
        self.number = self.at = 0
        self.known = {}
        for i in (0, 1):
            found = self._load(i)
            if found and found[0] > self.number:
                self.number, self.known, self.at = found
        self.grows = False

    def _load(self, i):
        """(number, {tag: data}, where they end) of a sector, None where it does not begin whole."""
        size = self.flash.erase_size
        data = bytearray(size)
        self.flash.read(i * size, data)
        data = bytes(data)
        magic, number, n, crc = unpack(HEAD, data[:HEAD_SIZE])
        # A blank sector's length is no index that a chip of 32 bits takes.
        if magic != MAGIC or n > size:
            return None
        body = data[HEAD_SIZE : HEAD_SIZE + n]
        if crc32(body, crc32(data[:12])) != crc:
            return None
        found = {}
        return number, found, HEAD_SIZE + records(data[HEAD_SIZE:], number, found)

    def last(self, tag):
        return self.known.get(tag)

    def put(self, tag, data):
        data = bytes(data[:MOST])
        done = False
        # A sector that does not take it leaves the other one, as long as that has room.
        for way in (self._grow, self._begin) if self.grows else (self._begin, self._grow):
            try:
                done = done or way(tag, data)
            except (OSError, FlashError):
                self.grows = False
        if not done:
            raise FlashError("journal", "%s was not kept: %d bytes, %d known" % (tag, len(data), len(self.known)))
        self.known.pop(tag, None)
        if data:
            self.known[tag] = data

    def _write(self, off, data):
        seen = bytearray(len(data))
        self.flash.prog(off, data)
        self.flash.read(off, seen)
        return seen == data

    def _grow(self, tag, data):
        """Append to the sector that counts. False where it is full, or did not take it."""
        size = self.flash.erase_size
        piece = record(tag, data, self.number)
        at = self.number % 2 * size + self.at
        seen = bytearray(len(piece))
        if not self.number or self.at + len(piece) > size:
            return False
        self.flash.read(at, seen)
        if seen != b"\xff" * len(piece):
            return False
        self.at += len(piece)
        return self._write(at, piece)

    def _begin(self, tag, data):
        """Begin the other sector with everything that is known now. False where it did not take it."""
        size = self.flash.erase_size
        known = dict(self.known)
        known[tag] = data
        number = self.number + 1
        body = b"".join([record(key, known[key], number) for key in known if known[key]])
        head = pack("<4sII", MAGIC, number, len(body))
        image = head + pack("<I", crc32(body, crc32(head))) + body
        at = number % 2 * size
        if len(image) > size:
            return False
        self.flash.erase(at, size)
        if not self._write(at, image):
            return False
        self.number = number
        self.at = len(image)
        self.grows = True
        return True
