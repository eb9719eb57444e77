"""A package: a signed header, then for each component a chain of chunks. FORMAT.md has the byte picture.

Nothing that the header says is used before its signature is right, and no byte of a chunk reaches a decoder before the
chunk's SHA-256 is the one that the header, or the chunk before it, promised. Lengths are promised too, so no
length is ever read from an unproven byte; buffers have one size, given by the board.
"""

from gc import collect
from hashlib import sha256
from io import BytesIO
from struct import unpack, unpack_from

from micropython import const

from mpota.stream import RESOURCE, fill, finish
from mpota_boot.errors import Corrupt, LinkError, Refused

# The fields are those of FORMAT.md, in its order.
_PREAMBLE = const("<4sBBH8s")
_MAGIC = const(b"MPOT")
_FORMAT = const(2)
_SIGNATURE = const(384)
_BODY = const("<32s8s8sBBBB")
_RECIPIENT_SIZE = const(48)
_COMPONENT = const("<BBB4sII32s32sHBI32s16s")
_COMPONENT_SIZE = const(134)
_LINK = const("<32sHB")
_LINK_SIZE = const(35)
# Bytes that a stored chunk may have above the room: a sector that nothing makes smaller fits always.
_SLACK = const(96)
# What a chunk decodes to is counted in these, and is at most _MOST bytes.
_SECTOR = const(4096)
_MOST = const(65536)
# Decoders by stage code; a module that is left off the board is a stage that it refuses.
STAGES = {1: "inflate", 2: "decrypt", 3: "delta", 4: "lzma", 5: "xtensa"}


def name(field):
    """The text of a field that is padded with NUL."""
    try:
        return field.rstrip(b"\0").decode()
    except UnicodeError:
        raise Refused("format", "a name in the header is not UTF-8")


def _module(name):
    """A module beside this one that a board may do without."""
    try:
        return __import__("mpota.pipe." + name, None, None, ("x",))
    except ImportError:
        raise Refused("stage", "stage %s is not on this board" % name)


class Component:
    """One record of the header: what is installed, and how its chain of chunks begins."""

    def __init__(self, buf, off, package):
        (self.kind, self.wbits, flags, stages, self.size, self.stored, self.sha, first, length, sectors,
            self.base_size, self.base_sha, label) = unpack_from(_COMPONENT, buf, off)  # fmt: skip
        self.first = first, length, sectors
        # Where its chunks begin in the package.
        self.at = package.size
        self.name = name(label)
        self.base = None  # the Flash with the base of a delta; the installer sets it
        self.stages = stages.rstrip(b"\0")
        self.makers = []
        for code in self.stages:
            self.makers.append(_module(STAGES.get(code, str(code))).stage)
        fits = _LINK_SIZE < length <= min(package.room + _SLACK, self.stored)
        # DeflateIO takes windows of 2**5 to 2**15 bytes, or its own for 0; LZMA 2**16 too.
        if not self.size or flags or not fits or 0 < self.wbits < 5 or self.wbits > 15 + (4 in stages):
            raise Refused("format", "%s: size %d, first chunk %d" % (self.name, self.size, length))


class Package:
    """A header whose signature is right. `version` is 8 bytes, four big-endian u16, and compares as bytes do.

    `locks` is where in the header the recipients begin, `fields` a dict of what the board must have first.
    """

    channel = ""
    fields = None

    # Where the header begins in what the link brings; every other offset counts from there.
    start = 0

    def __init__(self, buf, end, whole, digest):
        self.id = digest[:8]
        self.end = whole
        self.key = None
        product, layout, self.version, kib, n, self.recipients, flags = unpack_from(_BODY, buf, 16)
        self.room = kib << 10
        self.locks = 68 + n * _COMPONENT_SIZE
        at = self.locks + self.recipients * _RECIPIENT_SIZE
        if kib not in (4, 8, 16) or not n or flags or at > end:
            raise Refused("format", "%d components, room for %d KiB, %d bytes" % (n, kib, end))
        if at < end:
            self.fields = _module("fields").fields(buf, at, end)
            self.channel = name(self.fields.pop(b"Chan", b""))
        self.product = name(product)
        self.layout = name(layout)
        self.components = []
        self.size = whole
        before = ()
        for off in range(68, self.locks, _COMPONENT_SIZE):
            part = Component(buf, off, self)
            self.size += part.stored
            self.components.append(part)
            # The firmware, the files, the resources by name: none twice, since each has one place.
            place = part.kind, part.kind == RESOURCE and part.name
            if place <= before:
                raise Refused("format", "components out of order, or two for one place")
            before = place

    @classmethod
    def read(cls, src, keys, buf):
        """Read and prove a header through `buf` (4096 bytes). `keys`: the public keys trusted; None: unsigned too."""
        return finish(cls.reading(src, keys, buf))

    @classmethod
    def reading(cls, src, keys, buf):
        """read() in steps, for a source that may have nothing yet."""
        view = memoryview(buf)
        n = yield from fill(src, view[:16])
        start = 0
        if view[:4] == b"MPOK":
            from mpota.pipe.keyrecord import ahead

            start = yield from ahead(src, view, keys)
            n = yield from fill(src, view[:16])
        magic, fmt, algorithm, end, key = unpack_from(_PREAMBLE, buf)
        end += 16
        whole = end + _SIGNATURE * algorithm
        if n < 16 or magic != _MAGIC or fmt != _FORMAT or algorithm > 1 or not 68 < end <= whole <= len(buf):
            raise Refused("format", "no mpota package of format 2: it begins with %r" % bytes(buf[:n]))
        if (yield from fill(src, view[16:whole])) < whole - 16:
            raise LinkError("short", "the package ends inside its header")
        digest = sha256(view[:end]).digest()
        if keys is not None:
            if not algorithm:
                raise Refused("unsigned", "the package is not signed")
            from mpota.pipe.trust import check

            yield from check(keys, key, view[end:whole], digest)
            # RSA leaves garbage. Collect now, so that later objects lie low in the heap, below the chunk buffer.
            collect()
        package = cls(buf, end, whole, digest)
        package.start = start
        return package


