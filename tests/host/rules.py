"""The rules of the house as functions: each reads a source text and returns complaints, one sentence a breach.

A complaint names the file, the line, and the rule. Nothing is imported or run: the rules read syntax trees, so a bad
snippet in a test is judged exactly as a bad file is. `test_rules.py` holds the tree to them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

MAX_FUNCTION = 30
# A smell, no law: the function limit is what keeps code short.
MAX_FILE = 400
# A viper function that decodes bits cannot be split: a call costs more than a bit. It counts by itself.
MAX_VIPER = 260
MAX_PARAMETERS = 5
# It answers a person who typed its import at the REPL; nothing else in device/ has anybody to talk to.
TALKS = "device/mpota/setup.py"
BAD_NAMES = ("utils", "util", "common", "helpers", "helper", "manager", "base")
HARDWARE = ("esp32", "machine", "network", "esp")

# What the unix port and an ESP32 both have, and device code may stand on.
PORT_MODULES = frozenset(
    "array binascii collections cryptolib deflate errno gc hashlib io json micropython os random re select socket ssl"
    " struct sys time vfs".split()
)
# The one module that main.py takes from the board's owner.
APPLICATION = "app"
# Methods and names that CPython has and the port has not.
PORT_LACKS = frozenset("hexdigest ljust rjust zfill BufferedReader removeprefix removesuffix isidentifier".split())

# Who may import whom: module (or folder, with a final dot) to what it may name. The longest match decides.
MAY_IMPORT = {
    "mpota_boot.errors": (),
    "mpota.stream": ("mpota_boot.errors",),
    "mpota.link.": ("mpota_boot.errors", "mpota.stream", "mpota.version", "mpota.link."),
    "mpota.pipe.": ("mpota_boot.errors", "mpota.stream"),
    "mpota.pipe.xtensa": ("mpota_boot.errors", "mpota.stream", "mpota.pipe.delta"),
    "mpota.pipe.package": ("mpota_boot.errors", "mpota.stream", "mpota.pipe."),
    "mpota.store.": ("mpota_boot.errors", "mpota.stream", "mpota.store."),
    "mpota.layout.": (
        "mpota_boot.errors",
        "mpota.stream",
        "mpota.store.flash",
        "mpota.store.writer",
        "mpota_boot.journal",
        "mpota.store.log",
        "mpota.layout.contract",
        "mpota.link.frame",
        "mpota.pipe.",
        "mpota.version",
    ),
    "mpota.installer": (
        "mpota_boot.errors",
        "mpota.stream",
        "mpota.pipe.package",
        "mpota.pipe.decrypt",
        "mpota.store.writer",
        "mpota_boot.journal",
        "mpota.version",
    ),
    "mpota.agent": ("mpota_boot.errors", "mpota.installer", "mpota.version"),
    "mpota.console": (
        "mpota_boot.errors",
        "mpota.agent",
        "mpota_boot.board",
        "mpota.link.",
        "mpota.pipe.",
        "mpota.runner",
        "mpota_boot.shim",
    ),
    "mpota_boot.shim": ("mpota_boot.errors", "mpota_boot.journal"),
    "mpota_boot.board": ("device.",),
    "mpota.layout.esp32.port": ("mpota_boot.errors",),
    "mpota.runner": ("mpota_boot.shim",),
    "boot": ("mpota_boot.shim", "mpota_boot.board"),
    "main": ("mpota_boot.board", "mpota.agent", "mpota.link.", "mpota.runner", "mpota_boot.shim"),
    "host.": ("device.", "host."),
}
FOLDERS = ("device", "mpota.link", "mpota.pipe", "mpota.store", "mpota.layout")


def module_name(path: str) -> str:
    """`mpota/link/http.py` is `mpota.link.http`, a package's `__init__.py` is the package."""
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported, wherever it stands; `__import__("a." + b)` counts as `a.`"""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            whole = node.module or ""
            folder = whole in FOLDERS or whole == "host"
            names = [f"{whole}.{alias.name}" if folder else whole for alias in node.names]
            yield from ((node.lineno, name) for name in names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            first = node.args[0].left if isinstance(node.args[0], ast.BinOp) else node.args[0]
            while isinstance(first, ast.BinOp):
                first = first.left
            yield node.lineno, str(first.value) if isinstance(first, ast.Constant) else "?"


def allowed(module: str) -> tuple[str, ...] | None:
    """What `module` may import from the project; None where no rule covers it."""
    keys = [k for k in MAY_IMPORT if module == k or (k.endswith(".") and (module + ".").startswith(k))]
    if not keys:
        return None
    may = MAY_IMPORT[max(keys, key=len)]
    parts = module.split(".")
    if parts[:2] == ["device", "layout"] and len(parts) > 2:
        own = ".".join(parts[:3])
        may = (*may, own, own + ".")
    return may


def wrong_imports(path: str, text: str) -> list[str]:
    """Imports that the table of DESIGN.md does not have."""
    module = module_name(path)
    may = allowed(module)
    found = []
    for line, name in imports(ast.parse(text)):
        if name.split(".")[0] not in ("device", "host", "tests", "boot", "main"):
            continue
        if module in FOLDERS or may is None:
            found.append(f"{path}:{line}: {module} may import nothing of the project, and imports {name}")
            continue
        good = any(name == m or (m.endswith(".") and name.startswith(m)) for m in may)
        vendor = module.startswith("mpota.layout.") and name in ("mpota.pipe.package", "mpota.pipe.")
        if not good or vendor:
            found.append(f"{path}:{line}: {module} may import {', '.join(may) or 'nothing'}, and imports {name}")
    return found


def foreign_modules(path: str, text: str) -> list[str]:
    """Modules that the port does not have, or hardware outside board.py's functions."""
    found = []
    tree = ast.parse(text)
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside.update(id(n) for n in ast.walk(node))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for line, name in imports(ast.Module([node], [])):
            first = name.split(".")[0]
            if first in HARDWARE:
                if path not in ("device/mpota_boot/board.py", "device/mpota/layout/esp32/port.py", "boot.py"):
                    found.append(f"{path}:{line}: only board.py and port.py name hardware, and this imports {name}")
                elif id(node) not in inside and path != "boot.py":
                    found.append(f"{path}:{line}: {name} is imported outside a function, so importing touches hardware")
            elif first not in PORT_MODULES | {"device", "host"} and (path, first) != ("main.py", APPLICATION):
                found.append(f"{path}:{line}: MicroPython has no module {name}")
    return found


