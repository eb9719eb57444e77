"""`mpota sample sifli`: a program, a resource, keys, and a virtual watch that has the keys and runs the one before."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mpota_host.chips.sifli import workshop
from mpota_host.chips.sifli.packer import pad
from mpota_host.chips.sifli.sim import machine
from mpota_host.package import keys
from mpota_host.sim.board import create_for, mpota_files, program

PRODUCT = "watch"
BOARD = "board.bin"
# The application's own part: its health is what the chip says of itself.
APP = b"import chip\n\ndef step():\n    pass\n\ndef health():\n    return chip.healthy\n"
RESOURCE = 150_000
NEXT = f"""\
mpota sifli pack app.bin 16 0 res.bin 0 3 --key {workshop.ROOT_KEY} --sigkey {workshop.SIGNING_KEY} --fw_ver 1.1.0 -o up
mpota board --flash {BOARD}
mpota sifli push up --port $PORT
mpota confirm --port $PORT
mpota status --port $PORT
mpota pack app-2.bin --layout sifli --key release.pem --product {PRODUCT} --version 1.2.0 -o {PRODUCT}-1.2.0.mpota
mpota push {PRODUCT}-1.2.0.mpota --port $PORT
mpota confirm --port $PORT
"""


def image(seed: int) -> bytes:
    """A program: a Cortex-M's vector table, and bytes behind it."""
    return pad(workshop.program(8, seed)[:8] + program(machine.DEMO_BYTES, seed), True)


def resource() -> bytes:
    """Bytes that do not compress."""
    return b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(RESOURCE // 32))


def board(folder: Path, first: bytes, trusted: dict[str, bytes] | None = None) -> None:
    """The vendor's keys, and a watch with its first program that has them."""
    own = workshop.keys(folder)
    files = mpota_files({"product": PRODUCT, "layout": "sifli"}, trusted, "sifli") | {"/app.py": APP}
    create_for("sifli", folder / BOARD, first, files, lambda flash: machine.make(flash, first, own))


def write(folder: Path) -> list[str]:
    """Everything into an empty folder; the commands to type next."""
    for name, data in (("app.bin", image(1)), ("app-2.bin", image(2)), ("res.bin", resource())):
        (folder / name).write_bytes(data)
    keys.generate(folder / "release.pem")
    board(folder, image(0), {"release": keys.load_public(folder / "release.pub")})
    return NEXT.splitlines()
