"""Seeded bugs: the campaign has to find every one, or it proves nothing.

A mutant is a piece of a device module's text and what stands there instead, put in while the module is imported, in a
process of its own; nothing on disk changes. A text that is not there exactly once is an error, so a mutant cannot
quietly become a copy of the good code. What finds it is asked in a fixed order: hostile releases, cuts, faults; and
for what no power cut can show, one test by name.

    python -m host.sim.cut.mutants NAME    prints what found one mutant, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[3]
# Seconds that one mutant may take before it counts as found: it hangs the board.
PATIENCE = 120


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `module`. `test` is asked where the campaign cannot tell: module and function."""

    name: str
    module: str
    old: str
    new: str
    test: str = ""


INSTALLER, SETTLE = "device.installer", "device.layout.esp32.settle"
LAYOUT, JOURNAL = "device.layout.esp32", "device.store.journal"
PACKAGE, WRITER = "device.pipe.package", "device.store.writer"

# No bug at all: whatever finds this one finds nothing.
CONTROL = Mutant("no bug", INSTALLER, "yield done, part.size", "yield done, part.size")
MUTANTS = [
    Mutant(
        "arm before verify",
        INSTALLER,
        "            prove(board, package.components[i], buf)\n            i += 1\n",
        "            board.layout.arm(package)\n            prove(board, package.components[i], buf)\n            i += 1\n",
    ),
    Mutant("skip the read-back", INSTALLER, "seen = digest(target, part.size, buf, board.feed)", "seen = part.sha"),
    Mutant("compare the first byte of the image's digest", INSTALLER, "if seen != part.sha:", "if seen[:1] != part.sha[:1]:"),
    Mutant("compare a truncated chunk digest", PACKAGE, "if h.digest() != self.sha:", "if h.digest()[:31] != self.sha[:31]:"),
    Mutant("never compare a chunk's digest", PACKAGE, "if h.digest() != self.sha:", "if h.digest() == b'':"),
    Mutant("take unsigned packages", PACKAGE, "if not algorithm:", "if algorithm > 1:"),
    Mutant("trust every key's signature", "device.pipe.trust", "if key_id(public) == key:\n            if verify(public, sig, digest):", "if True:\n            if sig:"),
    Mutant("erase before the image is judged", INSTALLER, "            if not done:\n                board.layout.admit(part, memoryview(chunks.buf)[:n])\n            put(target, done, chunks.buf, n)\n", "            put(target, done, chunks.buf, n)\n            if done:\n                board.layout.admit(part, memoryview(chunks.buf)[:n])\n"),
    Mutant("take a package of another product", INSTALLER, '    _same("product", package.product, board.product)\n', ""),
    Mutant("erase otadata before the switch", LAYOUT, "            self.port.set_boot(record.slot)\n", "            self.port.otadata.erase(0, 8192)\n            self.port.set_boot(record.slot)\n"),
    Mutant("switch before the journal knows", LAYOUT, '        self.journal.put("armed", record.encode())\n        try:\n            self.port.set_boot(record.slot)\n', '        try:\n            self.port.set_boot(record.slot)\n            self.journal.put("armed", record.encode())\n'),
    Mutant("write to the slot that runs", LAYOUT, "return (self.port.running + 1) % n", "return self.port.running % n"),
    Mutant("confirm without the loader's mark", LAYOUT, "        if entry.state != otadata.VALID:\n            self.port.mark_valid()\n", ""),
    Mutant("confirm without a record", LAYOUT, '        self.journal.put("running", record.encode())\n', ""),
    Mutant("confirm while staged", LAYOUT, "if entry is None or slot != self.port.running:\n            raise NotNow(\"staged\", \"slot %d boots", "if entry is None:\n            raise NotNow(\"staged\", \"slot %d boots", "tests.test_layout:test_pitfall_1_confirm_only_what_runs_and_boots"),
    Mutant("do not look at otadata after the switch", LAYOUT, "if slot != record.slot or entry.state not in (otadata.NEW, otadata.UNDEFINED):", "if entry is None:", "tests.test_layout:test_a_cut_before_otadata_was_written_arms_again"),
    Mutant("an update while one is on trial", LAYOUT, "if trial(self.journal) or self.pending():", "if False:", "tests.test_layout:test_pitfall_2_no_update_while_pending"),
    Mutant("count a trial after it", SETTLE, "    record.trials -= 1\n    layout.put_armed(record)\n", '    layout.put_armed(record)\n    record.trials -= 1\n    layout.journal.put("armed", record.encode())\n'),
    Mutant("count no trial where the loader does not", SETTLE, '        record.trials -= 1\n        layout.journal.put("armed", record.encode())\n    return False\n', "        record.trials -= 1\n    return False\n"),
    Mutant("count no trial when arming again", SETTLE, "    record.trials -= 1\n    layout.put_armed(record)\n", "    layout.put_armed(record)\n"),
    Mutant("arm a slot again unseen", SETTLE, "if digest(flash, record.size, bytearray(4096), layout.port.feed) != record.sha:", "if record.size == 0:", "tests.test_layout:test_a_slot_that_no_longer_holds_the_package_is_not_armed_again"),
    Mutant("forget to give up", SETTLE, '    layout.journal.put("failed", record.encode())\n', ""),
    Mutant("retreat and keep the trials", SETTLE, "    record.trials = 0\n", "", "tests.test_layout:test_a_retreat_takes_the_old_image_back_and_keeps_the_reason"),
    Mutant("a retreat that does not switch back", SETTLE, "    layout.port.set_boot(record.back)\n    return True\n", "    return True\n"),
    Mutant("the old image finds an open trial and does nothing", SETTLE, "    return _again(layout, record, cause)\n", "    return False\n"),
    Mutant("take again what was given up", INSTALLER, "if failure and failure[0].id == package.id:", "if failure and failure[0].id == b'':"),
    Mutant("accept a blank record", JOURNAL, ' or data == b"\\xff" * cls.SIZE', "", "tests.test_layout:test_every_journal_record_corrupted_in_turn_still_reaches_main"),
    Mutant("accept a blank otadata entry", "device.layout.esp32.otadata", "return self.blank or self.state in (INVALID, ABORTED)", "return self.state in (INVALID, ABORTED)"),
    Mutant("the floor forgets what was confirmed", JOURNAL, "return max(low, running.version) if running else low", "return low", "tests.test_layout:test_the_floor_rises_with_a_confirm_only"),
    Mutant("resume one chunk too far", INSTALLER, "done = min(chunks.index * chunks.chunk, part.size)", "done = min((chunks.index + bool(chunks.index)) * chunks.chunk, part.size)"),
    Mutant("resume from the package's beginning", INSTALLER, "src = link.open(at)", "src = link.open(0)"),
    Mutant("resume another package", INSTALLER, "if key == package.id and i < len(package.components):", "if i < len(package.components):"),
    Mutant("note a chunk before it is written", INSTALLER, "        left = chunks.load()\n", '        left = chunks.load()\n        board.journal.put("progress", pack(PROGRESS, package.id, chunks.sha, chunks.length, chunks.at, chunks.index, i))\n'),
    Mutant("resume inside a sector", INSTALLER, "if done % target.erase_size == 0 or done == part.size:", "if True:"),
    Mutant("drop the last partial sector", WRITER, "    while n % flash.prog_size:\n", "    if n % flash.erase_size:\n        return\n    while n % flash.prog_size:\n"),
    Mutant("do not erase the first sector", WRITER, "if off % flash.erase_size == 0:", "if off and off % flash.erase_size == 0:"),
    Mutant("erase a sector too many", WRITER, "flash.erase(off, flash.erase_size)", "flash.erase(off, 2 * flash.erase_size)"),
    Mutant("no watchdog on a trial", "device.shim", "            board.watch()\n", "            pass\n"),
    Mutant("a shim that raises", "device.shim", "except Exception as e:", "except ValueError as e:"),
    Mutant("a soft reset counts as a boot", "device.board", 'm.SOFT_RESET: ""', 'm.SOFT_RESET: "soft"', "tests.test_layout:test_a_soft_reset_and_a_wake_from_deep_sleep_count_nothing"),
]  # fmt: skip


