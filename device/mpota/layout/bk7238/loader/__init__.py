"""The bootloader, as version 1.0.14 decides: is there a package in `download`, does it fit, then two passes over it.

The first pass decodes everything and writes nothing; the second erases the header of `app` before all else, so a cut
leaves an application that is known to be none and a package that is still there. The header is written last, and then
the front of `download` goes. Where the vendor's reads out of bounds, or notices too late, this one refuses before any
erase: FORMAT.md names each such rule.
"""

from binascii import crc32
from gc import collect

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.loader.copier import CHECK, DONE, GENERAL, NONE, READ, VERIFY, WRITE, Copier, copy
from mpota_boot.errors import OtaError

# How often an install is tried over when the flash did not take it.
TRIES = 3


class Options:
    """What a loader is compiled with: partitions by name (bytes), the key, the IV, and who is fed meanwhile.

    `download` is a Flash, code partitions are coded.Coded, all of them keys of `parts`.
    """

    def __init__(self, parts, secret=(rbl.KEY, rbl.IV), feed=None):
        self.parts = parts
        self.secret = secret
        self.feed = feed or _nothing


class Result:
    """What a boot did: `code` of the install (NONE: nothing to do), `why` in words, and whether `app` starts."""

    def __init__(self, code, why, starts=True):
        self.code = code
        self.why = why
        self.starts = starts


def _nothing():
    pass


def boot(options):
    """At reset: install a staged package; returns a Result."""
    app = options.parts.get(b"app")
    code, why, broken = GENERAL, "there is no partition table", False
    try:
        if options.parts:
            code, why = _wants(options)
            if code == DONE:
                # Collect now, so that later objects lie low in the heap: an inflater's window is one piece of 32 KiB.
                collect()
                code, broken = _install(options)
                why = "installed" if code == DONE else "the install failed: %d" % code
        starts = app is not None and not broken and _whole(app, options.feed)
    except (OSError, OtaError) as e:
        code, why, starts = READ, "the flash cannot be read: %s" % e, False
    return Result(code, why, starts)


def saved(part):
    """The 96 bytes at the end of a code partition, and the Header in them or None."""
    data = bytearray(rbl.SIZE)
    part.read(part.size - rbl.SIZE, data)
    return bytes(data), rbl.Header.decode(data)


def staged(download):
    """The same of the front of `download`."""
    data = bytearray(rbl.SIZE)
    download.read(0, data)
    return bytes(data), rbl.Header.decode(data)


def _wants(options):
    """(DONE, "") when there is a package to install, else a result code and why not."""
    download = options.parts.get(b"download")
    if download is None:
        return CHECK, "there is no download partition"
    data, head = staged(download)
    if head is None:
        return NONE, "nothing is staged"
    dest = options.parts.get(head.name)
    if head.name.startswith(b"bootloader"):
        return CHECK, "the bootloader is never replaced"
    if dest is None or dest is download:
        return GENERAL, "no partition %r" % head.name
    if saved(dest)[0] == data:
        return NONE, "this very package is installed"
    if head.cipher == rbl.NONE:
        return CHECK, "the package is not encrypted"
    if head.raw < rbl.LEAST_RAW or not rbl.LEAST_BODY <= head.body <= download.size - rbl.SIZE:
        return CHECK, "%d bytes of image in %d of body" % (head.raw, head.body)
    if _crc(download, head.body, options.feed) != head.crc:
        return CHECK, "the body's CRC is wrong"
    return DONE, ""


def _crc(download, n, feed):
    buf = memoryview(bytearray(1024))
    off = rbl.SIZE
    crc = 0
    while n:
        piece = buf[: min(n, 1024)]
        download.read(off, piece)
        crc = crc32(piece, crc)
        off += len(piece)
        n -= len(piece)
        feed()
    return crc


def _install(options):
    """(result code, is the application gone). A failed erase or write is tried again, from the first pass on."""
    download = options.parts[b"download"]
    data, head = staged(download)
    dest = options.parts[head.name]
    broken = False
    for _ in range(TRIES):
        pack = Copier(download, head, dest, options)
        code = pack.copy(True)
        broken = broken or pack.erased
        if code == DONE:
            code = _seal(dest, head, data, options.feed)
        if code == DONE:
            _forget(download)
            return DONE, False
        if not broken:
            break
    return code, broken and head.name == b"app"


def _seal(dest, head, data, feed):
    """Read the image back; then write its header, the mark that it is there."""
    if not _matches(dest, head, feed):
        return VERIFY
    try:
        dest.prog(dest.size - rbl.SIZE, data)
    except (OSError, OtaError):
        return WRITE
    return DONE if saved(dest)[0] == data else WRITE


def _forget(download):
    """The mark that it is done. Without it the headers are equal, which says the same."""
    try:
        download.erase(0, download.erase_size)
    except (OSError, OtaError):
        pass


def _matches(part, head, feed):
    """Does the partition hold the image of this header, every CRC right?"""
    fnv = rbl.Fnv()
    view = memoryview(bytearray(1024))
    part.bad = 0
    for off in range(0, head.raw, 1024):
        piece = view[: min(1024, head.raw - off)]
        part.read(off, piece)
        fnv.update(piece)
        feed()
    return fnv.value == head.hash and not part.bad


def _whole(app, feed):
    """May the application start? Of one that came over a wire, over an old header or none, the CRCs alone are known."""
    head = saved(app)[1]
    if head is not None and head.raw <= app.size - rbl.SIZE and _matches(app, head, feed):
        return True
    return app.clean(feed)


__all__ = ["boot", "copy", "saved", "staged"]
