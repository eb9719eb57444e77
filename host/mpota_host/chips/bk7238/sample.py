"""`mpota sample bk7238`: an application, a key, and a virtual plug that trusts the key and runs the one before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mpota_host.chips.bk7238.sim import machine
from mpota_host.package import keys
from mpota_host.sim.board import create_for, mpota_files, program

PRODUCT = "plug"
BOARD = "board.bin"
# The application's own part: its health is the chip's temperature.
APP = b"import chip\n\ndef step():\n    pass\n\ndef health():\n    return chip.temperature() < 85\n"
NEXT = f"""\
mpota bk7238 pack -f app.bin -v 1.0.1 -p app -c lzma -s aes -o ota.rbl
mpota bk7238 verify ota.rbl
mpota pack ota.rbl --layout bk7238 --key release.pem --product {PRODUCT} --version 1.0.1 -o {PRODUCT}-1.0.1.mpota
mpota board --flash {BOARD}
mpota push {PRODUCT}-1.0.1.mpota --port $PORT
mpota confirm --port $PORT
mpota status --port $PORT
"""


def workshop(folder: Path, image: bytes, settings: Mapping[str, object]) -> None:
    """Release keys, and a plug that trusts them: its first application came by wire."""
    keys.generate(folder / "release.pem")
    public = keys.load_public(folder / "release.pub")
    files = mpota_files({"product": PRODUCT, "layout": "bk7238", **settings}, {"release": public}, "bk7238")
    create_for("bk7238", folder / BOARD, image, files | {"/app.py": APP})


def write(folder: Path) -> list[str]:
    """Everything into an empty folder; the commands to type next."""
    (folder / "app.bin").write_bytes(machine.linked(program(machine.IMAGE, 1), 1))
    workshop(folder, machine.linked(program(machine.IMAGE, 0), 0), {})
    return NEXT.splitlines()
