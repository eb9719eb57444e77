"""Can this board carry mpota? Asked before a byte is written: its port, its layout, the wiring of a vendor's layout.

A board that would not run what is put on it is refused with what it needs, and holds what it held.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from mpota_boot.errors import OtaError, Refused
from mpota_host.board import repl as console
from mpota_host.registry import programs, wired
from mpota_host.sources import PACKAGES

# Ports by `sys.platform` and a word of the machine's name -> what MicroPython leaves out of them.
# ports/esp8266: MICROPY_CONFIG_ROM_LEVEL is not set to EXTRA_FEATURES, main.c: heap[38 * 1024].
# ports/samd/mcu/samd21/mpconfigmcu.h: MICROPY_CONFIG_ROM_LEVEL_BASIC_FEATURES, and the chip has 32 KiB of RAM.
UNFIT = (
    ("esp8266", "", "an ESP8266: its MicroPython has no str.partition, no binascii.crc32, and a heap of 38 KiB"),
    ("samd", "SAMD21", "a SAMD21: its MicroPython has no binascii.crc32, often no deflate, and 32 KiB of RAM"),
)
BOOT, WIRING = "/boot.py", "/wiring.py"
NEEDS = "that layout needs a /wiring.py of yours that defines Board, and a boot.py and main.py that say `{}`"
IMPORT = "from wiring import Board"

ASK_MODULES = """
import json
missing = []
for name in {names!r}:
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
print(json.dumps(missing))
"""
# Raises where the board's own boot.py has not made it a board of any layout.
ASK_LAYOUT = "import json\nfrom wiring import Board\nprint(json.dumps(Board().layout.NAME))"


def port(platform: str, machine: str) -> None:
    """Refused where mpota cannot run on this port of MicroPython."""
    for name, word, what in UNFIT:
        if platform == name and word in machine.upper():
            raise Refused("port", f"{machine} is {what}; mpota does not run there, and nothing was written")


def layout(name: str, esp32: bool, named: str) -> None:
    """Refused unless the layout `name` can be this board's. `esp32`: is it one? `named`: what its settings will say."""
    if name == "esp32" and not esp32:
        raise Refused(
            "layout",
            "layout esp32 is for an ESP32, and this firmware has no module `esp32`: give --layout files for an"
            " application's files alone, or the layout of your chip",
        )
    if named != name:
        raise Refused(
            "layout",
            f"/mpota.json on the board stays as it is and names layout {named!r}, this is for layout {name!r}: change"
            f" it there, or give --layout {named}",
        )


def wiring(
    repl: console.Repl, name: str, actions: Mapping[str, str], texts: tuple[str, str], files: Mapping[str, Any]
) -> None:
    """Refused where no Board of the layout `name` would come of this.

    `actions` says by path what is to happen. `texts` are those of a boot.py and a wiring.py that stay. `files` are on
    the board now.
    """
    own, own_wiring = texts
    if actions[WIRING] == "keep" and not defines_board(own_wiring):
        raise Refused(
            "wiring", f"{WIRING} on the board is your own and defines no Board, which boot.py imports from it"
        )
    if not wired(name) or _answers(repl, name):
        return
    needs = NEEDS.format(IMPORT)
    if actions[BOOT] == "keep" and not imports_wiring(own):
        raise Refused("wiring", f"{BOOT} on the board is your own and imports no wiring of layout {name}: {needs}")
    if actions[WIRING] != "new":
        return
    modules, opened = asks(programs(name)[WIRING])
    missing = [f"module `{one}`" for one in console.ask(repl, ASK_MODULES.format(names=modules))]
    missing += [f"file {path}" for path in opened if path not in files]
    if missing:
        raise Refused(
            "wiring", f"the board has no {' and no '.join(missing)}, for the example wiring of layout {name}: {needs}"
        )


def _answers(repl: console.Repl, name: str) -> bool:
    """Does mpota run on this board already, with the layout `name`, whatever its owner calls the wiring?"""
    try:
        return bool(console.ask(repl, ASK_LAYOUT) == name)
    except OtaError:
        return False


def defines_board(text: str) -> bool:
    """Does a wiring give the name Board?"""
    try:
        names = {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    except SyntaxError:
        return False
    return "Board" in names


def imports_wiring(text: str) -> bool:
    """Does a boot.py import the module `wiring`?"""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if "wiring" in names or (isinstance(node, ast.Constant) and node.value == "wiring"):
            return True
    return False


def asks(source: bytes) -> tuple[list[str], list[str]]:
    """(modules, files) that a wiring imports and opens by name, without what mpota brings."""
    modules, opened = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            opened |= {str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return sorted(name for name in modules if name.partition(".")[0] not in PACKAGES), sorted(opened)
