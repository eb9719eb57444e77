"""The PIC32MZW1's format page says what the code does: its constants, its table of differences, the tests it names."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from mpota_host.chips.pic32 import sample
from mpota_host.chips.pic32.binfile import LAYOUTS
from mpota_host.sources import DEVICE
from tests.chips.pic32 import replay as replay_pic32

LAYOUT = DEVICE / "mpota/layout/pic32"
PAGE = (LAYOUT / "FORMAT.md").read_text()
README = (LAYOUT / "README.md").read_text()


def test_the_constants_of_the_page_are_those_of_the_code() -> None:
    found = re.findall(r"`(\w+)\.(\w+) = (\w+)`", PAGE)
    assert len(found) >= 35
    for module, name, value in found:
        (path,) = LAYOUT.rglob(f"{module}.py")
        module = ".".join(path.relative_to(DEVICE).with_suffix("").parts)
        assert getattr(import_module(module), name) == int(value, 0), f"{module}.{name}"


def test_the_slots_of_the_page_are_those_of_the_packer() -> None:
    rows = re.findall(r"^\| 3[\w. ]+\| (0x\w+) \| (0x\w+) \| (0x\w+) \|", PAGE, re.M)
    assert [(int(a, 0), int(b, 0)) for a, b, _ in rows] == list(LAYOUTS.values())
    assert all(int(c, 0) == int(a, 0) + 0xA0001000 for a, _, c in rows)


def test_each_difference_has_a_test_and_the_names_are_those_of_the_replay() -> None:
    rows = re.findall(r"^\| (\d+) \| ([\w-]*) ?\|.*`(test_\w+)` \|$", PAGE, re.M)
    assert [int(n) for n, _, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) >= 20
    assert {name for _, name, _ in rows if name} == set(replay_pic32.SAFER)
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_pic32_*.py"))
    for _, _, test in rows:
        assert f"def {test}(" in tests, test


def test_the_predicates_of_the_replay_do_not_excuse_what_is_worse() -> None:
    case = {
        "ctl": {"status": "f0", "type": 1, "version": 3},
        "rows": [["a.bin", "FE", "3", "10", "missing"], ["b.bin", "f8", "2", "11", "ok"]],
        "out": {"end": "JUMP", "ctl_status": "f8", "ctl_type": 3, "ctl_version": 1, "app_fill": "fa", "db_after": None},
    }
    good = {**case["out"], "ctl_type": 1, "ctl_version": 2, "app_fill": "11", "db_after": [["b.bin", "f8", "2"]]}  # type: ignore[dict-item]
    assert replay_pic32.missing_file(case, good)
    for bad in ({"app_fill": "ee"}, {"app_fill": "fa"}, {"end": "NOTHING"}):
        assert not any(rule(case, {**good, **bad}) for rule in replay_pic32.SAFER.values()), bad


def test_every_statement_of_the_vendors_page_is_shown_by_a_test() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \| `(test_\w+)` \| (.*?) ?\|$", README, re.M)
    assert len(rows) >= 40 and len(re.findall(r"^### ", README, re.M)) >= 6
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_pic32_*.py"))
    for said, _, test, _ in rows:
        assert f"def {test}(" in tests, said
    tables = README[README.index("statement by statement") : README.index("## Limits")]
    lines = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| the page says")]
    assert len(lines) == len(rows), "a row names no test"
    assert not re.search(r"\b(missing|partly)\b", tables)


def test_the_guide_is_what_the_sample_says_to_type() -> None:
    guide = re.search(r"```text\n(.*?)```", README, re.S)
    assert guide
    typed = [" ".join(line.split()) for line in guide[1].replace("\\\n", " ").strip().splitlines()]
    assert typed == sample.NEXT.splitlines()


def test_every_setting_of_the_page_is_read() -> None:
    table = README[README.index("### Settings") : README.index("## The vendor's page")]
    names = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    source = "".join(path.read_text() for path in LAYOUT.rglob("*.py"))
    assert len(names) >= 13 and all(f'"{name}"' in source for name in names)
