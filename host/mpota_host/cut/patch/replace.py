"""Fits a new fragment into the place of the old one: the names of the function, and what each `...` stands for."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from typing import Any

from mpota_host.cut.patch.fragment import Fragment, NotApplied, inner, is_dots
from mpota_host.cut.patch.match import Dots, Found
from mpota_host.cut.patch.names import FIELDS, Names, Scope


class Taken:
    """Names that mean something where the patch goes: `local` to the function, or `known` to all of it."""

    def __init__(self, code: Iterable[ast.AST], names: Names) -> None:
        self.local: set[str] = set()
        self.known = {*dir(builtins), *names.top.bound, *names.top.fixed}
        for node in code:
            scope, name = names.of.get(node, (None, ""))
            if scope is not None:
                self.local.add(name)
            within = names.inside.get(node)
            while within is not None:
                self.known |= within.fixed
                within = within.outer


def rename(fragment: Fragment, old: Scope, found: Found, taken: Taken) -> None:
    """Give the names of a new fragment those that the function has for them."""
    outer = {name: symbol[1] for (scope, name), symbol in found.names.items() if scope is old}
    inner_names = {name: symbol[1] for (scope, name), symbol in found.names.items() if scope is not old}
    names = fragment.names
    used = set()
    for scope, name in dict.fromkeys(names.of.values()):
        if scope is names.top:
            if name not in outer and name in taken.local:
                raise NotApplied(f"{fragment.text!r} uses the local {name}, so the old fragment has to as well")
            if name not in outer and name not in taken.known | names.top.bound | names.top.fixed:
                raise NotApplied(f"{fragment.text!r} uses {name}, which nothing in the module names")
            used.add(outer.get(name, name))
    held = [top for dots in found.dots.values() for top in dots.nodes if isinstance(top, ast.expr)]
    hidden = used | {node.id for top in held for node in ast.walk(top) if isinstance(node, ast.Name)}
    bound: dict[str, str] = {}
    for node, (scope, name) in names.of.items():
        if scope is not names.top and name not in bound:
            new = inner_names.get(name, name)
            # What a comprehension or lambda of the fragment binds must not hide what is used in it.
            while new in (used if name in inner_names else hidden) or new in bound.values():
                new += "_"
            bound[name] = new
        setattr(node, FIELDS[type(node)], outer.get(name, name) if scope is names.top else bound[name])


class Filler:
    """Puts what each `...` of the old fragment stood for in place of that of the new one."""

    def __init__(self, dots: list[Dots], new: Fragment) -> None:
        self.text = new.text
        if len(new.dots) > len(dots):
            raise NotApplied(f"{new.text!r} has {len(new.dots)} `...`, the old fragment has {len(dots)}")
        self.dots = dict(zip(new.dots, dots, strict=False))

    def several(self, nodes: list[Any], parent: ast.AST) -> list[Any]:
        """What a list becomes: `...` may stand for any number."""
        done: list[Any] = []
        for node in nodes:
            if not is_dots(node):
                done.append(self.one(node) if isinstance(node, ast.AST) else node)
                continue
            took = self._took(node, ast.stmt if isinstance(node, ast.Expr) else ast.expr)
            apart = isinstance(parent, ast.BoolOp) and _op(took.parent) is not type(parent.op)
            done += [self._single(took)] if apart else took.nodes
        return done

    def one(self, node: Any) -> Any:
        """What a single node becomes."""
        if is_dots(node):
            return self._single(self._took(node, ast.expr))
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, field, self.several(value, node))
            elif isinstance(value, ast.AST):
                setattr(node, field, self.one(value))
        if isinstance(node, ast.BoolOp) and len(node.values) < 2:
            return self._single(Dots(node.values, node))
        return node

    def _took(self, node: Any, kind: type[ast.AST]) -> Dots:
        took = self.dots[inner(node)]
        if not all(isinstance(one, kind) for one in took.nodes):
            raise NotApplied(f"a `...` of {self.text!r} mixes statements and expressions with that of the old fragment")
        return took

    def _single(self, took: Dots) -> Any:
        if len(took.nodes) > 1 and isinstance(took.parent, ast.BoolOp):
            return ast.copy_location(ast.BoolOp(took.parent.op, took.nodes), took.nodes[0])
        if len(took.nodes) != 1:
            raise NotApplied(f"{self.text!r} has one `...` where {len(took.nodes)} things stand, wanted one")
        return took.nodes[0]


def _op(node: ast.AST) -> type[ast.AST] | None:
    return type(node.op) if isinstance(node, ast.BoolOp) else None
