"""Finds a fragment of Python in a syntax tree, whatever its local variables are called there.

Names that are local to the function in the tree match any name of the fragment, each always the same one. All else
has to be equal. `...` stands for any expression; among statements, arguments, operands or elements for any number of
them, so `if x: ...` has any body.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mpota_host.cut.patch.fragment import inner, is_dots
from mpota_host.cut.patch.names import FIELDS, Names, Symbol


@dataclass
class Dots:
    """What a `...` stands for, and what it was a part of."""

    nodes: list[Any]
    parent: ast.AST


@dataclass(frozen=True)
class Found:
    """Symbols of the fragment and of the tree that are each other's; what each `...` of the fragment stands for."""

    names: dict[Symbol, Symbol] = field(default_factory=dict)
    back: dict[Symbol, Symbol] = field(default_factory=dict)
    dots: dict[ast.AST, Dots] = field(default_factory=dict)

    def bind(self, fragment: Symbol, tree: Symbol) -> Found | None:
        """With one pair more; None if that cannot be."""
        fits = tree[0] is not None or tree[1] == fragment[1]
        if not fits or self.names.get(fragment, tree) != tree or self.back.get(tree, fragment) != fragment:
            return None
        return replace(self, names={**self.names, fragment: tree}, back={**self.back, tree: fragment})

    def hold(self, dots: ast.AST, nodes: Sequence[Any], parent: ast.AST) -> Found:
        """With what one `...` more stands for."""
        return replace(self, dots={**self.dots, inner(dots): Dots(list(nodes), parent)})


class Matcher:
    """Every way in which a fragment can be read into nodes of a tree."""

    def __init__(self, fragment: Names, tree: Names) -> None:
        self.fragment = fragment
        self.tree = tree

    def node(self, want: ast.AST, node: ast.AST, found: Found, parent: ast.AST) -> Iterator[Found]:
        """`want` of the fragment against `node` of the tree."""
        if isinstance(want, ast.expr) and is_dots(want) and isinstance(node, ast.expr):
            yield found.hold(want, [node], parent)
            return
        if type(want) is not type(node):
            return
        mine, its = self.fragment.of.get(want), self.tree.of.get(node)
        if mine is not None and its is not None:
            bound = found.bind(mine, its)
            if bound is None:
                return
            found = bound
        elif mine is not its:
            return
        skip = (FIELDS.get(type(want)), "kind", "type_comment")
        pairs = [(getattr(want, key, None), getattr(node, key, None)) for key in want._fields if key not in skip]
        yield from self._all(pairs, found, node)

    def _all(self, pairs: Sequence[tuple[Any, Any]], found: Found, parent: ast.AST) -> Iterator[Found]:
        if not pairs:
            yield found
            return
        for one in self._value(*pairs[0], found, parent):
            yield from self._all(pairs[1:], one, parent)

    def _value(self, want: Any, value: Any, found: Found, parent: ast.AST) -> Iterator[Found]:
        if isinstance(want, list) and isinstance(value, list):
            yield from self.run(want, value, found, parent)
        elif isinstance(want, ast.AST) and isinstance(value, ast.AST):
            yield from self.node(want, value, found, parent)
        # 1 is not True, nor 1.0.
        elif type(want) is type(value) and want == value:
            yield found

    def run(self, want: Sequence[Any], nodes: Sequence[Any], found: Found, parent: ast.AST) -> Iterator[Found]:
        """A list of the fragment against all of a list of the tree."""
        if not want:
            if not nodes:
                yield found
        elif is_dots(want[0]):
            for n in range(len(nodes) + 1):
                yield from self.run(want[1:], nodes[n:], found.hold(want[0], nodes[:n], parent), parent)
        elif nodes:
            for one in self._value(want[0], nodes[0], found, parent):
                yield from self.run(want[1:], nodes[1:], one, parent)
