"""Which of the device's modules a board carries: those that an import can reach there, and no other.

The roots are the programs on the board (boot.py, main.py, the wiring, the layout's own), the layout that its settings
name, and console.py, which a host calls. A bootloader's folder `loader/` goes along as a whole, or not at all. Of the
tables in mpota_boot/ports a board carries that of its `sys.platform`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from threading import Lock

from mpota_host.registry import programs
from mpota_host.sources import DEVICE, PACKAGES

# Takes more heap than most boards have to spare; a package says when it needs it.
LZMA = "mpota.pipe.lzma"
# The journal of boards that have an NVS; its second copy is a journal in files, as all others have.
NVS = "mpota_boot.nvs"
# `__import__("mpota.layout." + name)` in mpota_boot/board.py takes the layout of the settings.
LAYOUTS = "mpota.layout."
# `__import__("mpota_boot.ports." + sys.platform)` there takes the table of the board's port.
PORTS = "mpota_boot.ports."
# The table of a port that has none of its own; where the mark is that some tables name.
OTHER, MARK, ESP32 = PORTS + "other", PORTS + "mark", PORTS + "esp32"
_PARSER = Lock()


def modules(layout: str, lzma: bool = False, own: Iterable[bytes] = (), platform: str = "") -> list[Path]:
    """The files that a board of this layout carries, in order; an empty `__init__.py` is no file on a board.

    `own`: sources of the owner's on the board, which may import more than the shipped programs do. `platform`: the
    board's `sys.platform`; "" where it is not known: then the tables of all ports that the layout runs on go along.
    """
    left = _other_ports(platform, layout)
    todo = [LAYOUTS + layout, "mpota.console", *([LZMA] if lzma else [])]
    for source in (*programs(layout).values(), *own):
        todo += imports(_parsed(source), layout)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name in left or not name.startswith(PACKAGES) or _file(name) is None:
            continue
        seen.add(name)
        todo += imports(_parsed((_file(name) or DEVICE).read_bytes()), layout)
        todo += [name.rpartition(".")[0], *_loader(name)]
    files = {path for name in seen if (path := _file(name))}
    return sorted(path for path in files if path.stat().st_size)


def imported(layout: str) -> set[str]:
    """The modules that are not mpota's and that its files on such a board import, by the first part of their names."""
    sources = [*programs(layout).values(), *(path.read_bytes() for path in modules(layout, lzma=True))]
    found = {name.partition(".")[0] for source in sources for name in imports(_parsed(source), layout)}
    return found - {*PACKAGES, "wiring", "app", ""}


def _other_ports(platform: str, layout: str) -> set[str]:
    """The modules below mpota_boot that only boards of other platforms need."""
    tables = {PORTS + path.stem for path in (DEVICE / PORTS.replace(".", "/")).glob("*.py")} - {PORTS + "__init__"}
    if not platform:
        return tables - {ESP32, OTHER} if layout == "esp32" else set()
    own = PORTS + platform if PORTS + platform in tables - {MARK, OTHER} else OTHER
    others = tables - {own}
    if import_module(own).MARK:
        # Ports with a mark have no NVS.
        return others - {MARK} | {NVS}
    return others


def imports(tree: ast.AST, layout: str) -> Iterator[str]:
    """Dotted names of what is imported, wherever it stands; of `from a import b` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            yield from _chosen(node.args[0], layout)


def _chosen(name: ast.expr, layout: str) -> list[str]:
    """What `__import__("mpota.pipe." + name)` may take: any module of the folder, or the board's layout."""
    first = name.left if isinstance(name, ast.BinOp) else name
    prefix = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    if prefix == LAYOUTS:
        return [LAYOUTS + layout]
    if not isinstance(name, ast.BinOp):
        return [prefix]
    folder = DEVICE / prefix.strip(".").replace(".", "/")
    found = [prefix + path.stem for path in folder.glob("*.py")] if prefix.startswith(PACKAGES) else []
    return [one for one in found if one != LZMA]


def _parsed(source: bytes) -> ast.AST:
    try:
        # Two threads that parse at once make CPython 3.11 raise SystemError (its recursion depth is one for both).
        with _PARSER:
            return ast.parse(source)
    except (SyntaxError, ValueError):
        # A program of the owner's that does not run imports nothing.
        return ast.Module([], [])


def _file(name: str) -> Path | None:
    base = DEVICE / name.replace(".", "/")
    found = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return found[0] if found else None


def _loader(name: str) -> list[str]:
    """Everything of the bootloader that a module is a part of."""
    head, part, _ = (name + ".").partition(".loader.")
    folder = DEVICE / head.replace(".", "/") / "loader"
    return [f"{head}.loader.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"] if part else []
