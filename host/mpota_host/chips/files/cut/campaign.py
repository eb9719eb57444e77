"""The power campaign of application files: every operation of the file system, and of a chip's flash beside it.

Every single cut of every story, then every cut in the life after every cut, of some one deeper; no state is tried
twice. Of boards with firmware too, whose flash has many more operations, cuts in cuts are those between operations, or
tried at random. Each process tries its share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from mpota_host.chips.files.cut import apps, life
from mpota_host.chips.files.cut.drive import FilesLife
from mpota_host.chips.files.cut.oracle import FilesOracle
from mpota_host.cut.campaign import Result, pool
from mpota_host.cut.drive import Life
from mpota_host.cut.explore import EDGES, PHASES, RECOVERY, Case, Explorer, Failure, Step, Tally, fewer, follow
from mpota_host.cut.medium import shapes
from mpota_host.cut.medium.cells import mark
from mpota_host.cut.oracle import Oracle
from mpota_host.sim import fs
from mpota_host.sim.flash import PowerCut

FILES = "files"
# States of each story with firmware that cuts in cuts try at random, and how deep they go.
WANDER = 300
DEEPEST = 5
# Every shape of a cut inside an operation.
SHAPES: dict[str, list[str]] = {**{op: list(found) for op, found in shapes.SHAPES.items()}, **fs.SHAPES}


@dataclass(frozen=True)
class Settings:
    """What is tried. `deep`: stories that go one deeper than `depth`.

    `edges`: of these, with firmware, every cut between operations in the life after every such one. `wander`: states
    of a story with firmware that are tried at random.
    """

    scenarios: tuple[str, ...]
    depth: int = 2
    deep: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    wander: int = 0
    seed: int = 0
    workers: int = 1
    # Stop at the first bad state.
    first: bool = False


def full(depth: int, seed: int, workers: int) -> Settings:
    """What `mpota cut --layout files` does."""
    if depth < 2:
        return Settings(tuple(life.SCENARIOS), depth, seed=seed, workers=workers)
    return Settings(tuple(life.SCENARIOS), depth, life.DEEP, life.EDGES, WANDER, seed, workers)


def quick() -> Settings:
    """A campaign of seconds."""
    return Settings(life.QUICK)


class FilesExplorer(Explorer):
    """Explorer over a board's file system, and its flash."""

    rig: Any
    flash: Any

    def __init__(self, scenario: life.Files, seed: int = 0, enough: int = 10) -> None:
        super().__init__(FILES, scenario, seed, enough)
        self.flash.shapes = SHAPES
        self.flash.tear = self._torn

    def _judged(self) -> tuple[Oracle, Life]:
        oracle: Any = FilesOracle(self.rig)
        return oracle, FilesLife(self.rig, oracle, self._rest)

    def _torn(self, op: str, old: bytes, new: bytes, step: Step | None = None) -> bytes:
        return self.torn(step or self.step, op, old, new)

    def _watch(self, op: str, where: Any, shapes: Any, leave: Any) -> None:
        number = self.flash.ops + 1
        phase = RECOVERY if self.life.recovering else PHASES[self.life.phase]
        if not self.case.path:
            self.kinds[number] = f"{op} {phase}"
        assert self.chooser
        for shape in self.chooser(op, number):
            if shape not in shapes:
                continue
            step = Step(number, shape)
            self.tally.cuts += self.tells
            self.tally.nested += self.tells and bool(self.case.path)
            self.tally.torn += self.tells and shape not in EDGES
            memory = self._after(op, where, shape)
            self.found.append(Case(leave(shape, step), memory, (*self.case.path, step), phase))

    def cut(self, case: Case, step: Step) -> Case:
        """Live from `case` until the power really goes at `step`."""
        world = self.flash
        self.case, self.chooser, self.step = case, None, step
        self.hit, self.visited = None, []
        world.load(case.shot)
        self.life.begin(case.memory, bool(case.path))
        seen: list[tuple[str, Any]] = []
        world.watch = lambda op, where, shapes, leave: seen.append((op, where))
        world.cut = (step.op, step.shape)
        rest, self.life.rest = self.life.rest, None
        try:
            self.life.run()
        except PowerCut:
            phase = RECOVERY if self.life.recovering else PHASES[self.life.phase]
            memory = self._after(*seen[-1], step.shape)
            return Case(world.shot(), memory, (*case.path, step), phase)
        finally:
            world.power_on()
            world.watch = None
            self.life.rest = rest
        raise LookupError(f"the life after {'+'.join(map(str, case.path)) or 'the start'} has no operation {step.op}")


def every(op: str, number: int) -> list[str]:
    """All shapes of an operation, and what it leaves when it is done."""
    return [*SHAPES.get(op, ()), "after"]


