"""Reads the numbers of a C header: #define, #undef, #if and its family, #include of files beside it.

What is no number (a struct, a cast, a string) stays unread until it is asked for. Nothing is run: an expression is
parsed, and only whole numbers, names, the header's own macros and C's operators are in it.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mpota_boot.errors import Refused

DIRECTIVE = re.compile(r"^\s*#\s*(\w+)\s*(.*?)\s*$")
DEFINE = re.compile(r"^(\w+)(\(([^)]*)\))?\s*(.*)$")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
NUMBER = re.compile(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]*\b")
OCTAL = re.compile(r"\b0([0-7]+)\b")
DEFINED = re.compile(r"\bdefined\s*(?:\(\s*(\w+)\s*\)|(\w+))")
# Macros that name each other deeper than this name themselves.
DEEP = 64

OPERATORS: dict[type, Callable[..., int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.USub: operator.neg, ast.UAdd: operator.pos,
    ast.Invert: operator.invert, ast.Not: operator.not_, ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


class NoNumber(Exception):
    """The text is no number; it says what of it."""


class Header:
    """`macros`: name -> (names of its arguments or None, text). `missing`: files that are included and not found.

    An included file is looked for beside the one that names it, then in `folders`.
    """

    def __init__(self, defines: dict[str, str] | None = None, folders: Sequence[Path] = ()) -> None:
        self.macros: dict[str, tuple[list[str] | None, str]] = {
            name: (None, text) for name, text in (defines or {}).items()
        }
        self.missing: list[str] = []
        self.folders = [*folders]
        self._open: set[Path] = set()

    def read(self, path: Path) -> None:
        """Take a file, and those that it includes, as a compiler would."""
        path = path.resolve()
        if path in self._open:
            return
        self._open.add(path)
        self._lines(path, path.read_text(errors="replace"))
        self._open.discard(path)

    def _lines(self, path: Path, text: str) -> None:
        # Of each #if: is this part read, was one of its parts, and is what is around it read?
        states: list[tuple[bool, bool, bool]] = []
        for number, line in enumerate(_joined(text), 1):
            found = DIRECTIVE.match(line)
            if not found:
                continue
            word, rest = found.groups()
            active = not states or states[-1][0]
            if word in ("if", "ifdef", "ifndef"):
                takes = active and self._true(word, rest)
                states.append((takes, takes, active))
            elif word in ("elif", "else", "endif"):
                if not states:
                    raise Refused("header", f"{path.name}, line {number}: #{word} without #if")
                _, had, around = states.pop()
                if word != "endif":
                    takes = around and not had and (word == "else" or self._true("if", rest))
                    states.append((takes, had or takes, around))
            elif active:
                self._take(path, word, rest)
        if states:
            raise Refused("header", f"{path.name} ends inside an #if")

    def _true(self, word: str, rest: str) -> bool:
        if word != "if":
            return (rest.split()[0] in self.macros if rest else False) == (word == "ifdef")
        text = DEFINED.sub(lambda m: str(int((m[1] or m[2]) in self.macros)), rest)
        try:
            # A name that is no macro is 0 there.
            return bool(self._number(text, {}, 0, unknown=0))
        except NoNumber:
            return False

    def _take(self, path: Path, word: str, rest: str) -> None:
        if word == "define":
            found = DEFINE.match(rest)
            if found:
                args = [a.strip() for a in found[3].split(",")] if found[2] else None
                self.macros[found[1]] = args, found[4]
        elif word == "undef":
            self.macros.pop(rest, None)
        elif word == "error":
            raise Refused("header", f"{path.name} says: {rest.strip(chr(34))}")
        elif word == "include":
            name = rest.strip('"<> ')
            there = [folder / name for folder in (path.parent, *self.folders) if (folder / name).is_file()]
            if there:
                self.read(there[0])
            elif name not in self.missing:
                self.missing.append(name)

    def number(self, name: str) -> int | None:
        """The number that a macro stands for, None where there is no such macro; Refused where it is no number."""
        if name not in self.macros:
            return None
        try:
            return self._number(self.macros[name][1], {}, 0)
        except NoNumber as e:
            raise Refused("header", f"{name} is {self.macros[name][1]!r}, which is no number here: {e}") from None

    def _number(self, text: str, names: dict[str, int], deep: int, unknown: int | None = None) -> int:
        if deep > DEEP:
            raise NoNumber("it names itself")
        words = NUMBER.sub(r"\1", text)
        words = OCTAL.sub(r"0o\1", words)
        words = words.replace("&&", " and ").replace("||", " or ").replace("/", "//")
        words = re.sub(r"!(?!=)", " not ", words).strip()
        try:
            tree = ast.parse(words, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise NoNumber(f"{text!r}") from None
        return int(self._of(tree, names, deep, unknown))

    def _of(self, node: Any, names: dict[str, int], deep: int, unknown: int | None) -> int:
        def of(other: Any) -> int:
            return self._of(other, names, deep, unknown)

        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id, names, deep, unknown)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._call(node.func.id, [of(a) for a in node.args], deep, unknown)
        if isinstance(node, ast.BoolOp):
            values = [bool(of(value)) for value in node.values]
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node, ast.UnaryOp):
            return OPERATORS[type(node.op)](of(node.operand))
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return OPERATORS[type(node.ops[0])](of(node.left), of(node.comparators[0]))
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return _sum(type(node.op), of(node.left), of(node.right))
        raise NoNumber(ast.unparse(node))

    def _name(self, name: str, names: dict[str, int], deep: int, unknown: int | None) -> int:
        if name in names:
            return names[name]
        if name in self.macros and self.macros[name][0] is None:
            return self._number(self.macros[name][1], {}, deep + 1, unknown)
        if unknown is None:
            raise NoNumber(f"{name} is not defined")
        return unknown

    def _call(self, name: str, values: list[int], deep: int, unknown: int | None) -> int:
        args, text = self.macros.get(name, (None, ""))
        if args is None or len(args) != len(values):
            raise NoNumber(f"{name}() is not defined")
        return self._number(text, dict(zip(args, values, strict=True)), deep + 1, unknown)


def _sum(kind: type, left: int, right: int) -> int:
    if kind in (ast.FloorDiv, ast.Mod) and not right:
        raise NoNumber("it divides by 0")
    if kind in (ast.LShift, ast.RShift) and not 0 <= right < DEEP:
        raise NoNumber(f"it shifts by {right}")
    return OPERATORS[kind](left, right)


def _joined(text: str) -> list[str]:
    """Lines without comments; one that ends with a backslash goes on in the next."""
    kept = COMMENT.sub(lambda m: " " + "\n" * m[0].count("\n"), text.replace("\r\n", "\n"))
    return kept.replace("\\\n", " ").split("\n")
