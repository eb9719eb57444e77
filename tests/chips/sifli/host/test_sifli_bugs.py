"""The seeded bugs of a SiFli chip have their place, their tests exist, and some of each kind are hunted here."""

import importlib

import pytest

from mpota_host.chips.sifli.cut import bugs, life
from mpota_host.cut import mutants
from tests.host import hunts

# Found by a story with a phone, by a cut, a story, a fault of the flash, the table's sector, a test.
# `cut --layout sifli` hunts them all.
HUNTED = (
    "keep nothing before the first byte in place",
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
        if m.test not in ("", *life.SCENARIOS):
            module, _, function = m.test.partition(":")
            assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.slow  # six campaigns in processes of their own, to the first bad state
@pytest.mark.timeout(300)
def test_bugs_are_found():
    hunts.found("sifli", HUNTED)
