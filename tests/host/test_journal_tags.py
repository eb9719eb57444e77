"""Every tag of the journal that the device's code uses has a row in a FORMAT.md, and every row there is used."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mpota_host.sources import DEVICE, modules, name_of, program

# Methods and functions whose argument is a tag: of a journal, of a layout, and of SiFli's manager.
CALLS = {"last": 0, "put": 0, "keep": 0, "record": 0, "_keep": 1}
STORE = "mpota/store/FORMAT.md"
WIFI = ("ssid", "psk")


def constants(node: ast.expr) -> set[str]:
    """The texts that an expression can be: a constant, or one of two."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) | constants(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def listed(tree: ast.AST, name: str) -> set[str]:
    """The texts that a variable runs through: `for tag in ("armed", "running")`, or pairs that begin with one."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.For | ast.comprehension) or not isinstance(node.iter, ast.Tuple | ast.List):
            continue
        first = node.target.elts[0] if isinstance(node.target, ast.Tuple) else node.target
        if isinstance(first, ast.Name) and first.id == name:
            for one in node.iter.elts:
                found |= constants(one.elts[0] if isinstance(one, ast.Tuple) else one)
    return found


def tags(text: str) -> set[str]:
    """The tags that a module reads and writes."""
    found = set()
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        at = CALLS.get(name)
        # The name of a Wi-Fi lies in a namespace of its own, `wifi`, which is no journal of updates.
        if (
            isinstance(tag := node.args[at] if at is not None and len(node.args) > at else None, ast.Constant)
            and tag.value in WIFI
        ):
            continue
        # put() of store/writer.py is a function, and its first argument a Flash.
        if at is None or len(node.args) <= at:
            continue
        tag = node.args[at]
        found |= listed(tree, tag.id) if isinstance(tag, ast.Name) else constants(tag)
    return found


def rows(page: str) -> set[str]:
    """The tags in the tables of a page."""
    found: set[str] = set()
    for table in re.findall(r"^\| tag \|.*\n\|[-:| ]+\|\n((?:\|.*\n)+)", page, re.M):
        found |= set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    return found


def pages_of(path: Path) -> list[Path]:
    """The pages that may describe a module's tags: the journal's own, and its chip's."""
    parts = name_of(path).split("/")
    own = [DEVICE / "/".join(parts[:3]) / "FORMAT.md"] if parts[:2] == ["mpota", "layout"] and len(parts) > 3 else []
    return [DEVICE / STORE, *(page for page in own if page.exists())]


def test_every_tag_of_the_journal_is_in_a_format_page():
    seen = {}
    for path in modules():
        found = tags(path.read_text())
        missing = found - set().union(*(rows(page.read_text()) for page in pages_of(path)))
        assert not missing, f"{name_of(path)} uses {sorted(missing)}, which no FORMAT.md describes"
        seen |= dict.fromkeys(found, name_of(path))
    assert len(seen) >= 14, sorted(seen)


def test_every_tag_in_a_format_page_is_one_that_the_code_uses():
    used = set().union(*(tags(path.read_text()) for path in modules()))
    for page in sorted(DEVICE.rglob("FORMAT.md")):
        assert rows(page.read_text()) <= used, f"{page}: {sorted(rows(page.read_text()) - used)}"


def test_the_boot_file_that_reads_the_journal_by_itself_knows_its_tags():
    inline = {"armed", "running", "failed"}
    assert listed(ast.parse(program("boot.py").read_text()), "tag") == inline
    assert inline <= rows((DEVICE / STORE).read_text())


@pytest.mark.parametrize(
    "text",
    [
        'journal.put("novel", b"")',
        'layout.keep("novel", data)',
        'self.record("novel")',
        '_keep(journal, "novel", data)',
        'journal.put("armed" if x else "novel", b"")',
        'for tag in ("armed", "novel"):\n    journal.put(tag, b"")',
        '[journal.last(tag) for tag in ("novel", "armed")]',
    ],
)
def test_a_tag_that_is_nowhere_described_would_be_found(text):
    assert "novel" in tags(text)


def test_what_is_no_tag_is_not_taken_for_one():
    assert tags('put(target, 0, buf, n)\nfiles.put(NAME, b"x")\nx.read("novel")') == set()
