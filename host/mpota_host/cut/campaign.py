"""The whole campaign of one layout: every scenario, on as many processes as there are cores.

Each process tries its share of the states, told by their hashes, so that no state is tried twice within a depth. First
every single cut of every scenario; then, for the smallest ones, every cut in the life after every cut, for some every
cut between operations there, and for others every two cuts around the switch; then cuts in cuts at random, ten deep,
where the kind of cut that was tried least goes first. The layout's life.py names the scenarios of each (rig.py).
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from random import Random

from mpota_host.cut import faults
from mpota_host.cut.explore import (
    CATEGORIES,
    ENOUGH,
    PHASES,
    Case,
    Chooser,
    Explorer,
    Failure,
    Tally,
    every,
    fewer,
    follow,
)
from mpota_host.cut.medium.medium import Operation, mark
from mpota_host.cut.rig import Scenario, life_of, scenario_of

# How deep cuts in cuts go at random.
DEEPEST = 10
# How many lives each kind of fault gets in each story of a full campaign.
LIVES = 40
# A sample of somebody's own image ends after this.
SAMPLE_SECONDS = 150.0


@dataclass(frozen=True)
class Settings:
    """What a campaign tries. `depth`: cuts within cuts that are tried without leaving one out; 1 is none.

    `exhaustive` go down to `depth`, `deep` of them one deeper; `edges`: of these, every cut between two operations in
    the life after every such cut; `pairs`: of these, every two cuts around arm and settle. The others take cuts in cuts
    at random, until there are `states` in all.
    """

    layout: str
    scenarios: tuple[str, ...]
    exhaustive: tuple[str, ...]
    states: int
    depth: int = 2
    deep: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    seed: int = 0
    workers: int = 2
    lives: int = LIVES
    # Stop at the first bad state.
    first: bool = False


@dataclass
class Result:
    """What was tried and what was bad."""

    tally: Tally = field(default_factory=Tally)
    faults: faults.Faults = field(default_factory=faults.Faults)
    seconds: float = 0.0


def full(layout: str, depth: int, seed: int) -> Settings:
    """What `mpota cut` does without options."""
    life = life_of(layout)
    single = Settings(layout, tuple(life.SCENARIOS), (), 0, depth, seed=seed, workers=max(2, os.cpu_count() or 1))
    if depth < 2:
        return single
    deep, edges, pairs = (getattr(life, name, ()) for name in ("DEEP", "EDGES", "PAIRS"))
    return replace(single, exhaustive=tuple(life.EXHAUSTIVE), states=life.STATES, deep=deep, edges=edges, pairs=pairs)


def quick(layout: str, states: int = 3000) -> Settings:
    """A campaign of seconds: every single cut of some scenarios; with `states`, cuts in cuts at random up to these.

    Of a layout that is THOROUGH, every cut in the life after a cut in place of those.
    """
    life = life_of(layout)
    names = tuple(life.QUICK)
    exhaustive = names if states and getattr(life, "THOROUGH", False) else ()
    return Settings(layout, names, exhaustive, states, workers=1, lives=8)


def one(layout: str, name: str, states: int) -> Settings:
    """What hunts a bug in one scenario: quick(), to the first bad state; what has no gaps there has none here."""
    whole = full(layout, 2, 0)
    found = replace(quick(layout, states), scenarios=(name,), pairs=whole.pairs if states else (), first=True)
    return replace(found, exhaustive=(name,), deep=whole.deep) if found.exhaustive else found


class Worker:
    """One process's share."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.settings = settings
        self.number = number
        self.tally = Tally()
        self.rng = Random(f"{settings.seed}/{number}")

    def run(self) -> Tally:
        """Every scenario in turn: the ones without gaps first, the others share what is left to reach the goal."""
        s = self.settings
        goal = s.states // s.workers
        depths = {name: s.depth + (name in s.deep) for name in s.exhaustive}
        for i, name in enumerate(sorted(s.scenarios, key=lambda name: name not in depths)):
            quota = (goal - len(self.tally.marks)) // (len(s.scenarios) - i)
            self.scenario(name, depths.get(name, 1), quota)
            if s.first and self.tally.bad:
                break
        return self.tally

    def scenario(self, name: str, depth: int, quota: int) -> None:
        """Every cut, and every cut in the life after it, down to `depth`; 1: then `quota` states in all, at random."""
        s = self.settings
        explorer = Explorer(s.layout, scenario_of(s.layout, name), s.seed, 1 if s.first else ENOUGH)
        explorer.tally.marks = self.tally.marks
        goal = len(self.tally.marks) + quota
        explorer.tells = self.number == 0
        first = [case for case in explorer.run(explorer.start, every) if explorer.unseen(case)]
        self.below(explorer, first, depth)
        if name in s.edges:
            self.inner(explorer, [case for case in first if not case.torn], lambda operation, number: ["after"])
        if name in s.pairs:
            self.inner(explorer, [case for case in first if case.switches], switching(explorer))
        if depth == 1:
            self.wander(explorer, [case for case in first if self.mine(case)], goal)
        marks, explorer.tally.marks = explorer.tally.marks, {}
        self.tally.add(explorer.tally)
        self.tally.marks = marks

    def mine(self, case: Case) -> bool:
        return mark(case.shot)[0] % self.settings.workers == self.number

    def below(self, explorer: Explorer, cases: list[Case], depth: int) -> None:
        """Every case, and every cut in its life, down to `depth`; each process walks the inner ones too."""
        for case in cases:
            explorer.tells = mine = self.mine(case)
            if mine:
                explorer.count(case)
            if depth > 1:
                found = explorer.run(case, every)
                self.below(explorer, [c for c in found if explorer.unseen(c)], depth - 1)
            elif mine:
                explorer.run(case)
            if explorer.full():
                break
        explorer.tells = True

    def inner(self, explorer: Explorer, cases: list[Case], chooser: Chooser) -> None:
        """Every cut of a kind in the life after every one of these."""
        for case in cases:
            if explorer.full():
                break
            explorer.tells = self.mine(case)
            found = explorer.run(case, chooser, again=True)
            explorer.tells = True
            for inner in [c for c in found if explorer.unseen(c) and self.mine(c)]:
                explorer.count(inner)
                explorer.run(inner)

    def wander(self, explorer: Explorer, cases: list[Case], goal: int) -> None:
        """Cuts in cuts at random until so many states are known; gives up where nothing new comes."""
        dry = 0
        while len(self.tally.marks) < goal and cases and dry < 200 and not explorer.full():
            before = len(self.tally.marks)
            kinds = self.tally.categories()
            least = min(CATEGORIES[:3], key=lambda kind: kinds[kind])
            self.chain(explorer, self.rng.choice([c for c in cases if c.phase == least] or cases))
            dry = dry + 1 if len(self.tally.marks) == before else 0

    def chain(self, explorer: Explorer, case: Case) -> None:
        """One walk down: some states at each depth are tried, one of the kind that was tried least is walked on."""
        for i in range(self.rng.randrange(2, DEEPEST)):
            found = explorer.run(case, self.sampler(), again=i == 0)
            self.rng.shuffle(found)
            kinds = self.tally.categories()
            mean = sum(kinds.values()) / len(CATEGORIES)
            rare = [c for c in found if kinds[c.phase] <= mean] or found
            fresh = [c for c in sorted(rare, key=lambda c: kinds[c.phase])[:8] if explorer.fresh(c)]
            for c in fresh[1:]:
                explorer.run(c)
            if not fresh or explorer.full():
                return
            case = fresh[0]
        explorer.run(case)

    def sampler(self) -> Chooser:
        """About one cut for every four operations."""
        return lambda operation, number: _any(operation, self.rng) if not self.rng.randrange(4) else []


