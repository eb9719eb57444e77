"""SimFlash for campaigns: its states are cheap to keep and to compare, somebody may watch it, and it can be faulty.

The bytes are sectors that are never changed in place, so a state is a tuple that shares what did not change with every
other state, and the hash of the flash is made of the sectors' hashes. Faults beyond a power cut: cells that read
differently each time, a cell that stays 0, an operation that reports failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from mpota_host.cut.medium.medium import EDGES, Draw, Misread, Shot, Watch, known
from mpota_host.cut.medium.shapes import SHAPES
from mpota_host.sim.flash import SimFlash, Violation

SECTOR = 4096
BLANK = b"\xff" * SECTOR
# ESP_ERR_FLASH_OP_FAIL of spi_flash/include/esp_flash_err.h, as MicroPython's check_esp_err raises it.
OP_FAIL = -0x6001


def sectors(windows: Sequence[tuple[int, int]]) -> frozenset[int]:
    return frozenset(i for off, n in windows for i in range(off // SECTOR, (off + n) // SECTOR))


def patched(shot: Shot, off: int, data: bytes) -> Shot:
    """The state with `data` at `off`."""
    sheets = Sheets(shot)
    sheets.put(off, data)
    return tuple(sheets.sectors)


class Sheets:
    """The cells of a SimFlash: a list of sectors, each replaced when it changes."""

    def __init__(self, shot: Sequence[bytes]) -> None:
        self.sectors = list(shot)

    def get(self, off: int, n: int) -> bytes:
        i, at = divmod(off, SECTOR)
        if at + n <= SECTOR:
            return self.sectors[i][at : at + n]
        whole = b"".join(self.sectors[i : (off + n + SECTOR - 1) // SECTOR])
        return whole[at : at + n]

    def into(self, off: int, buf: Any) -> None:
        memoryview(buf)[:] = self.get(off, len(buf))

    def put(self, off: int, data: Any) -> None:
        data = bytes(data)
        i, at = divmod(off, SECTOR)
        if at + len(data) <= SECTOR:
            old = self.sectors[i]
            self.sectors[i] = old[:at] + data + old[at + len(data) :] if len(data) < SECTOR else data
            return
        done = 0
        while done < len(data):
            i, at = divmod(off + done, SECTOR)
            n = min(SECTOR - at, len(data) - done)
            old = self.sectors[i]
            self.sectors[i] = old[:at] + data[done : done + n] + old[at + n :]
            done += n

    def close(self) -> None:
        """Nothing is held."""


def torn(kind: str, shape: str, old: bytes, new: bytes, draw: Draw) -> bytes:
    """The bytes of a program or an erase where the power went inside it."""
    return SHAPES[kind][known(shape, kind, list(SHAPES[kind]))](old, new, draw())


class Change:
    """A program or an erase of `flash` that is about to happen: an Operation (medium.py)."""

    def __init__(self, flash: CutFlash, kind: str, off: int, old: bytes, new: bytes) -> None:
        self.kind = kind
        self.where = off
        self.old = old
        self.new = new
        self.flash = flash
        self.shot: Shot = ()

    @property
    def shapes(self) -> Sequence[str]:
        return CutFlash.shapes[self.kind]

    def left(self, shape: str, draw: Draw) -> Shot:
        # Most operations of a sampled life are asked for nothing.
        self.shot = self.shot or self.flash.shot()
        left = self.new if shape == "after" else torn(self.kind, shape, self.old, self.new, draw)
        return patched(self.shot, self.where, left)


class CutFlash(SimFlash):
    """A SimFlash of small sectors, as a Medium (medium.py).

    Windows are (offset, size). `fine`: of others, who write bytes whatever the unit. `loose`: of others, who program
    over what a torn program left without looking at all of it (ESP-IDF's NVS looks at the first word of an entry only);
    there the chip does what chips do, and clears bits.
    """

    shapes: Mapping[str, Sequence[str]] = {kind: tuple(found) for kind, found in SHAPES.items()}
    faults = True

    def __init__(
        self,
        size: int,
        prog_size: int = 1,
        loose: Sequence[tuple[int, int]] = (),
        fine: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(SECTOR, SECTOR, 1)
        self.size = size
        self.unit = prog_size
        self.fine = sectors(fine)
        self.loose = sectors(loose)
        self.prog_size = prog_size
        self.cells = Sheets([BLANK] * (size // SECTOR))
        self.trace = None
        self.wear = [0] * (size // SECTOR)
        self.watch: Watch | None = None
        self.violations: list[str] = []
        self.heal()

    def heal(self) -> None:
        """No fault but what the cells hold."""
        self.weak: dict[int, int] = {}
        self.noise = Random(0)
        self.stuck: tuple[int, int] | None = None
        self.fail_at: int | None = None
        self.odd = False
        # A read of these sectors that goes wrong.
        self.misread: Misread | None = None
        self.misreads: frozenset[int] = frozenset()
        # Nobody looks whether an operation failed.
        self.mute = False

    def shot(self) -> Shot:
        """The state, for `load`."""
        return tuple(self.cells.sectors)

    def load(self, shot: Sequence[bytes]) -> None:
        """Put a state back: power on, counts at 0."""
        self.cells.sectors = list(shot)
        self.power_on()
        self.ops = 0
        self.wear = [0] * len(shot)
        self.violations = []

    def cut_power(self, n: int, shape: str, draw: Draw) -> None:
        """The power goes at the n-th operation, as the shape says."""
        self.cut = n
        self.cut_at = shape if shape in EDGES else "inside"
        self.tears = {kind: lambda old, new, _, kind=kind: torn(kind, shape, old, new, draw) for kind in SHAPES}

    def __enter__(self) -> CutFlash:
        """A device is given its flash: no module has to find it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was changed."""

    def weaken(self, off: int, before: bytes, wanted: bytes) -> None:
        """The cells that a torn operation was about to change read differently each time, until they are rewritten."""
        change = int.from_bytes(before, "little") ^ int.from_bytes(wanted, "little")
        for at in range(0, len(before), SECTOR):
            i, low = divmod(off + at, SECTOR)
            self.weak[i] = (change >> 8 * at & (1 << 8 * SECTOR) - 1) << 8 * low
        self.odd = True

    def stick(self, off: int, bit: int) -> None:
        """From now on this cell is 0."""
        self.stuck = (off, 1 << bit)
        self.odd = True
        self._stay()

    def _stay(self) -> None:
        if self.stuck:
            off, bit = self.stuck
            self.cells.put(off, bytes([self.cells.get(off, 1)[0] & ~bit]))

    def read(self, off: int, buf: Any) -> None:
        n = len(buf)
        if self.dead or off < 0 or off + n > self.size:
            self._fits("read", off, n, 1)
        at = off % SECTOR
        # Most reads lie in one sector.
        buf[:] = self.cells.sectors[off // SECTOR][at : at + n] if at + n <= SECTOR else self.cells.get(off, n)
        if self.misread and off // SECTOR in self.misreads and self.misread.now():
            if self.misread.how == "fails":
                raise OSError(OP_FAIL, "ESP_ERR_FLASH_OP_FAIL")
            self.misread.spoil(buf)
        if self.weak:
            for i in range(off // SECTOR, (off + n + SECTOR - 1) // SECTOR):
                if i in self.weak:
                    self._shake(i, off, memoryview(buf))

    def _shake(self, i: int, off: int, buf: memoryview) -> None:
        low, high = max(off, i * SECTOR), min(off + len(buf), (i + 1) * SECTOR)
        mask = self.weak[i] >> 8 * (low - i * SECTOR) & (1 << 8 * (high - low)) - 1
        if mask:
            piece = buf[low - off : high - off]
            shaken = int.from_bytes(piece, "little") ^ mask & self.noise.getrandbits(8 * (high - low))
            piece[:] = shaken.to_bytes(high - low, "little")

    def prog(self, off: int, buf: Any) -> None:
        self.prog_size = 1 if off // SECTOR in self.fine else self.unit
        if self.odd or off // SECTOR in self.loose:
            self._prog_loose(off, bytes(buf))
        else:
            super().prog(off, buf)
        self.prog_size = self.unit

    def _prog_loose(self, off: int, data: bytes) -> None:
        """Also with a cell that is stuck or weak, where the rules of NOR are not the caller's fault."""
        self._fits("prog", off, len(data), self.prog_size)
        old = self.cells.get(off, len(data))
        if old != BLANK[: len(data)]:
            want = int.from_bytes(old, "little") & int.from_bytes(data, "little")
            data = want.to_bytes(len(data), "little")
        self._operate("prog", off, old, data)
        if self.odd:
            self._settle(off, len(data))
            self._stay()

    def erase(self, off: int, n: int) -> None:
        super().erase(off, n)
        if self.odd:
            self._settle(off, n)
            self._stay()

    def _settle(self, off: int, n: int) -> None:
        """What was rewritten reads the same again."""
        for i in range(off // SECTOR, (off + n + SECTOR - 1) // SECTOR):
            if i in self.weak:
                low, high = max(off, i * SECTOR) - i * SECTOR, min(off + n, (i + 1) * SECTOR) - i * SECTOR
                self.weak[i] &= ~((1 << 8 * high) - (1 << 8 * low))

    def _judge(self, off: int, old: bytes, buf: Any) -> None:
        try:
            super()._judge(off, old, buf)
        except Violation as e:
            self.violations.append(str(e))
            raise

    def _operate(self, op: str, off: int, old: Any, new: Any) -> None:
        if self.watch is not None:
            if op == "erase":
                self.watch(Change(self, op, off, self.cells.get(off, new), b"\xff" * new))
            else:
                self.watch(Change(self, op, off, bytes(old), bytes(new)))
        if self.fail_at is not None and self.ops + 1 >= self.fail_at:
            self.fail_at = None
            if self.mute:
                # Whoever does not look programs over what was not erased.
                self.odd = True
                return
            raise OSError(OP_FAIL, "ESP_ERR_FLASH_OP_FAIL")
        super()._operate(op, off, old, new)
