"""Finds states by cutting the power, runs each to rest, and has the oracle judge it.

A state is what the whole flash holds when the power returns. While a life runs, every program and erase in it shows
what a cut before, inside or after it would leave: the states one cut deeper. A device remembers nothing but its flash,
so a life that comes, at a power-on, to bytes from which a good life was seen before is over: the rest is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from mpota.pipe import decrypt, package
from mpota_host.cut.drive import Life, Memory
from mpota_host.cut.medium.cells import Shot, mark, patched
from mpota_host.cut.medium.shapes import SHAPES
from mpota_host.cut.oracle import Bad, Oracle
from mpota_host.cut.rig import Rig, Scenario, life_of
from mpota_host.sim.flash import PowerCut

PHASES = {
    "fetch": "fetch and write",
    "arm": "arm and first boot",
    "first boot": "arm and first boot",
    "verdict": "confirm and retreat",
    "leave": "confirm and retreat",
}
RECOVERY = "recovery"
# What becomes of a device: the image it had, where nothing or something of a package was in; or the newer one.
OUTCOMES = ("old whole", "resumed", "new whole")
CATEGORIES = ("fetch and write", "arm and first boot", "confirm and retreat", RECOVERY)
# The way to a life that is bad although nobody cut the power.
UNCUT = "uncut"
# Where in an operation the power can go besides inside it.
EDGES = ("before", "after")


@dataclass(frozen=True)
class Step:
    """One cut: at the n-th operation since the power came, before it, after it, or inside with a shape."""

    op: int
    shape: str

    def __str__(self) -> str:
        return f"{self.op}.{self.shape}"


@dataclass(frozen=True)
class Case:
    """A state and how to get there."""

    shot: Shot
    memory: Memory
    path: tuple[Step, ...] = ()
    phase: str = ""

    @property
    def torn(self) -> bool:
        return bool(self.path) and self.path[-1].shape not in EDGES


@dataclass
class Known:
    """What is known of a power-on from which a good life was seen: its erases and what it booted first."""

    wear: tuple[int, ...]
    first: int
    resumed: bool


@dataclass
class Failure:
    """A bad state: the rule broken, what was seen, the way to it, and a map of the flash as it was."""

    scenario: str
    path: str
    rule: str
    text: str
    flash: list[str] = field(default_factory=list)

    @property
    def ident(self) -> str:
        return f"{self.scenario}:{self.path or UNCUT}"


@dataclass
class Tally:
    """What a campaign did. `marks`: the state's hash -> the category of the cut that led to it.

    `outcomes` is by (category, what became of the device); every state is in it once.
    """

    cuts: int = 0
    nested: int = 0
    torn: int = 0
    marks: dict[bytes, str] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    bad: list[Failure] = field(default_factory=list)
    # (scenario, operation, kind of operation and phase, shape, outcome) of every first cut.
    map: list[tuple[str, int, str, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.cuts += other.cuts
        self.nested += other.nested
        self.torn += other.torn
        for key, phase in other.marks.items():
            self.marks.setdefault(key, phase)
        self.outcomes += other.outcomes
        self.depths += other.depths
        known = {b.ident for b in self.bad}
        self.bad += [b for b in other.bad if b.ident not in known]
        self.map += other.map

    def categories(self) -> Counter[str]:
        return Counter(self.marks.values())

    def ends(self) -> Counter[str]:
        """What became of the devices, wherever the power went."""
        ends: Counter[str] = Counter()
        for (_, outcome), n in self.outcomes.items():
            ends[outcome] += n
        return ends


Chooser = Callable[[str, int], Iterator[str] | list[str]]


def every(op: str, number: int) -> list[str]:
    """All shapes of an operation, and what it leaves when it is done."""
    return [*SHAPES[op], "after"]


def randomness(seed: int, scenario: str, path: tuple[Step, ...], step: Step) -> Random:
    """What a torn operation draws from: the same for the same way to it."""
    return Random(f"{seed}/{scenario}/{'/'.join(map(str, path))}/{step}")


class Explorer:
    """Campaigns over one scenario. Stops taking up bad states after `enough` of them."""

    def __init__(self, layout: str, scenario: Scenario, seed: int = 0, enough: int = 10) -> None:
        # What this process holds is no board's heap: the collector would go through all states of a campaign.
        package.collect = decrypt.collect = int
        self.rig: Rig = life_of(layout).Rig(scenario)
        self.flash = self.rig.flash
        self.oracle, self.life = self._judged()
        self.seed = seed
        self.enough = enough
        # False while another process walks the same way and tells of it.
        self.tells = True
        self.tally = Tally()
        self.start = Case(self.flash.shot(), Memory())
        # Power-ons that a good life came to: one whose every operation was shown to the watcher, and any.
        self.shown: dict[tuple[bytes, str, Memory], Known] = {}
        self.good: dict[tuple[bytes, str, Memory], Known] = {}
        self.tried: set[tuple[bytes, Memory]] = set()
        self.case = self.start
        self.chooser: Chooser | None = None
        self.found: list[Case] = []
        self.kinds: dict[int, str] = {}
        self.torn_at = ("", 0)

    def _judged(self) -> tuple[Oracle, Life]:
        """Who judges this rig, and who drives it."""
        oracle = Oracle(self.rig)
        return oracle, Life(self.rig, oracle, self._rest)

    @property
    def name(self) -> str:
        return self.rig.scenario.name

    def fresh(self, case: Case) -> bool:
        """Was this state not tried before? It counts as tried from now on."""
        key = (mark(case.shot), case.memory)
        if key in self.tried:
            return False
        self.tried.add(key)
        self.tally.marks.setdefault(key[0], case.phase)
        return True

    def run(self, case: Case, chooser: Chooser | None = None, again: bool = False) -> list[Case]:
        """Live from `case` to rest. Returns the states that cuts in this life lead to, where `chooser` wants any.

        `again`: this state was judged and counted before.
        """
        self.case, self.chooser, self.found = case, chooser, []
        self.counts = self.tells and bool(case.path) and not again
        self.hit: Known | None = None
        self.visited: list[tuple[tuple[bytes, str, Memory], tuple[int, ...], int]] = []
        self.flash.load(case.shot)
        self.flash.watch = self._watch if chooser else None
        self.life.begin(case.memory, bool(case.path))
        try:
            self.life.run()
            self._settle()
        except Bad as e:
            path = "+".join(map(str, case.path))
            self.tally.bad.append(Failure(self.name, path, e.rule, str(e)))
        finally:
            self.flash.watch = None
        return self.found

    def full(self) -> bool:
        return len(self.tally.bad) >= self.enough

    def _rest(self, cause: str, memory: Memory) -> bool:
        key = (mark(self.flash.shot()), cause, memory)
        self.hit = self.shown.get(key)
        if self.hit is None and self.chooser is None:
            self.hit = self.good.get(key)
        if self.hit is None:
            self.visited.append((key, tuple(self.flash.wear), len(self.life.boots)))
        return self.hit is not None

    def _settle(self) -> None:
        """The life was good: so is every one that begins at one of its power-ons."""
        wear = self.flash.wear
        if self.hit:
            wear = [a + b for a, b in zip(wear, self.hit.wear, strict=True)]
        self.oracle.wear(wear)
        boots = self.life.boots + ([self.hit.first] if self.hit else [])
        resumed = self.life.resumed or bool(self.hit and self.hit.resumed)
        into = self.shown if self.chooser else self.good
        for key, before, i in self.visited:
            into[key] = Known(tuple(a - b for a, b in zip(wear, before, strict=True)), boots[i], resumed)
        self._count(boots[0], resumed)

    def _count(self, first: int, resumed: bool) -> None:
        if not self.counts:
            return
        case = self.case
        old = first <= case.memory.confirmed
        outcome = "new whole" if not old else "resumed" if resumed else "old whole"
        self.tally.outcomes[case.phase, outcome] += 1
        self.tally.depths[len(case.path)] += 1
        if len(case.path) == 1:
            step = case.path[0]
            self.tally.map.append((self.name, step.op, self.kinds.get(step.op, ""), step.shape, outcome))

    def _watch(self, op: str, off: int, old: bytes, new: bytes) -> None:
        number = self.flash.ops + 1
        phase = RECOVERY if self.life.recovering else PHASES[self.life.phase]
        if not self.case.path:
            self.kinds[number] = f"{op} {phase}"
        assert self.chooser
        shot = self.flash.shot()
        for shape in self.chooser(op, number):
            step = Step(number, shape)
            left = new if shape == "after" else self.torn(step, op, old, new)
            self.tally.cuts += self.tells
            self.tally.nested += self.tells and bool(self.case.path)
            self.tally.torn += self.tells and shape != "after"
            memory = self._after(op, off, shape)
            self.found.append(Case(patched(shot, off, left), memory, (*self.case.path, step), phase))

    def _after(self, op: str, off: int, shape: str) -> Memory:
        """What the world knows after this cut."""
        memory = self.life.memory
        if op != "erase" or shape in EDGES:
            return memory
        kind = next((a.kind for a in self.rig.areas if a.off <= off < a.off + a.size), "")
        if kind == "state":
            return replace(memory, blurred=memory.blurred + 1)
        return replace(memory, lost=True) if kind == "journal" else memory

    def cut(self, case: Case, step: Step) -> Case:
        """Live from `case` until the power really goes at `step`: every call fails from then on, as on a chip."""
        flash = self.flash
        self.case, self.chooser = case, None
        self.hit, self.visited = None, []
        flash.load(case.shot)
        self.life.begin(case.memory, bool(case.path))
        flash.watch = self._note
        flash.cut, flash.cut_at = step.op, step.shape if step.shape in EDGES else "inside"
        flash.tears = {op: self._tear(step, op) for op in SHAPES}
        rest, self.life.rest = self.life.rest, None
        try:
            self.life.run()
        except PowerCut:
            phase = RECOVERY if self.life.recovering else PHASES[self.life.phase]
            memory = self._after(self.torn_at[0], self.torn_at[1], step.shape)
            return Case(flash.shot(), memory, (*case.path, step), phase)
        finally:
            flash.power_on()
            flash.watch = None
            self.life.rest = rest
        raise LookupError(f"the life after {'+'.join(map(str, case.path)) or 'the start'} has no operation {step.op}")

    def _note(self, op: str, off: int, old: bytes, new: bytes) -> None:
        self.torn_at = (op, off)

    def _tear(self, step: Step, op: str) -> Callable[[bytes, bytes, object], bytes]:
        return lambda old, new, pick: self.torn(step, op, old, new)

    def torn(self, step: Step, op: str, old: bytes, new: bytes) -> bytes:
        """What the cells hold where the power goes inside an operation."""
        if step.shape not in SHAPES[op]:
            raise LookupError(f"no tear {step.shape!r} of {op}; there are {', '.join(SHAPES[op])}")
        return SHAPES[op][step.shape](old, new, randomness(self.seed, self.name, self.case.path, step))


def follow(explorer: Explorer, path: str, shapes: set[str]) -> None:
    """Live the way `cut+cut...` again with real power cuts of these shapes, then the life that is left; LookupError
    where the way is none. The flash is left as it was when the power returned."""
    case = explorer.start
    for text in path.split("+") if path != UNCUT else []:
        op, _, shape = text.partition(".")
        if shape not in {*EDGES, *shapes}:
            raise LookupError(f"{text!r} is no cut; one is, for example, 3.after or 20.{min(shapes)}")
        try:
            case = explorer.cut(case, Step(int(op), shape))
        except Bad as e:
            raise LookupError(f"the life goes wrong before the cut {text}: {e}") from e
    explorer.fresh(case)
    explorer.run(case)
    explorer.flash.load(case.shot)


def fewer(bad: Failure, again: Callable[[str, str], Tally]) -> Failure:
    """The same failure by fewer cuts, where leaving one out still breaks the same rule; `again` plays (story, path)."""
    steps = bad.path.split("+")
    i = 0
    while i < len(steps) and len(steps) > 1:
        left = steps[:i] + steps[i + 1 :]
        try:
            tally = again(bad.scenario, "+".join(left))
        except (LookupError, ValueError, Bad):
            i += 1
            continue
        if tally.bad and tally.bad[0].rule == bad.rule:
            bad, steps = tally.bad[0], left
        else:
            i += 1
    return bad
