"""Packages of two firmwares, put together from the host's parts; how each is made is what its kind says.

A kind names what is done to a chunk, first to last: "delta + deflate + AES". The board undoes it from the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from mpota_host.package import format as fmt
from mpota_host.package.assemble import Head, Part, assemble, lock
from mpota_host.package.choose import EncodeOptions
from mpota_host.package.encode import delta
from mpota_host.package.encode.fill import Deflate, Lzma, Plain, Raw, Way, filled

PRODUCT = "bench"
VERSION = bytes((0, 2, 0, 0, 0, 0, 0, 0))
# Window of the deflate and LZMA streams.
WBITS = 12
STAGES = {
    "raw": "",
    "deflate": "inflate",
    "LZMA": "lzma",
    "delta": "delta",
    "predicted delta": "xtensa",
    "AES": "decrypt",
}


@dataclass
class Pair:
    """Two firmwares, `old` running, `new` on offer."""

    name: str
    old: bytes
    new: bytes


def words(kind: str, room: int) -> str:
    """A kind and the size of its room, for a person."""
    return f"{kind} {room // 1024} KiB"


def part(pair: Pair, kind: str, room: int) -> Part:
    """The firmware as a component of this kind, not yet encrypted."""
    steps = kind.split(" + ")
    stages = [STAGES[step] for step in steps if step != "AES" and STAGES[step]]
    way: Way = Deflate(WBITS) if "deflate" in steps else Lzma(WBITS) if "LZMA" in steps else Raw()
    means = EncodeOptions(room=room, encrypted="AES" in steps)
    if not steps[0].endswith("delta"):
        travel = filled(Plain(pair.new), way, means.most())
    else:
        plan = delta.plan(pair.old, pair.new, way, means.most(), steps[0].startswith("predicted"))
        travel = plan.pieces
        # An image without anything to predict needs the stage without.
        stages[0] = "xtensa" if plan.predicted else "delta"
    base = pair.old if "delta" in kind else b""
    return Part(fmt.FIRMWARE, "firmware", pair.new, travel, tuple(reversed(stages)), way.window(travel), base)


def package(pair: Pair, kind: str, room: int, key: rsa.RSAPrivateKey, secret: bytes) -> bytes:
    """The signed package, whole: header, chains and all."""
    head = Head(PRODUCT, "esp32", VERSION, room)
    return assemble(*lock(head, [part(pair, kind, room)], [secret] if "AES" in kind else []), key)
