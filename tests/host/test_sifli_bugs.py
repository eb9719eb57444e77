"""The seeded bugs of a SiFli chip have their place, their tests exist, and some of each kind are hunted here."""

import importlib
from concurrent.futures import ThreadPoolExecutor

from host.sim.cut import mutants
from host.sim.cut.hostile import make_pems
from host.vendor.sifli import bugs

# Found by a cut, a story, a fault of the flash, the table's sector, a test; `cut --layout sifli` hunts them all.
HUNTED = (
    "program a unit twice",
    "count no boot",
    "do not read the place back",
    "erase the sector that the chip starts by",
    "believe the table's key",
)


def test_every_bug_is_a_change_of_one_place_and_names_a_test_that_is_there():
    assert len(bugs.MUTANTS) >= 15 and len({m.name for m in bugs.MUTANTS}) == len(bugs.MUTANTS)
    for m in bugs.MUTANTS:
        seeder = mutants.Seeder(m)
        assert m.old != m.new and mutants._Loader(m, str(seeder.path)).get_code(m.module) is not None
        if m.test:
            module, _, function = m.test.partition(":")
            assert callable(getattr(importlib.import_module(module), function))


def test_bugs_are_found():
    pems = make_pems()
    wanted = [m for m in bugs.MUTANTS if m.name in HUNTED]
    assert len(wanted) == len(HUNTED)
    with ThreadPoolExecutor(2) as pool:
        for verdict in pool.map(lambda m: mutants.try_one(m, "sifli", pems), wanted):
            assert verdict.found and not verdict.broken, verdict
