"""Changes one place of a module's syntax tree. The place is found by its meaning: layout and names of locals are free.

A place is a function and a fragment that is there exactly once: an expression, one or more statements, or
`except ...: ...`. In a fragment the name of a local variable stands for that variable, whatever it is called in the
module. The new fragment calls the same variables by the same names. `...` stands for whatever is there (match.py);
the new fragment takes each `...` of the old one over, in the order of the text.

"load"                      a function or method of the module
"Chunks.load"               where the module has two of that name
"decode(board, package)"    its first parameters by name too, if a fragment shall say that it means these
"Board", ""                 what a class or the module does at its own level, in no function
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mpota_host.cut.patch.fragment import Fragment, NotApplied
from mpota_host.cut.patch.match import Found, Matcher
from mpota_host.cut.patch.names import Names, Scope
from mpota_host.cut.patch.replace import Filler, Taken, rename

__all__ = ["NotApplied", "apply", "home_of"]

Def = ast.FunctionDef | ast.AsyncFunctionDef
Home = ast.Module | ast.ClassDef | Def


@dataclass
class Place:
    """The nodes in a field: those that `at` cuts out of a list, or the one that is the field."""

    parent: ast.AST
    field: str
    at: slice | None
    found: Found

    @property
    def first(self) -> Any:
        value = getattr(self.parent, self.field)
        return value if self.at is None else value[self.at][0]

    def put(self, nodes: list[Any]) -> None:
        """Replace them."""
        if self.at is None:
            setattr(self.parent, self.field, nodes[0])
            return
        first, value = self.first, getattr(self.parent, self.field)
        value[self.at] = nodes
        if not value and self.field == "body":
            value.append(ast.copy_location(ast.Pass(), first))


def apply(tree: ast.Module, function: str, old: str, new: str) -> ast.Module:
    """The same tree, changed in its one place; NotApplied, and no change, if it has none or more."""
    before, after = Fragment(old), Fragment(new)
    if not before.nodes:
        raise NotApplied("the fragment to look for is empty")
    names = Names(tree)
    home = home_of(tree, function)
    statements = before.value is None or after.value is None
    matcher = Matcher(before.names, names)
    start = _parameters(home, function, before.names.top, names)
    places = list((_runs if statements else _values)(home, before, matcher, start))
    if len(places) != 1:
        lines = ", ".join(str(n) for n in sorted(place.first.lineno for place in places))
        seen = f"{len(places)} times (lines {lines})" if places else "0 times"
        hint = "add what stands beside it" if places else "write it as the code is now"
        raise NotApplied(f"{before.text!r} is {seen} in {function or 'the module itself'}, wanted once: {hint}")
    place = places[0]
    for node in (n for top in after.nodes for n in ast.walk(top)):
        ast.copy_location(node, place.first)
    rename(after, before.names.top, place.found, Taken(_code(home), names))
    filler = Filler([place.found.dots[dots] for dots in before.dots], after)
    place.put(filler.several(after.nodes, place.parent) if statements else [filler.one(after.value)])
    return tree


def _defs(node: ast.AST, above: str = "") -> Iterator[tuple[str, ast.ClassDef | Def]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            # Nothing is defined in one, and most nodes are.
            continue
        name = above
        if isinstance(child, ast.ClassDef | Def):
            name = f"{above}.{child.name}".strip(".")
            yield name, child
        yield from _defs(child, name)


def home_of(tree: ast.Module, function: str) -> Home:
    """The function or class that is named so, or the module; NotApplied where there is none or more than one."""
    name = function.partition("(")[0]
    if not name:
        return tree
    every = list(_defs(tree))
    found = [one for one in every if one[0] == name] or [one for one in every if one[0].endswith("." + name)]
    if not found:
        raise NotApplied(f"there is no function or class {name}: name the one where it is now")
    if len(found) > 1:
        raise NotApplied(f"{name} is there {len(found)} times ({', '.join(n for n, _ in found)}): name its class too")
    return found[0][1]


def _parameters(home: Home, function: str, top: Scope, names: Names) -> Found:
    """What the names of parameters that come with the function stand for."""
    given = [part.strip() for part in function.partition("(")[2].rstrip(")").split(",") if part.strip()]
    args = [*home.args.posonlyargs, *home.args.args] if isinstance(home, Def) else []
    if len(given) > len(args):
        raise NotApplied(f"{function} names {len(given)} parameters, the function has {len(args)}")
    found: Found | None = Found()
    for name, arg in zip(given, args, strict=False):
        found = found and found.bind((top, name), (names.inside[home], arg.arg))
    if found is None:
        raise NotApplied(f"{function} names a parameter twice")
    return found


def _code(home: Home) -> Iterator[ast.AST]:
    """Every node of a function; of a module or class those that are in no function or class inside it."""
    todo: list[ast.AST] = [home]
    while todo:
        node = todo.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(home, Def) or not isinstance(child, ast.ClassDef | Def):
                todo.append(child)


def _values(home: Home, fragment: Fragment, matcher: Matcher, start: Found) -> Iterator[Place]:
    assert fragment.value is not None
    for parent in _code(home):
        for field, value in ast.iter_fields(parent):
            for i, node in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(node, ast.expr):
                    at = slice(i, i + 1) if isinstance(value, list) else None
                    every = matcher.node(fragment.value, node, start, parent)
                    yield from (Place(parent, field, at, found) for found in islice(every, 1))


def _runs(home: Home, fragment: Fragment, matcher: Matcher, start: Found) -> Iterator[Place]:
    def run(nodes: list[Any], parent: ast.AST) -> Iterator[Found]:
        return matcher.run(fragment.nodes, nodes, start, parent)

    for parent in _code(home):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt | ast.ExceptHandler):
                for i in range(len(value)):
                    ends = range(i + 1, len(value) + 1)
                    every = (
                        Place(parent, field, slice(i, n), found) for n in ends for found in run(value[i:n], parent)
                    )
                    yield from islice(every, 1)