class Chunks:
    """A Source: the decoded bytes of a component. `load()` proves the next chunk, `readinto` decodes it.

    `i`, `out`, `at`, `length`, `sectors` and `sha` say which chunk of which component is next, where its bytes lie in
    the component, where it begins in the package, and what it must be: all that it takes to go on after a reset.
    `stands`: so many bytes at the front of the first target another package has written, whose next chunk never came.
    """

    stands = 0

    def __init__(self, package, i, src, buf):
        self.src = src
        self.buf = buf
        self.package = package
        self.limit = package.room + _SLACK
        self.key = package.key
        # The room of a stored chunk, taken once, where the proof of a base left garbage: a fragmented heap cannot stop
        # the update later.
        collect()
        self.ram = BytesIO()
        self.ram.seek(min(self.limit, package.size - package.end) - 1)
        self.ram.write(b"\0")
        self.begin(i)

    def begin(self, i):
        """Make the first chunk of component `i` the next one."""
        self.i = i
        self.part = part = self.package.components[i]
        self.go(0, part.at, *part.first)
        self.base = part.base
        self.stages = [stage(self) for stage in part.makers]

    def go(self, out, at, sha, length, sectors):
        """Make the chunk of byte `out` of the component the next one; the source must stand at `at` of the package."""
        self.out = out
        self.at = at
        self.sha = sha
        self.length = length
        self.sectors = sectors
        self.left = 0

    def place(self):
        """The next chunk as the journal keeps it: SHA-256, bytes, sectors, `out`, `at`, `i`."""
        return self.sha, self.length, self.sectors, self.out, self.at, self.i

    def load(self):
        """Fetch and prove the next chunk, or raise before a byte of it is decoded. Returns the bytes it decodes to."""
        return finish(self.loading())

    def loading(self):
        """load() in steps, for a source that may have nothing yet."""
        ram = self.ram
        # Where what is decoded begins; `out` is the next chunk's.
        self.stored, self.start = self.length, self.out
        rest = self.part.size - self.out
        left = self.sectors * _SECTOR
        if not (_LINK_SIZE < self.length <= self.limit and 0 < left < rest + _SECTOR and left <= _MOST):
            raise Corrupt("chain", "%d bytes for byte %d" % (self.length, self.out))
        h = sha256()
        ram.seek(0)
        view = memoryview(self.buf)
        for n in range(self.length, 0, -len(view)):
            piece = view[:n]
            got = self.src.readinto(piece) or 0
            if got < len(piece) and got + (yield from fill(self.src, piece[got:])) < len(piece):
                raise LinkError("short", "the package ends in the chunk at %d" % self.out)
            h.update(piece)
            ram.write(piece)
        if h.digest() != self.sha:
            raise Corrupt("chunk", "chunk at %d is not the one that was signed" % self.out)
        ram.seek(0)
        self.sha, self.length, self.sectors = unpack(_LINK, ram.read(_LINK_SIZE))
        self.left = left = min(left, rest)
        self.out += left
        if self.length and left == rest:
            raise Corrupt("chain", "chunk at %d is the last and promises another" % self.start)
        self.at += self.stored
        self.decoder = None
        return left

    def readinto(self, buf):
        """Decode bytes of the chunk that was loaded; 0 at its end, which must be the end of its stored bytes too."""
        if not self.left:
            return 0
        buf = memoryview(buf)[: self.left]
        try:
            if not self.decoder:
                self.decoder = self.ram
                for open in self.stages:
                    self.decoder = open(self.decoder)
            n = self.decoder.readinto(buf)
            self.left -= n
            end = self.left or self.decoder is self.ram or not self.decoder.readinto(bytearray(1))
            if not n or not end or (not self.left and self.ram.tell() != self.stored):
                raise ValueError("length")
        except (OSError, EOFError, ValueError) as e:
            raise Corrupt("decode", "chunk at %d: %r" % (self.start, e))
        return n
