"""Each module of an ESP32 that is updated over HTTP: its .mpy, the heap that it takes, and when it is loaded.

What the shipped boot.py, main.py, wiring and layout import stays for the whole run. The others are imported inside
functions. For each of them, the heap counts everything that the import loads. What a module leaves behind when it is
forgotten is its names: MicroPython keeps a name for ever, in tables of which each new one is twice as large.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from mpota_host.bench.figure import Figure
from mpota_host.bench.material import Material
from mpota_host.bench.sizes import ARCH
from mpota_host.board.carried import imports, modules
from mpota_host.board.flash import compile_mpy
from mpota_host.sources import PACKAGES, module_path, name_of, shipped

LAYOUT = "esp32"
# mpota_boot/board.py makes these names out of `sys.platform` and the settings, or imports them in a function.
CHOSEN = ("mpota_boot.ports.esp32", "mpota_boot.nvs", "mpota.layout.esp32")
# What each link over HTTP loads while it opens.
OPENING = "ask", "find", "reach", "url"
CODE = """
import gc, sys
def used():
    gc.collect()
    return gc.mem_alloc()
def load(name):
    before = used()
    __import__(name)
    return used() - before
def drop(names):
    for name in names:
        if sys.modules.pop(name, None):
            home, _, last = name.rpartition(".")
            if hasattr(sys.modules.get(home), last):
                delattr(sys.modules[home], last)
for name in {stays!r}.split():
    print(name, load(name), 0)
for name in {late!r}.split():
    had = set(sys.modules)
    before = used()
    loaded = load(name)
    drop([one for one in sys.modules if one not in had])
    had = None
    print(name, loaded, used() - before)
"""


def _named(tree: ast.AST) -> Iterator[str]:
    """The modules of the device that a source names in its imports, wherever they stand."""
    for name in imports(tree, LAYOUT):
        if name.startswith(PACKAGES) and module_path(name).is_file():
            yield name


def _first(name: str) -> Iterator[str]:
    """The modules that are loaded before a module's own code runs."""
    tree = ast.parse(module_path(name).read_bytes())
    own = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    yield from _named(ast.Module([*own], []))


def ordered(names: Iterable[str]) -> list[str]:
    """These modules and what they import at their own level, each behind what it imports."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in found:
            for other in _first(name):
                add(other)
            found[name] = None

    for name in names:
        add(name)
    return [name for name in found if module_path(name).stat().st_size]


def stays() -> list[str]:
    """What such a board has loaded when its application runs."""
    roots = [*CHOSEN, *_named(ast.parse(module_path("mpota.layout." + LAYOUT).read_bytes()))]
    for source in shipped(LAYOUT).values():
        roots += _named(ast.parse(source.read_bytes()))
    return ordered(roots)


def late() -> list[str]:
    """What else lies on the board."""
    files = [name_of(path) for path in modules(LAYOUT, platform="esp32")]
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files]
    return [name for name in ordered(names) if name not in stays() and ".loader" not in name]


def _when(name: str, kept: bool) -> str:
    if kept:
        return "stays"
    return "while a link opens" if name.startswith("mpota.link.") and name[11:] in OPENING else "where it is needed"


def measure(material: Material) -> list[Figure]:
    """The sums first; then what stays and what does not, the largest first."""
    kept = stays()
    told = material.told(CODE.format(stays=" ".join(kept), late=" ".join(late())))
    rows = []
    for line in told.splitlines():
        name, heap, left = line.split()[0], *map(int, line.split()[1:])
        path = module_path(name)
        facts = {"heap": heap, "left": left, "stays": name in kept}
        note = f"{_when(name, name in kept)}: {heap:,} B of heap" + (f", {left:,} B left" if left > 0 else "")
        rows.append(Figure(name_of(path), len(compile_mpy(path, ARCH)), "B", note=note, facts=facts))
    rows.sort(key=lambda row: (not row.facts["stays"], -row.value))
    return [*_sums(rows), *rows]


def _sums(rows: list[Figure]) -> list[Figure]:
    kept = [row for row in rows if row.facts["stays"]]
    return [
        Figure("all that stays", sum(row.value for row in kept), "B", note=_heap(kept)),
        Figure("all else", sum(row.value for row in rows) - sum(row.value for row in kept), "B"),
    ]


def _heap(rows: list[Figure]) -> str:
    return f"{sum(row.facts['heap'] for row in rows):,} B of heap"
