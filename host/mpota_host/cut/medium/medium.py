"""What the power goes out on, as the campaign sees it: a flash (cells.py), or a file system with a flash (world.py).

A medium counts the operations that change it. Before each one it shows the watcher the Operation, which knows what a
cut inside it or after it leaves. `cut_power` lets the power really go at one operation. Both ways must leave the same
state, and nothing but the state outlives the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Any, Protocol

# Where in an operation the power can go besides inside it.
EDGES = ("before", "after")

# The whole state: pieces that states share where they do not differ.
Shot = tuple[bytes, ...]
# Gives the randomness of one torn operation: the same each time that it is asked.
Draw = Callable[[], Random]


class Operation(Protocol):
    """One change, about to be made: its kind (`prog`, `close` ...) and its offset or path."""

    kind: str
    where: Any

    @property
    def shapes(self) -> Sequence[str]:
        """The cuts inside it, by name."""

    def left(self, shape: str, draw: Draw) -> Shot:
        """The state after a cut of one of these shapes, or "after" it. Valid until the operation happens."""


Watch = Callable[[Any], None]


class Medium(Protocol):
    """`shapes`: the cuts inside each kind of operation. `faults`: can it have the faults of faults.py?

    Device code runs in a `with` of it: there the device's modules find this medium.
    """

    shapes: Mapping[str, Sequence[str]]
    faults: bool
    # Called with each Operation before it happens.
    watch: Watch | None

    @property
    def ops(self) -> int:
        """Operations since the state was loaded."""

    @property
    def wear(self) -> list[int]:
        """Erases of each sector since then."""

    def shot(self) -> Shot:
        """The state, for `load`."""

    def load(self, shot: Sequence[bytes]) -> None:
        """Put a state back: power on, counts at 0."""

    def cut_power(self, n: int, shape: str, draw: Draw) -> None:
        """The power goes at the n-th operation. From then on every call raises PowerCut and changes nothing.

        A shape that the operation does not have is a LookupError when it is reached.
        """

    def power_on(self) -> None:
        """The power is back."""

    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...


class Misread:
    """The `n`-th read of a journal goes wrong once: it `fails`, or gives other `bits`. 0: they are counted, no more."""

    def __init__(self, n: int = 0, how: str = "bits") -> None:
        self.n = n
        self.how = how
        self.seen = 0

    def now(self) -> bool:
        """One more read; is it this one?"""
        self.seen += 1
        return self.seen == self.n

    def spoil(self, buf: Any) -> None:
        """Some bits of each byte."""
        buf[:] = bytes(c ^ 0x41 for c in buf)


def known(shape: str, kind: str, shapes: Sequence[str]) -> str:
    """The shape, which must be one of these or lie at an edge; else LookupError."""
    if shape in EDGES or shape in shapes:
        return shape
    raise LookupError(f"{kind} has no cut {shape!r}; it has {', '.join([*EDGES, *shapes])}")


@lru_cache(maxsize=8192)
def _piece(data: bytes) -> bytes:
    return sha256(data).digest()


def mark(shot: Sequence[bytes]) -> bytes:
    """16 bytes that tell states apart."""
    return sha256(b"".join(map(_piece, shot))).digest()[:16]
