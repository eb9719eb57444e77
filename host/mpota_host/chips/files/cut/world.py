"""A file system, and a chip's flash beside it where there is one, as one thing: one state, one count of operations.

Looks to a campaign like the flash of a chip. A state is a tuple of the files, the folders and the sectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from mpota_host.cut.medium.cells import CutFlash, Shot, patched
from mpota_host.sim.fs import Disk

# Between the files and the sectors of a state.
END = b"|"

# (operation, where, shapes of a cut in it, shape and randomness -> the state that is left).
Watch = Callable[[str, object, Sequence[str], Callable[[str, Any], Shot]], None]
Tear = Callable[[str, str, bytes, bytes], bytes]


@lru_cache(maxsize=65536)
def _leaf(path: str, data: bytes) -> bytes:
    return path.encode() + b"\0" + data


@lru_cache(maxsize=65536)
def _split(leaf: bytes) -> tuple[str, bytes]:
    path, _, data = leaf.partition(b"\0")
    return path.decode(), data


def encode(state: Any) -> Shot:
    """The state of a file system as a part of a shot."""
    files, dirs = state
    return (*(_leaf(path, data) for path, data in files), *(d.encode() for d in dirs), END)


def decode(leaves: Sequence[bytes]) -> Any:
    """The state of a file system again."""
    files = [_split(leaf) for leaf in leaves if b"\0" in leaf]
    return files, [leaf.decode() for leaf in leaves if b"\0" not in leaf]


class World:
    """`disk` and `flash` (None on a board that shows none) of one board."""

    def __init__(self, disk: Disk, flash: CutFlash | None) -> None:
        self.disk = disk
        self.chip = flash
        self.watch: Watch | None = None
        # Shapes of a cut inside an operation of the flash, and what one leaves.
        self.shapes: dict[str, Sequence[str]] = {}
        self.tear: Callable[..., bytes] | None = None
        # The operation at which the power goes, and how.
        self.cut: tuple[int, str] | None = None
        disk.watch = self._of_disk
        if flash:
            flash.watch = self._of_flash

    @property
    def ops(self) -> int:
        """Operations since the state was loaded."""
        return int(self.disk.ops) + (self.chip.ops if self.chip else 0)

    @property
    def wear(self) -> list[int]:
        """Erases of each sector of the flash."""
        return self.chip.wear if self.chip else []

    def shot(self) -> Shot:
        """The state, for `load`."""
        return encode(self.disk.state()) + (self.chip.shot() if self.chip else ())

    def load(self, shot: Sequence[bytes]) -> None:
        """Put a state back: power on, counts at 0."""
        end = list(shot).index(END)
        self.disk.load(decode(shot[:end]))
        self.cut = None
        if self.chip:
            self.chip.load(shot[end + 1 :])

    def power_on(self) -> None:
        """The power is back."""
        self.disk.power_on()
        self.cut = None
        if self.chip:
            self.chip.power_on()

    def _of_disk(self, op: str, path: str, shapes: Any) -> None:
        if self.cut and self.ops + 1 == self.cut[0]:
            self.disk.cut, self.disk.cut_at = self.disk.ops + 1, self.cut[1]
            if self.cut[1] != "before" and self.cut[1] not in dict(shapes):
                raise LookupError(f"{op} {path} has no cut {self.cut[1]!r}; there are {', '.join(dict(shapes))}")
            if self.chip:
                self.chip.dead = True
        if self.watch:
            flash = self.chip.shot() if self.chip else ()
            changes = dict(shapes)
            self.watch(op, path, tuple(changes), lambda shape, _: encode(self.disk.left(changes[shape])) + flash)

    def _of_flash(self, op: str, off: int, old: bytes, new: bytes) -> None:
        if not (self.chip and self.tear and (self.cut or self.watch)):
            return
        tear = self.tear
        if self.cut and self.ops + 1 == self.cut[0]:
            edge = self.cut[1] in ("before", "after")
            self.chip.cut, self.chip.cut_at = self.chip.ops + 1, self.cut[1] if edge else "inside"
            self.chip.tears = {op: lambda old, new, pick: tear(op, old, new)}
            self.disk.dead = True
        if self.watch:
            files, sectors = encode(self.disk.state()), self.chip.shot()

            def leave(shape: str, step: Any) -> Shot:
                return files + patched(sectors, off, new if shape == "after" else tear(op, old, new, step))

            self.watch(op, off, (*self.shapes[op], "after"), leave)
