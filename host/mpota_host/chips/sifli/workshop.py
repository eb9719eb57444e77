"""What a workshop does to a SiFli board before it leaves: eFuses, flash table, manager, the first program.

The first program's compressed form goes into a staging area too, so that there is something to go back to. The keys
are the user's: they are made once, in a folder, and only their public half and the root key reach a board.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.port import Chip, User
from mpota.layout.sifli.store import control, table
from mpota_boot.journal import Record
from mpota_host.chips.sifli.packer import Options, compressed, pad, signer
from mpota_host.package.pack import version_bytes

ROOT_KEY, SIGNING_KEY = "sifli-root.key", "sifli-sign.pem"


@dataclass
class Keys:
    """The root key, and the public half (DER) of what signs."""

    root: bytes = field(repr=False)
    public: bytes


def keys(folder: Path) -> Keys:
    """Those in a folder; made there, readable by the owner alone, where they are not."""
    import secrets

    folder.mkdir(parents=True, exist_ok=True)
    root, signing = folder / ROOT_KEY, folder / SIGNING_KEY
    if not root.exists():
        _private(root, secrets.token_bytes(32).hex().encode() + b"\n")
    if not signing.exists():
        made = rsa.generate_private_key(65537, 2048)
        form = serialization.PrivateFormat.PKCS8
        _private(signing, made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    private = serialization.load_pem_private_key(signing.read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return Keys(bytes.fromhex(root.read_text()), signer(private)[0])


def _private(path: Path, data: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(data)


def efuse(keys: Keys, uid: bytes) -> bytes:
    """The 128 bytes of the eFuses, secure boot on."""
    return uid + signed.key_hash(keys.public) + b"\xa5" + bytes(71) + keys.root


def table_bytes(manager: tuple[int, int], public: bytes, base: int, apart: bool = True) -> bytes:
    """A flash table. `apart`: the headers that the chip starts by lie in another sector than the user program's."""
    boot, hcpu = (table.IMG_EXT2, table.IMG_EXT1) if apart else (table.IMG_BL, table.IMG_HCPU)
    head = table.Header(manager[1], 512, table.AUTO, b"\xff" * 32, b"\xff" * 256, b"\xff" * 20)
    place = table.Place(manager[0], manager[1], manager[0], 0)
    cores = {table.HCPU_CORE: hcpu, table.BL_CORE: boot}
    whole: bytes = table.encode({boot: place, hcpu: place}, public, {boot: head, hcpu: head}, cores, base)
    return whole


def program(size: int, seed: int) -> bytes:
    """A program of at least `size` bytes: a vector table, then data with the prime period 251; padded to 16."""
    line = bytes((seed * 7919 + 1) * (i + 1) ** 2 >> 3 & 0xFF for i in range(251))
    head = struct.pack("<II", 0x20040000, 0x10020101 + 2 * seed)
    return pad((head + line * (size // 251 + 1))[:size], True)


def stored(program: bytes) -> bytes:
    """The compressed form of a program, padded as it is stored."""
    return pad(compressed(program, Options(b"", b"", lambda data: b"")), True)


def write(flash: Any, off: int, data: bytes) -> None:
    """Into erased flash."""
    flash.prog(off, data + b"\xff" * (-len(data) % flash.prog_size))


def know(chip: Chip, program: bytes, kept: bytes, version: str) -> None:
    """What the journal of a board says that runs this program, whose compressed form lies in its first area."""
    sha = sha256(kept).digest()
    user = User(0, control.COMPRESS, len(kept), sha, len(program), sha256(program).digest())
    record = Record(b"workshop", sha, version_bytes(version), len(kept), 0, 0, -1, 0, 0)
    chip.journal.put("user", user.encode())
    chip.journal.put("running", record.encode())
