"""The campaign can fail: every seeded bug has its place in the code, and some of each kind are hunted here."""

import ast
from functools import cache
from importlib import import_module

import pytest

from mpota_host.cut import bugs, mutants, patch
from mpota_host.cut.patch.names import FIELDS, Names
from mpota_host.cut.rig import layouts
from mpota_host.registry import having
from tests.host import hunts, renamed

# Found by: a single cut, a second boot, the NOR rules, a forged release, a test. `mpota cut` hunts them all.
HUNTED = (
    "switch before the journal knows",
    "count a trial after it",
    "do not erase the first sector",
    "compare most of the image's digest",
    "resume one chunk too far",
    "confirm while staged",
)


LAYOUTS = sorted({*layouts(), *having("cut.bugs")})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_seeded_bug_of_a_layout_has_its_place_and_the_test_that_it_names(layout):
    found = mutants.bugs_of(layout).MUTANTS
    assert len(found) >= 25 and len({m.name for m in found}) == len(found)
    for m in found:
        assert said(m) != ast.dump(ast.parse(source(m))), m.name
        assert mutants._Loader(m, str(mutants.Seeder(m).path)).get_code(m.module) is not None
        # Without a colon it names a story of the campaign.
        module, colon, function = m.test.partition(":")
        assert not colon or callable(getattr(import_module(module), function)), m.name


def test_what_is_no_bug_changes_nothing():
    assert said(bugs.CONTROL) == ast.dump(ast.parse(source(bugs.CONTROL)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_name_of_a_local_variable_breaks_a_seeded_bug(layout):
    changed = 0
    for m in mutants.bugs_of(layout).MUTANTS:
        names = names_of(m)
        others = {name: name + "_by_another_name" for name in names}
        tree = mutants.patched(m, ast.unparse(called(m, others)))
        compile(tree, m.module, "exec")
        back = {new: old for old, new in others.items()}
        assert ast.dump(renamed.Renamer(back).visit(tree)) == said(m), m.name
        changed += len(names)
    assert changed > 100


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_exchange_of_the_names_of_local_variables_breaks_a_seeded_bug(layout):
    exchanged = 0
    for m in mutants.bugs_of(layout).MUTANTS:
        names = names_of(m)
        tree = mutants.patched(m, ast.unparse(called(m, dict(zip(names, names[1:] + names[:1], strict=True)))))
        assert without_names(tree) == without_names(seeded(m)), m.name
        exchanged += len(names) > 1
    assert exchanged > 15


@pytest.mark.parametrize("layout", LAYOUTS)
def test_neither_comments_nor_layout_of_the_source_break_a_seeded_bug(layout):
    for m in mutants.bugs_of(layout).MUTANTS:
        plain = ast.unparse(ast.parse(source(m)))
        assert plain != source(m)
        assert ast.dump(mutants.patched(m, plain)) == said(m), m.name


def seeded(mutant):
    return mutants.patched(mutant, source(mutant))


@cache
def source(mutant):
    return mutants.Seeder(mutant).path.read_text()


@cache
def said(mutant):
    """What the module says that has the bug."""
    return ast.dump(seeded(mutant))


@cache
def names_of(mutant):
    """The local variables of the function that has the bug; [] for what no function does."""
    tree = ast.parse(source(mutant))
    function = renamed.outermost(tree, patch.home_of(tree, mutant.function))
    return renamed.local_names(source(mutant), function) if function else []


def called(mutant, words):
    """The tree of the bug's module with these names for its local variables."""
    if not words:
        return ast.parse(source(mutant))
    return renamed.renamed(source(mutant), lambda tree: patch.home_of(tree, mutant.function), words)


def without_names(tree):
    """What a tree says, with a number in place of each local variable."""
    numbers = {}
    for node, (scope, name) in Names(tree).of.items():
        if scope is not None:
            setattr(node, FIELDS[type(node)], "local %d" % numbers.setdefault((scope, name), len(numbers)))
    return ast.dump(tree)


def test_a_bug_whose_place_is_gone_is_an_error():
    gone = bugs.Mutant("gone", "mpota_boot.shim", "boot", "this_is_nowhere()", "")
    with pytest.raises(mutants.NotApplied, match=r"bug 'gone' of mpota_boot\.shim: .* 0 times in boot, wanted once"):
        mutants._Loader(gone, str(mutants.Seeder(gone).path)).get_code(gone.module)


def test_the_tests_that_bugs_name_exist_and_pass():
    named = [m for m in bugs.MUTANTS if m.test]
    assert named
    for m in named:
        assert mutants._by_test(m.test) == "", f"{m.test} fails without the bug"


@pytest.mark.slow  # six campaigns in processes of their own, to the first bad state
@pytest.mark.timeout(300)
def test_seeded_bugs_are_found():
    hunts.found("esp32", HUNTED)


def test_a_bug_that_cannot_be_tried_is_not_found():
    verdict = mutants.try_one(bugs.Mutant("unheard of", "mpota_boot.shim", "boot", "x", "y"), "esp32")
    assert verdict.broken


def test_without_a_checkout_its_tests_hunt_nothing(monkeypatch):
    every = mutants.bugs_of("files").MUTANTS
    assert mutants.here("files") == every
    monkeypatch.setattr(mutants, "CHECKOUT", None)
    left = [m for m in every if m not in mutants.here("files")]
    assert left and left == [m for m in every if ":" in m.test] != every
