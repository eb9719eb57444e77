"""A package: a signed header, then for each component a chain of chunks. FORMAT.md has the byte picture.

Nothing that the header says is used before its signature is right, and no byte of a chunk reaches a decoder before the
chunk's SHA-256 is the one that the header, or the chunk before it, promised. Lengths are promised too, so no
length is ever read from an unproven byte; buffers have one size, given by the board.
"""

from gc import collect
from hashlib import sha256
from io import BytesIO
from struct import unpack, unpack_from

from device.errors import Corrupt, LinkError, Refused
from device.stream import pull

MAGIC = b"MPOT"
FORMAT = 1
# Magic, format, signature (0 none, 1 RSA-3072), bytes of the body, key id: 16 bytes.
PREAMBLE = "<4sBBH8s"
# Product, layout, version, chunk size, components, recipients: 56 bytes.
BODY = "<32s8s8sIHH"
# Recipients: the id of a device's key and the content key wrapped for it.
RECIPIENT_SIZE = 48
# Kind, wbits, 0, stages, size, bytes in the package, SHA-256, the first chunk's length and SHA-256, base size and
# SHA-256, name: 136 bytes.
COMPONENT = "<BBH4sII32sI32sI32s16s"
COMPONENT_SIZE = 136
# A stored chunk begins with the SHA-256 and the length of the next one: 36 bytes.
LINK = "<32sI"
LINK_SIZE = 36
# What a stored chunk may have above the bytes it decodes to.
SLACK = 64
CHUNKS = (4096, 8192, 16384, 32768, 65536)
FIRMWARE = 1
FILES = 2
RESOURCE = 3
SIGNATURE = 384
# Decoders by stage code; a module that is left off the board is a stage that it refuses.
STAGES = {1: "inflate", 2: "decrypt", 3: "delta", 4: "lzma", 5: "xtensa"}


def name(field):
    """The text of a field that is padded with NUL."""
    try:
        return field.rstrip(b"\0").decode()
    except UnicodeError:
        raise Refused("format", "a name in the header is not UTF-8")


class Component:
    """One record of the header: what is installed, and how its chain of chunks begins."""

    def __init__(self, buf, off, chunk):
        (self.kind, self.wbits, flags, stages, self.size, self.stored, self.sha, self.length, self.first,
            self.base_size, self.base_sha, label) = unpack_from(COMPONENT, buf, off)  # fmt: skip
        self.name = name(label)
        # The Flash that a delta stands on; whoever knows the board sets it.
        self.base = None
        self.stages = stages.rstrip(b"\0")
        self.makers = []
        for code in self.stages:
            try:
                self.makers.append(__import__("device.pipe." + STAGES[code], None, None, ("stage",)).stage)
            except (KeyError, ImportError):
                raise Refused("stage", "stage %d is not on this board" % code)
        fits = LINK_SIZE < self.length <= min(chunk + SLACK, self.stored)
        # DeflateIO takes windows of 2**5 to 2**15 bytes, or its own for 0; LZMA 2**16 too.
        if not self.size or flags or not fits or 0 < self.wbits < 5 or self.wbits > 15 + (4 in stages):
            raise Refused("format", "%s: size %d, first chunk %d" % (self.name, self.size, self.length))


class Package:
    """A header whose signature is right. `version` is 8 bytes, four big-endian u16, and compares as bytes do."""

    def __init__(self, buf, end, whole, digest):
        self.id = digest[:8]
        self.end = whole
        self.key = None
        product, layout, self.version, self.chunk, n, self.recipients = unpack_from(BODY, buf, 16)
        at = 72 + n * COMPONENT_SIZE
        if self.chunk not in CHUNKS or not n or at + self.recipients * RECIPIENT_SIZE != end:
            raise Refused("format", "%d components, chunks of %d, %d bytes" % (n, self.chunk, end))
        self.product = name(product)
        self.layout = name(layout)
        self.components = [Component(buf, off, self.chunk) for off in range(72, at, COMPONENT_SIZE)]
        self.size = whole + sum([c.stored for c in self.components])
        # The firmware, the files, the resources by name: none twice, since each has one place.
        order = [(c.kind, c.kind == RESOURCE and c.name) for c in self.components]
        if order != sorted(set(order)):
            raise Refused("format", "components out of order, or two for one place")

    @classmethod
    def read(cls, src, keys, buf):
        """Read and prove a header through `buf` (4096 bytes). `keys`: the public keys trusted; None: unsigned too."""
        view = memoryview(buf)
        if pull(src, view[:16]) < 16 or buf[:4] != MAGIC:
            raise Refused("format", "no mpota package: it begins with %r" % bytes(buf[:4]))
        _, fmt, algorithm, end, key = unpack_from(PREAMBLE, buf)
        end += 16
        whole = end + SIGNATURE * algorithm
        if fmt != FORMAT or algorithm > 1 or not 72 < end <= whole <= len(buf):
            raise Refused("format", "format %d, signature %d, header of %d bytes" % (fmt, algorithm, end))
        if pull(src, view[16:whole]) < whole - 16:
            raise LinkError("short", "the package ends inside its header")
        digest = sha256(view[:end]).digest()
        if keys is not None:
            if not algorithm:
                raise Refused("unsigned", "the package is not signed")
            from device.pipe.trust import check

            check(keys, key, view[end:whole], digest)
            # RSA leaves 3 KB of garbage; what is made from here on must lie low in the heap, below the chunk's room.
            collect()
        return cls(buf, end, whole, digest)


