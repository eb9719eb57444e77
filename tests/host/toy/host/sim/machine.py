"""A toy chip as a virtual board: its flash, and a second one with the files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mpota.layout.toy import image, loader, port
from mpota.store.flash import Region
from mpota_host.chips.toy.prepare import prepare
from mpota_host.chips.toy.sim import chip
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import Started

FILES_SIZE = 0x100000
SIZE = chip.SIZE + FILES_SIZE


def program(seed: int, size: int = 20001) -> bytes:
    """An image of about so many bytes, no two sectors of it alike."""
    line = bytes((seed * 7919 + 1) * (i + 1) ** 2 >> 3 & 0xFF for i in range(251))
    made: bytes = image.encode((line * (size // len(line) + 1))[: size - image.SIZE])
    return made


def slots(flash: SimFlash) -> list[Any]:
    """Both slots of a board's flash."""
    found: list[Any] = port.slots(Region(flash, 0, chip.SIZE))
    return found


def make(flash: SimFlash, firmware: bytes) -> None:
    """The first image, in slot 0."""
    slots(flash)[0].prog(0, firmware + b"\xff" * (-len(firmware) % flash.prog_size))


def firmware(path: Path | None) -> bytes:
    """The first image, out of a file or made up."""
    return prepare(path.read_bytes())[0] if path else program(1)


def files() -> dict[str, bytes]:
    """Nothing of its own."""
    return {}


def volume(flash: SimFlash) -> tuple[int, int]:
    """The second flash."""
    return chip.SIZE, FILES_SIZE


def windows(flash: SimFlash) -> list[tuple[int, int]]:
    """Nothing is programmed twice."""
    return []


def boot(flash: SimFlash, options: Any, cause: int, before: Started | None) -> Started:
    """The loader's choice."""
    n = loader.boot(Region(flash, 0, chip.SIZE))
    if n is None:
        return Started(None, b"[loader] neither slot has a whole image")
    return Started(f"slot {n}", b"[loader] slot %d starts" % n, slots(flash)[n].start)


def sha(flash: SimFlash, started: Started) -> str:
    """Of the image, without what lies behind it in its slot."""
    head = bytearray(image.SIZE)
    flash.read(started.offset, head)
    whole = bytearray(image.length(head))
    flash.read(started.offset, whole)
    return hashlib.sha256(whole).hexdigest()
