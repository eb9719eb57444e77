"""Requests for a signature by a key on another machine, and the signatures that come back.

Both are text: words for a person, then the bytes between two lines, as PEM has them. The bytes of a request are what
is to be signed; those of a signature are the public key, 384 bytes, and the signature, 384 bytes. What its words say is
made from the bytes again before anything is signed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from mpota.pipe import trust
from mpota.pipe.package import Package
from mpota.version import text
from mpota_boot.errors import OtaError, Refused
from mpota_host.package import format as fmt
from mpota_host.package import record
from mpota_host.package.report import harmless

REQUEST, SIGNATURE = "MPOTA REQUEST", "MPOTA SIGNATURE"
HEADER = 4096


def words(data: bytes) -> list[str]:
    """What the bytes to be signed are; Refused where mpota does not know them."""
    if data[:4] == record.MAGIC:
        return [harmless(line) for line in record.words(data)]
    if data[:4] == fmt.MAGIC:
        try:
            package = Package.read(BytesIO(data + bytes(fmt.SIGNATURE)), None, bytearray(HEADER))
        except OtaError as e:
            raise Refused("request", f"the request has no whole header of a package: {e}") from e
        head = f"package {package.id.hex()}: {package.product} {text(package.version)}, layout {package.layout}"
        parts = [f"{part.name}, {part.size} bytes, SHA-256 {part.sha.hex()}" for part in package.components]
        return [harmless(line) for line in (head, *parts, f"for release key {data[8:16].hex()}")]
    raise Refused("request", "the request asks for a signature over something that mpota does not know")


def request(data: bytes) -> str:
    """The text of a request for a signature over these bytes."""
    return _text(["A request for a signature, made by mpota, over", *words(data)], REQUEST, data)


def read(path: Path) -> bytes:
    """The bytes that a request wants signed; Refused where its words do not say what they are."""
    written, data = _block(path, REQUEST)
    missing = [line for line in words(data) if line not in written.splitlines()]
    if missing:
        raise Refused("request", f"{path} is not what it says: its bytes are {missing[0]!r}, which its words are not")
    return data


def signature(public: bytes, signed: bytes) -> str:
    """The text of a signature."""
    return _text([f"A signature by key {trust.key_id(public).hex()}, made by mpota."], SIGNATURE, public + signed)


def read_signature(path: Path, data: bytes, known: Iterable[bytes] = ()) -> tuple[bytes, bytes]:
    """(public key, signature) in a file, proven over `data`; a bare one, as OpenSSL's, by one of the keys known."""
    found = path.read_bytes()
    if len(found) == trust.SIZE:
        pairs = [(public, found) for public in known]
        advice = "" if pairs else "; a bare signature needs the public key beside it: --root or --key"
    else:
        both = _block(path, SIGNATURE)[1]
        pairs, advice = [(both[: trust.SIZE], both[trust.SIZE :])], ""
    for public, signed in pairs:
        if trust.verify(public, signed, sha256(data).digest()):
            return public, signed
    raise Refused("signature", f"{path} is no signature over this{advice}")


def is_text(data: bytes) -> bool:
    """Is it a request or a signature?"""
    return any(f"-----BEGIN {kind}-----".encode() in data for kind in (REQUEST, SIGNATURE))


def _text(lines: list[str], kind: str, data: bytes) -> str:
    coded = base64.encodebytes(data).decode()
    return "\n".join(lines) + f"\n\n-----BEGIN {kind}-----\n{coded}-----END {kind}-----\n"


def _block(path: Path, kind: str) -> tuple[str, bytes]:
    """(the words, the bytes) of a file."""
    found = path.read_bytes().decode("utf-8", "replace")
    match = re.search(f"(.*)-----BEGIN {kind}-----\r?\n(.*)-----END {kind}-----", found, re.S)
    try:
        if not match:
            raise ValueError
        return match[1], base64.b64decode("".join(match[2].split()), validate=True)
    except (ValueError, binascii.Error):
        raise Refused("request", f"{path} is no {'request' if kind == REQUEST else 'signature'} of mpota's") from None