class Chunks:
    """A Source: the decoded bytes of a component. `load()` proves the next chunk, `readinto` decodes it.

    `i`, `index`, `at`, `length` and `sha` say which chunk of which component is next, where it begins in the package,
    and what it must be: all that it takes to go on after a reset.
    """

    def __init__(self, package, i, src, buf):
        self.src = src
        self.buf = buf
        self.package = package
        self.chunk = package.chunk
        self.key = package.key
        # The room of a stored chunk, taken once: a fragmented heap cannot stop the update later.
        self.ram = BytesIO()
        self.ram.seek(min(self.chunk + SLACK, max([c.stored for c in package.components])) - 1)
        self.ram.write(b"\0")
        self.begin(i)

    def begin(self, i):
        """Make the first chunk of component `i` the next one."""
        parts = self.package.components
        self.i = i
        self.part = part = parts[i]
        self.go(0, self.package.end + sum([c.stored for c in parts[:i]]), part.length, part.first)
        self.base = part.base
        self.stages = [stage(self) for stage in part.makers]

    def go(self, index, at, length, sha):
        """Make chunk `index` the next one; the source must stand at byte `at` of the package."""
        self.index = index
        self.at = at
        self.length = length
        self.sha = sha
        self.left = 0

    def done(self):
        """Is there no chunk after the one that was loaded last?"""
        return self.index * self.chunk >= self.part.size

    def load(self):
        """Fetch and prove the next chunk, or raise before a byte of it is decoded. Returns the bytes it decodes to."""
        ram = self.ram
        self._prove(ram)
        ram.seek(0)
        self.stored = self.length
        self.at += self.length
        self.left = min(self.chunk, self.part.size - self.index * self.chunk)
        self.index += 1
        self.sha, self.length = unpack(LINK, ram.read(LINK_SIZE))
        if self.length and self.done():
            raise Corrupt("chain", "the last chunk, %d, promises another" % (self.index - 1))
        self.decoder = None
        return self.left

    def _prove(self, ram):
        length = self.length
        if not LINK_SIZE < length <= self.chunk + SLACK:
            raise Corrupt("chain", "chunk %d of %d bytes" % (self.index, length))
        h = sha256()
        ram.seek(0)
        piece = memoryview(self.buf)
        while length:
            if length < len(piece):
                piece = piece[:length]
            if pull(self.src, piece) < len(piece):
                raise LinkError("short", "the package ends inside chunk %d" % self.index)
            h.update(piece)
            ram.write(piece)
            length -= len(piece)
        if h.digest() != self.sha:
            raise Corrupt("chunk", "chunk %d is not the one that was signed" % self.index)

    def readinto(self, buf):
        """Decode bytes of the chunk that was loaded; 0 at its end, which must be the end of its stored bytes too."""
        if not self.left:
            return 0
        if len(buf) > self.left:
            buf = memoryview(buf)[: self.left]
        try:
            if not self.decoder:
                self.decoder = self.ram
                for open in self.stages:
                    self.decoder = open(self.decoder)
            n = self.decoder.readinto(buf)
            self.left -= n
            more = not self.left and self.decoder is not self.ram and self.decoder.readinto(bytearray(1))
        except (OSError, EOFError, ValueError) as e:
            raise Corrupt("decode", "chunk %d: %r" % (self.index - 1, e))
        if not n or more or (not self.left and self.ram.tell() != self.stored):
            raise Corrupt("decode", "chunk %d is not %d bytes long" % (self.index - 1, self.chunk))
        return n
