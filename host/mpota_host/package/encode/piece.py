"""What one chunk brings: the bytes that travel, and how many they decode to."""

from __future__ import annotations

from typing import NamedTuple

# What a chunk decodes to is counted in these, and is at most MOST bytes (FORMAT.md).
SECTOR, MOST = 4096, 65536


class Piece(NamedTuple):
    """`data` as it travels, without its link and before encryption; `output` in bytes, whole sectors but at the end."""

    data: bytes
    output: int

    @property
    def sectors(self) -> int:
        """What the link says of `output`."""
        return -(-self.output // SECTOR)


def pieces(data: bytes, size: int = SECTOR) -> list[Piece]:
    """`data` as it is, in chunks of `size` bytes, the last one shorter."""
    return [Piece(data[off : off + size], len(data[off : off + size])) for off in range(0, len(data), size)]
