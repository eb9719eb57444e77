"""Faults beyond a power cut: cells that waver, a cell that is stuck, an operation that fails, bits that rot at rest.

Cells that waver are judged by every rule. After a failure that is reported once an error may be seen, a trial may go
uncounted, and somebody may have to switch the device off and on. A fault that stays, or that takes bytes which nobody
can bring back, leaves the promise that a whole image runs where one exists, and errors that have names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from host.sim import nvs
from host.sim.cut.cells import SECTOR, CutFlash
from host.sim.cut.drive import Life, Memory
from host.sim.cut.explore import Case, Explorer, Failure, every, randomness
from host.sim.cut.oracle import Bad
from host.sim.cut.rig import Area, scenario_of
from host.sim.cut.shapes import SHAPES

# Stories that are played with faults; between them they have every way out of a trial.
STORIES = ("update", "update-unprotected", "unhealthy", "hang-unprotected", "factory-unhealthy", "journal-full")


# Faults that stay, or that take bytes which nobody can bring back.
LASTING = ("stuck", "rot")


@dataclass
class Faults:
    """How many lives were lived with each kind of fault, and those that broke the promise."""

    lives: Counter[str] = field(default_factory=Counter)
    bad: list[Failure] = field(default_factory=list)

    def add(self, other: Faults) -> None:
        self.lives += other.lives
        self.bad += other.bad


class Story:
    """Lives of one scenario, each with one fault."""

    def __init__(self, layout: str, name: str, seed: int) -> None:
        self.explorer = Explorer(layout, scenario_of(layout, name), seed)
        self.name = name
        self.seed = seed
        self.rig = self.explorer.rig
        self.flash: CutFlash = self.rig.flash
        self.start = self.explorer.start
        self.cuts = self.explorer.run(self.start, every)
        self.ops = self.flash.ops
        self.boots = len(self.explorer.life.boots)
        self.result = Faults()

    def live(self, kind: str, ident: str, case: Case, prepare: Callable[[Life], None]) -> None:
        """One life from `case`, after `prepare` has put the fault in."""
        flash, oracle = self.flash, self.explorer.oracle
        frozen = dict(oracle.frozen)
        flash.heal()
        flash.load(case.shot)
        flash.noise = Random(f"{self.seed}/{kind}/{ident}")
        life = Life(self.rig, oracle)
        oracle.soft, oracle.patient = kind in LASTING, kind == "failing"
        nvs.Page.KEEPS = False
        life.begin(case.memory, bool(case.path))
        prepare(life)
        try:
            life.run()
        except Bad as e:
            self.result.bad.append(Failure(self.name, f"{kind}={ident}", e.rule, str(e)))
        finally:
            flash.heal()
            oracle.frozen = frozen
            oracle.soft = oracle.patient = False
            nvs.Page.KEEPS = True
            self.result.lives[kind] += 1

    def play(self, kind: str, ident: str) -> None:
        """The life with this fault, by its name in a report."""
        KINDS[kind](self, ident)

    def idents(self, kind: str, n: int) -> list[str]:
        """Names of `n` faults of a kind, drawn at random."""
        rng = Random(f"{self.seed}/{self.name}/{kind}")
        return [DRAWS[kind](self, rng) for _ in range(n)]

    def area(self, label: str) -> Area:
        return next(a for a in self.rig.areas if a.label == label)


def metastable(story: Story, ident: str) -> None:
    """`op.shape`: the cells that this torn operation was changing waver until they are rewritten."""
    case = next(c for c in story.cuts if str(c.path[0]) == ident)
    seen: list[tuple[int, bytes, bytes]] = []

    def watch(op: str, off: int, old: bytes, new: bytes) -> None:
        if story.flash.ops + 1 == case.path[0].op:
            seen.append((off, old, new))

    story.flash.load(story.start.shot)
    story.flash.watch = watch
    life = Life(story.rig, story.explorer.oracle, lambda cause, memory: bool(seen))
    life.run()
    story.flash.watch = None
    story.live("metastable", ident, case, lambda _: story.flash.weaken(*seen[0]))


def stuck(story: Story, ident: str) -> None:
    """`offset.bit`: this cell is 0 whatever is done to it."""
    off, bit = ident.split(".")
    story.live("stuck", ident, story.start, lambda _: story.flash.stick(int(off, 16), int(bit)))


def failing(story: Story, ident: str) -> None:
    """`op`: this program or erase does nothing and says so, to whoever asked."""

    def prepare(_: Life) -> None:
        story.flash.fail_at = int(ident)

    story.live("failing", ident, story.start, prepare)


def rot(story: Story, ident: str) -> None:
    """`boot.offset.bit`: before this power-on the bit turns over."""
    boot, off, bit = ident.split(".")
    at = int(off, 16)

    def rest(cause: str, memory: Memory) -> bool:
        if len(life.boots) == int(boot) and not done:
            done.append(True)
            story.explorer.oracle.frozen.pop(at // SECTOR, None)
            cells = story.flash.cells
            cells.put(at, bytes([cells.get(at, 1)[0] ^ 1 << int(bit)]))
        return False

    done: list[bool] = []
    life: Life

    def prepare(it: Life) -> None:
        nonlocal life
        life = it
        it.rest = rest

    story.live("rot", ident, story.start, prepare)


def _draw_cut(story: Story, rng: Random) -> str:
    torn = [c for c in story.cuts if c.torn]
    return str(rng.choice(torn).path[0])


def _draw_bit(story: Story, rng: Random) -> str:
    area = rng.choice([a for a in story.rig.areas if a.wear])
    return f"{_where(story, area, rng):x}.{rng.randrange(8)}"


def _where(story: Story, area: Area, rng: Random) -> int:
    """An offset that matters: in the front of a sector, where entries, headers and records lie, or anywhere."""
    off = area.off + rng.randrange(area.size // SECTOR) * SECTOR
    most = 32 if area.kind == "state" else 512 if rng.randrange(2) else SECTOR
    return off + rng.randrange(most)


def _draw_op(story: Story, rng: Random) -> str:
    return str(1 + rng.randrange(story.ops))


def _draw_rot(story: Story, rng: Random) -> str:
    area = rng.choice([a for a in story.rig.areas if a.kind in ("slot", "state", "journal")])
    return f"{1 + rng.randrange(story.boots)}.{_where(story, area, rng):x}.{rng.randrange(8)}"


KINDS: dict[str, Callable[[Story, str], None]] = {
    "metastable": metastable,
    "stuck": stuck,
    "failing": failing,
    "rot": rot,
}
DRAWS: dict[str, Callable[[Story, Random], str]] = {
    "metastable": _draw_cut,
    "stuck": _draw_bit,
    "failing": _draw_op,
    "rot": _draw_rot,
}


def campaign(layout: str, names: list[str], n: int, seed: int) -> Faults:
    """`n` lives of every kind of fault in each of the stories `names`."""
    result = Faults()
    for name in names:
        story = Story(layout, name, seed)
        for kind in KINDS:
            for ident in story.idents(kind, n):
                story.play(kind, ident)
        result.add(story.result)
    return result


__all__ = ["KINDS", "SHAPES", "STORIES", "Faults", "Story", "campaign", "randomness"]
