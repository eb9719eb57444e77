"""Every cell of every port's table: changed, it is found by the tests that run on the rows; and its page tells it."""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mpota_host.sim.ports.table import ROWS
from mpota_host.sources import DEVICE
from tests.core import test_ports as on_rows

PORTS = DEVICE / "mpota_boot/ports"
TABLES = ("esp32", "rp2", "pyboard", "mimxrt", "samd", "other")
WORDS = {"power": "reset", "watchdog": "unknown", "wake": "watchdog", "reset": "watchdog", "": "reset"}
TESTS = [call for name, call in sorted(vars(on_rows).items()) if name.startswith("test_")]


def other(value: object) -> str | None:
    """What a cell could be instead, as source; None for no cell."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return repr(value // 2 if value > 1 else value + 1)
    return repr(WORDS.get(str(value), str(value) + "x"))


def cells(text: str) -> Iterator[tuple[str, str]]:
    """(what is changed, the whole source with it) for each constant of a module, docstrings apart."""
    lines = text.splitlines(keepends=True)
    tree = ast.parse(text)
    words = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in words or (new := other(node.value)) is None:
            continue
        line = lines[node.lineno - 1]
        changed = line[: node.col_offset] + new + line[node.end_col_offset :]
        name = f"{line[node.col_offset : node.end_col_offset]} -> {new} in {line.strip()}"
        yield name, "".join([*lines[: node.lineno - 1], changed, *lines[node.lineno :]])


# Changes that change nothing: another pattern in a register whose bits are all free, and a number that is not 2.
EQUAL = {
    "0x6D706F00 -> 918042496 in MARK = (0xD00000D0, 0x6D706F00, 1)",
    "1 -> 2 in MARK = (0xD00000D0, 0x6D706F00, 1)",
    "0x4000 -> 8192 in MARK = (0xE000E410, 0x8000, 0x4000)",
    '0 -> 1 in if getattr(m, "HARD_RESET", 0) != 2:',
}


def every() -> list[tuple[str, str, str]]:
    found = [(name, *cell) for name in TABLES for cell in cells((PORTS / f"{name}.py").read_text())]
    return [cell for cell in found if cell[1] not in EQUAL]


def found(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test that fails with this source as the table `name`, "" if none does."""
    module = types.ModuleType("table")
    exec(compile(text, name, "exec"), module.__dict__)
    real: Callable[[str], object] = on_rows.table
    mine = [
        row for row, one in ROWS.items() if one.platform == name or (name == "other" and not has_table(one.platform))
    ]
    monkeypatch.setattr(on_rows, "ONLY", mine)
    monkeypatch.setattr(on_rows, "table", lambda platform: module if ROWS[mine[0]].platform else real(platform))
    for test in TESTS:
        try:
            test()
        except Exception as e:
            return f"{test.__name__}: {e!r}"
    return ""


def has_table(platform: str) -> bool:
    return (PORTS / f"{platform}.py").is_file()


@pytest.mark.slow  # each change runs the tests of its rows until one fails
@pytest.mark.parametrize("name, what, text", every(), ids=lambda x: x if len(x) < 60 else "")
def test_a_changed_cell_is_found(name: str, what: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(name, text, monkeypatch), f"{name}, {what}: no test sees it"


@pytest.mark.parametrize("name", TABLES)
def test_the_good_tables_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(name, (PORTS / f"{name}.py").read_text(), monkeypatch) == ""


def page(name: str) -> dict[str, str]:
    """The rows of a table's docstring: word -> what it says."""
    text = ast.get_docstring(ast.parse((PORTS / f"{name}.py").read_text())) or ""
    return dict(re.findall(r"^(\w+) {3,}(.+)$", text, re.M))


@pytest.mark.parametrize("row", [row for row in ROWS if has_table(ROWS[row].platform)])
def test_a_tables_page_has_each_row_with_its_source_and_the_rows_facts(row: str) -> None:
    port = ROWS[row]
    rows = page(port.platform)
    assert set(rows) == {"power", "watchdog", "reset", "wake", "soft", "dog", "clock", "folder", "keeps"}
    for word, text in rows.items():
        assert re.search(r"\.(c|h|py)|RM|DS\d", text.rsplit("  ", 1)[-1]), f"{row}: {word} names no source"
    assert str(port.year) in rows["clock"]
    assert str(port.most) in rows["dog"] or row == "esp32"
    assert all((place or "/") in rows["folder"] for place in port.place)


def test_there_are_as_many_cells_as_there_were() -> None:
    texts = [(PORTS / f"{name}.py").read_text() for name in TABLES]
    assert EQUAL <= {what for text in texts for what, _ in cells(text)}
    assert len(every()) >= 80 and Path(PORTS, "mark.py").is_file()
