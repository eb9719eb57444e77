"""Bytes of .mpy: the core that updates an ESP32, and what an ordinary boot imports on each platform.

What a boot imports is asked of the unix port, which imports it; nothing is told from the source. In place of the unix
port's table each platform loads its own.

by_module() weighs each module of an ESP32 that is updated over HTTP, in .mpy and in heap. What boot.py, main.py, wiring
and layout import stays for the whole run. The others are imported inside functions: for each, the heap counts all that
the import loads. A module that is forgotten leaves its names behind: MicroPython keeps a name for ever, in tables of
which each new one is twice as large.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from mpota_host.bench.figure import AT_MOST, Figure
from mpota_host.bench.material import Material
from mpota_host.board.carried import imports, modules
from mpota_host.board.flash import compile_mpy
from mpota_host.sources import PACKAGES, module_path, name_of, shipped
from mpota_host.sources import modules as device_modules

# A module of the core runs on every board: the wiring is this board's, console.py has the words of a host, file.py is a
# link for a card; the others are stages, stores and the choice of an mpota that a release brings, which a board may do
# without.
WIRING = ("board", "port", "wire", "runner", "rescue", "dog", "other")
STORES = ("listing", "tree", "trees", "pair", "log")
KEYS = ("keyring", "keyrecord")
OPTIONAL = ("updater", "fields", "needs", "origin", "decrypt", "delta", "xtensa", "lzma", *STORES, *KEYS)
NOT_CORE = (*WIRING, *OPTIONAL, "console", "file")
ARCH = "xtensawin"
# Bars with air above what is measured: a full one shapes the code. Whoever raises one says in its commit what for.
CORE_BYTES, BOOT_BYTES, SHIM_BYTES = 49024, 4672, 1536
# Stages that a board may do without, and their bars; 0 where there is none.
STAGES = {"delta": 2560, "decrypt": 1024, "lzma": 7680, "xtensa": 0, "updater": 640}
PORTS, MARK = "mpota_boot.ports.", "mpota_boot.ports.mark"
BOOT = "import sys, mpota_boot.shim, mpota_boot.board; print(*[m for m in sys.modules if 'mpota' in m])"

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


def core() -> list[Path]:
    """Installer, agent, shim, store, pipe, the links over HTTP and serial, and one layout without its loader."""
    return [path for path in modules("esp32", platform="esp32") if path.stem not in NOT_CORE]


def at_boot(material: Material, platform: str = "esp32") -> list[Path]:
    """The files of mpota_boot that an ordinary boot loads; an empty `__init__.py` is no file on a board."""
    names = [name for name in material.told(BOOT).split() if not name.startswith(PORTS)] + of_port(platform)
    return [path for path in map(module_path, names) if path.stat().st_size]


def platforms() -> list[str]:
    """Each `sys.platform` that has a table, and "other"."""
    return sorted(
        path.stem for path in module_path(PORTS + "other").parent.glob("*.py") if path.stem not in ("__init__", "mark")
    )


def of_port(platform: str) -> list[str]:
    """What only a platform's boot loads: its table, the mark that this names, an ESP32's journal."""
    table = PORTS + platform
    marked = import_module(table).MARK
    return [table, *([MARK] if marked else []), *(["mpota_boot.nvs"] if platform == "esp32" else [])]


def mpy(paths: list[Path]) -> dict[str, int]:
    """Bytes by path in the tree, the largest first."""
    sizes = {name_of(path): len(compile_mpy(path, ARCH)) for path in paths}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def optional() -> list[Figure]:
    """What a board may do without: the stages beside their bars, the stores."""
    there = [path for path in device_modules() if path.stem in OPTIONAL]
    files = {Path(name).stem: size for name, size in mpy(there).items()}
    bars = [(stem, STAGES.get(stem, 0)) for stem in (*STAGES, *sorted(files.keys() - STAGES))]
    return [
        Figure(f"optional: {stem}", files[stem], "B", AT_MOST if bar else "", bar, "not in the core")
        for stem, bar in bars
    ]


def _boot(platform: str, files: dict[str, int]) -> Figure:
    name = "an ordinary boot" if platform == "esp32" else f"an ordinary boot: {platform}"
    words = ", ".join(Path(name).name.removesuffix(".py") for name in files)
    return Figure(name, sum(files.values()), "B", AT_MOST, BOOT_BYTES, words, {"files": files})


def measure(material: Material) -> list[Figure]:
    """Each file of the core, then the sums."""
    files = mpy(core())
    boots = {platform: mpy(at_boot(material, platform)) for platform in platforms()}
    rows = [Figure(name, size, "B") for name, size in files.items()]
    return [
        *rows,
        Figure("device core", sum(files.values()), "B", AT_MOST, CORE_BYTES, f"{len(files)} files"),
        *(_boot(platform, files) for platform, files in boots.items()),
        Figure("the shim of it", boots["esp32"]["mpota_boot/shim.py"], "B", AT_MOST, SHIM_BYTES),
        *optional(),
    ]


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


def by_module(material: Material) -> list[Figure]:
    """Each module of a board that is updated over HTTP: the sums, then what stays and what does not, largest first."""
    kept = stays()
    told = material.told(CODE.format(stays=" ".join(kept), late=" ".join(late())))
    rows = []
    for line in told.splitlines():
        name, heap, left = line.split()[0], *map(int, line.split()[1:])
        path = module_path(name)
        facts = {"heap": heap, "left": left, "stays": name in kept}
        note = f"{_when(name, name in kept)}: {heap:,} B of heap" + (f", {left:,} B left" if left > 0 else "")
        rows.append(Figure(name_of(path), mpy([path])[name_of(path)], "B", note=note, facts=facts))
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
