"""The vendor's release out of a build: .bin, factory .bin, one HEX with the bootloader, signature and manifest."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from mpota.layout.pic32.link.manifest import MOST, Entry, Manifest
from mpota_boot.errors import Refused
from mpota_host.chips.pic32 import hexfile
from mpota_host.chips.pic32.hexfile import Slot

# Bytes that the vendor's service has for a manifest unless its build says otherwise.
VENDOR_LIMIT = 2000


@dataclass(frozen=True)
class Options:
    """What is made beside the .bin. `number`: the version in the manifest; `base`: the URL of the folder it lies in."""

    slot: Slot
    bootloader: bytes | None = None
    keep_fuses: bool = False
    key: bytes | None = None
    number: int | None = None
    base: str = ""
    product: str = ""


def find_hex(folder: Path) -> Path:
    """The one HEX file of a build below `folder`/dist, production before others, as the vendor's tool looks for it.

    A project with a loadable bootloader has one of both beside it, which is for the programmer.
    """
    found = sorted(p for p in (folder / "dist").rglob("*.hex") if not p.name.lower().endswith("unified.hex"))
    found = [p for p in found if "production" in p.parts] or found
    if len(found) != 1:
        names = ", ".join(str(p) for p in found[:4])
        raise Refused("hex", f"{len(found)} HEX files in {folder / 'dist'}{': ' + names if names else ''}; name one")
    return found[0]


def sign(data: bytes, pem: bytes) -> str:
    """The vendor's signature of a .bin: ECDSA P-256 over its SHA-256, r and s of 32 bytes each, in base64."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as e:
        raise Refused("key", f"no private key in PEM without a password: {e}") from e
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refused("key", "the key is not one of P-256")
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()


def public(pem: bytes) -> bytes:
    """x and y, which a board's bootloader and service hold, of a key in PEM, private or public."""
    if b"PRIVATE" in pem:
        key = serialization.load_pem_private_key(pem, None)
        numbers = key.public_key().public_numbers() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    else:
        other = serialization.load_pem_public_key(pem)
        numbers = other.public_numbers() if isinstance(other, ec.EllipticCurvePublicKey) else None
    if numbers is None:
        raise Refused("key", "the key is not one of P-256")
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def entry(name: str, data: bytes, options: Options) -> dict[str, object]:
    """One element of the manifest."""
    if options.number is None or not 1 <= options.number <= 999:
        raise Refused("version", f"the version is {options.number}, wanted 1 to 999")
    found: dict[str, object] = {
        "Version": options.number,
        "URL": f"{options.base.rstrip('/')}/{quote(name)}",
        "Digest": sha256(data).hexdigest(),
        "EraseVer": False,
    }
    for wrong in Manifest([found]).wrong:
        raise Refused("manifest", f"no board would take that {wrong}; give --url, where the folder will be served")
    if options.key:
        found["Signature"] = sign(data, options.key)
        bind(found, options)
    return found


def bind(found: dict[str, object], options: Options) -> None:
    """Put Product and EntrySignature into an entry, which bind its number, Digest and EraseVer.

    Without a product, or without a key, the entry is as the vendor has it.
    """
    product = options.product
    if not options.key or not product:
        return
    if len(product.encode()) > 32 or not product.isprintable():
        raise Refused("product", f"the product is {product!r}, wanted up to 32 bytes that can be printed")
    found["Product"] = product
    found["EntrySignature"] = sign(Entry({key.lower(): found[key] for key in found}).signed(), options.key)


def withdrawal(number: int, digest: str, options: Options) -> dict[str, object]:
    """The element that takes image `number` back, signed where there is a key."""
    found: dict[str, object] = {"Version": number, "EraseVer": True}
    if digest:
        found["Digest"] = digest
    bind(found, options)
    return found


def _fields(entry: dict[str, object]) -> dict[str, object]:
    return {key.lower(): value for key, value in entry.items()}


def _number(entry: dict[str, object]) -> int:
    return int(str(_fields(entry)["version"]))


def _same(one: dict[str, object], new: dict[str, object]) -> bool:
    """Are both for one number of one product?"""
    return _number(one) == _number(new) and _fields(one).get("product", "") == new.get("Product", "")


def read(path: Path) -> tuple[dict[str, list[dict[str, object]]], str]:
    """A manifest, empty where there is no such file, and what its list is called."""
    try:
        given = json.loads(path.read_text()) if path.exists() else {"ota": []}
        key = next(key for key in given if key.lower() == "ota")
        for entry in given[key]:
            _number(entry)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as e:
        raise Refused("manifest", f'{path} is no manifest like {{"ota": [{{"Version": 1, ...}}]}}: {e!r}') from e
    return given, key


def room(limit: int) -> int:
    """Bytes of a manifest that a service reads whose buffer has `limit`: the vendor's leaves ten of them."""
    return limit - 10


def manifest(path: Path, new: dict[str, object], limit: int = MOST) -> tuple[bytes, list[int]]:
    """The manifest at `path` with one more element, last of all where older releases of the service look.

    The oldest offers are left out until boards can read it; their numbers are the second value.
    """
    given, key = read(path)
    entries = sorted([e for e in given[key] if not _same(e, new)] + [new], key=_number)
    left: list[int] = []
    while True:
        given[key] = entries
        data = json.dumps(given, indent=4).encode() + b"\n"
        if len(data) <= room(limit):
            return data, left
        old = next((e for e in entries if e is not new and _fields(e).get("erasever") is not True), None)
        if old is None:
            words = "its withdrawals and the new entry" if len(entries) > 1 else "the new entry alone"
            text = f"{words} make {len(data):,} bytes, and boards read {room(limit):,} of a manifest"
            raise Refused("manifest", f"{text}: take withdrawals out of {path}, or give a shorter --url")
        entries = [e for e in entries if e is not old]
        left.append(_number(old))


def withdrawn(path: Path, options: Options, limit: int = MOST) -> tuple[bytes, list[int]]:
    """The manifest at `path` with its offer of `options.number` taken back."""
    given, key = read(path)
    assert options.number is not None
    bare: dict[str, object] = {"Version": options.number, "Product": options.product}
    offer = next((_fields(e) for e in given[key] if _same(e, bare)), {})
    new = withdrawal(options.number, str(offer.get("digest", "")), options)
    return manifest(path, new, limit)


def build(text: bytes, options: Options, stem: str) -> dict[str, bytes]:
    """File name -> bytes of a release of the HEX file `text`."""
    app = hexfile.load(text, "the application")
    hexfile.fits(app, options.slot)
    image = hexfile.binary(app, options.slot)
    made = {f"{stem}.bin": image}
    if options.key:
        made[f"{stem}_sign.txt"] = sign(image, options.key).encode()
    if options.bootloader is not None:
        boot = hexfile.load(options.bootloader, "the bootloader")
        whole = made["factory_reset.bin"] = hexfile.factory(app, options.slot)
        if options.key:
            made["factory_image_sign.txt"] = sign(whole, options.key).encode()
        made[f"{stem}-factory.hex"] = hexfile.text(hexfile.unify(boot, app, options.keep_fuses))
    return made
