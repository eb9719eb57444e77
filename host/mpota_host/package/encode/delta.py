"""The other side of mpota/pipe/delta.py and xtensa.py: says of each chunk which old bytes make the new image.

match.py finds what both images share; here each chunk's stream grows from its start, page by page, as long as what
travels of it has room. Prediction is that of the device's own code, run here beside the new image. The same input
gives the same bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from mpota.pipe import xtensa as device
from mpota.pipe.delta import PAGE
from mpota_boot.errors import Refused
from mpota_host.package.encode import match, xtensa
from mpota_host.package.encode.fill import SECTORS, Cut, Way, filled
from mpota_host.package.encode.group import Group
from mpota_host.package.encode.piece import SECTOR, Piece
from mpota_host.package.encode.xtensa import Cover

# So many old bytes are left off at the ends of what a page takes, or none: a walk that began anew knows less.
TRIMMED = 8


@dataclass
class Delta:
    """The chunks as they travel, whether they need the stage with prediction, and facts for a report."""

    pieces: list[Piece]
    predicted: bool
    facts: dict[str, int] = field(default_factory=dict)


def plan(old: bytes, new: bytes, way: Way, limit: int, predict: bool = False, sectors: int = SECTORS) -> Delta:
    """Say how `new` is made of `old` in chunks that travel `way` in at most `limit` bytes each.

    `predict` is for a board that has that stage. A chunk decodes to at most so many `sectors`.
    """
    if not old or not new:
        raise Refused("delta", f"a delta from {len(old)} to {len(new)} bytes, wanted an image on both sides")
    found = matched(old, new, predict)
    facts = {"covers": len(found.covers), "covered": sum(one.size for one in found.covers)}
    return Delta(filled(found, way, limit, sectors), found.predicted, facts)


@lru_cache(1)
def matched(old: bytes, new: bytes, predict: bool) -> Match:
    """The last one is kept: each way to travel begins with it."""
    return Match(old, new, predict)


class Match:
    """Two images, the covers that make the new one of the old one, and the modes in which old bytes are predicted."""

    def __init__(self, old: bytes, new: bytes, predict: bool) -> None:
        self.old, self.new, self.size = old, new, len(new)
        modes = xtensa.Image(new).modes() if predict and xtensa.Image(old).segments else []
        self.predicted = bool(modes)
        self.modes = [mode for _, mode in modes] or [0]
        self.borders = [start for start, _ in modes] or [0]
        self.covers = match.aligned(old, new) if self.predicted else match.shared(old, new)
        self.ends = [one.new + one.size for one in self.covers]

    def mode(self, at: int) -> int:
        """How an old byte is predicted that comes to `at`."""
        return self.modes[bisect_right(self.borders, at) - 1]

    def parts(self, start: int, end: int) -> Iterator[Cover]:
        """The covers from `start` to `end` of the new image, cut at the pages of the output and where modes change."""
        for i in range(bisect_right(self.ends, start), len(self.covers)):
            one = self.covers[i]
            at, stop = max(one.new, start), min(self.ends[i], end)
            if one.new >= end:
                break
            while at < stop:
                k = bisect_right(self.borders, at)
                border = self.borders[k] if k < len(self.borders) else stop
                to = min(stop, at - at % PAGE + PAGE, border)
                yield Cover(one.old + at - one.new, at, to - at)
                at = to

    def cuts(self, start: int) -> Iterator[Cut]:
        """What a chunk that begins at `start` may be: one sector longer each."""
        chunk = Chunk(self, start)
        while chunk.at < self.size:
            chunk.grow(min(chunk.at + SECTOR, self.size))
            kept, chunk.closed = bytes(chunk.closed), bytearray()
            yield Cut(kept, chunk.group.encode(), chunk.at - start)

    def fresh(self, start: int, end: int) -> bytes:
        """A chunk's stream from new bytes alone: what always has room, for a single sector."""
        group = Group()
        group.fresh(self.new[start:end])
        return group.encode()


class Chunk:
    """The stream of a chunk that begins at `start`, which grows: groups that are closed, and one that is not."""

    def __init__(self, found: Match, start: int) -> None:
        self.match = found
        self.closed = bytearray()
        self.group = Group()
        # Where in the new image it goes on, and where in the old one a device reads, until a seek says otherwise.
        self.at = self.off = start
        self.state = array("I", bytes(4 * device.Predicted.WORDS))

    def grow(self, end: int) -> None:
        """Go on to byte `end` of the new image."""
        for one in self.match.parts(self.at, end):
            self._fresh(one.new)
            self._old(one)
        self._fresh(end)

    def _fresh(self, end: int) -> None:
        """New bytes."""
        if self.at < end:
            extra = self.match.new[self.at : end]
            if not self.group.fresh(extra):
                self._close()
                self.group.fresh(extra)
            self.off += end - self.at
            self.at = end

    def _old(self, one: Cover, whole: bool = False) -> None:
        """Old bytes that lie in one page; but for `whole`, without what is dearer than new bytes at its ends."""
        mode = self.match.mode(one.new)
        if self.group.olds and self.group.mode != mode:
            self._close()
        before, self.group.mode = self.state[:], mode
        joins = self.group.joins and one.old == self.off
        diff = self._difference(one, joins)
        low, high = (0, one.size) if whole else match.worth(diff, joins)
        if low + one.size - high >= TRIMMED:
            self.state = before
            self._fresh(one.new + low)
            if low < high:
                self._old(Cover(one.old + low, one.new + low, high - low), True)
            self._fresh(one.new + one.size)
        elif self.group.old(diff, None if joins else one.old - self.off):
            self.at, self.off = one.new + one.size, one.old + one.size
        else:
            self.state = before
            self._parted(one)

    def _parted(self, one: Cover) -> None:
        """What a head has no room for begins another, or is halved."""
        if self.group:
            self._close()
            self._old(one, True)
        else:
            half = one.size // 2
            self._old(Cover(one.old, one.new, half), True)
            self._old(Cover(one.old + half, one.new + half, one.size - half), True)

    def _close(self) -> None:
        self.closed += self.group.encode()
        self.group = Group()

    def _difference(self, one: Cover, joins: bool) -> bytes:
        """What to add to each predicted byte. A control of its own begins at an instruction."""
        old, new = self.match.old[one.old : one.old + one.size], self.match.new[one.new : one.new + one.size]
        if not self.group.mode:
            return difference(old, new)
        state = self.state
        state[8], state[9], state[17] = one.old, one.new, self.group.mode
        if not joins:
            state[10] = 0
        return predicted(bytearray(old), new, state)


def predicted(page: bytearray, new: bytes, state: array[int]) -> bytes:
    """The differences of `new` to what the device makes of the old bytes in `page`."""
    made, done = bytearray(page), 0
    while more := device.follow(page, len(page), state):
        made[done:more] = page[done:more]
        page[done:more] = new[done:more]
        done = more
    made[done:] = page[done:]
    return difference(bytes(made), new)


def difference(old: bytes, new: bytes) -> bytes:
    """What to add to each byte of `old`: all of them at once, each below a bit that takes the borrow."""
    if old == new:
        return bytes(len(old))
    size = len(old)
    high = int.from_bytes(b"\x80" * size, "little")
    a, b = int.from_bytes(new, "little"), int.from_bytes(old, "little")
    return (((a | high) - (b & ~high)) ^ ((a ^ ~b) & high)).to_bytes(size, "little")
