"""Finds the chips, one folder each below mpota_host/chips, by listing: nothing outside a chip's folder names it.

A chip brings the parts that it has, each a module of its folder:

prepare          what goes into the target, out of a file; ALONE: its boards take a whole firmware and nothing else;
                 goes_on(image), where there is one, refuses firmware that could not run mpota; bare(name, data), where
                 there is one, says whether a resource is the bootloader's and no application's
codes            CODES: what a board's report calls errors that only this chip has, by their class
inspector        explain(data): what a file of this chip is; store(folder), where there is one: what a folder is; both
                 return None where it is nothing of this chip's; guess(data), where there is one, is asked last
commands         group: the commands `mpota CHIP ...` for the vendor's own formats (mpota_host/command/groups.py)
sample           write(folder): fills an empty folder with what the chip's guide uses, images, keys, a virtual board; it
                 returns the commands to type there, one a line, in which $PORT is the board's port
demo, bench      its own `make demo LAYOUT=...`, its own figures
sim.machine      a virtual board (mpota_host/sim/machine.py says what it asks); sim.chip what its programs can import
cut.life         what the power campaign asks (mpota_host/cut/rig.py); cut.bugs its seeded bugs
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from mpota_boot.errors import Refused
from mpota_host.sources import WIRING, shipped

CHIPS = Path(__file__).parent / "chips"


def having(part: str) -> list[str]:
    """The chips that have a part, by name; a part is a module below the chip's folder, as "sim.machine"."""
    file = part.replace(".", "/") + ".py"
    return sorted(path.name for path in CHIPS.iterdir() if (path / file).is_file())


def part_of(chip: str, part: str) -> Any:
    """The module; ModuleNotFoundError where the chip has no such part."""
    return import_module(f"mpota_host.chips.{chip}.{part}")


def layouts() -> list[str]:
    """The layouts that a package can be made for."""
    return having("prepare")


def alone(layout: str) -> bool:
    """Do its boards take a whole firmware and nothing else, no files and no deltas? ALONE in its prepare.py says so."""
    return layout in layouts() and bool(getattr(part_of(layout, "prepare"), "ALONE", False))


def bare(layout: str, name: str, data: bytes) -> bool:
    """Is a resource for the bootloader, so that no list of an application names it?"""
    check = getattr(part_of(layout, "prepare"), "bare", None) if layout in layouts() else None
    return bool(check and check(name, data))


def prepare(layout: str, firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The bytes that go to the target, notes for a person, and facts; refused where the loader would refuse them."""
    if layout not in layouts():
        raise Refused("layout", f"layout {layout!r}, known are {', '.join(layouts())}")
    done: tuple[bytes, list[str], dict[str, object]] = part_of(layout, "prepare").prepare(firmware)
    return done


def wired(layout: str) -> bool:
    """Does the layout's default wiring stand on modules that the port of a chip brings, such as `chip`?"""
    tree = ast.parse(shipped(layout)[WIRING].read_bytes())
    return any(isinstance(node, ast.Import) for node in ast.walk(tree))


def programs(layout: str) -> dict[str, bytes]:
    """Path on the board -> source of what lies at its root: boot.py, main.py, the default wiring, more programs."""
    return {"/" + name: path.read_bytes() for name, path in shipped(layout).items()}
