"""The files of a FAT file system in a dump, of an external flash or of a card: FAT12, FAT16 and FAT32, with long names.

A dump is one file system, or a card with a partition table whose first FAT partition is taken. Nothing is written, and
nothing in a dump is believed: a chain that has a loop or leaves the file system ends there. Source: Microsoft's
specification of FAT, version 1.03.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

SECTOR = 512
# Kinds of a partition that are FAT.
PARTITIONS = (0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E)
ENTRY = 32
# Attributes: long name, folder, label of the volume.
LONG, FOLDER, LABEL = 0x0F, 0x10, 0x08
DELETED, LAST = 0xE5, 0x00
# Folders that are looked into, one in another, and files of one.
DEPTH, MOST = 4, 4096


@dataclass(frozen=True)
class File:
    """One file: its long name, the short one that FAT also opens it by, and its bytes when they are asked for."""

    name: str
    short: str
    read: Callable[[], bytes]


@dataclass
class Fat:
    """Where things are in the dump; sizes in bytes."""

    data: bytes
    bits: int
    table: int
    root: int
    root_size: int
    clusters: int
    cluster: int
    count: int
    first: int

    def next(self, n: int) -> int:
        """The cluster behind one; 0 at the end, and for what is no cluster."""
        at = self.table + n * self.bits // 8
        raw = int.from_bytes(self.data[at : at + 4].ljust(4, b"\0"), "little")
        if self.bits == 12:
            raw = raw >> 4 * (n & 1) & 0xFFF
        else:
            raw &= 0xFFFF if self.bits == 16 else 0x0FFFFFFF
        return raw if 2 <= raw < self.count + 2 else 0

    def chain(self, n: int, most: int) -> bytes:
        """The bytes of a chain of clusters, at most so many."""
        found, seen = bytearray(), set()
        while n and n not in seen and len(found) < most:
            seen.add(n)
            at = self.clusters + (n - 2) * self.cluster
            found += self.data[at : at + self.cluster]
            n = self.next(n)
        return bytes(found[:most])

    def folder(self, n: int) -> Iterator[tuple[str, str, int, int, int]]:
        """Name, short name, attributes, first cluster and size of each entry; `n` is 0 for the root of FAT12 and 16."""
        raw = self.chain(n, MOST * ENTRY) if n else self.data[self.root : self.root + self.root_size]
        pieces: dict[int, str] = {}
        for off in range(0, len(raw) - ENTRY + 1, ENTRY):
            entry = raw[off : off + ENTRY]
            attributes = entry[11]
            if entry[0] == LAST:
                return
            if entry[0] == DELETED:
                pieces = {}
            elif attributes & 0x3F == LONG:
                text = entry[1:11] + entry[14:26] + entry[28:32]
                pieces[entry[0] & 0x1F] = text.decode("utf-16-le", "replace").partition("\0")[0].rstrip("\uffff")
            else:
                short = _short(entry)
                name = "".join(pieces[i] for i in sorted(pieces)) or short
                pieces = {}
                high, low, size = struct.unpack_from("<H4xHI", entry, 20)
                yield name, short, attributes, low | (high << 16 if self.bits == 32 else 0), size


def _short(entry: bytes) -> str:
    stem, end = entry[:8].decode("cp437").rstrip(), entry[8:11].decode("cp437").rstrip()
    # Bits that Windows keeps for names that are small letters all.
    stem, end = (part.lower() if entry[12] & bit else part for part, bit in ((stem, 8), (end, 16)))
    return f"{stem}.{end}" if end else stem


def mounted(data: bytes) -> Fat | None:
    """The file system of a dump, None where it is none."""
    found = _volume(data)
    if found or data[510:512] != b"\x55\xaa":
        return found
    for at in range(446, 510, 16):
        kind, (start, count) = data[at + 4], struct.unpack_from("<II", data, at + 8)
        if kind in PARTITIONS and count:
            found = _volume(data[start * SECTOR : (start + count) * SECTOR])
            if found:
                return found
    return None


def _volume(data: bytes) -> Fat | None:
    if len(data) < SECTOR or data[510:512] != b"\x55\xaa" or data[0] not in (0xEB, 0xE9):
        return None
    size, per, reserved, fats, entries, small, _, per_fat, _, _, _, large, per_fat_32 = struct.unpack_from(
        "<HBHBHHBHHHIII", data, 11
    )
    sectors, per_fat = small or large, per_fat or per_fat_32
    if size not in (512, 1024, 2048, 4096) or not per or per & (per - 1) or not fats or not reserved or not per_fat:
        return None
    root = (reserved + fats * per_fat) * size
    root_size = entries * ENTRY
    clusters = root + -(-root_size // size) * size
    count = (sectors * size - clusters) // (per * size)
    if count < 1 or clusters >= len(data):
        return None
    bits = 32 if not entries else 12 if count < 4085 else 16
    first = struct.unpack_from("<I", data, 44)[0] if bits == 32 else 0
    return Fat(data, bits, reserved * size, root, root_size, clusters, per * size, count, first)


def folders(fat: Fat) -> Iterator[tuple[str, list[File]]]:
    """Path and files of each folder."""
    todo, seen = [("", fat.first, 0)], set()
    while todo:
        path, at, depth = todo.pop(0)
        files = []
        for name, short, attributes, cluster, size in fat.folder(at):
            if attributes & LABEL or name in (".", ".."):
                continue
            if not attributes & FOLDER:
                files.append(File(name, short, partial(fat.chain, cluster, size)))
            elif depth < DEPTH and cluster not in seen:
                seen.add(cluster)
                todo.append((f"{path}/{name}", cluster, depth + 1))
        yield path or "/", files
