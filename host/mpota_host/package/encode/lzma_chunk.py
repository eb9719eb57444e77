"""One chunk of the lzma stage: how it is made, and how the standard library decodes it.

The stream is that of mpota/pipe/lzma.py: props, length in 3 bytes, the range coder's bytes without the first. The
standard library writes LZMA1 only with an end marker, so the chunk is taken out of LZMA2, which frames the same bytes
without one. What does not shrink travels as it is. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Callable
from typing import Any

from mpota.pipe import lzma as decoder

# The props byte of a stream that was not compressed.
PLAIN = 0xFF
# pb to try with lc 0, and then lc 1 with the best of them; no lp: it gains nothing on firmware. All six pairs are no
# more than 0.003 % smaller. What is equal in size is the first of them.
PB = range(3)
# LZMA2's control byte of a chunk that sets everything anew, and of the end.
LZMA2_NEW, LZMA2_END = 0xE0, 0x00
# Powers of two that a window may have.
WINDOWS = range(12, 17)
LONGEST = (1 << 24) - 1


def encode(piece: bytes, wbits: int) -> bytes:
    """The smallest stream for `piece`, for a window of 2**wbits bytes (12 to 16)."""
    if wbits not in WINDOWS or len(piece) > LONGEST:
        raise ValueError(f"{len(piece)} bytes in a window of 2**{wbits}, wanted at most {LONGEST} and 12 to 16")
    plain = bytes([PLAIN]) + len(piece).to_bytes(3, "little") + piece
    best = min([plain, *(one for pb in PB if (one := encode_with(piece, wbits, 0, pb)))], key=len)
    for lc in range(1, decoder.LC + 1) if best[0] != PLAIN else ():
        best = min(best, encode_with(piece, wbits, lc, best[0] // 45) or best, key=len)
    return best


def encode_with(piece: bytes, wbits: int, lc: int, pb: int) -> bytes:
    """The stream with these props; b"" where LZMA2 has no single compressed chunk of it."""
    framed = lzma.compress(piece, format=lzma.FORMAT_RAW, filters=[_filter(lzma.FILTER_LZMA2, wbits, lc, pb)])
    if not piece or framed[0] < LZMA2_NEW:
        return b""
    control, low, stored, _ = struct.unpack(">BHHB", framed[:6])
    if ((control & 31) << 16) + low + 1 != len(piece) or len(framed) != 6 + stored + 1 + 1 or framed[-1] != LZMA2_END:
        return b""
    return bytes([lc + 45 * pb]) + len(piece).to_bytes(3, "little") + framed[7:-1]


def least_window(stream: bytes) -> int:
    """The least window, 2**n bytes, that holds all that `stream` decodes to, or is the largest that there is."""
    length = int.from_bytes(stream[1:4], "little")
    return min(max((length - 1).bit_length(), WINDOWS[0]), WINDOWS[-1])


def _filter(kind: int, wbits: int, lc: int, pb: int) -> dict[str, int]:
    return {
        "id": kind,
        "dict_size": 1 << wbits,
        "lc": lc,
        "lp": 0,
        "pb": pb,
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_BT4,
        "nice_len": 273,
        "depth": 512,
    }


def decode(stream: bytes, wbits: int) -> bytes:
    """What `stream` decodes to, by the standard library. ValueError or EOFError where the device would raise one."""
    if len(stream) < 4:
        raise EOFError("the stream ends inside its props and length")
    props, length, body = stream[0], int.from_bytes(stream[1:4], "little"), stream[4:]
    if props == PLAIN:
        if len(body) < length:
            raise EOFError(f"{len(body)} plain bytes, {length} promised")
        if len(body) > length:
            raise ValueError(f"{len(body)} plain bytes, {length} promised")
        return body
    if props % 45 > decoder.LC or props // 45 > 2:
        raise ValueError(f"props {props}")
    # The header of a .lzma file: props, window, length.
    alone = struct.pack("<BIQ", props, 1 << wbits, length) + b"\0" + body
    machine = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE)
    try:
        out = machine.decompress(alone)
    except lzma.LZMAError as e:
        raise ValueError(str(e)) from None
    if not machine.eof:
        raise EOFError(f"the stream ends after {len(out)} of {length} bytes")
    if machine.unused_data or len(out) != length:
        raise ValueError(f"{len(out)} of {length} bytes, {len(machine.unused_data)} bytes are left over")
    return out


class Whole:
    """A Source of one chunk, decoded by the standard library when its first byte is asked for."""

    def __init__(self, src: Any, more: int, wbits: int) -> None:
        self._src, self._more, self._wbits = src, more, wbits
        self._out: io.BytesIO | None = None

    def readinto(self, buf: Any) -> int:
        if self._out is None:
            self._out = io.BytesIO(decode(self._stored(), self._wbits))
        return self._out.readinto(buf)

    def _stored(self) -> bytes:
        got = bytearray()
        piece = memoryview(bytearray(4096))
        while self._more and (n := self._src.readinto(piece[: self._more])):
            got += piece[:n]
            self._more -= n
        return bytes(got)

    def close(self) -> None:
        self._out = io.BytesIO()


def stage(chunks: Any) -> Callable[[Any], Whole]:
    """The stage of mpota/pipe/lzma.py, on the standard library."""
    wbits, ram = chunks.part.wbits, chunks.ram
    return lambda src: Whole(src, chunks.stored - ram.tell() if src is ram else LONGEST * 2, wbits)
