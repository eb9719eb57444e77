"""Keys records: which keys sign packages and which sign offers, signed by root keys. pipe/FORMAT.md has the bytes.

`body` is a record without signatures: it is what a root signs. Who is to sign need not be known before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from mpota.pipe import keyrecord, trust
from mpota.pipe.keyrecord import KeysRecord
from mpota.stream import finish
from mpota_boot.errors import OtaError, Refused
from mpota_host.package import format as fmt
from mpota_host.package.report import Report, Table, harmless

MAGIC = fmt.RECORD
COUNT = 7
LAST = (1 << 32) - 1


def body(serial: int, product: str, release: Sequence[bytes], rollout: Sequence[bytes]) -> bytes:
    """What the roots sign: these public keys for this product, "" for every product of theirs."""
    if not 1 <= serial <= LAST:
        raise Refused("serial", f"serial {serial}, wanted 1 to {LAST}")
    if len(product.encode()) > 32 or not product.isprintable():
        raise Refused("product", f"the product is {product!r}, wanted at most 32 bytes of printable characters")
    if not release:
        raise Refused("key", "a keys record has at least one release key")
    keys = [*release, *rollout]
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice:
        raise Refused("key", f"key {trust.key_id(twice).hex()} is given twice; a key signs packages or offers")
    head = struct.pack(keyrecord.HEAD, MAGIC, keyrecord.FORMAT, len(release), len(rollout), 0, serial, product.encode())
    made = head + b"".join(keys)
    want_room(made, 1)
    return made


def want_room(made: bytes, signatures: int) -> None:
    """Refused where so many signatures make a record longer than a board reads."""
    size = len(made) + signatures * keyrecord.SIGNED
    if size > keyrecord.MOST:
        raise Refused("record", f"a keys record of {size} bytes, a board reads {keyrecord.MOST}: give fewer keys")


def join(made: bytes, signatures: Mapping[bytes, bytes]) -> bytes:
    """The record of a body and its signatures by public root key; a signature that is none is refused."""
    for public, signature in signatures.items():
        if not trust.verify(public, signature, sha256(made).digest()):
            raise Refused("signature", f"the signature of root {trust.key_id(public).hex()} is not over this record")
    return more(made, [], signatures)


def more(made: bytes, there: Iterable[tuple[bytes, bytes]], signatures: Mapping[bytes, bytes]) -> bytes:
    """A record of a body, signatures that it has, by the id of their root, and proven ones by public key."""
    rows = {**dict(there), **{trust.key_id(public): signature for public, signature in signatures.items()}}
    want_room(made, len(rows))
    signed = b"".join(root + rows[root] for root in sorted(rows))
    return made[:COUNT] + bytes([len(rows)]) + made[COUNT + 1 :] + signed


def part(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body of a record, and (id of the root, signature) of each of its signatures."""
    end = len(data) - data[COUNT] * keyrecord.SIGNED
    rows = [data[at : at + keyrecord.SIGNED] for at in range(end, len(data), keyrecord.SIGNED)]
    return data[:COUNT] + b"\0" + data[COUNT + 1 : end], [(row[:8], row[8:]) for row in rows]


def split(data: bytes) -> tuple[bytes, bytes]:
    """(the keys record in front, what follows it); b"" for each that is not there."""
    if data[:4] != MAGIC:
        return b"", data
    if len(data) < keyrecord.HEAD_SIZE:
        raise Refused("record", "the file ends inside its keys record")
    n = keyrecord.length(data)
    if n > len(data):
        raise Refused("record", f"the file ends inside its keys record: {n} bytes wanted, {len(data)} seen")
    return data[:n], data[n:]


def fields(data: bytes) -> KeysRecord:
    """What a record, or a body without any signature, says; none of it is proven."""
    if len(data) > COUNT and not data[COUNT]:
        data = data[:COUNT] + b"\1" + data[COUNT + 1 :] + bytes(keyrecord.SIGNED)
    return KeysRecord(data)


def words(data: bytes) -> list[str]:
    """What a record says, a sentence for each thing."""
    said = fields(data)
    whom = f"for product {said.product!r}" if said.product else "for every product of its roots"
    lines = [f"keys record {said.serial} {whom}"]
    lines += [f"release key {trust.key_id(key).hex()}, signs packages" for key in said.release]
    return lines + [f"rollout key {trust.key_id(key).hex()}, signs offers" for key in said.rollout]


def prove(data: bytes, roots: Sequence[bytes], threshold: int, product: str | None = None) -> KeysRecord:
    """The record, held to roots and a threshold as a board does; Refused where it would not take it."""
    found = KeysRecord(data)
    if product is not None and found.product not in ("", product):
        raise Refused("product", f"the keys record is for product {found.product!r}, this board is {product!r}")
    finish(found.proving(dict.fromkeys(roots), threshold or len(set(roots))))
    return found


def explain(data: bytes) -> Report:
    """A record alone."""
    return Report("keys record", f"a keys record of mpota's: {harmless(words(data)[0])}", facts(data), [table(data)])


def facts(data: bytes) -> dict[str, object]:
    """What a record says, for a program."""
    said = fields(data)
    ids = {name: [trust.key_id(key).hex() for key in keys] for name, keys in _keys(said)}
    signed = [root.hex() for root, _ in part(data)[1]]
    return {"serial": said.serial, "product": said.product, **ids, "signed_by": signed, "size": len(data)}


def table(data: bytes) -> Table:
    """What a record says, for a person."""
    said = fields(data)
    rows = [(name, trust.key_id(key).hex()) for name, keys in _keys(said) for key in keys]
    rows += [("signed by root", root.hex()) for root, _ in part(data)[1]]
    return Table("", ("key", "id"), rows)


def _keys(said: KeysRecord) -> list[tuple[str, list[bytes]]]:
    return [("release", said.release), ("rollout", said.rollout)]


def is_record(data: bytes) -> bool:
    """Is it a keys record, and nothing behind it?"""
    try:
        return bool(split(data)[0]) and not split(data)[1]
    except OtaError:
        return False