def dialect(path: str, text: str) -> list[str]:
    """Syntax and names that the device dialect does not have, and what its style forbids."""
    found = []
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Match):
            found.append(f"{path}:{line}: MicroPython has no match statement")
        elif isinstance(node, ast.Attribute) and node.attr in PORT_LACKS:
            found.append(f"{path}:{line}: MicroPython has no {node.attr}")
        elif isinstance(node, ast.Attribute) and node.attr == "path" and getattr(node.value, "id", "") == "os":
            found.append(f"{path}:{line}: MicroPython has no os.path")
    return found


def device_style(path: str, text: str) -> list[str]:
    """No print, no bare except, no import that may fail quietly."""
    found = []
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name) and node.id == "print" and path != TALKS:
            found.append(f"{path}:{line}: print in device code")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{path}:{line}: a bare except")
        elif isinstance(node, ast.Try) and any(isinstance(n, ast.Import | ast.ImportFrom) for n in node.body):
            # The port tells by an import whether it has NVS, and nothing else is told that way.
            port = path == "device/mpota_boot/board.py" and any(n.names[0].name == "NVS" for n in node.body)
            if any("ImportError" in ast.dump(h) for h in node.handlers) and not port:
                found.append(f"{path}:{line}: try/except ImportError; stand-ins live in host/")
    return found


def sizes(path: str, text: str) -> list[str]:
    """Functions, files and parameter lists that are too long for the device."""
    found = []
    tree = ast.parse(text)
    viper = {n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and "viper" in map(_last, n.decorator_list)}
    lines = len(text.splitlines()) - sum((n.end_lineno or n.lineno) - n.lineno for n in viper)
    if lines > MAX_FILE:
        found.append(f"{path}: {lines} lines, at most {MAX_FILE}")
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        n = (node.end_lineno or node.lineno) - node.lineno + 1
        most = MAX_VIPER if node in viper else MAX_FUNCTION
        if n > most:
            found.append(f"{path}:{node.lineno}: {node.name} has {n} lines, at most {most}")
        args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        count = len([a for a in args if a and a.arg not in ("self", "cls")])
        if count > MAX_PARAMETERS:
            found.append(f"{path}:{node.lineno}: {node.name} has {count} parameters, at most {MAX_PARAMETERS}")
    return found


def _last(decorator: ast.expr) -> str:
    return decorator.attr if isinstance(decorator, ast.Attribute) else ""


def opening(path: str, text: str) -> list[str]:
    """A module without a docstring (for boot.py and main.py a comment will do), or whose name says nothing."""
    found = []
    if Path(path).stem in BAD_NAMES:
        found.append(f"{path}: a module named {Path(path).stem} says nothing")
    tree = ast.parse(text)
    doc = ast.get_docstring(tree)
    if tree.body and not doc and not ("/" not in path and text.startswith("# ")):
        found.append(f"{path}: no docstring that says what it is")
    for n, line in enumerate(text.splitlines(), 1):
        if any(f"# {word}" in line for word in ("TODO", "FIXME", "XXX")):
            found.append(f"{path}:{n}: an open end is left in a comment")
    return found


def codes(text: str, classes: frozenset[str]) -> set[str]:
    """The code of every `raise SomeError("code", ...)`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        call = node.exc if isinstance(node, ast.Raise) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in classes and call.args:
            first = call.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def waits(path: str, text: str) -> list[str]:
    """Waits without a deadline: a test that hangs there is ended by pytest alone, and its own clean-up may not be."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, attr = ast.unparse(node.func.value), node.func.attr
        deadline = any(k.arg in ("timeout", None) for k in node.keywords)
        child = owner == "subprocess" and attr in ("run", "call", "check_call", "check_output")
        other = attr in ("wait", "join", "communicate", "result") and not node.args and owner != "os"
        if (child or other) and not deadline:
            found.append(f"{path}:{node.lineno}: {owner}.{attr} has no timeout")
    return found


def mentions(text: str) -> set[str]:
    """Every string constant of a test file."""
    return {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def loads(path: Path) -> list[str]:
    """The project modules that importing this file loads at once: its imports outside functions."""
    tree = ast.parse(path.read_text())
    top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return [name for _, name in imports(ast.Module(list(top), [])) if name.startswith("device")]


def file_of(module: str) -> Path:
    """Where a project module's source is."""
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.is_file() else ROOT / module.replace(".", "/") / "__init__.py"


def loaded(modules: list[str]) -> set[str]:
    """Everything that importing `modules` loads, themselves and the packages around them."""
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in seen or not file_of(module).is_file():
            continue
        seen.add(module)
        todo += loads(file_of(module))
        if "." in module:
            todo.append(module.rpartition(".")[0])
    return seen