class NotApplied(Exception):
    """The text of a mutant is not in its module, or more than once: rewrite the mutant."""


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        m = self.mutant
        text = Path(self.path).read_text()
        if text.count(m.old) != 1:
            raise NotApplied(f"{m.name!r}: its text is {text.count(m.old)} times in {m.module}, wanted once")
        return compile(text.replace(m.old, m.new), self.path, "exec", dont_inherit=True)


class Seeder(MetaPathFinder):
    """Imports one module with its bug in it."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        base = ROOT / mutant.module.replace(".", "/")
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
    loaded = [m for m in sys.modules if m.startswith("device.")]
    if loaded:
        raise NotApplied(f"{mutant.name!r}: {loaded[0]} was imported before the bug was in")
    sys.meta_path.insert(0, Seeder(mutant))
    __import__(mutant.module)


def hunt(mutant: Mutant, layout: str) -> str:
    """What finds the bug, "" if nothing does."""
    for search in (_hostile, _cuts, _faults):
        found = next(search(layout), "")
        if found:
            return found
    return _by_test(mutant.test) if mutant.test else ""


def _hostile(layout: str) -> Iterator[str]:
    from host.sim.cut import hostile

    for bad in hostile.attack(layout, hostile.make_keys()).bad:
        yield f"{bad.path}: {bad.text}"


def _cuts(layout: str) -> Iterator[str]:
    """Every single cut in one story after the other, then some cuts in cuts."""
    from dataclasses import replace

    from host.sim.cut import campaign
    from host.sim.cut.rig import life_of

    names = [*life_of(layout).QUICK, *life_of(layout).HUNT]
    for states in (0, 1200):
        for name in names:
            settings = replace(campaign.quick(layout, states), scenarios=(name,), first=True)
            for bad in campaign.work(settings, 0).bad:
                yield f"{bad.ident} {bad.text}"


def _faults(layout: str) -> Iterator[str]:
    from host.sim.cut import faults

    for bad in faults.campaign(layout, ["update-unprotected", "unhealthy"], 12, 0).bad:
        yield f"{bad.ident} {bad.text}"


def _by_test(test: str) -> str:
    import importlib

    module, _, function = test.partition(":")
    try:
        getattr(importlib.import_module(module), function)()
    except Exception as e:
        return f"{test}: {type(e).__name__}"
    return ""


@dataclass
class Verdict:
    """What found a mutant; "" for a survivor. `broken`: it could not be tried at all."""

    name: str
    found: str
    broken: bool = False


def try_one(mutant: Mutant, layout: str = "esp32") -> Verdict:
    """Hunt one mutant in a process of its own."""
    command = [sys.executable, "-B", "-m", "host.sim.cut.mutants", mutant.name, layout]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return Verdict(mutant.name, f"no end after {PATIENCE} s")
    if done.returncode:
        return Verdict(mutant.name, done.stderr.strip()[-300:], True)
    return Verdict(mutant.name, json.loads(done.stdout.splitlines()[-1])["found"])


def hunt_all(mutants: Sequence[Mutant], layout: str, workers: int) -> list[Verdict]:
    """Every mutant, on so many processes at a time; the good code is hunted too, and must survive."""
    with ThreadPoolExecutor(workers) as pool:
        control, *verdicts = pool.map(lambda m: try_one(m, layout), [CONTROL, *mutants])
    if control.found:
        return [Verdict(v.name, f"the good code is called bad: {control.found}", True) for v in verdicts]
    return verdicts


def main(name: str, layout: str) -> None:
    mutant = next(m for m in [CONTROL, *MUTANTS] if m.name == name)
    seed(mutant)
    print(json.dumps({"name": name, "found": hunt(mutant, layout)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
