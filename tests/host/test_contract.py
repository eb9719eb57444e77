"""The contract of a layout, read from the source: what the core uses, what a chip takes, and what a person is shown."""

import ast
import inspect
from pathlib import Path

import pytest

from mpota.layout import contract
from mpota_host.board import status
from mpota_host.cut import rig
from mpota_host.sources import DEVICE, modules, name_of, program
from tests.core.test_contract import NAMES, layouts


def used(text: str) -> set[str]:
    """The names that a module uses on a layout: on `x.layout`, and on a variable `layout`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            of = node.value
            if (isinstance(of, ast.Attribute) and of.attr == "layout") or (
                isinstance(of, ast.Name) and of.id == "layout"
            ):
                found.add(node.attr)
    return found


def core() -> list[Path]:
    """All that is no layout, and what is shipped beside it."""
    device = [path for path in modules() if not name_of(path).startswith("mpota/layout/")]
    return [*device, program("boot.py"), program("main.py")]


def test_the_core_uses_the_names_of_the_contract_and_no_other():
    assert len(core()) >= 25
    where = {name: path for path in core() for name in used(path.read_text())}
    unknown = {name: where[name].name for name in where.keys() - set(NAMES)}
    assert not unknown, f"not in the contract: {unknown}"
    assert set(NAMES) <= where.keys(), f"nobody asks for {set(NAMES) - where.keys()}"


def test_a_name_outside_the_contract_would_be_found():
    assert used("board.layout.digset()\nlayout = board.layout\nlayout.arm(1)\nself.board.layout.heal") == {
        *("digset", "arm", "heal")
    }


def test_the_page_of_the_contract_lists_its_names():
    words = (contract.__doc__ or "").split()
    assert not [name for name in NAMES if name not in words]


@pytest.mark.parametrize("name", [name for name in NAMES if callable(getattr(contract.Layout, name))])
def test_every_layout_takes_what_the_contract_takes(name):
    wanted = list(inspect.signature(getattr(contract.Layout, name)).parameters)
    assert inspect.getdoc(getattr(contract.Layout, name))
    for layout, cls in layouts():
        assert list(inspect.signature(getattr(cls, name)).parameters) == wanted, f"{layout}: {name}"


def test_what_a_layout_shares_is_overridden_under_the_same_parameters():
    """A helper of the contract that a chip refines takes what the contract's takes."""
    shared = [n for n, call in vars(contract.Layout).items() if inspect.isfunction(call)]
    assert len(shared) >= 25
    for layout, cls in layouts():
        for name in shared:
            mine = inspect.signature(getattr(cls, name)).parameters
            assert list(mine) == list(inspect.signature(getattr(contract.Layout, name)).parameters), (layout, name)


@pytest.mark.parametrize("layout", rig.layouts())
def test_a_campaign_expects_a_chip_to_go_back_where_its_layout_can(layout):
    life = rig.life_of(layout)
    device = life.Rig(life.SCENARIOS[life.QUICK[0]])
    with device.medium:
        assert device.power_on("power")
        assert device.board().layout.CAN_RETREAT == device.retreats


def test_status_of_a_chip_that_cannot_go_back_says_so():
    facts = {
        **{"running": "app", "version": "1.2.3", "trial": None, "updates": None, "floor": "0.0.0", "failed": None},
        "takes": "RBL packages, no files",
    }
    for retreats, lines in ((False, 1), (True, 0)):
        rows = dict(status.as_report({**facts, "retreats": retreats}).tables[0].rows)
        assert ("goes back" in rows) == lines


def test_every_layout_has_its_class_in_layout_py_and_make_alone_in_its_package():
    for name, _ in layouts():
        tree = ast.parse((DEVICE / "mpota/layout" / name / "__init__.py").read_text())
        made = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        assert made == ["make"], name
        # A loader and an ordinary boot import the package without the layout.
        assert not [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], name
