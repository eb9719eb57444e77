"""Bytes of a file as a Flash that can only be read: a whole chip, the file's bytes at `base` and 0xFF elsewhere."""

from __future__ import annotations

from mpota_boot.errors import FlashError

CHIP = 128 << 20


class Rom:
    """A read-only Flash of `size` bytes (default: the largest chip an image header can name) over `data`."""

    erase_size = 4096
    prog_size = 1
    erased = 0xFF

    def __init__(self, data: bytes, base: int = 0, size: int = CHIP) -> None:
        self.data = data
        self.base = base
        self.size = size

    def read(self, off: int, buf: bytearray | memoryview) -> None:
        """Fill `buf` from `off`."""
        if off < 0 or off + len(buf) > self.size:
            raise FlashError("bounds", f"{len(buf)} bytes at {off} leave a flash of {self.size}")
        at = off - self.base
        piece = self.data[max(at, 0) : max(at + len(buf), 0)]
        front = min(max(-at, 0), len(buf))
        buf[:] = (b"\xff" * front + piece).ljust(len(buf), b"\xff")

    def prog(self, off: int, buf: bytes) -> None:
        """Never: this is a file."""
        raise FlashError("flash", "a file that is looked at cannot be programmed")

    def erase(self, off: int, n: int) -> None:
        """Never: this is a file."""
        raise FlashError("flash", "a file that is looked at cannot be erased")
