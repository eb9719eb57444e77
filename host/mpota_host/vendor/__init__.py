"""One folder a vendor, found by listing: `prepare` asks the one that has the layout's name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mpota_boot.errors import Refused

VENDORS = Path(__file__).parent
# What every board runs, and the line in it that takes the class of an ESP32.
SHIPPED = ("boot.py", "main.py")
IMPORT = "from mpota_boot.board import Board\n"


def layouts() -> list[str]:
    """The layouts that a package can be made for."""
    return sorted(p.parent.name for p in VENDORS.glob("*/prepare.py"))


def alone(layout: str) -> bool:
    """Do its boards take a whole firmware and nothing else, no files and no deltas? ALONE in its prepare.py says so."""
    found = layout in layouts() and getattr(import_module(f"mpota_host.vendor.{layout}.prepare"), "ALONE", False)
    return bool(found)


def prepare(layout: str, firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The bytes that go to the target, notes for a person, and facts; refused where the loader would refuse them."""
    if layout not in layouts():
        raise Refused("layout", f"layout {layout!r}, known are {', '.join(layouts())}")
    done: tuple[bytes, list[str], dict[str, object]] = import_module(f"mpota_host.vendor.{layout}.prepare").prepare(
        firmware
    )
    return done


def wired(layout: str) -> bool:
    """Does a board of this layout need `/wiring.py`, which says where its flash is? An ESP32 says it itself."""
    return (VENDORS / layout / "board" / "wiring.py").is_file()


def programs(layout: str) -> dict[str, bytes]:
    """Path on the board -> source of what runs there: boot.py, main.py, and the example wiring that they import."""
    found = {"/" + name: (VENDORS.parent.parent / name).read_text() for name in SHIPPED}
    if wired(layout):
        # What a person calls at the console, CONSOLE in the vendor's package, has to be there after boot.py.
        more = getattr(import_module(f"mpota_host.vendor.{layout}"), "CONSOLE", ())
        for path, names in (("/boot.py", ("Board", *more)), ("/main.py", ("Board",))):
            if found[path].count(IMPORT) != 1:
                raise ValueError(f"{path} does not import the shipped Board once")
            found[path] = found[path].replace(IMPORT, f"from wiring import {', '.join(names)}\n")
        found |= {"/" + path.name: path.read_text() for path in sorted((VENDORS / layout / "board").glob("*.py"))}
    return {path: text.encode() for path, text in found.items()}
