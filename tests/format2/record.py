"""The keys record: which release and rollout keys the roots of a product trust."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from tests.format2 import tables


@dataclass
class Record:
    """A keys record; `signatures` are (id of the root key, signature)."""

    serial: int
    product: str
    release: list[bytes]
    rollout: list[bytes]
    signatures: list[tuple[bytes, bytes]]
    signed: bytes = b""

    def signers(self, roots: Sequence[bytes]) -> int:
        """How many of these roots signed it; a ValueError for a signature of nobody here, or a wrong one."""
        known = {sha256(root).digest()[:8]: root for root in roots}
        wanted = tables.block(sha256(self.signed).digest())
        for name, signature in self.signatures:
            if name not in known:
                raise ValueError(f"signed by {name.hex()}, which is no root here")
            n, s = int.from_bytes(known[name], "big"), int.from_bytes(signature, "big")
            if s >= n or pow(s, 65537, n).to_bytes(tables.RSA, "big") != wanted:
                raise ValueError(f"not the signature of {name.hex()}")
        return len(self.signatures)


def open_record(data: bytes) -> tuple[Record | None, bytes]:
    """(the keys record in front or None, what follows it)."""
    if data[:4] != b"MPOK":
        return None, data
    _, number, release, rollout, signatures, serial, product = tables.RECORD.unpack_from(data)
    end = tables.RECORD.size + tables.RSA * (release + rollout)
    whole = end + (8 + tables.RSA) * signatures
    if number != 1 or whole > tables.HEADER or whole > len(data):
        raise ValueError(f"a keys record of format {number}, {whole} bytes")
    keys = [data[at : at + tables.RSA] for at in range(tables.RECORD.size, end, tables.RSA)]
    made = [(data[at : at + 8], data[at + 8 : at + 8 + tables.RSA]) for at in range(end, whole, 8 + tables.RSA)]
    if [name for name, _ in made] != sorted({name for name, _ in made}):
        raise ValueError("signatures twice, or not ordered by id")
    name = tables.text(product)
    return Record(serial, name, keys[:release], keys[release:], made, data[:end]), data[whole:]
