"""tests/CASES.md and the tests of the cases say the same: every case is in the table, with its mark and its state."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TABLE = HERE.parent / "CASES.md"
WORDS = {"first_aid", "boards", "vendors", "person", "esp32", "format2", "later"}
HEADS = ("case", "promise (test name)", "mark", "today")
LINE = re.compile(r"^\| *(.+?) *\| *(.+?) *\| *(.+?) *\| *(.+?) *\|$")


class Collector:
    """A plugin that keeps what pytest would run."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


@pytest.fixture(scope="module")
def tests() -> dict[tuple[str, str], list[pytest.Item]]:
    """(section, test name) -> its items, one a row of its parameters."""
    found = Collector()
    # Without a terminal it prints nothing; `-r` of the project's own options belongs to the terminal.
    quiet = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers"]
    status = pytest.main(["--collect-only", *quiet, str(HERE)], plugins=[found])
    assert status == 0
    tests = defaultdict(list)
    for item in found.items:
        if item.path.name != Path(__file__).name:
            tests[item.path.stem.removeprefix("test_"), getattr(item, "originalname", item.name)].append(item)
    assert sum(map(len, tests.values())) >= 160, "cases were lost"
    return dict(tests)


def rows() -> list[tuple[str, str, str, str, str]]:
    """(section, case, promise, mark, today) of every row."""
    section, found = "", []
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        match = LINE.match(line)
        if match and section and match.groups() != HEADS and not set(match[1]) <= {"-", ":"}:
            found.append((section, *match.groups()))
    return found


def named() -> dict[tuple[str, str], list[tuple[str, str, str]]]:
    """(section, test name) -> the (case, mark, today) of its rows; rows that are no case have no test."""
    found = defaultdict(list)
    for section, case, promise, mark, today in rows():
        name = re.fullmatch(r"`(test_\w+)`", promise)
        if name:
            found[section, name[1]].append((case, mark, today))
        else:
            assert promise.startswith("no case: "), f"{section}, {case}: neither a test nor `no case:`, but {promise}"
    return dict(found)


def state(items: list[pytest.Item]) -> str:
    """What the table has to say of a test."""
    bad = sum(item.get_closest_marker("xfail") is not None for item in items)
    return "holds" if not bad else "fails" if bad == len(items) else f"{bad} of {len(items)} fail"


def test_every_case_is_in_the_table_and_every_row_has_its_test(
    tests: dict[tuple[str, str], list[pytest.Item]],
) -> None:
    here, there = set(tests), set(named())
    assert here - there == set(), "not in tests/CASES.md"
    assert there - here == set(), "in tests/CASES.md, and no such test"


def test_every_test_has_one_word_and_names_its_case(tests: dict[tuple[str, str], list[pytest.Item]]) -> None:
    for (section, name), items in tests.items():
        for item in items:
            marks = {mark.name for mark in item.iter_markers()}
            assert "case" in marks and len(marks & WORDS) == 1, f"{name}: {sorted(marks & WORDS)}"
            # Else an import that breaks, or a harness that does, would pass for the failure of a promise.
            for mark in item.iter_markers("xfail"):
                assert mark.kwargs["strict"] is True and mark.kwargs["raises"] is AssertionError, name
                assert mark.kwargs["reason"], name
        text = getattr(items[0], "obj").__doc__ or ""  # noqa: B009
        assert f"{section}/" in text.split("Right:")[0], f"{name}: its docstring names no case"
        assert "Right:" in text, f"{name}: its docstring does not say what is right"


def test_the_table_has_each_mark_and_state(tests: dict[tuple[str, str], list[pytest.Item]]) -> None:
    wrong = []
    for key, found in named().items():
        items = tests.get(key, [])
        word = {mark.name for item in items for mark in item.iter_markers()} & WORDS
        for case, mark, today in found:
            if set(mark.split(", ")) != word or today.replace("mended", "holds") != state(items):
                wrong.append(f"{key[0]}, {case}: {mark}, {today}; the test: {', '.join(word)}, {state(items)}")
    assert not wrong, "\n".join(wrong)


def test_each_check_can_fail() -> None:
    assert LINE.match("| a | `test_x` | esp32 | fails |") and not LINE.match("| a | b | c |")
    assert {section for section, *_ in rows()} >= {"esp32", "boards", "hostile", "vendors"}
