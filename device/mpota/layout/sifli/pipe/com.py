"""The compressed form of an image, `com_*.bin`, and a Source of what is in it.

    0 bytes of the image u32 | 4 bytes of a chunk u32, 10240 | then for each chunk: bytes u32, a zlib stream
    or, made for the chip's own inflater, bytes u32, bytes of the chunk u32, one raw deflate block

Chunks do not depend on each other. What follows the last one is padding. A chunk is decoded from RAM, through a window
that no distance in it can leave; neither is ever larger than this page says, whatever the file says.
"""

from io import BytesIO
from struct import unpack

from deflate import RAW, DeflateIO
from micropython import const

from mpota_boot.errors import Corrupt

HEAD = "<II"
HEAD_SIZE = 8
CHUNK = 10240  # what the vendor's packer makes, and the most that is taken
_ROOM = const(10240 + 64)
_WBITS = const(14)


class Stored:
    """Reads the stored bytes of an image out of a Flash, decrypted by `cipher` (a Ctr or None)."""

    def __init__(self, flash, size, cipher=None):
        self.flash = flash
        self.size = size
        self.cipher = cipher

    def read(self, off, buf):
        """Fill `buf` from `off`; raises Corrupt where the image ends before."""
        if off + len(buf) > self.size:
            raise Corrupt("decode", "%d bytes at %d of a compressed image of %d" % (len(buf), off, self.size))
        if not self.cipher:
            self.flash.read(off, buf)
            return
        # A cipher starts at a multiple of 16 only.
        low = off & -16
        piece = bytearray(min(512, len(buf) + 15))
        view = memoryview(buf)
        while len(view):
            part = memoryview(piece)[: min(512, off + len(view) - low)]
            self.flash.read(low, part)
            self.cipher.xor(low, part)
            part = part[off - low :]
            view[: len(part)] = part
            view = view[len(part) :]
            off = low = off + len(part)


class Com:
    """A Source of the decoded image. `total` is its length, `chunk` that of a chunk, `at` the place in the file."""

    def __init__(self, stored):
        self.stored = stored
        self.number = bytearray(4)
        head = bytearray(HEAD_SIZE)
        stored.read(0, head)
        self.total, self.chunk = unpack(HEAD, head)
        if not 0 < self.chunk <= CHUNK:
            raise Corrupt("decode", "chunks of %d bytes, at most %d" % (self.chunk, CHUNK))
        # The room of a stored chunk, taken once.
        self.ram = BytesIO()
        self.ram.seek(_ROOM - 1)
        self.ram.write(b"\0")
        self.piece = bytearray(256)
        self.rewind()

    def rewind(self):
        """Begin again."""
        self.at = HEAD_SIZE
        self.left = self.total
        self.rest = 0
        self.decoder = None

    def _take(self, off):
        self.stored.read(off, self.number)
        return unpack("<I", self.number)[0]

    def _open(self):
        """Bring the next chunk into RAM."""
        n = self._take(self.at)
        if not 4 < n <= _ROOM:
            raise Corrupt("decode", "a chunk of %d stored bytes at %d" % (n, self.at))
        at = self.at + 4
        self.at = at + n
        self.ram.seek(0)
        view = memoryview(self.piece)
        while at < self.at:
            view = view[: self.at - at]
            self.stored.read(at, view)
            at += self.ram.write(view)
        self.rest = min(self.chunk, self.left)
        self.ram.seek(0)
        head = self.ram.read(4)
        # A chunk that begins with its own length is not compressed: no packer writes a zlib stream that does.
        raw = unpack("<I", head)[0] == self.rest
        if not raw and (head[0] & 15 != 8 or (head[0] << 8 | head[1]) % 31):
            raise Corrupt("decode", "a chunk begins with %02x %02x" % (head[0], head[1]))
        self.ram.seek(4 if raw else 2)
        # The window of the chunk before goes first: two of them are more than a small heap has.
        self.decoder = None
        self.decoder = DeflateIO(self.ram, RAW, _WBITS)

    def readinto(self, buf):
        """Decode; 0 at the end of the image. Raises Corrupt."""
        if not self.left:
            return 0
        try:
            if not self.rest:
                self._open()
            n = self.decoder.readinto(memoryview(buf)[: self.rest])
            self.rest -= n
            if not n or (not self.rest and self.decoder.readinto(self.number)):
                raise ValueError("length")
        except (OSError, EOFError, ValueError) as e:
            raise Corrupt("decode", "the chunk before byte %d: %r" % (self.at, e))
        self.left -= n
        return n

    def close(self):
        """Nothing is held."""
