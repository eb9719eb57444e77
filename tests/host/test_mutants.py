"""The campaign can fail: every seeded bug has its place in the code, and some of each kind are hunted here."""

from importlib import import_module

import pytest

from mpota_host.cut import bugs, mutants
from mpota_host.cut.rig import layouts
from mpota_host.registry import having
from tests.host import hunts

# Found by: a single cut, a second boot, the NOR rules, a forged release, a test. `mpota cut` hunts them all.
HUNTED = (
    "switch before the journal knows",
    "count a trial after it",
    "do not erase the first sector",
    "compare most of the image's digest",
    "resume one chunk too far",
    "confirm while staged",
)


@pytest.mark.parametrize("layout", sorted({*layouts(), *having("cut.bugs")}))
def test_every_seeded_bug_of_a_layout_has_its_place_and_the_test_that_it_names(layout):
    found = mutants.bugs_of(layout).MUTANTS
    assert len(found) >= 25 and len({m.name for m in found}) == len(found)
    for m in found:
        code = mutants._Loader(m, str(mutants.Seeder(m).path)).get_code(m.module)
        assert code is not None and m.old != m.new, m.name
        # Without a colon it names a story of the campaign.
        module, colon, function = m.test.partition(":")
        assert not colon or callable(getattr(import_module(module), function)), m.name


def test_every_seeded_bug_is_a_change_of_one_place():
    assert len(bugs.MUTANTS) >= 25
    assert len({m.name for m in bugs.MUTANTS}) == len(bugs.MUTANTS)
    for m in [*bugs.MUTANTS, bugs.CONTROL]:
        seeder = mutants.Seeder(m)
        assert seeder.path.exists(), m.module
        code = mutants._Loader(m, str(seeder.path)).get_code(m.module)
        assert code is not None
        assert m.old != m.new or m is bugs.CONTROL


def test_a_bug_whose_place_is_gone_is_an_error():
    gone = bugs.Mutant("gone", "mpota_boot.shim", "this text is nowhere", "")
    with pytest.raises(mutants.NotApplied, match="0 times"):
        mutants._Loader(gone, str(mutants.Seeder(gone).path)).get_code(gone.module)


def test_the_tests_that_bugs_name_exist_and_pass():
    named = [m for m in bugs.MUTANTS if m.test]
    assert named
    for m in named:
        assert mutants._by_test(m.test) == "", f"{m.test} fails without the bug"


def test_seeded_bugs_are_found():
    hunts.found("esp32", HUNTED)


def test_a_bug_that_cannot_be_tried_is_not_found():
    verdict = mutants.try_one(bugs.Mutant("unheard of", "mpota_boot.shim", "x", "y"), "esp32")
    assert verdict.broken
