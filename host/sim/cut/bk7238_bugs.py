"""The seeded bugs of layout/bk7238, and the hunt for them: a patch in a module while it is imported, as in mutants.py.

python -m host.sim.cut.bk7238_bugs NAME    prints what found one, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from host.sim.cut import mutants
from host.sim.cut.bugs import CONTROL, Mutant
from host.sim.cut.mutants import PATIENCE, ROOT, Verdict, seed

NAME = "bk7238"
HOME = "device.layout.bk7238."
LOADER, COPIER, LAYOUT, SETTLE, LOG = (HOME + name for name in ("loader", "copier", "layout", "settle", "log"))
LOADS, LAYS = "tests.test_bk7238_loader:test_", "tests.test_bk7238_layout:test_"
CODEC = "tests.test_bk7238_codec:test_"
ARMED = '        self.journal.put("armed", self.fresh(package, 1).encode())\n'
COMMIT = "        self.commit()\n"

MUTANTS = [
    # The loader.
    Mutant("leave the old header", COPIER, "            dest.erase(dest.size - rbl.SIZE, rbl.SIZE)\n", ""),
    Mutant("start what was not read back", LOADER, "    if not _matches(dest, head, feed):", "    if False:",
           LOADS + "a_write_that_did_not_stay_is_found_on_the_read_back"),
    Mutant("install what does not hash", COPIER, "fnv.value != self.head.hash", "0",
           LOADS + "a_wrong_hash_key_or_iv_is_refused_in_the_first_pass"),
    Mutant("leave out the first pass", COPIER, "self._pass(unpacker, self._look if custom else self._pass_over)",
           "DONE",
           LOADS + "a_wrong_hash_key_or_iv_is_refused_in_the_first_pass"),
    Mutant("start an application that rotted", LOADER, "app.size - rbl.SIZE and _matches(app, head, feed)", "app.size",
           LOADS + "an_application_that_rotted_is_not_started"),
    Mutant("start a torn application", LOADER, "app is not None and not broken and", "app is not None and 1 or",
           LOADS + "a_flash_that_fails_once_is_tried_again_and_one_that_fails_for_good_starts_nothing"),
    Mutant("try an install once", LOADER, "TRIES = 3", "TRIES = 1"),
    Mutant("install the same again", LOADER, "if saved(dest)[0] == data:", "if not data:"),
    Mutant("leave the package there", LOADER, "        if code == DONE:\n            _forget(download)\n",
           "        if code == DONE:\n",
           LOADS + "a_package_is_installed_its_header_saved_and_its_place_freed"),
    Mutant("free the place first", LOADER, "        if code == DONE:\n            code = _seal(",
           "        _forget(download)\n        if code == DONE:\n            code = _seal(",
           LOADS + "a_cut_anywhere_in_an_install_ends_with_the_new_image"),
    # The layout.
    Mutant("write the header before the record", LAYOUT, ARMED + COMMIT, COMMIT + ARMED),
    Mutant("hold nothing back", LAYOUT, "            off = rbl.SIZE\n            buf = memoryview(buf)[off:]\n", "",
           LAYS + "the_header_is_the_last_thing_written_and_one_program"),
    Mutant("make no dry run", LAYOUT, "in checks.late(flash, rbl.Header.decode(data), self.where(), self.port.feed):",
           "in ():", LAYS + "what_only_the_body_shows_is_found_before_the_restart"),
    Mutant("write over a torn header", LAYOUT, "                    self._clear(flash)\n",
           "                    pass\n"),
    Mutant("forget which image was confirmed", LAYOUT, '            self.journal.put("header", self.header())\n', "",
           LAYS + "an_update_is_fetched_judged_armed_installed_and_confirmed"),
    Mutant("never arm again", SETTLE, "    layout.commit()\n    return True\n", "    return False\n"),
    Mutant("count no trial", SETTLE, "            record.trials -= 1\n", "",
           LAYS + "trials_are_counted_and_used_up_they_end_the_trial"),
    # The journal.
    Mutant("believe a torn sector", LOG, "if magic != MAGIC or crc32(body, crc32(data[:12])) != crc:",
           "if magic != MAGIC:"),
    Mutant("believe the older sector", LOG, "if found and found[0] > self.number:", "if found:"),
    Mutant("erase what counts", LOG, "        at = number % 2 * size\n", "        at = self.number % 2 * size\n"),
]  # fmt: skip


def hunt(mutant: Mutant) -> str:
    """What finds the bug, "" if nothing does; what is quick is asked first."""
    from host.sim.cut import faults
    from host.sim.cut.rig import life_of

    quick = life_of(NAME).QUICK
    found = mutants._by_test(mutant.test) or mutants._cuts(NAME, quick[:2], 0)
    if found:
        return found
    bad = faults.campaign(NAME, ["update"], 24, 0).bad
    return f"{bad[0].ident} {bad[0].text}" if bad else ""


def try_one(mutant: Mutant) -> Verdict:
    """Hunt one in a process of its own."""
    command = [sys.executable, "-B", "-m", "host.sim.cut.bk7238_bugs", mutant.name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return Verdict(mutant.name, f"no end after {PATIENCE} s")
    if done.returncode:
        return Verdict(mutant.name, done.stderr.strip()[-300:], True)
    return Verdict(mutant.name, json.loads(done.stdout.splitlines()[-1])["found"])


def hunt_all(workers: int) -> Sequence[Verdict]:
    """Every bug; the good code is hunted too, and must survive."""
    with ThreadPoolExecutor(workers) as pool:
        control, *verdicts = pool.map(try_one, [CONTROL, *MUTANTS])
    if control.found:
        return [Verdict(v.name, f"the good code is called bad: {control.found}", True) for v in verdicts]
    return verdicts


def main(name: str) -> None:
    """Seed one and hunt it."""
    mutant = next(m for m in [CONTROL, *MUTANTS] if m.name == name)
    seed(mutant)
    print(json.dumps({"name": name, "found": hunt(mutant)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
