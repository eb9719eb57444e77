"""A board's external flash in a power campaign: a file system whose directory changes whole, over strict NOR.

The directory is one sector, written in turn to two, with a number and a CRC; a file's blocks are written to free
sectors before the directory names them. A file that is opened for writing anew is empty from then on, as on FAT, and
what was written to it counts when it is closed. What FAT itself does at each block is tried with the port's own
VfsFat, in tests.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any
from zlib import crc32

SECTOR = 4096
# The journal's two files, but for their last letter.
JOURNAL = "mpota"
HEAD = "<4sIII"
MAGIC = b"DISK"


class _File(BytesIO):
    def __init__(self, disk: Disk, name: str, mode: str) -> None:
        super().__init__(disk.content(name))
        self.disk, self.name, self.how = disk, name, mode

    def __enter__(self) -> _File:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        # Without power nothing is closed.
        if self.how != "rb" and kind is None:
            self.disk.store(self.name, self.getvalue())


class Disk:
    """Files in the sectors `start` .. `start + size` of a flash; a new object is a mount."""

    def __init__(self, flash: Any, start: int, size: int) -> None:
        self.flash, self.start, self.count = flash, start, size // SECTOR
        self.number, self.at = 0, 1
        self.files: dict[str, tuple[int, list[int]]] = {}
        for i in (0, 1):
            self._directory(i)

    def _read(self, sector: int, n: int = SECTOR) -> bytes:
        buf = bytearray(n)
        self.flash.read(self.start + sector * SECTOR, buf)
        return bytes(buf)

    def _directory(self, i: int) -> None:
        data = self._read(i)
        magic, number, n, crc = struct.unpack_from(HEAD, data)
        body = data[16 : 16 + n]
        if magic != MAGIC or n > SECTOR - 16 or crc32(body, number) != crc or number <= self.number:
            return
        self.number, self.at, self.files = number, i, {}
        for line in body.decode().splitlines():
            name, size, *blocks = line.split("/")
            self.files[name] = int(size), [int(b) for b in blocks]

    def _commit(self) -> None:
        lines = ["/".join([name, str(size), *map(str, blocks)]) for name, (size, blocks) in sorted(self.files.items())]
        body = "\n".join(lines).encode()
        self.number += 1
        self.at ^= 1
        self._write(self.at, struct.pack(HEAD, MAGIC, self.number, len(body), crc32(body, self.number)) + body)

    def _write(self, sector: int, data: bytes) -> None:
        if self._read(sector).strip(b"\xff"):
            self.flash.erase(self.start + sector * SECTOR, SECTOR)
        self.flash.prog(self.start + sector * SECTOR, data + b"\xff" * (-len(data) % SECTOR))

    def content(self, name: str) -> bytes:
        """All bytes of a file."""
        size, blocks = self.files[name]
        return b"".join(map(self._read, blocks))[:size]

    def store(self, name: str, data: bytes) -> None:
        """What a close does: blocks that changed go to free sectors, then the directory names them."""
        used = {b for _, blocks in self.files.values() for b in blocks}
        free = [i for i in range(2, self.count) if i not in used]
        old = self.files[name][1]
        blocks = []
        for i in range(0, len(data), SECTOR):
            piece = data[i : i + SECTOR]
            k = i // SECTOR
            if k < len(old) and self._read(old[k], len(piece)) == piece:
                blocks.append(old[k])
                continue
            if not free:
                raise OSError(28, "the disk is full")
            blocks.append(free.pop(0))
            self._write(blocks[-1], piece)
        self.files[name] = len(data), blocks
        self._commit()

    # What device/layout/pic32/files.Folder has.

    def open(self, name: str, mode: str) -> _File:
        if mode == "wb" and self.size(name) != 0:
            self.files[name] = 0, []
            self._commit()
        if name not in self.files:
            raise OSError(2, name)
        return _File(self, name, mode)

    def remove(self, name: str) -> None:
        if self.files.pop(name, None) is not None:
            self._commit()

    def size(self, name: str) -> int | None:
        return self.files[name][0] if name in self.files else None

    def names(self) -> list[str]:
        return list(self.files)

    def room(self) -> int:
        return (self.count - 2 - sum(len(blocks) for _, blocks in self.files.values())) * SECTOR

    def get(self, name: str, most: int) -> bytes | None:
        data = bytearray(self.content(name)[:most]) if name in self.files else None
        fault = self.flash.misread
        if fault and name[:-1] == JOURNAL and fault.now():
            if fault.how == "fails" or data is None:
                return None
            fault.spoil(data)
        return None if data is None else bytes(data)

    def put(self, name: str, data: bytes) -> None:
        with self.open(name, "wb") as f:
            f.write(data)
