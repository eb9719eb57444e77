"""Puts components together into a package: encrypted or not, the chain of chunks, the signed header.

What travels is decided by pack.py. The bytes are those of mpota/pipe/FORMAT.md; the device's own constants say where
each field lies.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import rsa

from mpota_boot.errors import Refused
from mpota_host.package import format as fmt
from mpota_host.package import keys
from mpota_host.package.encode import encrypt

CODES = {name: code for code, name in fmt.STAGES.items()}
HEADER = 4096  # the board's buffer


@dataclass
class Part:
    """A component: what is installed, and `pieces`, the bytes of each chunk as they travel, without the chain.

    `stages` are names in the order of decoding; `base` is what a delta stands on.
    """

    kind: int
    name: str
    content: bytes
    pieces: list[bytes]
    stages: tuple[str, ...] = ()
    wbits: int = 0
    base: bytes = b""

    def stored(self) -> int:
        """Bytes of all its stored chunks."""
        return sum(map(len, self.pieces)) + len(self.pieces) * fmt.LINK_SIZE

    def record(self) -> bytes:
        """Its 136 bytes in the header."""
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
            len(first),
            hashlib.sha256(first).digest(),
            len(self.base),
            hashlib.sha256(self.base).digest() if self.base else bytes(32),
            self.name.encode(),
        )


@dataclass
class Head:
    """What a header says of the whole package; `version` as 8 bytes, `recipients` as 48 bytes each."""

    product: str
    layout: str
    version: bytes
    chunk: int
    recipients: tuple[bytes, ...] = ()


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """`data` in pieces of `size` bytes, the last one shorter."""
    return (data[off : off + size] for off in range(0, len(data), size))


def lock(head: Head, parts: list[Part], secrets: Sequence[bytes]) -> tuple[Head, list[Part]]:
    """The same package encrypted for these device keys, under a new content key; without any as it was."""
    if not secrets:
        return head, parts
    content = encrypt.content_key()
    head = replace(head, recipients=encrypt.records(content, secrets))
    return head, [sealed(part, content, i) for i, part in enumerate(parts)]


def sealed(part: Part, content: bytes, component: int) -> Part:
    """A component of which every chunk is encrypted, whatever its stages made of it."""
    pieces = [encrypt.chunk(content, component, index, piece) for index, piece in enumerate(part.pieces)]
    return replace(part, pieces=pieces, stages=("decrypt", *part.stages))


def chain(pieces: list[bytes]) -> list[bytes]:
    """The stored chunks, first to last; each begins with the SHA-256 and the length of the next one."""
    stored: list[bytes] = []
    after = struct.pack(fmt.LINK, bytes(32), 0)
    for piece in reversed(pieces):
        chunk = after + piece
        after = struct.pack(fmt.LINK, hashlib.sha256(chunk).digest(), len(chunk))
        stored.append(chunk)
    return stored[::-1]


def header(head: Head, records: list[bytes], key: rsa.RSAPrivateKey | None) -> bytes:
    """The signed bytes: preamble, body, components, recipients."""
    body = struct.pack(
        fmt.BODY,
        head.product.encode(),
        head.layout.encode(),
        head.version,
        head.chunk,
        len(records),
        len(head.recipients),
    ) + b"".join([*records, *head.recipients])
    if 16 + len(body) + fmt.SIGNATURE > HEADER:
        raise Refused(
            "header", f"{len(records)} components and {len(head.recipients)} keys do not fit in {HEADER} bytes"
        )
    name = keys.key_id(keys.public_bytes(key)) if key else bytes(8)
    return struct.pack(fmt.PREAMBLE, fmt.MAGIC, fmt.FORMAT, 1 if key else 0, len(body), name) + body


def sign(head: bytes, key: rsa.RSAPrivateKey | None) -> bytes:
    """The header and, behind it, its signature."""
    return head + (keys.sign(key, head) if key else b"")


def assemble(head: Head, parts: list[Part], key: rsa.RSAPrivateKey | None) -> bytes:
    """The whole package; without a key it is unsigned."""
    signed = sign(header(head, [part.record() for part in parts], key), key)
    return signed + b"".join(chunk for part in parts for chunk in chain(part.pieces))
