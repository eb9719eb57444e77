"""`mpota sample pic32`: a build's HEX, a bootloader's, keys, and a virtual lamp that runs the build before.

The lamp asks for a manifest at port 8000 of this computer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from intelhex import IntelHex

from mpota_host.chips.pic32 import hexfile, packer
from mpota_host.chips.pic32.binfile import binary
from mpota_host.chips.pic32.sim import machine
from mpota_host.package import keys
from mpota_host.sim.board import create_for, mpota_files, program

PRODUCT = "lamp"
BOARD = "board.bin"
URL = "http://127.0.0.1:8000"
# The application's own part: its health is the chip's temperature.
APP = b"import chip\n\ndef step():\n    pass\n\ndef health():\n    return chip.temperature() < 85\n"
# One row of the configuration words, where every build has it.
FUSES = 0x1FC55E80
NEXT = f"""\
mpota pic32 pack lamp.hex --bootloader boot.hex --key p256.pem -o factory
mpota pic32 pack lamp.hex --version 2 --url {URL} --key p256.pem --product {PRODUCT} -o shelf
mpota inspect shelf/manifest.json
mpota pic32 lock {BOARD} --key p256.pem
mpota pack lamp.hex --layout pic32 --key release.pem --product {PRODUCT} --version 2.0.0 \
--resource image_sign.txt=shelf/lamp_sign.txt -o {PRODUCT}-2.0.0.mpota
mpota board --flash {BOARD}
mpota push {PRODUCT}-2.0.0.mpota --port $PORT
mpota status --port $PORT
mpota pic32 withdraw 2 --key p256.pem --product {PRODUCT} -o shelf
"""


def build(code: bytes) -> bytes:
    """The HEX of an application, as a compiler leaves it."""
    slot = hexfile.slot_of("3.7")
    return _hex(slot.start, binary(code, slot.address))


def bootloader() -> bytes:
    """The HEX of a bootloader with the same configuration words."""
    return _hex(hexfile.slot_of("3.7").start - 0x20000, b"\x55" * 4096)


def _hex(start: int, data: bytes) -> bytes:
    found = IntelHex()
    found.frombytes(data, start)
    found.frombytes(b"\xff\xfe\x5e\xff", FUSES)
    return hexfile.text(found)


def signing_key() -> bytes:
    """A private key of P-256 in PEM, for the vendor's service."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form)


def workshop(
    path: Path, build: Path, signing: bytes, settings: Mapping[str, object], trusted: Mapping[str, bytes] | None = None
) -> None:
    """A board as a programmer leaves it, with mpota on its file system; `signing`: the key of the vendor's service."""
    own = {"product": PRODUCT, "layout": "pic32", "service_key": packer.public(signing).hex(), **settings}
    files = mpota_files(own, trusted, "pic32")
    create_for("pic32", path, machine.firmware(build), files | {"/app.py": APP})


def write(folder: Path) -> list[str]:
    """Everything into an empty folder; the commands to type next."""
    for name, data in (
        ("lamp-1.hex", build(program(machine.IMAGE, 0))),
        ("lamp.hex", build(program(machine.IMAGE, 1))),
        ("boot.hex", bootloader()),
    ):
        (folder / name).write_bytes(data)
    (folder / "p256.pem").touch(0o600)
    (folder / "p256.pem").write_bytes(signing_key())
    keys.generate(folder / "release.pem")
    trusted = {"release": keys.load_public(folder / "release.pub")}
    settings = {"service": f"{URL}/manifest.json"}
    workshop(folder / BOARD, folder / "lamp-1.hex", (folder / "p256.pem").read_bytes(), settings, trusted)
    return NEXT.splitlines()
