"""What eats bytes from outside, as functions of bytes: each gives a result or raises an OtaError, whatever the bytes.

Runs on both interpreters. A target returns a short word of what came of it, so that a run can show that it got past the
first check. Nothing may be allocated by what the bytes say; on the unix port a heap limit holds that.
"""

from binascii import crc32
from io import BytesIO
from struct import pack

from mpota.layout.esp32 import image as images
from mpota.layout.esp32 import loader, otadata, table
from mpota.layout.esp32.loader import verify
from mpota.link import frame, url
from mpota.link.find import find
from mpota.link.http import MANIFEST, Http
from mpota.pipe import delta, xtensa
from mpota.pipe.package import Chunks, Package
from mpota.stream import pull
from mpota_boot.errors import Corrupt, OtaError
from mpota_host.package import format as fmt
from mpota_host.sim.flash import SimFlash
from tests.core.test_delta import control, group
from tests.firmware import image
from tests.packages import Maker, stored_deflate

# A link loads it when it opens; here that would count as memory that the bytes take.
assert url
IMAGE = image(5003, 7)
SECTOR = 4096


def header(data):
    """A package's header, unsigned."""
    package = Package.read(BytesIO(data), None, bytearray(4096))
    assert len(package.id) == 8 and package.room <= 16384
    for part in package.components:
        assert part.size and part.first[1] <= package.room + fmt.SLACK
    return "header"


def package(data):
    """A whole package: header and every chunk, decoded."""
    src, buf = BytesIO(data), bytearray(4096)
    found = Package.read(src, None, buf)
    chunks = Chunks(found, 0, src, buf)
    out = bytearray(1024)
    done = 0
    while done < chunks.part.size:
        left = chunks.load()
        while left:
            n = chunks.readinto(out)
            assert 0 < n <= left
            left -= n
            done += n
    assert done == chunks.part.size
    return "whole"


def chunk(data):
    """Any bytes as the stored bytes of a chunk that is proven: what the decoder makes of them."""
    maker = Maker(IMAGE[:2000], deflate=True)
    maker.pieces = [bytes(data)]
    package(maker.bytes())
    return "decoded"


def window(data):
    """The first byte as the window of a deflate stage, in a package that is good but for that."""
    made = bytearray(Maker(IMAGE[:2000], deflate=True).bytes())
    made[fmt.RECORDS + 1] = data[0] if data else 0
    package(made)
    return "decoded"


def fields(data):
    """Any bytes as the fields of a header that is good but for them."""
    maker = Maker(IMAGE[:2000])
    maker.behind = bytes(data)
    header(maker.bytes())
    return "header"


def groups(data):
    """The first byte chooses a stage, with or without prediction; the rest are the groups of a delta."""
    data = bytes(data)
    stage = xtensa if data[:1] > b"\x7f" else delta
    chunks = Chunk()
    chunks.base = Rom(IMAGE)
    chunks.base.size = chunks.part.base_size = len(IMAGE)
    return piecewise(stage.stage(chunks)(BytesIO(data[1:])), chunks.left)


class Chunk:
    """What a stage is told of its chunk; it is its own component."""

    start = 0
    left = 2000

    def __init__(self):
        self.part = self


def piecewise(src, n):
    """What `src` gives, `n` bytes, as whoever proves a chunk reads it: what is wrong with it is one error there."""
    buf = bytearray(300)
    try:
        while n:
            got = src.readinto(memoryview(buf)[: min(n, len(buf))])
            if not got:
                raise EOFError
            n -= got
        if src.readinto(bytearray(1)):
            raise ValueError
    except (OSError, EOFError, ValueError) as e:
        raise Corrupt("decode", repr(e))
    return "decoded"


def frames(data):
    """A byte line: what is taken is what some sender sealed."""
    line = frame.Frames(bytearray(300))
    at = taken = 0
    while at < len(data):
        room = line.room()
        n = min(len(room), 37, len(data) - at)
        room[:n] = data[at : at + n]
        line.hi += n
        at += n
        while True:
            got = line.take()
            if got is None:
                break
            kind, run, off, payload = got
            assert len(payload) <= 300 - frame.EXTRA
            assert frame.encode(kind, run, off, bytes(payload)) in bytes(data)
            taken += 1
    return "frames %d" % min(taken, 2)


class Rom:
    """Bytes as a flash to read, 64 KiB of it."""

    erase_size = SECTOR
    prog_size = 1
    size = 0x10000

    def __init__(self, data, base=0):
        self.data = bytes(data)
        self.base = base

    def read(self, off, buf):
        assert 0 <= off and off + len(buf) <= self.size, "a read of %d bytes at %d" % (len(buf), off)
        off -= self.base
        piece = self.data[max(off, 0) : max(off + len(buf), 0)]
        buf[:] = piece + b"\xff" * (len(buf) - len(piece))


def partitions(data):
    """A partition table, for the application and for the bootloader."""
    for as_bootloader in (False, True):
        rows = table.decode(Rom(data, 0x8000), 0x8000, as_bootloader)
        assert 0 < len(rows) <= table.AREA // table.SIZE
        for row in rows:
            assert row.offset + row.size <= Rom.size
        table.slots(rows)
    return "rows"


