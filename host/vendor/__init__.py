"""One folder a vendor, found by listing: `prepare` asks the one that has the layout's name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from device.errors import Refused


def layouts() -> list[str]:
    """The layouts that a package can be made for."""
    return sorted(p.parent.name for p in Path(__file__).parent.glob("*/prepare.py"))


def alone(layout: str) -> bool:
    """Do its boards take a whole firmware and nothing else, no files and no deltas? ALONE in its prepare.py says so."""
    found = layout in layouts() and getattr(import_module(f"host.vendor.{layout}.prepare"), "ALONE", False)
    return bool(found)


def prepare(layout: str, firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The bytes that go to the target, notes for a person, and facts; refused where the loader would refuse them."""
    if layout not in layouts():
        raise Refused("layout", f"layout {layout!r}, known are {', '.join(layouts())}")
    done: tuple[bytes, list[str], dict[str, object]] = import_module(f"host.vendor.{layout}.prepare").prepare(firmware)
    return done
