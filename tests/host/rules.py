"""The rules of the house as functions: each reads a source text and returns complaints, one sentence a breach.

A complaint names the file, the line, and the rule. Nothing is imported or run: the rules read syntax trees, so a bad
snippet in a test is judged exactly as a bad file is. `test_rules.py` holds the tree to them.
"""

import ast
from pathlib import Path

from tests.host.import_rules import PROJECT, imports

ROOT = Path(__file__).resolve().parent.parent.parent

MAX_FUNCTION = 30
# A smell, no law: the function limit is what keeps code short.
MAX_FILE = 500
# A viper function that decodes bits cannot be split: a call costs more than a bit. It counts by itself.
MAX_VIPER = 260
MAX_PARAMETERS = 5
# It answers a person who typed its import at the REPL; nothing else in device/ has anybody to talk to.
TALKS = "device/mpota/setup.py"
MAX_MODULES = 14
MAX_ROOMS = 10
BAD_NAMES = ("utils", "util", "common", "helpers", "helper", "manager", "base")
HARDWARE = ("esp32", "machine", "network", "esp", "bluetooth")

# What the unix port and an ESP32 both have, and device code may stand on.
PORT_MODULES = frozenset(
    "array asyncio binascii collections cryptolib deflate errno gc hashlib io json micropython os random re select"
    " socket ssl struct sys time vfs".split()
)
# Modules that are no port's and no part of mpota, and who may name them: the owner's application and wiring, and what
# the port of a chip gives its wiring.
OWNERS = {
    "app": ("runner.py", "programs/"),
    "wiring": ("boot.py", "main.py", "programs/"),
    "chip": ("wiring.py", "programs/"),
}


def owners(path: str, module: str) -> bool:
    """May this file name this module of the board's owner?"""
    return any(path.endswith(one) or (one.endswith("/") and f"/{one}" in path) for one in OWNERS.get(module, ()))


# Methods and names that CPython has and the port has not.
PORT_LACKS = frozenset("hexdigest ljust rjust zfill BufferedReader removeprefix removesuffix isidentifier".split())


HARDWARE_FILES = ("board.py", "dog.py", "port.py", "wiring.py", "boot.py")


def foreign_modules(path: str, text: str) -> list[str]:
    """Modules that the port does not have, or hardware outside the functions of HARDWARE_FILES."""
    found = []
    tree = ast.parse(text)
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside.update(id(n) for n in ast.walk(node))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for one in imports(ast.Module([node], [])):
            line, name = one.line, one.name
            first = name.split(".")[0]
            if first in HARDWARE:
                if Path(path).name not in HARDWARE_FILES and "mpota_boot/ports/" not in path:
                    words = ", ".join(HARDWARE_FILES)
                    found.append(f"{path}:{line}: only {words} and mpota_boot/ports name hardware, this: {name}")
                elif id(node) not in inside and path != "boot.py":
                    found.append(f"{path}:{line}: {name} is imported outside a function, so importing touches hardware")
            elif first not in PORT_MODULES | set(PROJECT) and not owners(path, first):
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
    if path.endswith("/wiring.py") or "/programs/" in path:
        # What is its owner's to change may talk to its owner.
        return found
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name) and node.id == "print" and path != TALKS:
            found.append(f"{path}:{line}: print in device code")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{path}:{line}: a bare except")
        elif isinstance(node, ast.Try) and any(isinstance(n, ast.Import | ast.ImportFrom) for n in node.body):
            # An import tells whether the port has NVS, or the owner an application; nothing else is told that way.
            told = {"device/mpota_boot/board.py": "NVS", "device/mpota/runner.py": "app"}.get(path)
            names = [n.names[0].name for n in node.body if isinstance(n, ast.Import | ast.ImportFrom)]
            port = told in names
            if any("ImportError" in ast.dump(h) for h in node.handlers) and not port:
                found.append(f"{path}:{line}: try/except ImportError; stand-ins live in host/")
    return found


def lengths(path: str, text: str) -> list[str]:
    """Functions that are too long to be read at once."""
    return [
        f"{path}:{node.lineno}: {node.name} has {n} lines, at most {most}"
        for node in functions(ast.parse(text))
        if (n := (node.end_lineno or node.lineno) - node.lineno + 1)
        > (most := MAX_VIPER if "viper" in map(_last, node.decorator_list) else MAX_FUNCTION)
    ]


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def sizes(path: str, text: str) -> list[str]:
    """Functions, files and parameter lists that are too long for the device."""
    found = lengths(path, text)
    tree = ast.parse(text)
    viper = {n for n in functions(tree) if "viper" in map(_last, n.decorator_list)}
    lines = len(text.splitlines()) - sum((n.end_lineno or n.lineno) - n.lineno for n in viper)
    if lines > MAX_FILE:
        found.append(f"{path}: {lines} lines, at most {MAX_FILE}")
    for node in functions(tree):
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


def crowded(folders: dict[str, int]) -> list[str]:
    """Folders with more modules than a person keeps in mind; `folders` is how many each has, without `__init__.py`."""
    return [f"{name} has {n} modules, at most {MAX_MODULES}" for name, n in folders.items() if n > MAX_MODULES]


def too_many_rooms(names: list[str]) -> list[str]:
    """More rooms than a visitor finds his way in."""
    return [f"{len(names)} rooms, at most {MAX_ROOMS}: {', '.join(sorted(names))}"] if len(names) > MAX_ROOMS else []