def switching(explorer: Explorer) -> Chooser:
    """Every cut in what settles an update that is armed, or half armed."""
    return lambda operation, number: every(operation, number) if explorer.switches(operation) else []


def _any(operation: Operation, rng: Random) -> list[str]:
    return [rng.choice(every(operation, 0))]


def work(settings: Settings, number: int) -> Tally:
    """The share of process `number`."""
    return Worker(settings, number).run()


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes for the shares; they end with this one, also where it is killed."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _leash, (os.getpid(),))


def _leash(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(settings: Settings) -> Result:
    """Try everything. With one worker in this process, else in processes of their own."""
    began = time.monotonic()
    result = Result()
    stories = [name for name in life_of(settings.layout).FAULTY if name in settings.scenarios]
    if settings.workers == 1:
        result.tally.add(work(settings, 0))
        result.faults.add(faults.campaign(settings.layout, stories, settings.lives, settings.seed))
    else:
        _spread(settings, stories, result)
    result.seconds = time.monotonic() - began
    return result


def _spread(settings: Settings, stories: list[str], result: Result) -> None:
    with pool(settings.workers) as processes:
        shares = [processes.submit(work, settings, i) for i in range(settings.workers)]
        told: list[Future[faults.Faults]] = [
            processes.submit(faults.campaign, settings.layout, [name], settings.lives, settings.seed)
            for name in stories
        ]
        for share in as_completed(shares):
            result.tally.add(share.result())
        for story in told:
            result.faults.add(story.result())


def replay(layout: str, scenario: Scenario, path: str, seed: int) -> tuple[Explorer, Tally]:
    """Live the way `cut+cut...` again with real power cuts; the explorer stands where the power returned."""
    explorer = Explorer(layout, scenario, seed)
    follow(explorer, path)
    return explorer, explorer.tally


def shorten(layout: str, bad: Failure, seed: int) -> Failure:
    """The same failure by fewer cuts."""
    return fewer(bad, lambda name, path: replay(layout, scenario_of(layout, name), path, seed)[1])


def _places(explorer: Explorer, n: int, rng: Random) -> set[int]:
    """`n` operations of the life, as many from each part of it as it has: most of all write the image."""
    parts: dict[str, list[int]] = {}

    def note(operation: Operation, number: int) -> list[str]:
        parts.setdefault(PHASES[explorer.life.phase], []).append(number)
        return []

    explorer.run(explorer.start, note)
    found: set[int] = set()
    for i, ops in enumerate(sorted(parts.values(), key=len)):
        share = (n - len(found)) // (len(parts) - i)
        found.update(rng.sample(ops, min(share, len(ops))))
    return found


def sampled(layout: str, scenario: Scenario, n: int, seed: int, seconds: float = SAMPLE_SECONDS) -> Result:
    """`n` states of one scenario at random, half of them cuts in the life after a cut; fewer if time runs out."""
    began = time.monotonic()
    rng = Random(seed)
    explorer = Explorer(layout, scenario, seed)
    wanted = _places(explorer, n // 2, rng)
    explorer.shown.clear()
    first = explorer.run(explorer.start, lambda operation, n: _any(operation, rng) if n in wanted else [])
    for case in (c for c in first if explorer.fresh(c)):
        found = explorer.run(case, lambda operation, n: _any(operation, rng) if not rng.randrange(40) else [])
        rng.shuffle(found)
        deeper = next((c for c in found if explorer.fresh(c)), None)
        if deeper:
            explorer.run(deeper)
        if time.monotonic() - began > seconds:
            break
    return Result(explorer.tally, faults.Faults(), time.monotonic() - began)
