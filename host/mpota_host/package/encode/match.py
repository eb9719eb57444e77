"""Which bytes of the old image make the new one: what HDiffPatch finds, once addresses are told apart from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mpota_boot.errors import Refused
from mpota_host.package.encode import xtensa
from mpota_host.package.encode.group import CHANGES
from mpota_host.package.encode.xtensa import Cover

# How often the match is refined by what the one before says of addresses.
ROUNDS = 2
# What an old byte saves where a new one would travel, and what it costs where it changed; tuned on two real firmwares.
SAVED, CHANGED = 7, 4
# The same where addresses are predicted: few bytes change together then.
WRONG = 5


def aligned(old: bytes, new: bytes) -> list[Cover]:
    """What both share once addresses are told apart from the rest, where they are ESP32 images."""
    a, b = xtensa.Image(old), xtensa.Image(new)
    if not a.segments or not b.segments:
        return shared(old, new)
    found = covers(old, new)
    sites, plain = xtensa.Sites(a), xtensa.Sites(b).absolute()
    for _ in range(ROUNDS):
        moved = sites.absolute(xtensa.Shifts(found, len(old)), b)
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


def worth(diff: bytes, joins: bool) -> tuple[int, int]:
    """From where to where old bytes save most: from the first one where they go on with what was before them."""
    score = best = at = begin = low = high = 0
    for found in CHANGES.finditer(diff):
        place = found.start()
        score += SAVED * (place - at)
        if score > best:
            best, low, high = score, begin, place
        score -= WRONG
        at = place + 1
        if score < 0 and not joins:
            score, begin = 0, at
    if score + SAVED * (len(diff) - at) > best:
        low, high = begin, len(diff)
    return low, high


def covers(old: bytes, new: bytes) -> list[Cover]:
    """What HDiffPatch finds, in the order of `new`, read from its uncompressed format HDIFF13."""
    import hdiffpatch  # 38 MB, which the extra `delta` brings

    # Its large cache takes more memory for half of the time, and finds the same.
    data = hdiffpatch.diff(old, new, validate=False, big_cache_match=True)
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
