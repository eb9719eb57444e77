"""Any MicroPython board whose firmware is not ours to change, as a virtual board: a file system and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpota.store.pair import encode
from mpota_boot.errors import Refused
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import Started

# What a Raspberry Pi Pico gives to its file system (ports/rp2/boards/RPI_PICO, MICROPY_HW_FLASH_STORAGE_BYTES).
SIZE = 1408 * 1024


def make(flash: SimFlash, firmware: bytes) -> None:
    """Blank: the port makes its file system."""


def firmware(path: Path | None) -> bytes:
    """There is none in this flash."""
    if path:
        raise Refused("firmware", "a board of layout files has the firmware that it has; leave --firmware off")
    return b""


def files() -> dict[str, bytes]:
    """The name of a Wi-Fi."""
    return {"/ota/wifia": encode(1, {"ssid": b"any"})}


def volume(flash: SimFlash) -> tuple[int, int]:
    """All of it."""
    return 0, SIZE


def windows(flash: SimFlash) -> list[tuple[int, int]]:
    """LittleFS programs nothing twice."""
    return []


def boot(flash: SimFlash, options: Any, cause: int, before: Started | None) -> Started:
    """Nobody chooses: MicroPython starts."""
    return Started("micropython", b"MicroPython starts")


def sha(flash: SimFlash, started: Started) -> str:
    """No image has a name here."""
    return ""
