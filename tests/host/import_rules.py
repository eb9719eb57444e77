"""Who may import whom, on the board and on the PC: a table, held against the sources' imports.

An import is read wherever it stands: at the top of a file, in a function, in `__import__("a." + b)`. Nothing is
imported or run here. `test_imports.py` holds the tree to it.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("mpota_boot", "mpota", "mpota_host", "tests", "boot", "main")
CHIPS = "mpota_host.chips."
WINGS = "mpota.layout."
PAGE = "device/README.md"

# Module, or package with a final dot, to what it may import; of several keys that fit, the longest decides.
ERRORS = "mpota_boot.errors"
LAYOUT = (ERRORS, "mpota_boot.journal", "mpota.stream", "mpota.version", "mpota.store.")
# What lies beside the chips' folders.
SHARED = tuple(WINGS + name for name in ("contract", "arming", "facts", "given", "origin"))
WING = (*LAYOUT, *SHARED, "mpota.link.frame", "mpota.pipe.")
# A link of a chip's own is a connection too.
LINKED = ("mpota.link.connection",)
# A wiring puts a board together; a program is main.py's equal.
WIRED = ("mpota_boot.board", "mpota.installer", "mpota.link.", "mpota.network.")
PROGRAM = ("mpota_boot.", "mpota.")
# A vendor's service that takes the agent's place before the runner.
SERVICE = ("mpota.agent",)
BOARD = {
    "boot": ("mpota_boot.",),
    "main": ("mpota_boot.", "mpota.agent", "mpota.runner", "mpota.link.", "mpota.network."),
    "mpota_boot.": ("mpota_boot.",),
    "mpota_boot.errors": (),
    "mpota_boot.updater": ("mpota_boot.",),
    "mpota.stream": (ERRORS,),
    "mpota.version": (ERRORS,),
    "mpota.link.": (ERRORS, "mpota.stream", "mpota.version", "mpota.link."),
    "mpota.network.": (ERRORS, "mpota.pace", "mpota.link.", "mpota.network."),
    "mpota.pipe.": (ERRORS, "mpota.stream"),
    "mpota.pipe.xtensa": (ERRORS, "mpota.stream", "mpota.pipe.delta"),
    "mpota.pipe.package": (ERRORS, "mpota.stream", "mpota.pipe.trust"),
    "mpota.pipe.keyrecord": (ERRORS, "mpota.stream", "mpota.pipe.trust"),
    "mpota.keyring": (ERRORS, "mpota.stream", "mpota.pipe.keyrecord", "mpota.pipe.trust"),
    "mpota.store.": (ERRORS, "mpota_boot.journal", "mpota.stream", "mpota.store."),
    "mpota.layout.": (*LAYOUT, *SHARED),
    "mpota.setup": ("mpota_boot.",),
    "mpota.installer": (
        *(ERRORS, "mpota_boot.journal", "mpota.stream", "mpota.version"),
        *("mpota.pipe.package", "mpota.pipe.decrypt", "mpota.store.writer", "mpota.needs"),
    ),
    "mpota.needs": (ERRORS, "mpota_boot.shim", "mpota.stream", "mpota.version"),
    "mpota.agent": (
        *(ERRORS, "mpota_boot.rescue", "mpota.installer"),
        *("mpota.pace", "mpota.stream", "mpota.tried", "mpota.version"),
    ),
    "mpota.tried": (ERRORS,),
    "mpota.pace": (),
    "mpota.runner": ("mpota_boot.", "mpota.agent", "mpota.tried", "mpota.version"),
    "mpota.console": (
        *("mpota_boot.", "mpota.agent", "mpota.keyring", "mpota.runner", "mpota.tried", "mpota.version"),
        *("mpota.link.", "mpota.network.", "mpota.pipe."),
    ),
}
# What may be imported inside a function only: the boot code knows a layout by its name, once a trial is open.
LAZY = {
    "mpota_boot.": ("mpota.layout.", "mpota.store.pair", "mpota.keyring"),
    "mpota_boot.updater": ("mpota.",),
    "mpota.pipe.package": ("mpota.pipe.",),
}
# These import a module whose whole name is a value.
BY_NAME = frozenset({"mpota_boot.board", "mpota_boot.updater", "mpota.console", "mpota.setup", "mpota_host.sim.port"})
# A bootloader shares codecs with its layout, never these, which decide.
DECIDES = ("", ".layout", ".settle", ".service", ".policy")
# What an oracle must find out for itself.
JUDGED = ("mpota.installer", "mpota.layout", "mpota.store", "mpota.agent")

# What stands left never imports what stands right.
ROOMS = ("package", "board", "fleet", "sim", "cut", "rehearse", "command", "bench", "demo")
GROUND = ("mpota_host", "mpota_host.chips", "mpota_host.sources", "mpota_host.registry")
# Modules beside the rooms.
BESIDE = {"mpota_host.__main__": "command"}
# The room that a part of a chip's folder belongs to; every other part is left of `command`.
PARTS = {"sim": "sim", "cut": "cut", "commands": "command", "bench": "bench", "demo": "demo"}
OTHER = "rehearse"


@dataclass(frozen=True)
class Import:
    """`name` is that of a module; "?" for one whose whole name is a value."""

    line: int
    name: str
    lazy: bool


def module_name(path: str) -> str:
    """`device/mpota/link/http.py` is `mpota.link.http`, a package's `__init__.py` is the package."""
    name = path.removeprefix("device/").removeprefix("host/").removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def file_of(module: str) -> Path:
    """Where a project module's source is; a path that is no file where there is none."""
    base = module.split(".")[0]
    root = ROOT / {"mpota": "device", "mpota_boot": "device", "mpota_host": "host"}.get(base, "")
    path = root / (module.replace(".", "/") + ".py")
    return path if path.is_file() else root / module.replace(".", "/") / "__init__.py"


