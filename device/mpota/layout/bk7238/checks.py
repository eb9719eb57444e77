"""Every check that the loader will make, made before the restart, each with a name and a sentence.

It shares the codecs with loader.py and no decision. Where the vendor's loader is careless this is not: a package that
it would take, and regret, has failed here. The order is that in which a board finds out.
"""

from binascii import crc32

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.pipe.unpack import UNPACKS, Unpacker
from mpota.layout.bk7238.store import coded
from mpota.stream import pull

# The largest window of LZMA that the vendor's own packer asks of the loader's heap.
WINDOW = 65536
NAME = b"app"
CHIP = b"bk7238"


class Place:
    """Where a package has to fit: bytes of `download`, `start` and `size` of the application, the loader's secret.

    `runs` are the 96 bytes behind the application that runs.
    """

    def __init__(self, download, start, size, secret, runs=b""):
        self.download = download
        self.start = start
        self.size = size
        self.secret = secret
        self.runs = runs


def early(data, place):
    """Check a header of 96 bytes alone: yields (name of the check, what is wrong or "")."""
    head = rbl.Header.decode(data) if len(data) == rbl.SIZE else None
    wrong = "no RBL header begins here: its CRC-32 is wrong"
    if head and head.magic != rbl.MAGIC:
        wrong = "it begins with %r" % head.magic
    yield "header", wrong if head is None or head.magic != rbl.MAGIC else ""
    if head is None:
        return
    yield "name", "" if head.name == NAME else "it is for partition %r, wanted %r" % (head.name, NAME)
    yield "chip", _chip(head)
    yield "algorithm", _algorithm(head)
    yield "sizes", _sizes(head, place)
    yield "new", "this very package is what runs: the loader would do nothing" if data == place.runs else ""


def _chip(head):
    """LibreTiny and OpenBeken write the chip into the version: 1.17.5-bk7231n. The last one that is named counts."""
    text = head.version.lower()
    at = text.rfind(b"bk7")
    word = text[at : at + 7] if text[at + 6 : at + 7].isalpha() else text[at : at + 6]
    if at < 0 or len(word) < 6 or not word[3:6].isdigit() or word[:6] == CHIP:
        return ""
    return "version %s is for a %s, this is a %s" % (repr(head.version)[1:], word.decode(), CHIP.decode())


def _algorithm(head):
    if head.algo != head.compression | rbl.AES:
        name = rbl.CIPHERS.get(head.algo ^ head.compression, "in 0x%x" % head.algo)
        return "cipher %s: the loader takes aes only" % name
    if head.compression not in UNPACKS:
        name = rbl.COMPRESSIONS.get(head.compression, "0x%x" % head.compression)
        return "%s: the loader takes none, gzip and lzma" % name
    return ""


def _sizes(head, place):
    if head.raw < rbl.LEAST_RAW or head.raw + rbl.SIZE > place.size:
        return "an image of %d bytes, wanted %d to %d" % (head.raw, rbl.LEAST_RAW, place.size - rbl.SIZE)
    if head.body + rbl.SIZE > place.download:
        return "a package of %d bytes, `download` has %d" % (head.body + rbl.SIZE, place.download)
    if head.body < rbl.LEAST_BODY:
        return "a body of %d bytes, wanted %d or more" % (head.body, rbl.LEAST_BODY)
    return "a body of %d bytes, AES takes multiples of 16" % head.body if head.body % 16 else ""


def late(flash, head, place, feed):
    """The same for the body behind a header that passed `early`; `flash` has the package at 0."""
    seen = _crc(flash, head.body, feed)
    wrong = seen != head.crc
    yield "body CRC", "the body has CRC-32 0x%08x, the header says 0x%08x" % (seen, head.crc) if wrong else ""
    if wrong:
        return
    first = bytearray(36)
    told = ""
    try:
        unpacker = Unpacker(flash, head, place.secret)
        n, seen = _decode(unpacker, head.raw, first, feed)
    except (OSError, ValueError, EOFError, IndexError):
        told = "the body does not decode: another key or IV, or not what the header says"
    yield "decode", told
    if told:
        return
    most = unpacker.window > WINDOW and head.compression == rbl.LZMA
    yield "window", "LZMA with a window of %d, the loader has %d" % (unpacker.window, WINDOW) if most else ""
    yield "length", "" if n == head.raw else "it decodes to %s bytes, the header says %d" % (_more(n, head), head.raw)
    wrong = seen != head.hash
    told = "the image has FNV-1a 0x%08x, the header says 0x%08x" % (seen, head.hash)
    # Only what is compressed fails to decode with another key.
    yield "hash", told + ("" if head.compression else "; so has one under another key or IV") if wrong else ""
    twice = coded.crc16(coded.TABLE, first, 32) == first[32] << 8 | first[33]
    yield "plain", "CRCs stand between its bytes already: pack the image without them" if twice else ""
    word = first[32] | first[33] << 8 | first[34] << 16 | first[35] << 24
    ends = place.start, place.start + place.size
    wrong = not ends[0] <= word <= ends[1]
    yield "linked", "the word at 32 is 0x%x, no address from 0x%x to 0x%x" % (word, ends[0], ends[1]) if wrong else ""


def _more(n, head):
    return "more" if n > head.raw else n


def _crc(flash, n, feed):
    buf = memoryview(bytearray(1024))
    crc = done = 0
    while done < n:
        piece = buf[: min(1024, n - done)]
        flash.read(rbl.SIZE + done, piece)
        crc = crc32(piece, crc)
        done += len(piece)
        feed()
    return crc


def _decode(unpacker, most, first, feed):
    """(bytes, FNV-1a) of the image; one byte above `most` means that there are more. Fills `first`."""
    src = unpacker.open()
    fnv = rbl.Fnv()
    view = memoryview(bytearray(rbl.PIECE))
    total = 0
    while total < most:
        n = pull(src, view[: min(rbl.PIECE, most - total)])
        if not n:
            return total, fnv.value
        if not total:
            first[:n] = view[: min(n, len(first))]
        fnv.update(view[:n])
        total += n
        feed()
    # Bytes behind the image may be anything, as for the loader, but they must not decode to more image.
    try:
        total += pull(src, view[:1])
    except (OSError, ValueError, EOFError, IndexError):
        pass
    return total, fnv.value
