"""A fragment of Python as somebody writes it down: parsed, and which names and which `...` are in it."""

from __future__ import annotations

import ast
from textwrap import dedent
from typing import Any

from mpota_host.cut.patch.names import Names


class NotApplied(Exception):
    """The place of a patch is not in the module, or more than once, or the patch makes no sense there."""


def inner(node: Any) -> Any:
    """The expression of a statement that is nothing else; any other node itself."""
    return node.value if isinstance(node, ast.Expr) else node


def is_dots(node: Any) -> bool:
    """Is it `...`, as an expression or as a statement?"""
    value = inner(node)
    return isinstance(value, ast.Constant) and value.value is Ellipsis


class Fragment:
    """`nodes` of a text, and its `value` if it is one expression; `dots`: every `...` in the order of the text."""

    def __init__(self, text: str) -> None:
        self.text = dedent(text).strip()
        handlers = self.text.startswith("except")
        try:
            tree = ast.parse("try: pass\n" + self.text if handlers else self.text)
        except SyntaxError as e:
            raise NotApplied(f"the fragment {self.text!r} is no Python: {e.msg}") from None
        self.nodes: list[Any] = tree.body
        if handlers and isinstance(tree.body[0], ast.Try):
            self.nodes = [*tree.body[0].handlers]
        self.value = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
        self.names = Names(tree, fragment=True)
        dots = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and is_dots(node)]
        self.dots = sorted(dots, key=lambda node: (node.lineno, node.col_offset))
