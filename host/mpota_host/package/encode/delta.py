"""The other side of mpota/pipe/delta.py and xtensa.py: says of each chunk which old bytes make the new image.

HDiffPatch finds what both images share; here that is cut at the chunks, and each chunk's stream is written as
mpota/pipe/FORMAT.md tells, ready to be compressed. Prediction is that of the device's own code, run here beside the
new image. The same input gives the same bytes.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mpota.pipe import xtensa as device
from mpota.pipe.delta import PAGE
from mpota_boot.errors import Refused
from mpota_host.package.encode import xtensa
from mpota_host.package.encode.xtensa import Cover

# The largest head of a group: a part of the chunk's size, because the board has one buffer of it.
HEAD_SHIFT = 3
# How often the match is refined by what the one before says of addresses.
ROUNDS = 2
# What an old byte saves where a new one would travel, and what it costs where it changed; tuned on two real firmwares.
SAVED, CHANGED = 7, 4


@dataclass
class Delta:
    """The chunks before compression, whether they need the stage with prediction, and facts for a report."""

    chunks: list[bytes]
    predicted: bool
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

    def most(self) -> int:
        """The most bytes of a head that it can take: a value and a gap for each change, and gaps that are long."""
        changes = len(self.diff) - self.diff.count(0)
        return len(self.control()) + 2 * changes + len(self.diff) // 255 + 2


def plan(old: bytes, new: bytes, chunk: int, predict: bool = False) -> Delta:
    """Say how `new` is made of `old` in chunks of `chunk` bytes; with prediction for a board that has that stage."""
    if not old or not new:
        raise Refused("delta", f"a delta from {len(old)} to {len(new)} bytes, wanted an image on both sides")
    found = aligned(old, new) if predict else shared(old, new)
    modes = [0, *(xtensa.Image(new).modes() if predict else [])]
    streams, used = [], Counter[int]()
    for start in range(0, len(new), chunk):
        work = Work(old, new, start, min(start + chunk, len(new)), chunk >> HEAD_SHIFT)
        tried = [(work.stream(found, mode), mode) for mode in modes]
        best, mode = min(tried, key=lambda one: (len(deflated(one[0])), one[1]))
        used[mode] += 1
        streams.append(best)
    facts = {"covers": len(found), "covered": sum(one.size for one in found)}
    return Delta(streams, any(used[mode] for mode in modes[1:]), facts | {f"mode {m}": used[m] for m in modes})


def deflated(data: bytes) -> bytes:
    """As a chunk travels, more or less: what is smaller so is smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12, 9)
    return packer.compress(data) + packer.flush()


def aligned(old: bytes, new: bytes) -> list[Cover]:
    """What both share once addresses are told apart from the rest, where they are ESP32 images."""
    a, b = xtensa.Image(old), xtensa.Image(new)
    if not a.segments or not b.segments:
        return shared(old, new)
    found = covers(old, new)
    plain = xtensa.absolute(b)
    for _ in range(ROUNDS):
        moved = xtensa.absolute(a, xtensa.Shifts(found, len(old)), b)
        found = covers(moved, plain)
    return list(extended(found, moved, plain))


def shared(old: bytes, new: bytes) -> list[Cover]:
    """What both share."""
    return list(extended(covers(old, new), old, new))


def extended(found: list[Cover], old: bytes, new: bytes) -> Iterator[Cover]:
    """Covers that reach into what lies between them, as far as that saves more than it costs."""
    low = 0
    for i, one in enumerate(found):
        high = found[i + 1].new if i + 1 < len(found) else len(new)
        gap = one.new - low
        back = reach(old[max(0, one.old - gap) : one.old][::-1], new[low : one.new][::-1])
        end, old_end = one.new + one.size, one.old + one.size
        on = reach(old[old_end : old_end + high - end], new[end:high])
        low = end + on
        yield Cover(one.old - back, one.new - back, back + one.size + on)


