"""The journal of a board without NVS: two files that take turns, so that one is always whole.

    0 magic "MPJ1"   4 number u32, the larger counts   8 bytes of the records u16   10 CRC-32 of bytes 0..9 and records
    14 records: bytes of the tag u8, bytes of the data u8, tag, data            filled with 0 up to 512

A file is written in place, in one piece of one sector: on FAT neither its length nor its place changes. What was
written is read back before put() returns. One wrong read costs nothing: what is not whole is read again, and a file
that is newer than what was loaded is never written over.
"""

from binascii import crc32
from struct import pack, unpack

from mpota.store.tree import folders
from mpota_boot.errors import FlashError

HEAD = "<4sIHI"
HEAD_SIZE = 14
SIZE = 512
MAGIC = b"MPJ1"


def decode(data):
    """(number, {tag: data}) of a file's bytes, None where it is not whole."""
    if len(data) != SIZE:
        return None
    magic, number, n, crc = unpack(HEAD, data[:HEAD_SIZE])
    body = data[HEAD_SIZE : HEAD_SIZE + n]
    if magic != MAGIC or len(body) != n or crc32(body, crc32(data[:10])) != crc:
        return None
    records = {}
    at = 0
    while at + 2 <= n:
        tag, size = body[at], body[at + 1]
        at += 2 + tag
        records[body[at - tag : at].decode()] = body[at : at + size]
        at += size
    return number, records


def encode(number, records):
    """The bytes of a file."""
    body = b"".join([bytes((len(tag), len(data))) + tag.encode() + data for tag, data in records.items()])
    if len(body) > SIZE - HEAD_SIZE:
        raise FlashError("journal", "records of %d bytes, there is room for %d" % (len(body), SIZE - HEAD_SIZE))
    head = pack("<4sIH", MAGIC, number, len(body))
    data = head + pack("<I", crc32(body, crc32(head))) + body
    return data + bytes(SIZE - len(data))


class FileJournal:
    """A journal in the files `path` + "a" and "b"; one object for all of a run, for it remembers what they hold."""

    def __init__(self, path):
        self.path = path
        self.number = 0
        self.records = {}
        for name in "ab":
            if not self._load(name):
                self._load(name)

    def _load(self, name):
        """Is the file whole? Its records are taken if they are the newest."""
        found = decode(self._read(name))
        if found and found[0] > self.number:
            self.number, self.records = found
        return found

    def _read(self, name):
        try:
            with open(self.path + name, "rb") as f:
                return f.read(SIZE)
        except OSError:
            return b""

    def last(self, tag):
        return self.records.get(tag)

    def put(self, tag, data):
        # Does the file that is to be written read better now than when it was loaded?
        self._load("ab"[self.number + 1 & 1])
        records = dict(self.records)
        records.pop(tag, None)
        if data:
            records[tag] = bytes(data[:128])
        number = self.number + 1
        # Odd numbers go to one file, even ones to the other.
        name = "ab"[number & 1]
        image = encode(number, records)
        try:
            self._write(name, image)
        except OSError as e:
            raise FlashError("journal", "%s was not written: %r" % (self.path + name, e))
        # One wrong read must not end a trial.
        if self._read(name) != image and self._read(name) != image:
            raise FlashError("journal", "%s does not hold what was written" % (self.path + name))
        self.number = number
        self.records = records

    def _write(self, name, image):
        path = self.path + name
        folders(path)
        # A file that is there keeps its place.
        mode = "r+b" if len(self._read(name)) == SIZE else "wb"
        with open(path, mode) as f:
            f.write(image)
