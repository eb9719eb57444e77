"""A group of a delta's chunk while it grows: controls, gaps, values and new bytes, as mpota/pipe/FORMAT.md has them."""

from __future__ import annotations

import re
import struct

# The most bytes of controls, gaps and values together: the board has one buffer of it.
HEAD = 1024
CHANGES = re.compile(rb"[^\0]")


class Group:
    """Takes new and old bytes as long as their head has room. Its last control is open: what comes next may join it."""

    def __init__(self) -> None:
        # Of the old bytes; 0 until there are some.
        self.mode = 0
        self.olds = 0
        self._controls, self._gaps, self._values, self._extra = bytearray(), bytearray(), bytearray(), bytearray()
        # New bytes, old bytes and seek of the open control.
        self._open = (0, 0, 0)
        # Old bytes behind the last value.
        self._same = 0

    def __bool__(self) -> bool:
        return any(self._open)

    @property
    def joins(self) -> bool:
        """May old bytes join the open control, where they follow its own?"""
        return self._open[1] > 0

    def fresh(self, extra: bytes) -> bool:
        """Take new bytes; False, and nothing has changed, where the head has no room for that."""
        new, old, _ = self._open
        if old:
            return self._begin((len(extra), 0, 0), b"", b"", extra)
        return self._grow((new + len(extra), 0, 0), b"", b"", extra)

    def old(self, diff: bytes, seek: int | None) -> bool:
        """Take old bytes to which `diff` is added, in a control of their own, `seek` further on, or in the open one.

        False, and nothing has changed, where the head has no room for that.
        """
        gaps, values, same = self._changes(diff)
        new, old, before = self._open
        if seek is None:
            done = self._grow((new, old + len(diff), before), gaps, values)
        elif old:
            done = self._begin((0, len(diff), seek), gaps, values)
        else:
            done = self._grow((new, len(diff), seek), gaps, values)
        if done:
            self.olds += len(diff)
            self._same = same
        return done

    def _changes(self, diff: bytes) -> tuple[bytes, bytes, int]:
        """The gaps and values of `diff`, and how many bytes stay behind the last one."""
        gaps, values = bytearray(), bytearray()
        same, behind = self._same, 0
        if not self.olds:
            # The first byte always has a value, so that a gap stands between two of them and nowhere else.
            values.append(diff[0])
            behind = 1
        for found in CHANGES.finditer(diff, behind):
            at = found.start()
            gap = same + at - behind
            if gap >= 255:
                gaps += b"\xff" * (gap // 255)
            gaps.append(gap % 255)
            values.append(diff[at])
            same, behind = 0, at + 1
        return bytes(gaps), bytes(values), same + len(diff) - behind

    def _begin(self, control: tuple[int, int, int], gaps: bytes, values: bytes, extra: bytes = b"") -> bool:
        """Close the open control and go on in another one."""
        before, self._open = self._open, (0, 0, 0)
        closed = encoded(before)
        self._controls += closed
        if self._grow(control, gaps, values, extra):
            return True
        del self._controls[-len(closed) :]
        self._open = before
        return False

    def _grow(self, control: tuple[int, int, int], gaps: bytes, values: bytes, extra: bytes = b"") -> bool:
        """Make the open control this one, with more behind it."""
        kept = len(self._controls) + len(self._gaps) + len(self._values)
        if kept + len(encoded(control)) + len(gaps) + len(values) > HEAD:
            return False
        self._open = control
        self._gaps += gaps
        self._values += values
        self._extra += extra
        return True

    def encode(self) -> bytes:
        """A head and the new bytes behind it."""
        controls = self._controls + encoded(self._open)
        sizes = struct.pack("<B3H", self.mode, len(controls), len(self._gaps), len(self._values))
        return b"".join((sizes, controls, self._gaps, self._values, self._extra))


def encoded(control: tuple[int, int, int]) -> bytes:
    """What the head says of a control: new bytes, old bytes, seek."""
    new, old, seek = control
    return number(new) + number(old) + number(zigzag(seek))


def zigzag(n: int) -> int:
    """Small numbers of either sign as small numbers: 0, -1, 1, -2, 2."""
    return n * 2 if n >= 0 else -n * 2 - 1


def number(n: int) -> bytes:
    """A varint: seven bits a byte, the low ones first."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)
