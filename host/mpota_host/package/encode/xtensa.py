"""Makes two Xtensa images look alike where they differ only in where things lie, so that a matcher finds more.

Addresses in calls, L32Rs and pointers become absolute; those of the old image are moved to where a first, rough match
says that their targets are now. Nothing here takes part in decoding: a wrong guess costs bytes in a delta, no more.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from mpota.pipe.xtensa import CODE, POINTERS, WIDE

# Load addresses at and above this one hold code, or what is read only by code (esp32, s2, s3 technical manuals).
CODE_FROM = 0x40000000
MAGIC = 0xE9
HEAD = 24
CALL8, L32R = 0x25, 1
# esp_chip_id_t of the ESP32, S2 and S3; the others run RISC-V code, of which only the pointers are known here.
CHIPS = (0, 2, 9)
# Highest bytes of the addresses that mode WIDE adds: flash as the S3 and newer chips map it.
FAR = (0x3C, 0x3D, 0x3E, 0x41, 0x42)
NOWHERE = -(1 << 31)


@dataclass(frozen=True)
class Cover:
    """`size` bytes that the new image has at `new` and the old one, more or less, at `old`."""

    old: int
    new: int
    size: int


@dataclass(frozen=True)
class Segment:
    """Bytes `start` to `end` of the file are loaded to `address`."""

    start: int
    end: int
    address: int


class Image:
    """An application image: its bytes and its segments, none where its head does not hang together."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.segments = segments(data)
        self.known = data[12:14] in [chip.to_bytes(2, "little") for chip in CHIPS]
        self.starts = [one.start for one in self.segments]
        self.by_address = sorted(self.segments, key=lambda one: one.address)
        self.addresses = [one.address for one in self.by_address]
        self.lowest = min(self.addresses, default=0)

    def offset(self, address: int) -> int | None:
        """Where the byte at `address` lies in the file."""
        i = bisect_right(self.addresses, address) - 1
        one = self.by_address[i]
        off = address - one.address + one.start
        return off if i >= 0 and off < one.end else None

    def address(self, off: int) -> int | None:
        """Where byte `off` of the file is loaded to."""
        i = bisect_right(self.starts, off) - 1
        one = self.segments[i]
        return off - one.start + one.address if i >= 0 and off < one.end else None

    def modes(self) -> list[tuple[int, int]]:
        """The modes of prediction: (first byte of the file, mode from there on), none where there are no segments."""
        wide = WIDE if any(one.address >> 24 in FAR for one in self.segments) else 0
        found: list[tuple[int, int]] = []
        for one in self.segments:
            mode = POINTERS | wide | CODE * (self.known and one.address >= CODE_FROM)
            if not found or found[-1][1] != mode:
                found.append((one.start if found else 0, mode))
        return found


def segments(data: bytes) -> list[Segment]:
    """Those of an ESP32 image's head."""
    if len(data) < HEAD or data[0] != MAGIC:
        return []
    off, found = HEAD, []
    for _ in range(data[1]):
        if off + 8 > len(data):
            return []
        address, size = struct.unpack_from("<II", data, off)
        off += 8
        found.append(Segment(off, off + size, address))
        off += size
    return found if off <= len(data) else []


class Shifts:
    """How far each word of the old image moved, told from covers: the longest one over it, else the last before it."""

    def __init__(self, covers: Iterable[Cover], size: int) -> None:
        self.words = array("i", [NOWHERE]) * (size // 4 + 1)
        for one in sorted(covers, key=lambda one: one.size):
            low, high = one.old // 4, (one.old + one.size + 3) // 4
            self.words[low:high] = array("i", [one.new - one.old]) * (high - low)
        last = 0
        for i, word in enumerate(self.words):
            last = self.words[i] = last if word == NOWHERE else word

    def of(self, off: int) -> int:
        """In bytes; 0 outside of the image and before all covers."""
        return self.words[off >> 2] if 0 <= off >> 2 < len(self.words) else 0


class Sites:
    """Where an image holds addresses, found in one walk: calls, L32Rs, and pointers in whole words."""

    def __init__(self, image: Image) -> None:
        self.image = image
        # Each with its target: a word of the file for instructions, a byte of it for pointers.
        self.calls: list[tuple[int, int]] = []
        self.loads: list[tuple[int, int]] = []
        self.pointers: list[tuple[int, int]] = []
        for one in image.segments:
            found = self._words(one)
            if one.address >= CODE_FROM and image.known:
                self._code(one, found)
            self.pointers += [(off, at) for off, at in found.items() if 0x3C <= image.data[off + 3] <= 0x42]

    def _words(self, part: Segment) -> dict[int, int]:
        """The whole words that are an address in a segment, and the bytes of the file that they mean."""
        image, start = self.image, part.start + -part.start % 4
        count = max(0, part.end - start) // 4
        found = {}
        for off, word in zip(
            range(start, part.end, 4), struct.unpack_from(f"<{count}I", image.data, start), strict=False
        ):
            if image.lowest <= word and (at := image.offset(word)) is not None:
                found[off] = at
        return found

    def _code(self, part: Segment, words: dict[int, int]) -> None:
        data, i, end = self.image.data, part.start, part.end - 3
        while i < end:
            if i in words:
                i += 4
                continue
            first = data[i]
            if first & 63 == CALL8:
                field = (first | data[i + 1] << 8 | data[i + 2] << 16) >> 6
                self.calls.append((i, i // 4 + 1 + field - (field >> 17 << 18)))
            elif first & 15 == L32R:
                self.loads.append((i, (i + 3) // 4 + (data[i + 1] | data[i + 2] << 8) - 65536))
            i += 3 - (first >> 3 & 1)

    def absolute(self, shifts: Shifts | None = None, new: Image | None = None) -> bytes:
        """The image with its addresses absolute, and moved by `shifts` to where they lie in `new`."""
        out = bytearray(self.image.data)
        for i, target in self.calls:
            to = target + (shifts.of(target * 4) // 4 if shifts else 0)
            out[i : i + 3] = ((to & 0x3FFFF) << 6 | CALL8).to_bytes(3, "little")
        for i, target in self.loads:
            to = target + (shifts.of(target * 4) // 4 if shifts else 0)
            out[i + 1 : i + 3] = (to & 0xFFFF).to_bytes(2, "little")
        if shifts and new:
            for off, at in self.pointers:
                moved = new.address(at + shifts.of(at))
                if moved:
                    struct.pack_into("<I", out, off, moved)
        return bytes(out)
