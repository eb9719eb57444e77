"""Device keys, and what they encrypt: the host's side of mpota/pipe/decrypt.py, on the cryptography package.

A device key is 32 random bytes that one board, or a fleet of them, holds in its NVS; its file is text of two lines and
for the owner's eyes only. It wraps a package's content key, which is new for every package, so that no two chunks of
any two packages are encrypted alike. Nothing here prints a key or puts one into an error.
"""

from __future__ import annotations

import os
import re
import secrets
import struct
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpota.pipe import decrypt, trust
from mpota_boot.errors import Refused

SIZE = 32
BLOCK = 16
# Behind it on its line stands the key's id, which a damaged key does not have.
FIRST_LINE = "mpota device key"
# What is encrypted to a chunk's IV: this, the component's number and where in it the chunk's bytes lie (FORMAT.md).
NONCE = "<8sII"
LABEL = b"mpota iv"


def generate(path: Path) -> bytes:
    """Make a device key and its file, which only its owner may read. Overwrites nothing."""
    secret = secrets.token_bytes(SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(f"{FIRST_LINE} {key_id(secret).hex()}\n{secret.hex()}\n")
    return secret


def load(path: Path) -> bytes:
    """The 32 bytes of a device key's file; Refused, without a word of its content, where it is something else."""
    data = path.read_bytes()
    if not is_key(data):
        raise Refused("device-key", f"{path} is {_instead(data)}; `keygen --device` makes one")
    first, _, rest = data.decode("ascii", "replace").partition("\n")
    digits = rest.strip()
    if not re.fullmatch("[0-9a-fA-F]*", digits):
        raise Refused("device-key", f"{path} is a damaged device key: its second line is not hex digits alone")
    if len(digits) != 2 * SIZE:
        text = f"{path} is a damaged device key: {len(digits)} hex digits, wanted {2 * SIZE}"
        raise Refused("device-key", text)
    secret = bytes.fromhex(digits)
    named = first.removeprefix(FIRST_LINE).strip()
    if named.lower() != key_id(secret).hex():
        raise Refused("device-key", f"{path} is a damaged device key: its digits are not those of key {named!r}")
    return secret


def is_key(data: bytes) -> bool:
    """Are these the bytes of a device key's file, whole or damaged?"""
    return data.startswith(FIRST_LINE.encode())


def _instead(data: bytes) -> str:
    """What a file is that is no device key."""
    if data.startswith(b"-----BEGIN") or len(data) == trust.SIZE:
        return "a release key, which signs; a device key, which encrypts, is needed here"
    if not data:
        return "empty, no device key"
    return f"no device key: {len(data):,} bytes that do not begin with {FIRST_LINE!r}"


def key_id(secret: bytes) -> bytes:
    """The eight bytes that name a device key."""
    return decrypt.key_id(secret)


def content_key() -> bytes:
    """The key of one package; it never encrypts another one."""
    return secrets.token_bytes(SIZE)


def records(content: bytes, keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """What the header holds for the device `keys`, 48 bytes each: the id, and `content` wrapped (RFC 3394)."""
    return tuple(key_id(secret) + keywrap.aes_key_wrap(secret, content) for secret in dict.fromkeys(keys))


def nonce(component: int, at: int) -> bytes:
    """The block that is encrypted to the IV of the chunk of byte `at` of a component; no two of a package share one."""
    return struct.pack(NONCE, LABEL, component, at)


def chunk(content: bytes, component: int, at: int, plain: bytes) -> bytes:
    """One chunk's bytes as they travel: padded (PKCS #7), then encrypted with AES-256-CBC."""
    iv = _aes(content, modes.ECB(), nonce(component, at))
    n = BLOCK - len(plain) % BLOCK
    return _aes(content, modes.CBC(iv), plain + bytes([n]) * n)


def _aes(key: bytes, mode: modes.ECB | modes.CBC, data: bytes) -> bytes:
    run = Cipher(algorithms.AES(key), mode).encryptor()
    return run.update(data) + run.finalize()
