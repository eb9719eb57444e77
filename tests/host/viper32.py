"""Viper functions on CPython with a board's integers: every number has the type and the width it has there.

Viper's rules, as its compiler states them: a constant and whatever is loaded through a pointer is an int; the left
operand gives the type of a result; int and uint are never compared. Numbers wrap at `bits`, a shift to the right is
logical for a uint, and a store keeps the low bits. Beyond viper, an access outside the memory behind a pointer is an
AssertionError, so a function that runs here stayed in its bounds.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Outside(AssertionError):
    """An access outside the memory of a pointer; not an error that a caller may swallow by type."""


def _machine(bits: int) -> dict[str, Any]:
    """The types of a machine with integers of `bits` bits, by the names that viper has for them."""
    mask = (1 << bits) - 1

    class Number(int):
        def __new__(cls, value: int = 0) -> Any:
            value = int(value) & mask
            if not cls.unsigned and value >> (bits - 1):  # type: ignore[attr-defined]
                value -= mask + 1
            return int.__new__(cls, value)

        def _same(self, other: Any) -> None:
            if type(self) is not type(other):
                raise TypeError(f"comparison of {type(self).__name__} and {type(other).__name__}")

    def result(name: str) -> Any:
        act = getattr(int, name)
        return lambda self, other: type(self)(act(int(self), int(other)))

    def verdict(name: str) -> Any:
        act = getattr(int, name)

        def compare(self: Any, other: Any) -> Any:
            self._same(other)
            return act(int(self), int(other))

        return compare

    for name in ("add", "sub", "mul", "and", "or", "xor", "lshift", "rshift"):
        setattr(Number, f"__{name}__", result(f"__{name}__"))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Number, f"__{name}__", verdict(f"__{name}__"))
    Number.__hash__ = int.__hash__  # type: ignore[method-assign]
    signed = type("int", (Number,), {"unsigned": False})
    unsigned = type("uint", (Number,), {"unsigned": True})

    def pointer(width: int) -> Any:
        class Pointer:
            def __init__(self, memory: Any) -> None:
                view = memoryview(memory).cast("B")
                self.view = view if width == 8 else view.cast("H" if width == 16 else "I")

            def _at(self, i: int) -> int:
                if not 0 <= int(i) < len(self.view):
                    raise Outside(f"index {int(i)} of {len(self.view)}")
                return int(i)

            def __getitem__(self, i: int) -> Any:
                return signed(self.view[self._at(i)])

            def __setitem__(self, i: int, value: int) -> None:
                self.view[self._at(i)] = int(value) & ((1 << width) - 1)

        return Pointer

    return {"int": signed, "uint": unsigned, "ptr8": pointer(8), "ptr16": pointer(16), "ptr32": pointer(32)}


class _Constants(ast.NodeTransformer):
    """Every number of a viper function is a viper int."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is not int:
            return node
        return ast.Call(ast.Name("int", ast.Load()), [node], [])


def _is_viper(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and [ast.unparse(d) for d in node.decorator_list] == ["micropython.viper"]


def _typed(function: ast.FunctionDef, folded: dict[str, int]) -> ast.FunctionDef:
    """`function` without its decorator, its numbers typed, its parameters cast as they are annotated."""

    class Folder(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return ast.Constant(folded[node.id]) if node.id in folded else node

    body = [_Constants().visit(Folder().visit(statement)) for statement in function.body]
    casts: list[ast.stmt] = []
    for arg in function.args.args:
        if arg.annotation:
            casts += ast.parse(f"{arg.arg} = {ast.unparse(arg.annotation)}({arg.arg})").body
            arg.annotation = None
    function.decorator_list, function.returns, function.body = [], None, casts + body
    return function


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a viper function returns is an object to its caller."""

    def call(*args: Any) -> Any:
        value = function(*args)
        return value if value is None else int(value)

    return call


def load(path: Path, bits: int, text: str = "") -> dict[str, Any]:
    """The names of the module at `path`, or of `text`, with its viper functions on a machine of `bits` bits."""
    tree = ast.parse(text or path.read_text())
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    plain = ast.Module([n for n in tree.body if not _is_viper(n)], [])
    exec(compile(plain, str(path), "exec"), names)
    folded = {n: v for n, v in names.items() if n.isupper() and type(v) is int}
    machine = _machine(bits)
    for node in tree.body:
        if _is_viper(node):
            assert isinstance(node, ast.FunctionDef)
            module = ast.fix_missing_locations(ast.Module([_typed(node, folded)], []))
            scope = dict(machine)
            exec(compile(module, str(path), "exec"), scope)
            names[node.name] = _plain(scope[node.name])
    return names