def _package(module: str) -> bool:
    path = file_of(module)
    return path.is_file() and path.name == "__init__.py"


def imports(tree: ast.AST) -> Iterator[Import]:
    """Everything imported. Of `from a import b` that is a.b where there is such a module, else a."""
    lazy = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = node.module or ""
            found = [f"{whole}.{alias.name}" for alias in node.names]
            names = dict.fromkeys(one if file_of(one).is_file() else whole for one in found)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            names = [_called(node.args[0])]
        for name in names:
            yield Import(node.lineno, name, id(node) in lazy)


def _called(argument: ast.expr) -> str:
    """ "a." of `"a." + b`, of `"a.%s" % b` and of f"a.{b}"; "?" where it begins with a value."""
    while isinstance(argument, ast.BinOp):
        argument = argument.left
    if isinstance(argument, ast.JoinedStr):
        argument = argument.values[0]
    return str(argument.value).partition("%")[0] if isinstance(argument, ast.Constant) else "?"


def within(name: str, allowed: Iterable[str]) -> bool:
    """Is a module among these? With a final dot a package and all below it is meant."""
    return any(name == one.rstrip(".") or (one.endswith(".") and name.startswith(one)) for one in allowed)


def rule_of(table: Mapping[str, tuple[str, ...]], module: str) -> tuple[str, ...] | None:
    """The entry whose key fits best; None where none does."""
    keys = [key for key in table if within(module, [key])]
    return table[max(keys, key=len)] if keys else None


def allowed(module: str) -> tuple[str, ...] | None:
    """What a board's module may import; None where no rule covers it."""
    parts = module.split(".")
    if not module.startswith(WINGS) or not _package(".".join(parts[:3])):
        return rule_of(BOARD, module)
    own = ".".join(parts[:3]) + "."
    part = parts[3] if len(parts) > 3 else ""
    if part == "programs":
        return PROGRAM
    return (*WING, *{"wiring": WIRED, "link": LINKED, "service": SERVICE}.get(part, ()), own)


def page() -> list[str]:
    """The rows of the table in PAGE: module, what it may import, what it may import inside functions besides."""
    chip = f"{WINGS}<chip>."
    rows = [(_short(key), _listed(BOARD[key]), _listed(LAZY.get(key, ()), "")) for key in BOARD]
    rows.append((_short(chip), f"{_listed((*WING, chip))}; never `pipe/package`", ""))
    rows.append((_short(f"{chip}link."), f"the same, {_listed(LINKED)}", ""))
    rows.append((_short(f"{chip}wiring"), f"the same, {_listed(WIRED)}", ""))
    rows.append((_short(f"{chip}service"), f"the same, {_listed(SERVICE)}", ""))
    rows.append((_short(f"{chip}programs."), _listed(PROGRAM), ""))
    decides = [_short(f"{chip}{one.lstrip('.')}" if one else chip.rstrip(".")) for one in DECIDES]
    decides.append(_short(f"{WINGS}contract"))
    rows.append((_short(f"{chip}loader."), f"what its chip may, never {', '.join(decides)}", ""))
    rooms = ", ".join(f"`{room}`" for room in ROOMS)
    rows.append(("`mpota_host/*`", f"all of these, and no room to the right of its own: {rooms}", ""))
    return [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]


def _listed(names: Iterable[str], nothing: str = "nothing") -> str:
    return ", ".join(map(_short, names)) or nothing


def _short(name: str) -> str:
    """A module as the page calls it: `link/http` for mpota.link.http, `link/*` for all below mpota.link."""
    text = name.rstrip(".").removeprefix("mpota.").replace(".", "/")
    return f"`{text}/*`" if name.endswith(".") else f"`{text}`"


