"""A bare RBL, as the vendor's `http_ota` takes it: believed for its AES key, which most boards of this family share.

Only where the board's wiring says so (`port.bare`), for anybody who knows that key can make one. Everything else is as
with a signed package: the header is judged before any erase, the dry run is made, and only then is the header written.
There is no chain of hashes, so there is nothing to go on from: a download that stops begins again.
"""

from hashlib import sha256

from mpota.layout.bk7238 import rbl
from mpota.store.writer import digest, encode_progress, put
from mpota.stream import FIRMWARE, pull
from mpota.version import encode
from mpota_boot.errors import LinkError, Refused


class Bare:
    """Stands for the package and for its one component."""

    kind = FIRMWARE
    name = "firmware"
    sha = b""

    def __init__(self, data):
        head = rbl.Header.decode(data)
        self.id = sha256(data).digest()[:8]
        self.size = rbl.SIZE + (head.body if head else 0)
        self.version = number(head.version) if head else bytes(8)
        self.components = [self]


def number(text):
    """The 8 bytes of a version such as 1.0.1; zeros where the text is no such thing."""
    parts = text.split(b".")
    try:
        return bytes(8) if [p for p in parts if not p.isdigit()] else encode([int(p) for p in parts])
    except ValueError:
        return bytes(8)


def install(board, link):
    """Install the RBL that `link` offers. Yields (bytes done, bytes in all); returns the Bare that waits for a reset.

    None where nothing is on offer. Raises an OtaError; the image that runs is untouched then.
    """
    layout = board.layout
    layout.ready()
    if not layout.port.bare:
        raise Refused("unsigned", "a bare RBL is not signed: `pack` it into a package with a key")
    src = link.open()
    if src is None:
        return None
    try:
        package = yield from _fetch(board, src)
    finally:
        src.close()
    package.sha = digest(layout.target(package), package.size, bytearray(4096), board.feed)
    layout.check(package)
    layout.arm(package)
    return package


def _fetch(board, src):
    """Write what `src` brings into the target; returns its Bare."""
    layout = board.layout
    buf = bytearray(4096)
    view = memoryview(buf)
    n = pull(src, view)
    package = Bare(buf[: rbl.SIZE])
    layout.admit(package, buf[:n])
    target = layout.target(package)
    # There is no place to go on from: it would begin again.
    board.journal.put("progress", encode_progress(package.id, b"", 1, 0, 0, 0, 0))
    done = 0
    while True:
        n = min(n, package.size - done)
        if n:
            board.feed()
            put(target, done, buf, n)
            done += n
            yield done, package.size
        if done == package.size:
            board.journal.put("progress", encode_progress(package.id, b"", 0, 0, done, done, 0))
            return package
        n = pull(src, view[: min(4096, package.size - done)])
        if not n:
            raise LinkError("short", "the RBL ends after %d of %d bytes" % (done, package.size))
