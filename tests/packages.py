"""Builds packages byte by byte on both interpreters, also such as no packer makes. Unsigned: a signature needs a host.

Deflate is written as stored blocks (RFC 1951, 3.2.4), which every inflater takes.
"""

from hashlib import sha256
from struct import pack, unpack

from mpota_host.package import format as fmt


def version(*numbers):
    return pack(">4H", *(list(numbers) + [0, 0, 0, 0])[:4])


def stored_deflate(piece):
    """`piece` as raw deflate, one stored block."""
    return pack("<BHH", 1, len(piece), len(piece) ^ 0xFFFF) + piece


class Maker:
    """A package of one firmware image; change a field before `bytes()` and it is wrong in just that way."""

    def __init__(self, image, chunk=4096, product=b"demo", deflate=False):
        self.image = image
        # Each chunk brings so many bytes of the image, and a board has as much room.
        self.chunk = chunk
        self.room = chunk // 1024
        self.fields = {}
        self.behind = b""  # bytes in the place of more fields
        self.spare = 0
        self.product = product
        self.layout = b"esp32"
        self.version = version(1, 1, 0)
        self.stages = b"\1" if deflate else b""
        self.kind = fmt.FIRMWARE
        self.flags = 0
        self.wbits = 12
        self.name = b"firmware"
        self.base = b""
        self.size = len(image)
        self.sha = sha256(image).digest()
        self.algorithm = 0
        self.key = bytes(8)
        self.format = 2
        pieces = [image[i : i + chunk] for i in range(0, len(image), chunk)]
        self.pieces = [stored_deflate(p) for p in pieces] if deflate else pieces

    def chunks(self):
        """The stored chunks, first to last."""
        after = pack(fmt.LINK, bytes(32), 0, 0)
        done = []
        for i in range(len(self.pieces) - 1, -1, -1):
            chunk = after + self.pieces[i]
            after = pack(fmt.LINK, sha256(chunk).digest(), len(chunk), self.sectors(i))
            done.insert(0, chunk)
        return done

    def sectors(self, i):
        """How many sectors of 4 KiB chunk `i` decodes to."""
        n = min(self.chunk, len(self.image) - i * self.chunk)
        return max(n + 4095 >> 12, 1)

    def record(self, chunks):
        """The component's record in the header."""
        return pack(
            fmt.COMPONENT,
            self.kind,
            self.wbits,
            self.flags,
            self.stages,
            self.size,
            sum(len(c) for c in chunks),
            self.sha,
            sha256(chunks[0]).digest(),
            len(chunks[0]),
            self.sectors(0),
            len(self.base),
            sha256(self.base).digest() if self.base else bytes(32),
            self.name,
        )

    def header(self, chunks):
        return self.head([self.record(chunks)])

    def head(self, records):
        """The signed bytes of a package of these components."""
        body = pack(fmt.BODY, self.product, self.layout, self.version, self.room, len(records), 0, self.spare)
        body += b"".join(records)
        for key, value in self.fields.items():
            body += pack(fmt.FIELD, key, len(value)) + value
        body += self.behind
        return pack(fmt.PREAMBLE, fmt.MAGIC, self.format, self.algorithm, len(body), self.key) + body

    def bytes(self):
        chunks = self.chunks()
        return self.header(chunks) + b"".join(chunks)


def several(*makers):
    """One package of the components of these makers; the first one's header says what it is for."""
    chunks = [maker.chunks() for maker in makers]
    records = [maker.record(one) for maker, one in zip(makers, chunks)]
    return makers[0].head(records) + b"".join([chunk for one in chunks for chunk in one])


class Ram:
    """A Link over bytes: counts what was read, and dies at byte `dies` if that is given."""

    def __init__(self, data, dies=None):
        self.data = data
        self.dies = dies
        self.opened = []
        self.fetched = 0
        self.reports = []

    def open(self, at=0):
        from mpota_boot.errors import LinkError

        if self.data is None:
            raise LinkError("link", "the server is gone")
        self.opened.append(at)
        return _Body(self, at)

    def other(self, code=""):
        return False

    def report(self, code, text):
        self.reports.append((code, text))

    def close(self):
        pass


class _Body:
    def __init__(self, link, at):
        self.link = link
        self.at = at

    def readinto(self, buf):
        from mpota_boot.errors import LinkError

        link = self.link
        if link.dies is not None and link.fetched >= link.dies:
            raise LinkError("link", "the line is cut")
        # Odd portions, so that no read ends where a chunk does.
        n = min(len(buf), 1447, len(link.data) - self.at)
        buf[:n] = link.data[self.at : self.at + n]
        self.at += n
        link.fetched += n
        return n

    def close(self):
        pass


def chunk_at(data, i):
    """(offset, length) of chunk `i` in a package of one component, found as a reader finds it."""
    off = fmt.RECORDS + fmt.COMPONENT_SIZE
    length = unpack("<H", data[fmt.RECORDS + 79 : fmt.RECORDS + 81])[0]
    for _ in range(i):
        at = off
        off += length
        length = unpack("<H", data[at + 32 : at + 34])[0]
    return off, length
