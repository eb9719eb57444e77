"""The stages `delta` and `xtensa`: groups of old bytes, new bytes and values, with or without predicted addresses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import Struct

HEAD = Struct("<BHHH")  # mode, bytes of the controls, of the gaps, of the values
MOST = 1024
PAGE = 1024


def numbers(data: bytes) -> Iterator[int]:
    """The numbers of the controls: seven bits a byte, the low ones first, at most four bytes."""
    at = 0
    while at < len(data):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 128:
                break
            if shift == 28:
                raise ValueError("a number of more than four bytes")
        yield value


def signed(value: int) -> int:
    """0, 1, 2, 3, 4 are 0, -1, 1, -2, 2."""
    return -(value >> 1) - 1 if value & 1 else value >> 1


class Values:
    """What is added to the old bytes of one group, in their order."""

    def __init__(self, gaps: bytes, values: bytes) -> None:
        self.gaps = gaps
        self.values = values
        self.still = 0

    def take(self) -> int:
        """What is added to the next old byte."""
        if self.still:
            self.still -= 1
            return 0
        value, self.values = self.values[0], self.values[1:]
        while self.gaps:
            gap, self.gaps = self.gaps[0], self.gaps[1:]
            self.still += gap
            if gap != 255:
                break
        else:
            self.still = -1
        return value


@dataclass
class Address:
    """One address in old bytes: where it begins, its mask, its lowest bit, and where its count begins."""

    size: int
    mask: int
    low: int
    old: int
    new: int


@dataclass
class Prediction:
    """What a chunk has learned about where things moved to."""

    mode: int = 0
    fine: dict[int, tuple[int, int]] = field(default_factory=dict)
    coarse: dict[int, int] = field(default_factory=dict)
    next: int = 0

    def find(self, old: bytes, at: int, end: int, moved: int) -> Address | None:
        """The address that begins at `at` of the old image and ends before `end`; also walks the instructions."""
        if not self.mode:
            return None
        high = range(0x3C, 0x43) if self.mode & 4 else range(0x3F, 0x41)
        if at % 4 == 0 and at + 4 <= end and old[at + 3] in high:
            self.next = at + 4
            return Address(4, 0xFFFFFF, 0, 0, 0)
        if not self.mode & 2 or at != self.next:
            return None
        self.next = at + (2 if old[at] & 8 else 3)
        if at + 3 > end:
            return None
        if old[at] & 0x3F == 0x25:
            return Address(3, 0x3FFFF, 6, at >> 2, at + moved >> 2)
        if old[at] & 0xF == 1:
            return Address(3, 0xFFFF, 8, at + 3 >> 2, at + moved + 3 >> 2)
        return None

    def place(self, target: int, address: Address) -> tuple[int, int, int]:
        """Index in the fine table, its tag, index in the coarse one."""
        u = target >> (2 if address.low else 4)
        k = 8 * address.low
        return u + k & 255, u >> 8 & 63, (u >> 6) + k & 511

    def guess(self, word: int, address: Address) -> tuple[int, int]:
        """(the target, the word with the field as it is predicted)."""
        value = word >> address.low & address.mask
        target = address.old + value & address.mask
        fine, tag, coarse = self.place(target, address)
        moved = address.new - address.old
        if fine in self.fine and self.fine[fine][0] == tag:
            moved = self.fine[fine][1]
        elif coarse in self.coarse:
            moved = self.coarse[coarse]
        value = target + moved - address.new & address.mask
        return target, word & ~(address.mask << address.low) | value << address.low

    def learn(self, word: int, target: int, address: Address) -> None:
        """`word` is what the address became."""
        moved = (word >> address.low) + address.new - target & address.mask
        fine, tag, coarse = self.place(target, address)
        self.fine[fine] = tag, moved
        self.coarse[coarse] = moved


@dataclass
class Run:
    """The old bytes of one control: where they lie in both images, and where the chunk begins in the new one."""

    old: int
    new: int
    size: int
    start: int


def pieces(run: Run) -> Iterator[tuple[int, int]]:
    """The parts of a run within one page: (place in the old image, its end)."""
    at = run.old
    while at < run.old + run.size:
        page = PAGE - (run.new + at - run.old - run.start) % PAGE
        yield at, min(at + page, run.old + run.size)
        at += page


def carry(old: bytes, run: Run, state: Prediction, change: Callable[[bytes, int], bytes]) -> bytes:
    """The new bytes of a run. `change(predicted, at)` gives those for predicted bytes of place `at` in the run."""
    out = bytearray()
    moved = run.new - run.old
    state.next = run.old
    for at, end in pieces(run):
        while at < end:
            address = state.find(old, at, end, moved)
            if address is None:
                out += change(old[at : at + 1], at - run.old)
                at += 1
                continue
            word = int.from_bytes(old[at : at + address.size], "little")
            target, word = state.guess(word, address)
            new = change(word.to_bytes(address.size, "little"), at - run.old)
            state.learn(int.from_bytes(new, "little"), target, address)
            out += new
            at += address.size
    return bytes(out)


def decode(data: bytes, base: bytes, start: int, size: int, most: int) -> bytes:
    """A chunk: `size` bytes that lie from `start` on in the component. `most`: the largest mode of the stage."""
    out = bytearray()
    at = shift = 0
    state = Prediction()
    while len(out) < size:
        state.mode, n, gaps, values = HEAD.unpack_from(data, at)
        at += HEAD.size
        if state.mode > most or n + gaps + values > MOST:
            raise ValueError(f"a group of mode {state.mode} with a head of {n + gaps + values} bytes")
        controls = numbers(data[at : at + n])
        at += n
        added = Values(data[at : at + gaps], data[at + gaps : at + gaps + values])
        at += gaps + values
        for new, old, more in zip(controls, controls, controls, strict=True):
            if not 0 < new + old <= size - len(out):
                raise ValueError(f"a control of {new} new and {old} old bytes, room for {size - len(out)}")
            out += data[at : at + new]
            at += new
            shift += signed(more)
            run = Run(start + len(out) + shift, start + len(out), old, start)
            if old and not 0 <= run.old <= len(base) - old:
                raise ValueError(f"old bytes at {run.old}, {old} of {len(base)}")
            out += carry(base, run, state, lambda x, _, a=added: bytes(b + a.take() & 255 for b in x))
        if added.gaps or added.values:
            raise ValueError("gaps or values are left behind a group")
    if at != len(data) or len(out) != size:
        raise ValueError("bytes are left behind the last group")
    return bytes(out)
