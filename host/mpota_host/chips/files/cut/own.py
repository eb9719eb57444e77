"""Releases that bring mpota itself, in the stories of the campaign: a few modules, and what an oracle expects of them.

A story says for each application what kind of mpota comes with it. The modules are texts that cut/imports.py runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What main.py, the shim and a layout import, and what these import in turn: modules of three subpackages.
MODULES = {
    "agent": ("stream", "store.pair"),
    "link/http": ("stream",),
    "network/net": (),
    "runner": ("agent",),
    "store/pair": (),
    "stream": (),
    "layout/LAYOUT/layout": ("store.pair",),
}
# Kinds of a copy, "" for none: whether it runs, and where its mark stands.
#   good      it runs                        blind    it runs, and reads no manifest
#   broken    a module of it raises          half     a module that main.py needs is missing
#   hangs     an import never returns
MARKS = {"broken": ("runner", "raise SyntaxError"), "blind": ("link/http", "blind"), "hangs": ("agent", "hang")}
RUNS = ("good", "blind")
MISSING = "network/net"
RESCUE = "/rescue"


def copy(n: object, kind: str, layout: str) -> dict[str, bytes]:
    """The files of copy `n`, by their paths in a tree or in lib; none of the kind ""."""
    where, mark = MARKS.get(kind, ("", ""))
    found = {}
    for name, others in MODULES.items() if kind else ():
        lines = [f"# mpota {n}", *[f"import mpota.{other}" for other in others], *([mark] if name == where else [])]
        found[f"mpota/{name.replace('LAYOUT', layout)}.py"] = "\n".join(lines).encode()
    if kind == "half":
        del found[f"mpota/{MISSING}.py"]
    return found


def board(layout: str, rescue: bool) -> dict[str, bytes]:
    """What lies on such a board besides: lib's copy, the wiring, and where a person wants it the file of a rescue."""
    files = {f"/lib/{path}": data for path, data in copy("lib", "good", layout).items()}
    files["/wiring.py"] = f"import mpota.layout.{layout}.layout".encode()
    if rescue:
        files[RESCUE] = b""
    return files


def started(layout: str) -> tuple[str, ...]:
    """What boot.py and a layout that settles have imported before the shim chooses."""
    return "wiring", "mpota.store.pair", f"mpota.layout.{layout}.layout"


def wanted(main: str) -> Iterator[str]:
    """What a main.py imports."""
    for line in main.splitlines():
        if line.startswith("from mpota.") or line.startswith("from wiring "):
            yield line.split()[1]


def roots(modules: Any) -> dict[str, str]:
    """Where each module of mpota's that is open comes from, and what the wiring took."""
    found = {name: one.place.rpartition("/mpota")[0] for name, one in modules.items() if name.split(".")[0] == "mpota"}
    taken = modules["wiring"].took if "wiring" in modules else []
    return found | {f"wiring: {place}": place.rpartition("/mpota")[0] for place in taken}
