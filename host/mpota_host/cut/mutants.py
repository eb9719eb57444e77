"""Seeded bugs: the campaign has to find every one, or it proves nothing.

A mutant (bugs.py) is put in while its module is imported, in a process of its own; nothing on disk changes. A place
that is not there exactly once is an error, so a mutant cannot quietly become a copy of the good code. It is found by a
cut, a hostile release or a fault; and what none of them can show, by one test, which is named.

    python -m mpota_host.cut.mutants NAME LAYOUT    prints what found one mutant, as JSON
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mpota_host.cut import bugs, patch
from mpota_host.cut.bugs import CONTROL, Mutant
from mpota_host.cut.patch import NotApplied
from mpota_host.registry import having, part_of
from mpota_host.sources import CHECKOUT, DEVICE, PACKAGES, root

# Seconds that one mutant may take before it counts as found: it hangs the board. The good code goes through everything.
PATIENCE = 120
GOOD = 480
# States that cuts in cuts try at most in each story.
DEEPER = 600


def bugs_of(layout: str) -> Any:
    """The module with the seeded bugs of a layout, MUTANTS: its own, or those of the core where it has none."""
    return part_of(layout, "cut.bugs") if layout in having("cut.bugs") else bugs


def here(layout: str) -> list[Mutant]:
    """The bugs of a layout that can be hunted here: the tests that find some of them are in a checkout alone."""
    return [m for m in bugs_of(layout).MUTANTS if CHECKOUT or ":" not in m.test]


def patched(mutant: Mutant, source: bytes | str) -> ast.Module:
    """The tree of a module's source with the bug in it; NotApplied where its place is not there exactly once."""
    try:
        return patch.apply(ast.parse(source), mutant.function, mutant.old, mutant.new)
    except NotApplied as e:
        raise NotApplied(f"the bug {mutant.name!r} of {mutant.module}: {e}") from None


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(patched(self.mutant, Path(self.path).read_bytes()), self.path, "exec", dont_inherit=True)


class Seeder(MetaPathFinder):
    """Imports one module with its bug in it."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        base = DEVICE / mutant.module.replace(".", "/")
        self.path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.mutant.module:
            return None
        where = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return spec_from_file_location(
            fullname, self.path, loader=_Loader(self.mutant, str(self.path)), submodule_search_locations=where
        )


def seed(mutant: Mutant) -> None:
    """From now on imports in this process see the bug; nothing of the device may have been imported before."""
    # The errors are named by whatever lists the bugs, and name nothing themselves.
    own = [m for m in sys.modules if m.partition(".")[0] in PACKAGES]
    loaded = [m for m in own if m not in (*PACKAGES, "mpota_boot.errors")]
    if loaded:
        raise NotApplied(f"{mutant.name!r}: {loaded[0]} was imported before the bug was in")
    sys.meta_path.insert(0, Seeder(mutant))
    __import__(mutant.module)


def hunt(mutant: Mutant, layout: str, pems: list[str]) -> str:
    """What finds the bug, "" if nothing does; what is quick is asked first."""
    from mpota_host.cut.rig import life_of

    life = life_of(layout)
    quick = life.QUICK
    searches: list[Callable[[], str]] = [
        lambda: _cuts(layout, quick[:1], 0),
        lambda: _cuts(layout, [mutant.test], DEEPER) if mutant.test in life.SCENARIOS else _by_test(mutant.test),
        lambda: _hostile(layout, pems),
        lambda: _cuts(layout, quick[1:], 0),
        lambda: _cuts(layout, life.HUNT, 0),
        lambda: _faults(layout),
        lambda: _cuts(layout, quick, DEEPER),
    ]
    return next(filter(None, (search() for search in searches)), "")


def _hostile(layout: str, pems: list[str]) -> str:
    from mpota_host.cut import hostile

    pair = hostile.Keys(*(hostile.key_of(pem) for pem in pems)) if pems else hostile.make_keys()
    bad = hostile.attack(layout, pair).bad
    return f"{bad[0].path}: {bad[0].text}" if bad else ""


def _cuts(layout: str, names: Sequence[str], states: int) -> str:
    """Every single cut in one story after the other, then cuts in cuts until so many states were tried."""
    from mpota_host.cut import campaign

    for name in names:
        for bad in campaign.work(campaign.one(layout, name, states), 0).bad:
            return f"{bad.ident} {bad.text}"
    return ""


def _faults(layout: str) -> str:
    from mpota_host.cut import faults
    from mpota_host.cut.rig import life_of

    bad = faults.campaign(layout, life_of(layout).FAULTY[:2], 10, 0).bad
    return f"{bad[0].ident} {bad[0].text}" if bad else ""


def _by_test(test: str) -> str:
    import importlib

    if not test:
        return ""
    module, _, function = test.partition(":")
    # Without this look, a name that no test has would count as a test that found the bug.
    if f"\ndef {function}(" not in (root() / (module.replace(".", "/") + ".py")).read_text():
        raise NotApplied(f"{module} has no test {function}")
    try:
        getattr(importlib.import_module(module), function)()
    # A reset that nobody ordered is a BaseException.
    except BaseException as e:
        return f"{test}: {type(e).__name__}"
    return ""


@dataclass
class Verdict:
    """What found a mutant; "" for a survivor. `broken`: it could not be tried at all."""

    name: str
    found: str
    broken: bool = False


def try_one(mutant: Mutant, layout: str, pems: Sequence[str] = ()) -> Verdict:
    """Hunt one mutant in a process of its own; `pems` are two private keys, made there if they are missing."""
    command = [sys.executable, "-B", "-m", "mpota_host.cut.mutants", mutant.name, layout]
    patience = GOOD if mutant == CONTROL else PATIENCE
    try:
        done = subprocess.run(command, input=json.dumps(list(pems)), capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return Verdict(mutant.name, f"no end after {patience} s")
    if done.returncode:
        return Verdict(mutant.name, done.stderr.strip()[-300:], True)
    return Verdict(mutant.name, json.loads(done.stdout.splitlines()[-1])["found"])


def hunt_all(layout: str, workers: int) -> list[Verdict]:
    """Every mutant of here(), on so many processes at a time; the good code is hunted too, and must survive."""
    from mpota_host.cut.hostile import make_pems

    pems = make_pems()
    with ThreadPoolExecutor(workers) as pool:
        control, *verdicts = pool.map(lambda m: try_one(m, layout, pems), [CONTROL, *here(layout)])
    if control.found:
        return [Verdict(v.name, f"the good code is called bad: {control.found}", True) for v in verdicts]
    return verdicts


def main(name: str, layout: str) -> None:
    """Seed one bug and hunt it."""
    mutant = next(m for m in [CONTROL, *bugs_of(layout).MUTANTS] if m.name == name)
    seed(mutant)
    print(json.dumps({"name": name, "found": hunt(mutant, layout, json.load(sys.stdin))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
