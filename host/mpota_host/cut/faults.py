"""Faults beyond a power cut: cells that waver, a cell that is stuck, an operation that fails, bits that rot at rest.

And a read of the journal that goes wrong once. Cells that waver, and such a read, are judged by every rule. After a
failure that is reported once an error may be seen, a trial may go uncounted, and somebody may have to switch the device
off and on. A fault that stays, or that takes bytes which nobody can bring back, leaves the promise that a whole image
runs where one exists, and errors that have names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from mpota_host.cut.drive import Life, Memory
from mpota_host.cut.explore import Case, Explorer, Failure, every
from mpota_host.cut.medium.cells import SECTOR, Change, CutFlash
from mpota_host.cut.medium.medium import Misread
from mpota_host.cut.oracle import Bad
from mpota_host.cut.rig import Area, Scenario, scenario_of

# Faults that stay, or that take bytes which nobody can bring back.
LASTING = ("stuck", "rot")
# Faults that an update is repeated after.
PASSING = ("failing", "spoiled")
MISREAD, HOW = "misread", ("fails", "bits")


@dataclass
class Faults:
    """How many lives were lived with each kind of fault, and those that broke the promise."""

    lives: Counter[str] = field(default_factory=Counter)
    bad: list[Failure] = field(default_factory=list)

    def add(self, other: Faults) -> None:
        self.lives += other.lives
        self.bad += other.bad


class Story:
    """Lives of one scenario, each with one fault. A name that no fault has is a LookupError or a ValueError."""

    def __init__(self, layout: str, scenario: Scenario, seed: int) -> None:
        self.explorer = Explorer(layout, scenario, seed)
        self.layout = layout
        # Of files an oracle has no rule for a medium that is at fault for longer.
        self.kinds = tuple(KINDS) if self.explorer.medium.faults else (MISREAD,)
        self.name = scenario.name
        self.seed = seed
        self.rig = self.explorer.rig
        self.flash: CutFlash = self.rig.flash
        self.start = self.explorer.start
        self.cuts = self.explorer.run(self.start, every)
        self.ops = self.flash.ops
        self.boots = len(self.explorer.life.boots)
        self.result = Faults()
        # Reads of the journal in a life without a fault.
        self.reads = 0

    def live(self, kind: str, ident: str, case: Case, prepare: Callable[[Life], None]) -> None:
        """One life from `case`, after `prepare` has put the fault in."""
        flash, oracle = self.flash, self.explorer.oracle
        frozen = dict(oracle.frozen)
        flash.heal()
        self.explorer.medium.load(case.shot)
        flash.noise = Random(f"{self.seed}/{kind}/{ident}")
        life = type(self.explorer.life)(self.rig, oracle)
        oracle.soft, oracle.patient = kind in LASTING, kind in PASSING
        self.rig.waver(True)
        life.begin(case.memory, len(case.path))
        prepare(life)
        try:
            with self.explorer.medium:
                life.run()
        except Bad as e:
            self.result.bad.append(Failure(self.name, f"{kind}={ident}", e.rule, str(e)))
        finally:
            flash.heal()
            self.rig.misread(None)
            oracle.frozen = frozen
            oracle.soft = oracle.patient = False
            self.rig.waver(False)
            self.result.lives[kind] += 1

    def play(self, kind: str, ident: str) -> None:
        """The life with this fault, by its name in a report."""
        if kind not in self.kinds:
            raise LookupError(f"{kind} is a fault of a flash alone, and layout {self.layout} keeps files too")
        KINDS[kind](self, ident)

    def idents(self, kind: str, n: int) -> list[str]:
        """Names of `n` faults of a kind, drawn at random."""
        rng = Random(f"{self.seed}/{self.name}/{kind}")
        return [DRAWS[kind](self, rng) for _ in range(n)]

    def case(self, cut: str) -> Case:
        """The state that this first cut leaves."""
        for case in self.cuts:
            if str(case.path[0]) == cut:
                return case
        raise LookupError(f"the life of {self.name} has no cut {cut}")

    def cell(self, *where: str) -> tuple[int, int]:
        """(offset, bit) in numbers."""
        if len(where) != 2:
            raise LookupError("a cell has an offset, a dot and a bit at its end, for example 7000.3")
        at, n = int(where[0], 16), int(where[1])
        if not (0 <= at < self.flash.size and 0 <= n < 8):
            raise LookupError(f"a flash of 0x{self.flash.size:x} bytes has no bit {n} at 0x{at:x}")
        return at, n

    def written(self, case: Case) -> list[int]:
        """Sectors of the first update that are not as at the beginning."""
        slots = [a for a in self.rig.areas if a.kind == "slot" and not a.first]
        places = [i for a in slots for i in range(a.off // SECTOR, (a.off + a.size) // SECTOR)]
        return [i for i in places if case.shot[i] != self.start.shot[i]]


def metastable(story: Story, ident: str) -> None:
    """`op.shape`: the cells that this torn operation was changing waver until they are rewritten."""
    case = story.case(ident)
    seen: list[tuple[int, bytes, bytes]] = []

    def watch(change: Change) -> None:
        if story.flash.ops + 1 == case.path[0].op:
            seen.append((change.where, change.old, change.new))

    story.flash.load(story.start.shot)
    story.flash.watch = watch
    life = Life(story.rig, story.explorer.oracle, lambda cause, memory: bool(seen))
    life.run()
    story.flash.watch = None
    story.live("metastable", ident, case, lambda _: story.flash.weaken(*seen[0]))


def stuck(story: Story, ident: str) -> None:
    """`offset.bit`: this cell is 0 whatever is done to it."""
    off, bit = story.cell(*ident.split("."))
    story.live("stuck", ident, story.start, lambda _: story.flash.stick(off, bit))


def failing(story: Story, ident: str) -> None:
    """`op`: this program or erase does nothing and says so, to whoever asked."""
    if not 0 < int(ident) <= story.ops:
        raise LookupError(f"the life of {story.name} has {story.ops} operations")

    def prepare(_: Life) -> None:
        story.flash.fail_at = int(ident)

    story.live("failing", ident, story.start, prepare)


def rot(story: Story, ident: str) -> None:
    """`boot.offset.bit`: before this power-on the bit turns over."""
    boot, *where = ident.split(".")
    at, bit = story.cell(*where)
    if not 0 < int(boot) <= story.boots:
        raise LookupError(f"the life of {story.name} has {story.boots} power-ons")

    def rest(cause: str, memory: Memory) -> bool:
        if len(life.boots) == int(boot) and not done:
            done.append(True)
            story.explorer.oracle.frozen.pop(at // SECTOR, None)
            cells = story.flash.cells
            cells.put(at, bytes([cells.get(at, 1)[0] ^ 1 << bit]))
        return False

    done: list[bool] = []
    life: Life

    def prepare(it: Life) -> None:
        nonlocal life
        life = it
        it.rest = rest

    story.live("rot", ident, story.start, prepare)


def spoiled(story: Story, ident: str) -> None:
    """`op.shape.offset.bit`: the power goes while an image is fetched, and a bit of what was written turns over."""
    words = ident.split(".")
    case = story.case(".".join(words[:2]))
    at, bit = story.cell(*words[2:])

    def prepare(_: Life) -> None:
        cells = story.flash.cells
        cells.put(at, bytes([cells.get(at, 1)[0] ^ 1 << bit]))
        # What is programmed there next is not the caller's fault.
        story.flash.odd = True

    story.live("spoiled", ident, case, prepare)


def misread(story: Story, ident: str) -> None:
    """`n.how`: the n-th read of the journal `fails`, or gives wrong `bits`; the next one is right."""
    n, _, how = ident.partition(".")
    if how not in HOW or int(n) < 1:
        raise LookupError(f"a read has a number and goes wrong as one of {', '.join(HOW)}, for example 3.{HOW[0]}")
    story.live(MISREAD, ident, story.start, lambda _: story.rig.misread(Misread(int(n), how)))


def _draw_misread(story: Story, rng: Random) -> str:
    if not story.reads:
        count = Misread()
        story.live(MISREAD, "0", story.start, lambda _: story.rig.misread(count))
        story.reads = count.seen
    return f"{1 + rng.randrange(story.reads)}.{rng.choice(HOW)}"


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


def _draw_spoiled(story: Story, rng: Random) -> str:
    begun = [c for c in story.cuts if c.phase == "fetch and write" and not c.memory.confirmed and story.written(c)]
    case = rng.choice(begun)
    off = rng.choice(story.written(case)) * SECTOR + rng.randrange(SECTOR)
    return f"{case.path[0]}.{off:x}.{rng.randrange(8)}"


def _draw_rot(story: Story, rng: Random) -> str:
    area = rng.choice([a for a in story.rig.areas if a.kind in ("slot", "state", "journal", "log")])
    return f"{1 + rng.randrange(story.boots)}.{_where(story, area, rng):x}.{rng.randrange(8)}"


KINDS: dict[str, Callable[[Story, str], None]] = {
    "metastable": metastable,
    "stuck": stuck,
    "failing": failing,
    "spoiled": spoiled,
    "rot": rot,
    MISREAD: misread,
}
DRAWS: dict[str, Callable[[Story, Random], str]] = {
    "metastable": _draw_cut,
    "stuck": _draw_bit,
    "failing": _draw_op,
    "spoiled": _draw_spoiled,
    "rot": _draw_rot,
    MISREAD: _draw_misread,
}


def campaign(layout: str, names: Sequence[str], n: int, seed: int) -> Faults:
    """`n` lives of every kind of fault in each of the stories `names`."""
    result = Faults()
    for name in names:
        story = Story(layout, scenario_of(layout, name), seed)
        for kind in story.kinds:
            for ident in story.idents(kind, n):
                story.play(kind, ident)
        result.add(story.result)
    return result
