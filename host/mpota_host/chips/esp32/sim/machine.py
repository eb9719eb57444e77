"""An ESP32 as a virtual board: its table, its bootloader's choice, its first firmware."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mpota.layout.esp32 import image, loader, table
from mpota.store.flash import Region
from mpota_boot.errors import OtaError
from mpota_host.chips.esp32.prepare import prepare
from mpota_host.chips.esp32.sim.tables import TABLES
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import Started

SIZE, ROWS = TABLES["4MiB-ota"]
# Where the bootloader of an ESP32 lies.
BOOTLOADER_OFF = 0x1000
# machine.reset_cause() after a deep sleep, which keeps the image that slept.
DEEPSLEEP = 4


def make(flash: SimFlash, firmware: bytes, rows: list[Any] = ROWS, bootloader: bytes = b"") -> None:
    """Table, bootloader, and `firmware`, an application image, in the first slot."""
    app = next(row for row in rows if row[0] == table.APP)
    for off, data in ((BOOTLOADER_OFF, bootloader), (table.OFFSET, table.encode(rows)), (app[2], firmware)):
        flash.prog(off, data + b"\xff" * (-len(data) % flash.prog_size))


def firmware(path: Path | None) -> bytes:
    """The application image of a firmware file, merged or not."""
    from mpota_host.sim.board import real_firmware

    return bytes(prepare((path or real_firmware("0608")).read_bytes())[0])


def files() -> dict[str, bytes]:
    """boot.py and main.py as shipped are an ESP32's."""
    return {}


def volume(flash: SimFlash) -> None:
    """MicroPython finds it in the table, or behind it."""


def windows(flash: SimFlash) -> list[tuple[int, int]]:
    """NVS clears bits of its state words."""
    try:
        rows = table.decode(flash, as_bootloader=True)
    except OtaError:
        return []
    return [(row.offset, row.size) for row in rows if (row.type, row.subtype) == (table.DATA, table.NVS)]


def boot(flash: SimFlash, options: Any, cause: int, before: Started | None) -> Started:
    """The bootloader's choice."""
    if cause == DEEPSLEEP and before:
        found = loader.wake(before.detail)
    else:
        found = loader.boot(flash, loader.Options(rollback=options.rollback))
    row: Any = found.row
    if row is None:
        return Started(None, b"E boot: No bootable app partitions in the partition table")
    said = b"I boot: Loaded app from partition at offset 0x%x" % row.offset
    return Started(found.name, said, row.offset, detail=row)


def sha(flash: SimFlash, started: Started) -> str:
    """Without what lies behind the image in its partition."""
    row = started.detail
    n = image.walk(Region(flash, row.offset, row.size))
    buf = bytearray(n)
    flash.read(row.offset, buf)
    return hashlib.sha256(buf).hexdigest()
