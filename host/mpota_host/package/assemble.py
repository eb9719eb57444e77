"""Puts components together into a package: encrypted or not, the chain of chunks, the signed header.

What travels is decided by pack.py. The bytes are those of mpota/pipe/FORMAT.md; the device's own constants say where
each field lies.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mpota_boot.errors import Refused
from mpota_host.package import format as fmt
from mpota_host.package import keys
from mpota_host.package.encode import encrypt
from mpota_host.package.encode.piece import Piece

CODES = {name: code for code, name in fmt.STAGES.items()}
HEADER = 4096  # the board's buffer


@dataclass
class Part:
    """A component: what is installed, and `pieces`, what each chunk brings, without the chain.

    `stages` are names in the order of decoding; `base` is what a delta stands on.
    """

    kind: int
    name: str
    content: bytes
    pieces: list[Piece]
    stages: tuple[str, ...] = ()
    wbits: int = 0
    base: bytes = b""

    def stored(self) -> int:
        """Bytes of all its stored chunks."""
        return sum(len(piece.data) + fmt.LINK_SIZE for piece in self.pieces)

    def record(self) -> bytes:
        """Its 134 bytes in the header."""
        first = chain(self.pieces)[0]
        return struct.pack(
            fmt.COMPONENT,
            self.kind,
            self.wbits,
            0,
            bytes(CODES[name] for name in self.stages),
            len(self.content),
            self.stored(),
            hashlib.sha256(self.content).digest(),
            hashlib.sha256(first).digest(),
            len(first),
            self.pieces[0].sectors,
            len(self.base),
            hashlib.sha256(self.base).digest() if self.base else bytes(32),
            self.name.encode(),
        )


@dataclass
class Head:
    """What a header says of the whole package; `version` as 8 bytes, `room` in bytes, `recipients` as 48 bytes each.

    `fields` are the values of the page's fields by their names.
    """

    product: str
    layout: str
    version: bytes
    room: int
    recipients: tuple[bytes, ...] = ()
    fields: Mapping[bytes, bytes] = field(default_factory=dict)


def lock(head: Head, parts: list[Part], secrets: Sequence[bytes]) -> tuple[Head, list[Part]]:
    """The same package encrypted for these device keys, under a new content key; without any as it was."""
    if not secrets:
        return head, parts
    content = encrypt.content_key()
    head = replace(head, recipients=encrypt.records(content, secrets))
    return head, [sealed(part, content, i) for i, part in enumerate(parts)]


def sealed(part: Part, content: bytes, component: int) -> Part:
    """A component of which every chunk is encrypted, whatever its stages made of it."""
    done, at = [], 0
    for piece in part.pieces:
        done.append(piece._replace(data=encrypt.chunk(content, component, at, piece.data)))
        at += piece.output
    return replace(part, pieces=done, stages=("decrypt", *part.stages))


def chain(pieces: list[Piece]) -> list[bytes]:
    """The stored chunks, first to last; each begins with the SHA-256, the length and the sectors of the next one."""
    stored: list[bytes] = []
    after = struct.pack(fmt.LINK, bytes(32), 0, 0)
    for piece in reversed(pieces):
        chunk = after + piece.data
        after = struct.pack(fmt.LINK, hashlib.sha256(chunk).digest(), len(chunk), piece.sectors)
        stored.append(chunk)
    return stored[::-1]


def header(head: Head, records: list[bytes], key: keys.Signer | None) -> bytes:
    """The signed bytes: preamble, body, components, recipients, fields."""
    body = struct.pack(
        fmt.BODY,
        head.product.encode(),
        head.layout.encode(),
        head.version,
        head.room // 1024,
        len(records),
        len(head.recipients),
        0,
    ) + b"".join([*records, *head.recipients])
    body += b"".join(struct.pack(fmt.FIELD, name, len(value)) + value for name, value in head.fields.items())
    if 16 + len(body) + fmt.SIGNATURE > HEADER:
        raise Refused(
            "header", f"{len(records)} components and {len(head.recipients)} keys do not fit in {HEADER} bytes"
        )
    name = keys.key_id(keys.public_bytes(key)) if key else bytes(8)
    return struct.pack(fmt.PREAMBLE, fmt.MAGIC, fmt.FORMAT, 1 if key else 0, len(body), name) + body


def sign(head: bytes, key: keys.Signer | None) -> bytes:
    """The header and, behind it, its signature."""
    return head + (keys.sign(key, head) if key else b"")


def assemble(head: Head, parts: list[Part], key: keys.Signer | None) -> bytes:
    """The whole package; without a key it is unsigned."""
    signed = sign(header(head, [part.record() for part in parts], key), key)
    return signed + b"".join(chunk for part in parts for chunk in chain(part.pieces))