def boot_entries(data):
    """otadata: both entries, the one in force and the number after it."""
    data = bytes(data[:64]) + b"\xff" * (64 - min(64, len(data)))
    flash = SimFlash(2 * SECTOR, prog_size=1)
    flash.prog(0, data[:32])
    flash.prog(SECTOR, data[32:])
    pair = otadata.read(flash)
    i = otadata.active(*pair)
    if i < 0:
        return "none"
    entry = pair[i]
    assert loader.sealed(entry) and not loader.blank(entry) and 0 <= entry.slot(2) < 2
    assert otadata.encode(entry) == data[32 * i : 32 * i + 32]
    return "active"


def firmware(data):
    """An application image: its first bytes, its length, the bootloader's whole check."""
    images.judge(data[:4096], 0, len(data))
    n = images.walk(Rom(data))
    assert 0 < n <= Rom.size
    assert verify.verify(Rom(data)) == n
    return "image"


class _Page(Http):
    """The HTTP link over a server that says just this."""

    def __init__(self, data):
        super().__init__("http://h/manifest.json", "demo", "esp32", lambda: None)
        self.url = self.home
        self.data = bytes(data)
        self.at = 0

    def readinto(self, buf):
        n = min(len(buf), len(self.data) - self.at)
        buf[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n

    def close(self):
        pass


def manifest(data):
    """A manifest, or whatever a server gives in its place."""
    page = _Page(data)
    buf = bytearray(MANIFEST)
    find(page, buf, pull(page, buf))
    if not page.offer:
        return "nothing"
    page._place(page.offer[2])
    return "offer"


def sealed_entry(seq, state):
    """32 bytes of otadata that are good."""
    return otadata.encode(otadata.Entry(seq, state))


def seeds():
    """name -> good inputs, from which others are made."""
    rows = [table.Row(1, 0, 0xD000, 0x2000, "otadata", 0), table.Row(0, 16, 0x4000, 0x4000, "a", 0)]
    offer = b"""{"mpota": 1, "packages": [
{"product": "demo", "layout": "esp32", "version": "1.2.0", "file": "p", "size": 9}]}"""
    small = Maker(image(5003, 7))
    squeezed = Maker(image(5003, 7), deflate=True)
    channel = Maker(image(5003, 7))
    channel.fields = {b"Chan": b"canary", b"note": b"passed over", b"From": bytes(8)}
    return {
        "header": [small.bytes()[:202], squeezed.bytes()[:202], channel.bytes()[:245]],
        "package": [small.bytes(), squeezed.bytes()],
        "chunk": [
            stored_deflate(IMAGE[:2000]),
            b"\x4b\x04\x00",
            pack("<BHH", 1, 9, 9 ^ 0xFFFF) + b"123456789",
            bytes(40),
        ],
        "fields": [
            b"Chan\6\0canaryFrom\x08\0\0\1\0\0\0\0\0\0",
            b"note\3\0any" + b"From\x08\0" + bytes(8),
            b"More\0\0",
        ],
        "groups": [
            b"\0" + group(control(100, 1900, 5), b"\x40\xff\x09\0", b"\0\1\2\3", bytes(100)),
            b"\xff" + group(control(0, 2000, 40), b"\x40\xff\x09\0", b"\0\1\2\3", mode=7),
            b"\xff"
            + group(control(7, 500, 0), b"", b"\0", bytes(7), 3)
            + group(control(993, 500, 9), b"", b"\1", bytes(993)),
        ],
        "window": [bytes((i,)) for i in (0, 1, 4, 5, 12, 15, 16, 255)],
        "frames": [frame.encode(1, 2, 3, b"payload") * 3, frame.encode(4, 0, 0, bytes(200)), b"text\xf5\x4dtext"],
        "partitions": [table.encode(rows)[:200], table.encode(rows + [table.Row(0, 17, 0x8000, 0x4000, "b", 0)])[:200]],
        "boot_entries": [sealed_entry(1, 2) + sealed_entry(2, 0), sealed_entry(0xFFFFFFFE, 1) + b"\xff" * 32],
        "firmware": [IMAGE, IMAGE[:400]],
        "manifest": [offer, offer.replace(b"demo", b"other"), b"<html>", b"[1, 2]", b'{"mpota": 1, "packages": {}}'],
    }


TARGETS = {
    "header": header,
    "package": package,
    "chunk": chunk,
    "window": window,
    "fields": fields,
    "groups": groups,
    "frames": frames,
    "partitions": partitions,
    "boot_entries": boot_entries,
    "firmware": firmware,
    "manifest": manifest,
}


def attempt(name, data):
    """The target's word, or the code of its OtaError. Anything else that it raises is a finding."""
    try:
        return TARGETS[name](data)
    except OtaError as e:
        assert e.code and str(e)
        return e.code


def change(data, edits, cut, fix):
    """`data` with bytes set at (offset, value), then `cut` bytes at the end left out; `fix`: seals made right."""
    out = bytearray(data)
    for at, value in edits:
        if out:
            out[at % len(out)] = value
    if fix and bytes(out[96:98]) == b"\xeb\xeb":
        from hashlib import md5

        out[112:128] = md5(bytes(out[:96])).digest()
    if fix and len(out) == 64:
        for at in (0, 32):
            out[at + 28 : at + 32] = pack("<I", crc32(bytes(out[at : at + 4]), 0xFFFFFFFF) & 0xFFFFFFFF)
    return bytes(out[: len(out) - cut] if cut < len(out) else out)