def wrong_on_board(path: str, text: str) -> list[str]:
    """Imports of a board's module that the table does not have."""
    module, found = module_name(path), []
    may, later = allowed(module), rule_of(LAZY, module) or ()
    for one in imports(ast.parse(text)):
        where = f"{path}:{one.line}: {module}"
        if one.name == "?":
            if module not in BY_NAME:
                found.append(f"{where} imports a module whose name is a value")
        elif one.name.split(".")[0] not in PROJECT:
            continue
        elif may is None:
            found.append(f"{where} has no rule, and imports {one.name}")
        elif one.name in ("mpota", "mpota.layout") or not within(one.name, (*may, *(later if one.lazy else ()))):
            found.append(f"{where} may import {', '.join(may) or 'nothing'}, and imports {one.name}")
        elif module.startswith(WINGS) and within(one.name, ["mpota.pipe.package"]) and ".programs" not in module:
            found.append(f"{where} is a layout, and imports {one.name}: a package is the installer's")
    return found


def wrong_in_loader(path: str, text: str) -> list[str]:
    """A bootloader that asks its layout what to do: both would make the same mistake."""
    module = module_name(path)
    parts = module.split(".")
    if not module.startswith(WINGS) or "loader" not in parts[3:4]:
        return []
    own = ".".join(parts[:3])
    bad = [own + one for one in DECIDES] + [WINGS + "contract"]
    return [
        f"{path}:{one.line}: a bootloader decides by itself, and this imports {one.name}"
        for one in imports(ast.parse(text))
        if one.name in bad
    ]


def room_of(module: str) -> str:
    """The room of a host's module, "" for the ground that all stand on; KeyError where it has none."""
    if module in GROUND:
        return ""
    if module in BESIDE:
        return BESIDE[module]
    if module.startswith(CHIPS):
        parts = module.split(".")
        return PARTS.get(parts[3], OTHER) if len(parts) > 3 else OTHER
    room = module.split(".")[1]
    if room not in ROOMS:
        raise KeyError(room)
    return room


def _rank(module: str) -> int:
    room = room_of(module)
    return ROOMS.index(room) if room else -1


def wrong_on_host(path: str, text: str) -> list[str]:
    """Imports that run back up, and chips that are named outside their folder."""
    module, found = module_name(path), []
    chip = module.split(".")[2] if module.startswith(CHIPS) else ""
    for one in imports(ast.parse(text)):
        where = f"{path}:{one.line}: {module}"
        try:
            mine = _rank(module)
            theirs = _rank(one.name) if one.name.split(".")[0] == "mpota_host" else -1
        except KeyError as e:
            found.append(f"{where} imports {one.name}; one of both is in no room: {e}")
            continue
        own = one.name.startswith(f"{CHIPS}{chip}.") and room_of(one.name) == OTHER
        if one.name == CHIPS and module in BY_NAME:
            continue
        if one.name.startswith(CHIPS) and one.name.split(".")[2] != chip:
            found.append(f"{where} imports {one.name}: a chip is found by mpota_host.registry")
        elif theirs > mine and not own:
            found.append(f"{where} is in {room_of(module) or 'the ground'}, and imports {one.name}, which stands right")
        elif one.name.split(".")[0] == "tests":
            found.append(f"{where} imports {one.name}: an installation has no tests")
    return found


def wrong_in_oracle(path: str, text: str) -> list[str]:
    """An oracle that shares code with what it judges."""
    if Path(path).stem != "oracle" or "/cut/" not in path:
        return []
    return [
        f"{path}:{one.line}: an oracle imports {one.name}, which it judges"
        for one in imports(ast.parse(text))
        if within(one.name, [name + "." for name in JUDGED])
    ]


def reached(module: str) -> set[str]:
    """Everything of the project that importing this module loads, by the imports outside functions."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or not file_of(name).is_file():
            continue
        seen.add(name)
        todo += [one.name for one in imports(ast.parse(file_of(name).read_text())) if not one.lazy]
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return seen


def node_of(module: str) -> str:
    """What a module is in the graph of packages: its folder; a chip is one on each side, a lone module itself."""
    parts = module.split(".")
    if module.startswith((WINGS, CHIPS)):
        return ".".join(parts[:3])
    if _package(module) or len(parts) == 1:
        return module
    return module if parts[:-1] in (["mpota"], ["mpota_host"]) else ".".join(parts[:-1])


def graph(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """Which package imports which; `texts` are sources by path. What LAZY allows is a seam, and no import here."""
    found: dict[str, set[str]] = {}
    for path, text in texts.items():
        module = module_name(path)
        mine = found.setdefault(node_of(module), set())
        for one in imports(ast.parse(text)):
            seam = one.lazy and within(one.name, rule_of(LAZY, module) or ())
            if one.name.split(".")[0] in PROJECT and not seam and not one.name.endswith("."):
                mine.add(node_of(one.name))
    return {node: names - {node} for node, names in found.items()}


def cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Packages that import each other, however far around: the strongly connected components of two or more."""
    reach = {node: set(names) for node, names in edges.items()}
    for through in edges:
        for names in reach.values():
            if through in names:
                names |= reach[through]
    found = {frozenset({a, *(b for b in reach[a] if a in reach.get(b, ()))}) for a in reach}
    return sorted(sorted(one) for one in found if len(one) > 1)
