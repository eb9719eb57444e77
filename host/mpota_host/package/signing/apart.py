"""Packages whose release key is on another machine: made with room for the signature, which comes later."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from mpota.pipe import trust
from mpota_boot.errors import Refused
from mpota_host.package import format as fmt
from mpota_host.package import record
from mpota_host.package.signing import request


def header(data: bytes) -> bytes:
    """The bytes of a package that are signed; Refused where it is none, or one without a place for a signature."""
    data = record.split(data)[1]
    if data[:4] != fmt.MAGIC or len(data) < 16:
        raise Refused("format", "this is no package")
    end = 16 + struct.unpack_from("<H", data, 6)[0]
    if not data[5] or len(data) < end + fmt.SIGNATURE:
        raise Refused("unsigned", "this package has no place for a signature; `pack --request` makes one that has")
    return data[:end]


def attach(data: bytes, signature: Path, known: Iterable[bytes] = ()) -> tuple[bytes, bytes]:
    """(the package with the signature in its place, the public key of it)."""
    head = header(data)
    public, signed = request.read_signature(signature, head, known)
    if trust.key_id(public) != head[8:16]:
        wanted, seen = head[8:16].hex(), trust.key_id(public).hex()
        raise Refused("key", f"the package is made for release key {wanted}, the signature is by {seen}")
    at = len(record.split(data)[0]) + len(head)
    return data[:at] + signed + data[at + fmt.SIGNATURE :], public
