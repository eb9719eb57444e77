"""A module in which the local variables of a function have other names. The compiler's tables say which they are."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Callable, Iterator


def _within(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _within(child)


def outermost(tree: ast.Module, home: ast.AST) -> ast.FunctionDef | None:
    """The function that `home` is or lies in, and that lies in no other; None for what runs in no function."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef) and any(one is home for one in ast.walk(node)):
            return node
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(node, ast.FunctionDef)]
    return None


def local_names(source: str, function: ast.FunctionDef) -> list[str]:
    """Parameters and assigned names of a function and of what lies in it, but those that mean a global there too."""
    every = _within(symtable.symtable(source, "source", "exec"))
    mine = {function.lineno, *(one.lineno for one in function.decorator_list)}
    top = next(t for t in every if t.get_name() == function.name and t.get_lineno() in mine)
    symbols = [symbol for table in _within(top) for symbol in table.get_symbols()]
    fixed = {symbol.get_name() for symbol in symbols if symbol.is_global() or symbol.is_imported()}
    found = {s.get_name() for s in symbols if s.is_parameter() or (s.is_assigned() and not s.is_namespace())}
    return sorted(name for name in found - fixed if name.isidentifier())


class Renamer(ast.NodeTransformer):
    """Gives names of a function others; `words` is name -> name."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    def _word(self, name: str) -> str:
        return self.words.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._word(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._word(node.arg)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.generic_visit(node)
        node.name = node.name and self._word(node.name)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._word(name) for name in node.names]
        return node


def renamed(source: str, find: Callable[[ast.Module], ast.AST], words: dict[str, str]) -> ast.Module:
    """The tree of `source` with other names in the function that `find` points at, parsed again from its text."""
    tree = ast.parse(source)
    function = outermost(tree, find(tree))
    assert function is not None
    Renamer(words).visit(function)
    return ast.parse(ast.unparse(tree))
