"""A BK7238 as a virtual board: 2 MiB in the chip as the vendor divides them, and a second flash with the files.

The loader runs in a process of its own on the same file, from the code that the campaign judges; when the power goes it
goes too.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store.table import RADIO, entries
from mpota.store.pair import encode
from mpota_boot.errors import Refused
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import Started
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import port_environment

# The files lie on a flash of their own, behind the chip's in the same file.
FILES_SIZE = 0x100000
SIZE = sim.SIZE + FILES_SIZE
# Bytes of real code in the application of a new board.
IMAGE = 120001


def application(seed: int, size: int = IMAGE) -> bytes:
    """An application of `size` bytes of real code, with the word at 32 that says where it is linked."""
    from mpota_host.sim.board import real_firmware

    return linked(real_firmware("0831").read_bytes()[0x10000 + seed * 4096 :][:size], seed)


def linked(code: bytes, seed: int) -> bytes:
    """An application: code, and in it the word at 32 that says where it is linked."""
    return code[:32] + struct.pack("<I", 0x10000 + 0x100 * seed) + code[36:]


def chip(flash: SimFlash) -> Any:
    """What is in a board's flash, as the loader sees it."""
    flash.prog_size = 1
    return sim.Chip({}, None, flash)


def make(flash: SimFlash, firmware: bytes) -> None:
    """The loader, an application as a flashing tool writes it, a radio that was calibrated."""
    new = chip(flash)
    new.write_loader()
    new.write(firmware)
    flash.prog(RADIO[sim.SIZE], b"calibrated")


def firmware(path: Path | None) -> bytes:
    """An application as it was linked; Refused where it is none that fits."""
    if path is None:
        return application(0)
    data = path.read_bytes()
    row = entries(sim.SIZE)[b"app"]
    word = int.from_bytes(data[32:36], "little")
    linked = row.offset <= word <= row.offset + row.size
    if not rbl.LEAST_RAW <= len(data) <= row.size - rbl.SIZE or data.startswith(rbl.MAGIC) or not linked:
        wanted = f"{rbl.LEAST_RAW} to {row.size - rbl.SIZE:,} bytes, linked to 0x{row.offset:x}: what `pack -f` takes"
        raise Refused("firmware", f"{path} is no application of a BK7238, wanted {wanted}")
    return data


def files() -> dict[str, bytes]:
    """boot.py and main.py with this board's wiring, and the name of a Wi-Fi."""
    return {"/ota/wifia": encode(1, {"ssid": b"any"})}


def volume(flash: SimFlash) -> tuple[int, int]:
    """The second flash."""
    return sim.SIZE, FILES_SIZE


def windows(flash: SimFlash) -> list[tuple[int, int]]:
    """Nothing is programmed twice."""
    return []


def boot(flash: SimFlash, options: Any, cause: int, before: Started | None) -> Started:
    """The loader's decision, and its install."""
    path = Path(flash.cells.file.name).resolve()
    code = "__import__('mpota_host.chips.bk7238.sim.chip', None, None, ('x',)).load"
    code += f"({str(path)!r}, {flash.size}, {options.hold})"
    command = [unix_port(), "-X", "heapsize=1M", "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=port_environment()
    ) as child:
        assert child.stdout
        told = child.stdout.read()
    try:
        got = json.loads(told)
    except ValueError:
        return Started(None, b"[loader] it ended without a word")
    said = f"[loader] {got['why']} ({got['code']})"
    return Started("app" if got["starts"] else None, said.encode(), 0x11000)


def sha(flash: SimFlash, started: Started) -> str:
    """Of the application, as long as the header behind it says; of one that came by wire up to its first blank."""
    app = chip(flash).part(b"app")
    data = bytearray(rbl.SIZE)
    app.read(app.size - rbl.SIZE, data)
    head = rbl.Header.decode(data)
    image = bytearray(head.raw if head else app.size)
    app.read(0, image)
    return hashlib.sha256(image if head else image.rstrip(b"\xff")).hexdigest()
