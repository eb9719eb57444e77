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
        """How many of these roots signed it. A signature of nobody here says nothing, and no root counts twice."""
        made = dict(self.signatures)
        wanted = tables.block(sha256(self.signed).digest())
        found = 0
        for root in set(roots):
            n, s = int.from_bytes(root, "big"), int.from_bytes(made.get(sha256(root).digest()[:8], b""), "big")
            found += s < n and pow(s, 65537, n).to_bytes(tables.RSA, "big") == wanted
        return found


def open_record(data: bytes) -> tuple[Record | None, bytes]:
    """(the keys record in front or None, what follows it)."""
    if data[:4] != b"MPOK":
        return None, data
    _, number, release, rollout, signatures, serial, product = tables.RECORD.unpack_from(data)
    end = tables.RECORD.size + tables.RSA * (release + rollout)
    whole = end + (8 + tables.RSA) * signatures
    if number != 1 or not release or whole > tables.HEADER or whole > len(data):
        raise ValueError(f"a keys record of format {number}, {whole} bytes")
    keys = [data[at : at + tables.RSA] for at in range(tables.RECORD.size, end, tables.RSA)]
    made = [(data[at : at + 8], data[at + 8 : at + 8 + tables.RSA]) for at in range(end, whole, 8 + tables.RSA)]
    name = tables.text(product)
    # As it was before anybody signed it.
    signed = data[:7] + b"\0" + data[8:end]
    return Record(serial, name, keys[:release], keys[release:], made, signed), data[whole:]
