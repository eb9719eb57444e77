"""Bytes of .mpy: the core that updates an ESP32, and what an ordinary boot imports on each platform.

What a boot imports is asked of the unix port, which imports it; nothing is told from the source. In place of the unix
port's table each platform loads its own.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mpota_host.bench.figure import AT_MOST, Figure
from mpota_host.bench.material import Material
from mpota_host.board.carried import modules
from mpota_host.board.flash import compile_mpy
from mpota_host.sources import module_path, name_of
from mpota_host.sources import modules as device_modules

# A module of the core runs on every board: the wiring is this board's, console.py has the words of a host, file.py is a
# link for a card; the others are stages and stores that a board may do without.
WIRING = ("board", "port", "wire", "runner", "dog", "other")
OPTIONAL = ("decrypt", "delta", "xtensa", "lzma", "listing", "tree", "trees", "pair", "log")
NOT_CORE = (*WIRING, *OPTIONAL, "console", "file")
ARCH = "xtensawin"
# Bars with air above what is measured: a full one shapes the code. Whoever raises one says in its commit what for.
CORE_BYTES, BOOT_BYTES, SHIM_BYTES = 47616, 4608, 1536
# Stages that a board may do without, and their bars; 0 where there is none.
STAGES = {"delta": 2560, "decrypt": 1024, "lzma": 7680, "xtensa": 0}
PORTS, MARK = "mpota_boot.ports.", "mpota_boot.ports.mark"
BOOT = "import sys, mpota_boot.shim, mpota_boot.board; print(*[m for m in sys.modules if 'mpota' in m])"


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
