"""Makes what `patch` reads: the groups of a chunk, from the old and the new image. Simple, not small."""

from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache

from tests.format2.patch import HEAD, MOST, Prediction, Run, carry

SEED = 12
# Old bytes of one control: as many of these as keep its group's head within its limit.
LENGTHS = (4000, 1500, 400, 150)


@lru_cache(maxsize=4)
def index(old: bytes) -> dict[bytes, int]:
    """Where each run of SEED bytes lies in the old image."""
    return {old[i : i + SEED]: i for i in range(len(old) - SEED, -1, -1)}


def reach(old: bytes, at: int, new: bytes, start: int, end: int) -> int:
    """How many bytes from new[start] on are mostly those from old[at] on."""
    score = best = length = 0
    for i in range(min(end - start, len(old) - at)):
        score += 1 if old[at + i] == new[start + i] else -1
        if score > best:
            best, length = score, i + 1
        if score < best - 24:
            break
    return length


def matches(old: bytes, new: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(place in the new image, place in the old one, bytes), in order."""
    found = index(old)
    at = start
    shift = 0
    while at < end:
        same = 0 <= at + shift < len(old) and old[at + shift : at + shift + 4] == new[at : at + 4]
        place = at + shift if same else found.get(new[at : at + SEED], -1)
        n = reach(old, place, new, at, end) if place >= 0 else 0
        if n < 4:
            at += 1
            continue
        yield at, place, n
        shift = place - at
        at += n


def number(value: int) -> bytes:
    """Seven bits a byte, the low ones first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def unsigned(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


class Group:
    """Controls, what they add to old bytes, and their new bytes."""

    def __init__(self) -> None:
        self.controls = b""
        self.added: list[int] = []
        self.new = b""

    def sums(self) -> tuple[bytes, bytes]:
        """(gaps, values)."""
        gaps = bytearray()
        values = bytearray(self.added[:1])
        still = 0
        for add in self.added[1:]:
            if not add:
                still += 1
                continue
            gaps += b"\xff" * (still // 255) + bytes((still % 255,))
            values.append(add)
            still = 0
        return bytes(gaps), bytes(values)

    def take(self, control: bytes, added: list[int], new: bytes) -> bool:
        """Add one control, unless the head has no room for it."""
        before = self.controls, self.added, self.new
        self.controls, self.added, self.new = self.controls + control, self.added + added, self.new + new
        gaps, values = self.sums()
        if len(self.controls) + len(gaps) + len(values) <= MOST:
            return True
        self.controls, self.added, self.new = before
        return False

    def encode(self, mode: int) -> bytes:
        gaps, values = self.sums()
        head = HEAD.pack(mode, len(self.controls), len(gaps), len(values))
        return head + self.controls + gaps + values + self.new


class Encoder:
    """The groups of one chunk."""

    def __init__(self, old: bytes, new: bytes, start: int, mode: int) -> None:
        self.old, self.new, self.start, self.mode = old, new, start, mode
        self.at = start
        self.shift = 0
        self.state = Prediction(mode)
        self.done = b""
        self.group = Group()

    def add(self, fresh: int, place: int, size: int) -> bool:
        """A control of `fresh` new bytes and `size` old ones from `place` on; False where no group has room for it."""
        state = deepcopy(self.state)
        run = Run(place, self.at + fresh, size, self.start)
        added: list[int] = []

        def change(predicted: bytes, at: int) -> bytes:
            wanted = self.new[run.new + at : run.new + at + len(predicted)]
            added.extend(b - a & 255 for a, b in zip(predicted, wanted, strict=True))
            return wanted

        carry(self.old, run, state, change)
        more = place - run.new - self.shift if size else 0
        control = number(fresh) + number(size) + number(unsigned(more))
        literal = self.new[self.at : run.new]
        if not self.group.take(control, added, literal):
            if not Group().take(control, added, literal):
                return False
            self.close()
            self.group.take(control, added, literal)
        self.state = state
        self.shift += more
        self.at = run.new + size
        return True

    def close(self) -> None:
        if self.group.controls:
            self.done += self.group.encode(self.mode)
        self.group = Group()

    def copy(self, at: int, place: int, size: int) -> None:
        """What lies between here and `at` is new; then `size` old bytes, in as many controls as it takes."""
        while size:
            for length in (*LENGTHS, 40):
                n = min(size, length)
                if self.add(at - self.at, place, n):
                    break
            at, place, size = at + n, place + n, size - n


def encode(old: bytes, new: bytes, start: int, size: int, mode: int) -> bytes:
    """The chunk that makes new[start : start + size]."""
    encoder = Encoder(old, new, start, mode)
    for at, place, n in matches(old, new, start, start + size):
        encoder.copy(at, place, n)
    if encoder.at < start + size:
        encoder.add(start + size - encoder.at, 0, 0)
    encoder.close()
    return encoder.done
