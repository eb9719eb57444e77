"""The image in an RBL as a PC reads it, whatever it was compressed with, old packers' too; no loader reads them all."""

from __future__ import annotations

import lzma
import zlib

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.pipe.unpack import Body
from mpota.stream import pull
from mpota_host.chips.bk7238 import packer, quick
from mpota_host.package.rom import Rom

# No chip of this family has more flash; a file that says so is not believed.
MOST = 4 << 20
LZMA_MEMORY = 1 << 27


def image(data: bytes, head: rbl.Header, secret: tuple[bytes, bytes]) -> bytes:
    """What the package decodes to, cut one byte after the header's length. ValueError where it does not decode."""
    if rbl.SIZE + head.body > len(data):
        raise ValueError("its end is missing")
    body = bytearray(head.body)
    n = pull(Body(Rom(data, 0, len(data)), head, secret, bytearray(rbl.PIECE)), body)
    plain = bytes(body[:n])
    most = min(head.raw, MOST) + 1
    kind = rbl.COMPRESSIONS.get(head.compression, "")
    try:
        if kind == "gzip":
            return zlib.decompressobj(31).decompress(plain, most)
        if kind == "lzma":
            machine = lzma.LZMADecompressor(lzma.FORMAT_ALONE, LZMA_MEMORY)
            return machine.decompress(plain[:5] + b"\xff" * 8 + plain[13:], most)
        return plain[:most] if kind == "none" else quick.unpack(plain, kind)[:most]
    except (zlib.error, lzma.LZMAError, EOFError, IndexError, KeyError) as e:
        raise ValueError(f"{kind or hex(head.compression)}: {e}") from e


def told(data: bytes, head: rbl.Header, secret: tuple[bytes, bytes]) -> str:
    """The image in a sentence: its length and whether its hash is right, or why it cannot be seen."""
    try:
        found = image(data, head, secret)
    except ValueError as e:
        return f"not seen with the vendor's key and IV: {e}"
    if len(found) > head.raw:
        return "it decodes to more bytes than the header says"
    right = len(found) == head.raw and packer.fnv1a(found) == head.hash
    words = "whole: length and FNV-1a are right" if right else "another one than the header says"
    return f"{len(found):,} bytes, {words}"