class Worker:
    """One process's share of a campaign: it walks where it must to find its states, and judges those."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.settings = settings
        self.number = number
        self.tally = Tally()
        self.rng = Random(f"{settings.seed}/{number}")

    def run(self) -> Tally:
        for name in self.settings.scenarios:
            self.scenario(name)
            if self.settings.first and self.tally.bad:
                break
        return self.tally

    def scenario(self, name: str) -> None:
        """Every cut, and every cut in the life after it; of firmware too: some of the latter."""
        s = self.settings
        explorer = FilesExplorer(life.SCENARIOS[name], s.seed, 1 if s.first else 10)
        explorer.tells = self.number == 0
        cases = self.unseen(explorer, explorer.run(explorer.start, every))
        deeper = name in life.EXHAUSTIVE
        self.below(explorer, cases, s.depth + (name in s.deep) if deeper else 1)
        if name in s.edges:
            self.edges(explorer, [case for case in cases if case.path[-1].shape in EDGES])
        explorer.tells = True
        if s.wander and not deeper:
            self.wander(explorer, [case for case in cases if self.mine(case)])
        self.tally.add(explorer.tally)

    def unseen(self, explorer: FilesExplorer, cases: list[Case]) -> list[Case]:
        """Those that no process has come to before."""
        fresh = []
        for case in cases:
            key = (mark(case.shot), case.memory)
            if key not in explorer.tried:
                explorer.tried.add(key)
                fresh.append(case)
        return fresh

    def mine(self, case: Case) -> bool:
        return mark(case.shot)[0] % self.settings.workers == self.number

    def below(self, explorer: FilesExplorer, cases: list[Case], depth: int) -> None:
        """Judge every case that is this process's, and every cut in its life, down to `depth`."""
        for case in cases:
            mine = explorer.tells = self.mine(case)
            if mine:
                self.count(explorer, case)
            if depth > 1:
                found = explorer.run(case, every)
                self.below(explorer, self.unseen(explorer, found), depth - 1)
            elif mine:
                explorer.run(case)
            if explorer.full():
                return

    def edges(self, explorer: FilesExplorer, cases: list[Case]) -> None:
        """Every cut between two operations in the life after every such cut."""
        for case in cases:
            if explorer.full():
                return
            explorer.tells = self.mine(case)
            found = self.unseen(explorer, explorer.run(case, lambda op, number: ["after"], again=True))
            for inner in filter(self.mine, found):
                explorer.tells = True
                self.count(explorer, inner)
                explorer.run(inner)

    def count(self, explorer: FilesExplorer, case: Case) -> None:
        """A state is one of its story: what a board is offered next belongs to it."""
        explorer.tally.marks.setdefault(mark((explorer.name.encode(), *case.shot)), case.phase)

    def wander(self, explorer: FilesExplorer, cases: list[Case]) -> None:
        """Cuts in cuts at random, down to `DEEPEST`, until enough states were tried."""
        goal = len(explorer.tally.marks) + self.settings.wander // self.settings.workers
        for _ in range(20 * self.settings.wander):
            if len(explorer.tally.marks) >= goal or explorer.full() or not cases:
                return
            case = self.rng.choice(cases)
            while len(case.path) < DEEPEST and not explorer.full():
                found = self.unseen(explorer, explorer.run(case, self.some(), again=True))
                if not found:
                    break
                case = self.rng.choice(found)
                self.count(explorer, case)
                explorer.run(case)

    def some(self) -> Callable[[str, int], list[str]]:
        """About one cut for every twenty operations."""
        return lambda op, number: [] if self.rng.randrange(20) else [self.rng.choice(every(op, number))]


def work(settings: Settings, number: int) -> Tally:
    """The share of process `number`."""
    return Worker(settings, number).run()


def run(settings: Settings) -> Result:
    """Try everything. With one worker in this process, else in processes of their own."""
    began = time.monotonic()
    result = Result()
    if settings.workers == 1:
        result.tally.add(Worker(settings, 0).run())
    else:
        with pool(settings.workers) as processes:
            for share in [processes.submit(work, settings, i) for i in range(settings.workers)]:
                result.tally.add(share.result())
    result.seconds = time.monotonic() - began
    return result


def replay(scenario: life.Files, path: str, seed: int) -> tuple[FilesExplorer, Tally]:
    """Live the way `cut+cut...` again with real power cuts; the explorer stands where the power returned."""
    explorer = FilesExplorer(scenario, seed)
    follow(explorer, path, {s for found in SHAPES.values() for s in found})
    return explorer, explorer.tally


def shorten(bad: Failure, seed: int) -> Failure:
    """The same failure by fewer cuts."""
    return fewer(bad, lambda name, path: replay(life.SCENARIOS[name], path, seed)[1])


def files_map(explorer: FilesExplorer, when: str = "when the power returned") -> list[str]:
    """What the file system holds: each file, its length, and whose bytes these are."""
    out = [f"The file system {when}:"]
    wanted = [apps.app(i, explorer.rig.scenario.resource) for i in range(len(apps.APPS))]
    for path, data in sorted(explorer.rig.disk.files.items()):
        name = path.split("/", 3)[-1] if path.startswith(apps.ROOT + "/") else path[1:]
        whose = [str(i) for i, app in enumerate(wanted) if app.get(name) == data]
        note = f"as in application {' and '.join(whose)}" if whose else ""
        out.append(f"  {path:28} {len(data):6} bytes  {note or data[:24]!r}")
    return out
