"""What a flash cell array holds when the power goes inside an operation.

A torn program has cleared only some of the bits that it was to clear; an interrupted erase has set only some of those
that were 0. No shape ever moves a bit the other way, and none is the whole operation or none of it by design: the cuts
before and after are not shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

# (before, wanted, randomness) -> what the cells hold.
Shape = Callable[[bytes, bytes, Random], bytes]


def _mask(n: int, rng: Random, halvings: int) -> int:
    """A number of `n` bytes with one bit in 2**halvings set; negative halvings: all but one in 2**-halvings."""
    mask = rng.getrandbits(8 * n)
    for _ in range(abs(halvings) - 1):
        more = rng.getrandbits(8 * n)
        mask = mask & more if halvings > 0 else mask | more
    return mask


def _clear(old: bytes, new: bytes, mask: int) -> bytes:
    """Of the bits that go from 1 to 0, those in `mask` have gone."""
    before = int.from_bytes(old, "little")
    change = before & ~int.from_bytes(new, "little")
    return (before & ~(change & mask)).to_bytes(len(old), "little")


def _set(old: bytes, mask: int) -> bytes:
    """Of the bits that go from 0 to 1, those in `mask` have gone."""
    return (int.from_bytes(old, "little") | mask).to_bytes(len(old), "little")


def prefix(old: bytes, new: bytes, rng: Random) -> bytes:
    """The front is in; of the byte behind it, some bits."""
    n = rng.randrange(len(new))
    return new[:n] + _clear(old[n : n + 1], new[n : n + 1], rng.getrandbits(8)) + old[n + 1 :]


def suffix(old: bytes, new: bytes, rng: Random) -> bytes:
    """The back is in; of the byte before it, some bits."""
    n = rng.randrange(len(new))
    return old[:n] + _clear(old[n : n + 1], new[n : n + 1], rng.getrandbits(8)) + new[n + 1 :]


def subset(old: bytes, new: bytes, rng: Random) -> bytes:
    """Any of the bits, anywhere."""
    return _clear(old, new, rng.getrandbits(8 * len(new)))


def early(old: bytes, new: bytes, rng: Random) -> bytes:
    """The pulse had hardly begun: one cell in sixteen."""
    return _set(old, _mask(len(old), rng, 4))


def late(old: bytes, new: bytes, rng: Random) -> bytes:
    """The pulse was nearly over: all but one cell in sixteen."""
    return _set(old, _mask(len(old), rng, -4))


def half(old: bytes, new: bytes, rng: Random) -> bytes:
    """The front half is erased, the rest as it was."""
    n = len(old) // 2
    return new[:n] + old[n:]


def back(old: bytes, new: bytes, rng: Random) -> bytes:
    """The back half is erased, the front, where the headers lie, as it was."""
    n = len(old) // 2
    return old[:n] + new[n:]


def partial(old: bytes, new: bytes, rng: Random) -> bytes:
    """A run of whole bytes is erased, somewhere."""
    low, high = sorted((rng.randrange(len(old)), rng.randrange(len(old))))
    return old[:low] + new[low:high] + old[high:]


def almost(old: bytes, new: bytes, rng: Random) -> bytes:
    """All but a handful of cells, near the beginning, where the headers lie."""
    stays = sum(1 << rng.randrange(8 * min(64, len(old))) for _ in range(3))
    mask = (1 << 8 * len(old)) - 1
    return _set(old, mask & ~stays)


def anyhow(old: bytes, new: bytes, rng: Random) -> bytes:
    """Each cell by itself."""
    return _set(old, rng.getrandbits(8 * len(old)))


SHAPES: dict[str, dict[str, Shape]] = {
    "prog": {"prefix": prefix, "suffix": suffix, "subset": subset},
    "erase": {
        "early": early,
        "late": late,
        "half": half,
        "back": back,
        "partial": partial,
        "almost": almost,
        "random": anyhow,
    },
}
