"""The other side of device/pipe/delta.py: says of each chunk which bytes of the old image make the new one.

HDiffPatch finds what both images share; here that is cut at the chunks, and each chunk's stream is written as
device/pipe/FORMAT.md tells, ready to be compressed. The same input gives the same bytes.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import hdiffpatch

from device.errors import Refused

# The largest head of a group: a part of the chunk's size, because the board has one buffer of it.
HEAD_SHIFT = 2


@dataclass(frozen=True)
class Cover:
    """`size` bytes that the new image has at `new` and the old one, more or less, at `old`."""

    old: int
    new: int
    size: int


@dataclass
class Delta:
    """The chunks before compression, the map that prediction needs (else empty), and facts for a report."""

    chunks: list[bytes]
    map: bytes
    facts: dict[str, int] = field(default_factory=dict)


@dataclass
class Step:
    """A control with its bytes: new ones, then old ones whose differences are `diff`, taken from `seek` further on."""

    extra: bytes
    diff: bytes
    seek: int

    def control(self) -> bytes:
        """What the head says of it."""
        return number(len(self.extra)) + number(len(self.diff)) + number(zigzag(self.seek))


def plan(old: bytes, new: bytes, chunk: int, predict: bool = False) -> Delta:
    """Say how `new` is made of `old` in chunks of `chunk` bytes."""
    if not old or not new:
        raise Refused("delta", f"a delta from {len(old)} to {len(new)} bytes, wanted an image on both sides")
    found = covers(old, new)
    streams = []
    for start in range(0, len(new), chunk):
        end = min(start + chunk, len(new))
        steps = list(cut(old, new, clip(found, start, end), start, end))
        streams.append(b"".join(groups(steps, chunk >> HEAD_SHIFT)))
    return Delta(streams, b"", {"covers": len(found), "covered": sum(one.size for one in found)})


def covers(old: bytes, new: bytes) -> list[Cover]:
    """What HDiffPatch finds, in the order of `new`, read from its uncompressed format HDIFF13."""
    data = hdiffpatch.diff(old, new, validate=False)
    if data[:8] != b"HDIFF13&":
        raise Refused("delta", f"HDiffPatch wrote {data[:8]!r}, wanted HDIFF13&")
    reader = Reader(data, data.index(b"\0") + 1)
    # Sizes of new and old, the count of covers, then eight sizes of parts that are not looked at.
    count = [reader.number(7) for _ in range(11)][2]
    at_old = at_new = 0
    found = []
    for _ in range(count):
        back = data[reader.at] >> 7
        step = reader.number(6)
        at_old += -step if back else step
        at_new += reader.number(7)
        size = reader.number(7)
        found.append(Cover(at_old, at_new, size))
        at_old += size
        at_new += size
    return [one for one in found if one.size]


@dataclass
class Reader:
    """Numbers of HDIFF13: big end first, seven bits a byte but for a first one that has fewer."""

    data: bytes
    at: int

    def number(self, bits: int) -> int:
        """The next one; `bits` of its first byte are value, the bit above them says that more follow."""
        byte = self.data[self.at]
        self.at += 1
        value = byte & ((1 << bits) - 1)
        more = byte >> bits & 1
        while more:
            byte = self.data[self.at]
            self.at += 1
            value = value << 7 | byte & 127
            more = byte >> 7
        return value


def clip(found: list[Cover], start: int, end: int) -> Iterator[Cover]:
    """The parts of covers between `start` and `end` of the new image."""
    for one in found:
        low, high = max(one.new, start), min(one.new + one.size, end)
        if low < high:
            yield Cover(one.old + low - one.new, low, high - low)


def cut(old: bytes, new: bytes, parts: Iterator[Cover], start: int, end: int) -> Iterator[Step]:
    """The steps of one chunk; the old image is read at `start` until a step says otherwise."""
    at, where = start, start
    for one in parts:
        diff = difference(old[one.old : one.old + one.size], new[one.new : one.new + one.size])
        yield Step(new[at : one.new], diff, one.old - where)
        at = one.new + one.size
        where = one.old + one.size
    if at < end:
        yield Step(new[at:end], b"", 0)


def difference(old: bytes, new: bytes) -> bytes:
    """What to add to each byte of `old`."""
    return bytes(map(lambda a, b: b - a & 255, old, new)) if old != new else bytes(len(old))


def groups(steps: list[Step], room: int) -> Iterator[bytes]:
    """Steps as groups whose heads fit into `room` bytes; a step that is too much for one head is halved."""
    todo = list(reversed(steps))
    taken: list[Step] = []
    while todo:
        size = sum(map(len, head([*taken, todo[-1]])))
        if size <= room:
            taken.append(todo.pop())
        elif taken:
            yield group(taken)
            taken = []
        else:
            todo += halves(todo.pop())
    yield group(taken)


def halves(step: Step) -> list[Step]:
    """Two steps that do the same, the second one first."""
    half = len(step.diff) // 2
    return [Step(b"", step.diff[half:], 0), Step(step.extra, step.diff[:half], step.seek)]


def head(steps: list[Step]) -> tuple[bytes, bytes, bytes]:
    """The three parts of a group's head: controls, gaps, values."""
    diff = b"".join(step.diff for step in steps)
    changed = [at for at, value in enumerate(diff) if value]
    # The first byte always has a value, so that a gap stands between two of them and nowhere else.
    if diff and not diff[0]:
        changed.insert(0, 0)
    gaps = [b - a - 1 for a, b in itertools.pairwise(changed)]
    runs = b"".join(b"\xff" * (gap // 255) + bytes([gap % 255]) for gap in gaps)
    return b"".join(step.control() for step in steps), runs, bytes(diff[at] for at in changed)


def group(steps: list[Step]) -> bytes:
    """A head and the new bytes behind it."""
    parts = head(steps)
    return struct.pack("<3H", *map(len, parts)) + b"".join(parts) + b"".join(step.extra for step in steps)


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
