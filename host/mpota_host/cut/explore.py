"""Finds states by cutting the power, runs each to rest, and has the oracle judge it.

A state is what the whole medium (medium/medium.py) holds when the power returns. While a life runs, every operation in
it shows what a cut inside or after it would leave: the states one cut deeper. A device remembers nothing but its
medium, so a life that comes, at a power-on, to a state from which a good life was seen before is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from mpota.pipe import decrypt, package
from mpota_host.cut.drive import Life, Memory
from mpota_host.cut.medium.medium import EDGES, Medium, Operation, Shot, mark
from mpota_host.cut.oracle import Bad, Oracle
from mpota_host.cut.rig import Rig, Scenario, life_of
from mpota_host.sim.flash import PowerCut

ARMING = "arm and first boot"
PHASES = {
    "fetch": "fetch and write",
    "arm": ARMING,
    "first boot": ARMING,
    "verdict": "confirm and retreat",
    "leave": "confirm and retreat",
}
RECOVERY = "recovery"
# What becomes of a device: the image it had, where nothing or something of a package was in; or the newer one.
OUTCOMES = ("old whole", "resumed", "new whole")
CATEGORIES = ("fetch and write", ARMING, "confirm and retreat", RECOVERY)
# The way to a life that is bad although nobody cut the power.
UNCUT = "uncut"
# A cut that is none: the operation ends, then the watchdog resets the chip, and the next start says so.
WATCHDOG = "watchdog"
# A power-on: what the medium holds, why it starts, what the world knows, and: were there fewer cuts than trials?
Start = tuple[bytes, str, Memory, bool]
# Bad states of one story that are enough.
ENOUGH = 10


@dataclass(frozen=True)
class Step:
    """One cut: at the n-th operation since the power came, before it, after it, or inside with a shape.

    Or WATCHDOG: no cut, but a reset after it.
    """

    op: int
    shape: str

    @property
    def leaves(self) -> str:
        """The shape that the medium knows."""
        return "after" if self.shape == WATCHDOG else self.shape

    @property
    def torn(self) -> bool:
        return self.leaves not in EDGES

    def __str__(self) -> str:
        return f"{self.op}.{self.shape}"


@dataclass(frozen=True)
class Case:
    """A state and how to get there."""

    shot: Shot
    memory: Memory
    path: tuple[Step, ...] = ()
    phase: str = ""
    # Was the cut in what arms an update or settles it?
    switches: bool = False

    @property
    def torn(self) -> bool:
        return bool(self.path) and self.path[-1].torn

    @property
    def cause(self) -> str:
        """Why the life after it starts."""
        return WATCHDOG if self.path and self.path[-1].shape == WATCHDOG else "power"


@dataclass
class Known:
    """What is known of a power-on from which a good life was seen: its erases and what it booted first."""

    wear: tuple[int, ...]
    first: int
    resumed: bool


@dataclass
class Failure:
    """A bad state: the rule broken, what was seen, the way to it, and a map of the medium as it was."""

    scenario: str
    path: str
    rule: str
    text: str
    map: list[str] = field(default_factory=list)

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


Chooser = Callable[[Operation, int], list[str]]


def every(operation: Operation, number: int) -> list[str]:
    """All shapes of an operation, and what it leaves when it is done."""
    return [*operation.shapes, "after"]


def randomness(seed: int, scenario: str, path: tuple[Step, ...], step: Step) -> Random:
    """What a torn operation draws from: the same for the same way to it."""
    return Random(f"{seed}/{scenario}/{'/'.join(map(str, path))}/{step}")


class Explorer:
    """Campaigns over one scenario. Stops taking up bad states after `enough` of them."""

    def __init__(self, layout: str, scenario: Scenario, seed: int = 0, enough: int = ENOUGH) -> None:
        # What this process holds is no board's heap: the collector would go through all states of a campaign.
        package.collect = decrypt.collect = int
        found = life_of(layout)
        self.rig: Rig = found.Rig(scenario)
        self.medium: Medium = self.rig.medium
        self.oracle: Oracle = getattr(found, "Oracle", Oracle)(self.rig)
        self.life: Life = getattr(found, "Life", Life)(self.rig, self.oracle, self._rest)
        # What tells states of one story from those of another, where that counts.
        self.tag: Shot = (self.name.encode(),) if getattr(found, "BY_STORY", False) else ()
        self.seed = seed
        self.enough = enough
        # False while another process walks the same way and tells of it.
        self.tells = True
        self.tally = Tally()
        self.start = Case(self.medium.shot(), Memory())
        # Power-ons that a good life came to: one whose every operation was shown to the watcher, and any.
        self.shown: dict[Start, Known] = {}
        self.good: dict[Start, Known] = {}
        self.tried: set[Start] = set()
        self.case = self.start
        self.chooser: Chooser | None = None
        self.found: list[Case] = []
        self.kinds: dict[int, str] = {}

    @property
    def name(self) -> str:
        return self.rig.scenario.name

    def unseen(self, case: Case) -> bool:
        """Is it the first time that this state is seen, by whichever process it will be tried?"""
        key = self._start(case.cause, case.memory, case)
        if key in self.tried:
            return False
        self.tried.add(key)
        return True

    def count(self, case: Case) -> None:
        """The state is tried now."""
        cause = () if case.cause == "power" else (case.cause.encode(),)
        self.tally.marks.setdefault(mark((*self.tag, *cause, *case.shot)), case.phase)

    def fresh(self, case: Case) -> bool:
        """Was this state not tried before? It counts as tried from now on."""
        new = self.unseen(case)
        if new:
            self.count(case)
        return new

    def run(self, case: Case, chooser: Chooser | None = None, again: bool = False) -> list[Case]:
        """Live from `case` to rest. Returns the states that cuts in this life lead to, where `chooser` wants any.

        `again`: this state was judged and counted before.
        """
        self.case, self.chooser, self.found = case, chooser, []
        self.counts = self.tells and bool(case.path) and not again
        self.hit: Known | None = None
        self.visited: list[tuple[Start, tuple[int, ...], int]] = []
        self.medium.load(case.shot)
        self.medium.watch = self._watch if chooser else None
        self.life.begin(case.memory, len(case.path))
        try:
            with self.medium:
                self.life.run(case.cause)
            self._settle()
        except Bad as e:
            path = "+".join(map(str, case.path))
            self.tally.bad.append(Failure(self.name, path, e.rule, str(e)))
        finally:
            self.medium.watch = None
        return self.found

    def full(self) -> bool:
        return len(self.tally.bad) >= self.enough

    def _start(self, cause: str, memory: Memory, case: Case | None = None) -> Start:
        """A power-on: of `case`, or of the life that runs."""
        shot = case.shot if case else self.medium.shot()
        return mark(shot), cause, memory, len((case or self.case).path) < self.rig.trials

    def _rest(self, cause: str, memory: Memory) -> bool:
        key = self._start(cause, memory)
        self.hit = self.shown.get(key)
        if self.hit is None and self.chooser is None:
            self.hit = self.good.get(key)
        if self.hit is None:
            self.visited.append((key, tuple(self.medium.wear), len(self.life.boots)))
        return self.hit is not None

    def _settle(self) -> None:
        """The life was good: so is every one that begins at one of its power-ons."""
        wear = self.medium.wear
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

    def phase(self) -> str:
        """The category of a cut that came now."""
        return RECOVERY if self.life.recovering else PHASES[self.life.phase]

    def _watch(self, operation: Operation) -> None:
        number = self.medium.ops + 1
        phase = self.phase()
        if not self.case.path:
            self.kinds[number] = f"{operation.kind} {phase}"
        for shape in self._chosen(operation, number):
            step = Step(number, shape)
            self.tally.cuts += self.tells
            self.tally.nested += self.tells and bool(self.case.path)
            self.tally.torn += self.tells and step.torn
            left = operation.left(step.leaves, partial(self._draw, step))
            path = (*self.case.path, step)
            self.found.append(Case(left, self._after(operation, step), path, phase, self.switches(operation)))

    def switches(self, operation: Operation) -> bool:
        """Is it a step of arm, or of a start that finds an update armed? Not what a loader copies to where it runs."""
        if self.phase() not in (ARMING, RECOVERY):
            return False
        where = operation.where
        first = (a for a in self.rig.areas if a.first)
        return isinstance(where, str) or not any(a.off <= where < a.off + a.size for a in first)

    def _chosen(self, operation: Operation, number: int) -> list[str]:
        """Where a trial is counted, judged or ended, a cut after an operation may also be the watchdog's reset."""
        assert self.chooser
        chosen = self.chooser(operation, number)
        return [*chosen, WATCHDOG] if "after" in chosen and self.life.watched else chosen

    def _draw(self, step: Step) -> Random:
        return randomness(self.seed, self.name, self.case.path, step)

    def _after(self, operation: Operation, step: Step) -> Memory:
        """What the world knows after this cut."""
        memory = self.life.memory
        if operation.kind != "erase" or not step.torn:
            return memory
        off = operation.where
        kind = next((a.kind for a in self.rig.areas if a.off <= off < a.off + a.size), "")
        if kind == "state":
            return replace(memory, blurred=memory.blurred + 1)
        return replace(memory, lost=True) if kind == "journal" else memory

    def cut(self, case: Case, step: Step) -> Case:
        """Live from `case` until the power really goes at `step`: every call fails from then on, as on a chip."""
        medium = self.medium
        self.case, self.chooser = case, None
        self.hit, self.visited = None, []
        medium.load(case.shot)
        self.life.begin(case.memory, len(case.path))
        seen: list[Operation] = []
        medium.watch = seen.append
        medium.cut_power(step.op, step.leaves, partial(self._draw, step))
        rest, self.life.rest = self.life.rest, None
        try:
            with medium:
                self.life.run(case.cause)
        except PowerCut:
            memory = self._after(seen[-1], step)
            return Case(medium.shot(), memory, (*case.path, step), self.phase())
        finally:
            medium.power_on()
            medium.watch = None
            self.life.rest = rest
        raise LookupError(f"the life after {'+'.join(map(str, case.path)) or 'the start'} has no operation {step.op}")


def follow(explorer: Explorer, path: str) -> None:
    """Live the way `cut+cut...` again with real power cuts, then the life that is left; LookupError where the way is
    none. The medium is left as it was when the power returned."""
    case = explorer.start
    shapes = sorted({shape for found in explorer.medium.shapes.values() for shape in found})
    for text in path.split("+") if path != UNCUT else []:
        op, _, shape = text.partition(".")
        if shape not in (*EDGES, WATCHDOG, *shapes):
            raise LookupError(f"{text!r} is no cut; one is, for example, 3.after or 20.{shapes[0]}")
        try:
            case = explorer.cut(case, Step(int(op), shape))
        except Bad as e:
            raise LookupError(f"the life goes wrong before the cut {text}: {e}") from e
    explorer.fresh(case)
    explorer.run(case)
    explorer.medium.load(case.shot)


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
