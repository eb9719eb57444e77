"""Release keys: RSA-3072, kept as PEM on the host, as 384 bytes of modulus on a board.

The private key signs package headers and never leaves the host; a board holds one or two public keys, so that keys
can be rotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mpota.pipe import trust
from mpota_boot.errors import Refused
from mpota_host.package.encode import encrypt

EXPONENT = 65537


@dataclass(frozen=True)
class Apart:
    """A key that never touches this machine: its public half. Whoever holds it signs a request."""

    public: bytes


Signer = rsa.RSAPrivateKey | Apart


def generate(path: Path) -> rsa.RSAPrivateKey:
    """Make a key pair: `path` gets the private key (PEM, mode 600), `.pub` the public one.

    FileExistsError, with the name, where one of the two is there; nothing is written then.
    """
    public = public_path(path)
    key = rsa.generate_private_key(EXPONENT, trust.SIZE * 8)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    public.touch(exist_ok=False)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except OSError:
        public.unlink()
        raise
    path.write_bytes(pem)
    public.write_bytes(public_bytes(key))
    return key


def public_path(path: Path) -> Path:
    """Where the public key of the private key file `path` lies."""
    return path.with_name(path.name.removesuffix(".pem") + ".pub")


def load_private(path: Path) -> rsa.RSAPrivateKey:
    """The private key of a PEM file; Refused where it is not an RSA-3072 one."""
    data = path.read_bytes()
    _no_device_key(path, data)
    if len(data) == trust.SIZE or b"-----BEGIN PUBLIC KEY" in data:
        raise Refused("key", f"{path} is a public key, the private one signs: the PEM file beside it")
    if b"PRIVATE KEY-----" not in data:
        raise Refused("key", f"{path} is no unencrypted private key in PEM; `keygen` makes one")
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError:
        text = f"{path} has a passphrase; write it without one: `openssl rsa -in {path} -out plain.pem`"
        raise Refused("key", text) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("key", f"{path} is a damaged private key, or of an unknown kind") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != trust.SIZE * 8:
        raise Refused("key", f"{path} is not an RSA-{trust.SIZE * 8} key; make one with `keygen`")
    return key


def load_public(path: Path) -> bytes:
    """The 384 bytes that a board trusts, from a `.pub` file or from a private key's PEM."""
    data = path.read_bytes()
    _no_device_key(path, data)
    if len(data) == trust.SIZE:
        return data
    if b"PRIVATE KEY-----" not in data:
        raise Refused("key", f"{path} is no key: a public one has {trust.SIZE} bytes, as `keygen` writes it")
    return public_bytes(load_private(path))


def _no_device_key(path: Path, data: bytes) -> None:
    if encrypt.is_key(data):
        raise Refused("key", f"{path} is a device key, which encrypts (--encrypt-for, --device-key) and signs nothing")


def public_bytes(key: Signer) -> bytes:
    """The modulus, 384 bytes, big-endian."""
    if isinstance(key, Apart):
        return key.public
    numbers = key.public_key().public_numbers()
    return numbers.n.to_bytes(trust.SIZE, "big")


def key_id(public: bytes) -> bytes:
    """The eight bytes that name a key in a package."""
    return trust.key_id(public)


def sign(key: Signer, data: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256 over `data`: 384 bytes; the place for it where the key is elsewhere."""
    if isinstance(key, Apart):
        return bytes(trust.SIZE)
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