def reach(old: bytes, new: bytes) -> int:
    """How many bytes of `old` are worth taking for those of `new`."""
    score = best = length = 0
    for n, (a, b) in enumerate(zip(old, new, strict=False), 1):
        score += SAVED if a == b else -CHANGED
        if score > best:
            best, length = score, n
    return length


def covers(old: bytes, new: bytes) -> list[Cover]:
    """What HDiffPatch finds, in the order of `new`, read from its uncompressed format HDIFF13."""
    import hdiffpatch  # 38 MB, which the extra `delta` brings

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


@dataclass
class Work:
    """One chunk, bytes `start` to `end` of the new image, with heads of at most `room` bytes."""

    old: bytes
    new: bytes
    start: int
    end: int
    room: int

    def stream(self, found: Iterable[Cover], mode: int) -> bytes:
        """The chunk's stream. A step too large for a head is halved, and with it the code that is walked in one go."""
        parts = list(clip(found, self.start, self.end))
        while True:
            steps = list(self.steps(parts, mode))
            large = [i for i, step in enumerate(steps) if step.most() > self.room]
            if not large:
                return b"".join(groups(steps, self.room, mode))
            for i in reversed(large):
                parts[i : i + 1] = halves(parts[i])

    def steps(self, parts: Sequence[Cover], mode: int) -> Iterator[Step]:
        """The old image is read where the new one is written, until a step says otherwise."""
        state = array("I", bytes(4 * device.Predicted.WORDS))
        state[17] = mode
        at = where = self.start
        for one in parts:
            yield Step(self.new[at : one.new], self.difference(one, state), one.old - where - (one.new - at))
            at, where = one.new + one.size, one.old + one.size
        if at < self.end:
            yield Step(self.new[at : self.end], b"", 0)

    def difference(self, one: Cover, state: array[int]) -> bytes:
        """What to add to each predicted byte, page by page as the device predicts them."""
        state[10] = 0
        out, at, end = b"", one.new, one.new + one.size
        while at < end:
            stop = min(end, at - at % PAGE + PAGE)
            off = one.old + at - one.new
            state[8], state[9] = off, at
            out += predicted(bytearray(self.old[off : off + stop - at]), self.new[at:stop], state)
            at = stop
        return out


def predicted(page: bytearray, new: bytes, state: array[int]) -> bytes:
    """The differences of `new` to what the device makes of the old bytes in `page`."""
    out, done, more = b"", 0, state[17]
    while more:
        more = device.follow(page, len(page), state)
        if more:
            out += difference(page[done:more], new[done:more])
            page[done:more] = new[done:more]
            done = more
    return out + difference(page[done:], new[done:])


def difference(old: bytes | bytearray, new: bytes) -> bytes:
    """What to add to each byte of `old`."""
    return bytes(map(lambda a, b: b - a & 255, old, new)) if old != new else bytes(len(old))


def clip(found: Iterable[Cover], start: int, end: int) -> Iterator[Cover]:
    """The parts of covers between `start` and `end` of the new image."""
    for one in found:
        low, high = max(one.new, start), min(one.new + one.size, end)
        if low < high:
            yield Cover(one.old + low - one.new, low, high - low)


def halves(one: Cover) -> list[Cover]:
    """Two covers for one."""
    half = one.size // 2
    return [Cover(one.old, one.new, half), Cover(one.old + half, one.new + half, one.size - half)]


def groups(steps: list[Step], room: int, mode: int) -> Iterator[bytes]:
    """Steps as groups whose heads fit into `room` bytes."""
    taken: list[Step] = []
    used = 0
    for step in steps:
        used += step.most()
        if used > room:
            yield group(taken, mode)
            taken, used = [], step.most()
        taken.append(step)
    yield group(taken, mode)


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


def group(steps: list[Step], mode: int) -> bytes:
    """A head and the new bytes behind it."""
    parts = head(steps)
    return struct.pack("<B3H", mode, *map(len, parts)) + b"".join(parts) + b"".join(step.extra for step in steps)


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
