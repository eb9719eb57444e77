"""A PIC32MZW1 as a virtual board: 1 MiB of program flash, an external flash with the image store, and another one.

The bootloader is a process of its own on the same file, with the port's own FAT: the code that the campaign judges.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from mpota.layout.pic32.port import BASE
from mpota.store.pair import encode
from mpota_boot.errors import Refused
from mpota_host.chips.pic32.binfile import LAYOUTS, PAGE, binary
from mpota_host.chips.pic32.prepare import prepare
from mpota_host.chips.pic32.sim import chip as sim
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import Started
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import port_environment

# MicroPython's own files lie on a flash of their own, behind the chip's in the same file.
FILES_SIZE = 0x180000
SIZE = sim.PROGRAM + sim.EXTERNAL + FILES_SIZE
# Bytes of code in the image of a new board.
IMAGE = 300_001


def application(seed: int, size: int = IMAGE) -> bytes:
    """The code of an image: bytes of a real firmware, which nothing here executes."""
    from mpota_host.sim.board import real_firmware

    return real_firmware("0831").read_bytes()[0x10000 + seed * 4096 :][:size]


def image(seed: int, size: int = IMAGE) -> bytes:
    """A .bin for the slot of release 3.7."""
    return binary(application(seed, size), LAYOUTS["3.7"][0] + 0xA0000000 + PAGE)


def make(flash: SimFlash, firmware: bytes) -> None:
    """What a programmer leaves: a bootloader, and a build that was not started yet. The rest is blank."""
    flash.prog(0, sim.BOOTLOADER.ljust(4096, b"\0"))
    flash.prog(BASE, firmware + b"\xff" * (-len(firmware) % flash.prog_size))


def lock(path: Path, key: bytes) -> None:
    """Let the bootloader of the board in this file start images alone that this public key signs."""
    with path.open("r+b") as file:
        if file.read(len(sim.BOOTLOADER)) != sim.BOOTLOADER:
            raise Refused("flash", f"{path} is no virtual PIC32MZW1: `mpota sample pic32 FOLDER` makes one")
        file.write(key)


def firmware(path: Path | None) -> bytes:
    """The .bin of a file, HEX or .bin."""
    return prepare(path.read_bytes())[0] if path else image(0)


def files() -> dict[str, bytes]:
    """The wiring of this board, the service's turns, and the name of a Wi-Fi."""
    return {"/ota/wifia": encode(1, {"ssid": b"any"})}


def volume(flash: SimFlash) -> tuple[int, int]:
    """Where MicroPython's own files are."""
    return sim.PROGRAM + sim.EXTERNAL, FILES_SIZE


def windows(flash: SimFlash) -> list[tuple[int, int]]:
    """The control page loses bits."""
    return [(BASE, PAGE)]


def boot(flash: SimFlash, options: Any, cause: int, before: Started | None) -> Started:
    """The bootloader's decision, and what it programs."""
    path = Path(flash.cells.file.name).resolve()
    code = "__import__('mpota_host.chips.pic32.sim.chip', None, None, ('x',)).load"
    code += f"({str(path)!r}, {flash.size}, {options.hold})"
    command = [unix_port(), "-X", "heapsize=4M", "-c", code]
    pipe = subprocess.PIPE
    # The other end of its input is the power: it goes with this process.
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=port_environment()
    ) as child:
        assert child.stdout
        told = child.stdout.read()
    if child.returncode:
        raise RuntimeError(f"the bootloader's process failed: {told[-500:]}")
    got = json.loads(told.splitlines()[-1])
    said = ", ".join(["bootloader: " + (got["image"] or "nothing to start"), *got["did"]]).encode()
    return Started(got["image"], said, BASE + PAGE, detail=got)


def sha(flash: SimFlash, started: Started) -> str:
    """Of the .bin, as the page has it; the factory image has none."""
    return str(started.detail["digest"])
