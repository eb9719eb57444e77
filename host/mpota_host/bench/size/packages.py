"""Packages of two firmwares, put together from the host's parts; how each is made is what its kind says.

A kind names what is done to a chunk, first to last: "delta + deflate + AES". The board undoes it from the end.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from mpota_host.package import format as fmt
from mpota_host.package.assemble import Head, Part, assemble, lock, pieces
from mpota_host.package.encode import delta, lzma_chunk

PRODUCT = "bench"
VERSION = bytes((0, 2, 0, 0, 0, 0, 0, 0))
# Window of the deflate streams; an LZMA window is as large as the chunk, which is all that it can reach.
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
    """Two firmwares, `old` running, `new` on offer; a plan is made once, and its seconds are kept."""

    name: str
    old: bytes
    new: bytes
    plans: dict[tuple[int, bool], delta.Delta] = field(default_factory=dict)
    seconds: dict[tuple[int, bool], float] = field(default_factory=dict)

    def plan(self, chunk: int, predict: bool) -> delta.Delta:
        """How `new` is made of `old`."""
        which = (chunk, predict)
        if which not in self.plans:
            began = time.perf_counter()
            self.plans[which] = delta.plan(self.old, self.new, chunk, predict)
            self.seconds[which] = time.perf_counter() - began
        return self.plans[which]


def words(kind: str, chunk: int) -> str:
    """A kind and the size of its chunks, for a person."""
    return f"{kind} {chunk // 1024} KiB"


def deflated(piece: bytes) -> bytes:
    """A raw deflate stream; without compression where that is shorter."""
    streams = []
    for level, wbits in ((9, WBITS), (0, 15)):
        packer = zlib.compressobj(level, zlib.DEFLATED, -wbits, 9)
        streams.append(packer.compress(piece) + packer.flush())
    return min(streams, key=len)


def part(pair: Pair, kind: str, chunk: int) -> Part:
    """The firmware as a component of this kind, not yet encrypted."""
    steps = [step for step in kind.split(" + ") if step != "AES"]
    stages = [STAGES[step] for step in steps if STAGES[step]]
    base, wbits, travel = b"", 0, list(pieces(pair.new, chunk))
    for step in steps:
        if step.endswith("delta"):
            plan = pair.plan(chunk, step.startswith("predicted"))
            base, travel = pair.old, plan.chunks
            # An image without anything to predict needs the stage without.
            stages[0] = "xtensa" if plan.predicted else "delta"
        elif step == "deflate":
            wbits, travel = WBITS, [deflated(piece) for piece in travel]
        elif step == "LZMA":
            wbits = chunk.bit_length() - 1
            travel = [lzma_chunk.encode(piece, wbits) for piece in travel]
    return Part(fmt.FIRMWARE, "firmware", pair.new, travel, tuple(reversed(stages)), wbits, base)


def package(pair: Pair, kind: str, chunk: int, key: rsa.RSAPrivateKey, secret: bytes) -> bytes:
    """The signed package, whole: header, chains and all."""
    head = Head(PRODUCT, "esp32", VERSION, chunk)
    return assemble(*lock(head, [part(pair, kind, chunk)], [secret] if "AES" in kind else []), key)
