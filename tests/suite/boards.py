"""The mark `board` is put on every test that can start a virtual board or another process behind a pty.

Which test can is read from the sources: what a test and its fixtures name, what that names in turn, through tests/ and
host/. While the test runs an audit hook looks at the processes that are started: a board without the mark is a failure.
"""

import ast
import sys
from collections.abc import Generator, Iterator
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from mpota_host.sources import HOST

ROOT = Path(__file__).resolve().parents[2]
# What stands for a process behind a pty.
STARTS = {
    ("mpota_host.sim.board", "VirtualBoard"),
    ("mpota_host.sim.board", "run_board"),
    ("mpota_host.sim.line", "Pty"),
}
COMMAND = ("", "mpota board")
# Commands of `mpota` that start one.
COMMANDS = ("board", "demo")

Name = tuple[str, str]


def path_of(module: str) -> Path | None:
    """The source of a module of tests/ or host/."""
    first = module.split(".")[0]
    if first not in ("tests", "mpota_host"):
        return None
    path = (ROOT if first == "tests" else HOST) / module.replace(".", "/")
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
    return found[0] if found else None


def command(words: list[Any]) -> bool:
    """Is this `mpota board ...`, or the process of a VirtualBoard?"""
    return "mpota_host.sim.supervisor" in words or any(a == "mpota_host" and b in COMMANDS for a, b in pairwise(words))


class Source:
    """What each top-level name of a module refers to."""

    def __init__(self, module: str, text: str) -> None:
        self.module = module
        self.imported: dict[str, Name] = {}
        # A tree is walked once: there are hundreds, in each process of a run.
        parts = [(top, list(ast.walk(top))) for top in ast.parse(text).body]
        for node in chain.from_iterable(nodes for _, nodes in parts):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, ast.Import):
                self.imported |= {alias.asname: (alias.name, "") for alias in node.names if alias.asname}
        self.refers: dict[str, set[Name]] = {}
        for top, nodes in parts:
            if names := defined(top):
                refers = set(self.references(nodes))
                for name in names:
                    self.refers[name] = self.refers.get(name, set()) | refers

    def references(self, nodes: list[ast.AST]) -> Iterator[Name]:
        for node in nodes:
            if isinstance(node, ast.Name):
                yield self.imported.get(node.id, (self.module, node.id))
            elif (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.imported
            ):
                module, name = self.imported[node.value.id]
                yield (f"{module}.{name}" if name else module), node.attr
            elif isinstance(node, ast.arg):
                # A fixture, if there is one of that name.
                yield self.module, node.arg
            elif isinstance(node, ast.List | ast.Tuple):
                if command([item.value for item in node.elts if isinstance(item, ast.Constant)]):
                    yield COMMAND


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module's top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


@cache
def source(module: str) -> Source | None:
    path = path_of(module)
    return Source(module, path.read_text()) if path else None


def starts(names: list[Name], clear: set[Name]) -> bool:
    """Does one of these names lead to a process behind a pty? `clear` are names that lead to none; more come to it."""
    seen: set[Name] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in STARTS or name == COMMAND:
            return True
        if name in seen or name in clear:
            continue
        seen.add(name)
        it = source(name[0])
        if it:
            # What a module only imports and passes on is found where it is defined.
            todo += it.refers.get(name[1], ())
            if name[1] in it.imported and name[1] not in it.refers:
                todo.append(it.imported[name[1]])
    clear |= seen
    return False


class Boards:
    """Marks what can start a board, and watches."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.clear: set[Name] = set()
        # An audit hook stays for as long as the interpreter runs.
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            words = args[1].split() if isinstance(args[1], str) else [str(word) for word in args[1]]
            if command(words):
                self.started.append(" ".join(words)[:200])

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        if not isinstance(item, pytest.Function) or not item.path.is_relative_to(ROOT):
            return
        module = item.path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        names = [item.originalname, *item.fixturenames]
        if starts([(module, name) for name in names], self.clear):
            item.add_marker("board")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        # What a fixture started in the setup counts too.
        yield
        if self.started and not item.get_closest_marker("board"):
            pytest.fail(f"a test without the mark `board` started one: {self.started[0]}", pytrace=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self.started.clear()
