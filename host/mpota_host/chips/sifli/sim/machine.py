"""A SiFli chip as a virtual board: two programs on one flash, and the chip's own step, which starts the manager.

The user program is MicroPython with the board's files; the manager is another program of the same flash, ota.py.
What a program's image holds does not run: it tells which one is meant. The keys are those in build/keys, made there
where they are not; the last sector of the file stands for the eFuses.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mpota.layout.sifli import loader
from mpota.layout.sifli.port import Chip
from mpota.store.flash import Region
from mpota.store.pair import encode
from mpota_boot.errors import OtaError, Refused
from mpota_host.chips.sifli import workshop
from mpota_host.chips.sifli.packer import pad
from mpota_host.chips.sifli.prepare import prepare
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import Started

# What a board has in its settings beside those that are given: its phones are let in, and come by Bluetooth too.
SETTINGS = {"phones": "again", "ble": True}
KEYS = Path("build/keys")
KIB = 1024
BASE = 0x10000000
MANAGER = BASE + 0x20000
# As the vendor's map of a chip with flash inside has it, with a second upgrade area and resources behind.
PLACES: dict[str, Any] = {
    "flash": BASE,
    "table": (BASE, 0x5000),
    "state": (BASE + 0x8000, 0x4000),
    "manager": (MANAGER, 256 * KIB),
    "upgrade": [(BASE + 0x60000, 640 * KIB), (BASE + 0x1E0000, 640 * KIB)],
    "user": (BASE + 0x100000, 896 * KIB),
    "res": (BASE + 0x280000, 512 * KIB),
    "font": (BASE + 0x300000, 512 * KIB),
}
VOLUME = (0x380000, 1024 * KIB)
EFUSES = VOLUME[0] + VOLUME[1]
SIZE = EFUSES + 4096
UID = hashlib.sha256(b"a virtual board").digest()[:16]
# Bytes of the demo's program: as many of a real firmware behind a Cortex-M's vector table.
DEMO_BYTES = 384 * KIB


def demo_program(release: str) -> bytes:
    """A program with the bytes of a real firmware, which is another chip's: something that compresses as they do."""
    from mpota_host.sim.board import real_firmware

    body = real_firmware(release).read_bytes()[0x20000 : 0x20000 + DEMO_BYTES]
    return pad(workshop.program(8, int(release))[:8] + body, True)


def firmware(path: Path | None) -> bytes:
    """An application, app.bin."""
    if path is None:
        return demo_program("0608")
    data = path.read_bytes()
    prepare(data)
    return pad(data, True)


def chip_of(flash: SimFlash, places: dict[str, Any] = PLACES) -> Chip:
    """The Chip on a virtual board's flash."""
    efuse = bytearray(128)
    flash.read(EFUSES, efuse)
    return Chip(Region(flash, 0, EFUSES), places, bytes(efuse), lambda: None)


def make(flash: SimFlash, firmware: bytes, keys: workshop.Keys | None = None) -> None:
    """A board as it leaves the workshop: this program runs, and its compressed form lies in the first area."""
    keys = keys or workshop.keys(KEYS)
    kept = workshop.stored(firmware)
    if len(firmware) > PLACES["user"][1] or len(kept) > PLACES["upgrade"][0][1]:
        raise Refused("size", f"a program of {len(firmware):,} bytes, compressed {len(kept):,}, has no place")
    for off, data in (
        (0, workshop.table_bytes(PLACES["manager"], keys.public, BASE)),
        (MANAGER - BASE, b"the OTA manager: ota.py"),
        (PLACES["user"][0] - BASE, firmware),
        (PLACES["upgrade"][0][0] - BASE, kept),
        (EFUSES, workshop.efuse(keys, UID)),
    ):
        workshop.write(flash, off, data)
    workshop.know(chip_of(flash), firmware, kept, "1.0.0")


def files() -> dict[str, bytes]:
    """The wiring, both programs, the map, and the name of a Wi-Fi."""
    return {
        "/memory_map.json": json.dumps(PLACES).encode(),
        "/ota/wifia": encode(1, {"ssid": b"any"}),
    }


def windows(flash: SimFlash) -> list[tuple[int, int]]:
    """No unit is programmed twice."""
    return []


def volume(flash: SimFlash) -> tuple[int, int]:
    """Where the files lie."""
    return VOLUME


def boot(flash: SimFlash, options: Any, cause: int, before: Started | None) -> Started:
    """The chip's own step: it starts the manager, or nothing."""
    chip = chip_of(flash)
    try:
        address = loader.rom(chip.table, chip.base, chip.efuse)
    except OtaError as e:
        return Started(None, f"boot error: {e}".encode())
    if address != MANAGER:
        return Started(None, b"boot error: nothing at %08x" % address)
    said = b"SFBL: jump to 0x%08x" % address
    return Started("manager", said, address - BASE, program="/ota.py")


def enter(flash: SimFlash) -> Started:
    """The manager has jumped to the user program."""
    address = PLACES["user"][0]
    return Started("user", b"manager: jump to 0x%08x" % address, address - BASE)


def sha(flash: SimFlash, started: Started) -> str:
    """Of the program that started, by what the journal knows of its length."""
    found = chip_of(flash).installed()
    if started.name != "user" or found is None:
        return ""
    buf = bytearray(found.size)
    flash.read(started.offset, buf)
    return hashlib.sha256(buf).hexdigest()
