"""A file system and the flash of a chip beside it as one medium: one state, one count of operations.

A state is the files, the folders, END, and the sectors of the flash. A board that shows no flash has one of 0 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mpota_host.cut.medium.cells import Change, CutFlash
from mpota_host.cut.medium.medium import EDGES, Draw, Shot, Watch, known
from mpota_host.sim import fs

# Between the files and the sectors of a state.
END = b"|"


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


class FileChange:
    """An operation of the file system that is about to happen. `changes`: shape -> what makes the change."""

    def __init__(self, world: World, kind: str, path: str, changes: Mapping[str, Callable[[], object]]) -> None:
        self.world = world
        self.kind = kind
        self.where = path
        self.changes = changes
        self.sectors = world.flash.shot()

    @property
    def shapes(self) -> Sequence[str]:
        return [shape for shape in self.changes if shape not in EDGES]

    def left(self, shape: str, draw: Draw) -> Shot:
        """A torn sector of a file has one form for each shape, so nothing is drawn."""
        return encode(self.world.disk.left(self.changes[shape])) + self.sectors


class Beside:
    """An operation of the flash, with the files beside it."""

    def __init__(self, world: World, change: Change) -> None:
        self.files = encode(world.disk.state())
        self.change = change
        self.kind = change.kind
        self.where = change.where
        self.shapes = change.shapes

    def left(self, shape: str, draw: Draw) -> Shot:
        return self.files + self.change.left(shape, draw)


class World:
    """`disk` and `flash` of one board, as a Medium (medium.py)."""

    shapes: Mapping[str, Sequence[str]] = {**CutFlash.shapes, **fs.SHAPES}
    # An oracle of files has no rule for a flash that is at fault.
    faults = False

    def __init__(self, disk: fs.Disk, flash: CutFlash) -> None:
        self.disk = disk
        self.flash = flash
        self.watch: Watch | None = None
        # The operation at which the power goes, and how.
        self.cut: tuple[int, str, Draw] | None = None
        self.stand: fs.Stand | None = None
        disk.watch = self._of_disk
        flash.watch = self._of_flash

    @property
    def ops(self) -> int:
        """Operations since the state was loaded."""
        return int(self.disk.ops + self.flash.ops)

    @property
    def wear(self) -> list[int]:
        """Erases of each sector of the flash."""
        return self.flash.wear

    def shot(self) -> Shot:
        """The state, for `load`."""
        return encode(self.disk.state()) + self.flash.shot()

    def load(self, shot: Sequence[bytes]) -> None:
        """Put a state back: power on, counts at 0."""
        end = list(shot).index(END)
        self.disk.load(decode(shot[:end]))
        self.flash.load(shot[end + 1 :])
        self.cut = None

    def cut_power(self, n: int, shape: str, draw: Draw) -> None:
        """The power goes at the n-th operation, of whichever of the two it is."""
        self.cut = (n, shape, draw)

    def power_on(self) -> None:
        """The power is back."""
        self.disk.power_on()
        self.flash.power_on()
        self.cut = None

    def __enter__(self) -> World:
        """From here on the modules of the device that open files open those of this disk."""
        self.stand = fs.Stand(self.disk, fs.modules())
        return self

    def __exit__(self, *_: object) -> None:
        """They have their own again."""
        assert self.stand
        self.stand.end()

    def _of_disk(self, op: str, path: str, shapes: Any) -> None:
        if not (self.cut or self.watch):
            return
        change = FileChange(self, op, path, dict(shapes))
        if self.cut and self.ops + 1 == self.cut[0]:
            self.disk.cut, self.disk.cut_at = self.disk.ops + 1, known(self.cut[1], f"{op} {path}", change.shapes)
            self.flash.dead = True
        if self.watch:
            self.watch(change)

    def _of_flash(self, change: Change) -> None:
        if self.cut and self.ops + 1 == self.cut[0]:
            self.flash.cut_power(self.flash.ops + 1, *self.cut[1:])
            self.disk.dead = True
        if self.watch:
            self.watch(Beside(self, change))
