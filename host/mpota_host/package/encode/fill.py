"""Fills chunks: each takes as many sectors as its bytes, the way they travel, have room for.

A form (plain bytes, a delta) says what a chunk would be with one sector more; a way (as it is, deflate, LZMA) says how
many bytes that takes, and keeps what it knows from one sector to the next. The same input gives the same chunks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from mpota_boot.errors import Refused
from mpota_host.package.encode import lzma_chunk
from mpota_host.package.encode.piece import MOST, SECTOR, Piece

# What a chunk decodes to at most.
SECTORS = MOST // SECTOR
# What LZMA makes of what deflate makes, seldom less: where it is tried.
GAIN = 0.93
# What other props are worth at most.
NEAR = 1.02


class Cut(NamedTuple):
    """A chunk that ends here: `kept` comes behind what the cuts before it kept, and stays where it goes on; `tail`
    does not. It decodes to `output` bytes."""

    kept: bytes
    tail: bytes
    output: int


class Form(Protocol):
    """The new image in the form in which it is compressed."""

    size: int

    def cuts(self, start: int) -> Iterator[Cut]:
        """What a chunk that begins at byte `start` may be: one sector longer each."""

    def fresh(self, start: int, end: int) -> bytes:
        """The sector from `start` to `end` in the shortest form that is known before."""


class Plain:
    """The bytes themselves."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def cuts(self, start: int) -> Iterator[Cut]:
        for at in range(start, self.size, SECTOR):
            end = min(at + SECTOR, self.size)
            yield Cut(self.data[at:end], b"", end - start)

    def fresh(self, start: int, end: int) -> bytes:
        return self.data[start:end]


class Way(Protocol):
    """How a chunk travels."""

    def window(self, pieces: list[Piece]) -> int:
        """It takes 2**n bytes to decode these; 0 for none."""

    def encode(self, stream: bytes) -> bytes:
        """A chunk's stream as it travels."""

    def longest(self, cuts: Iterator[Cut], limit: int) -> Piece | None:
        """The longest one that travels in `limit` bytes; None where the first one does not."""


@dataclass(frozen=True)
class Raw:
    """As it is."""

    def window(self, pieces: list[Piece]) -> int:
        return 0

    def encode(self, stream: bytes) -> bytes:
        return stream

    def longest(self, cuts: Iterator[Cut], limit: int) -> Piece | None:
        best, stream = None, b""
        for one in cuts:
            stream += one.kept
            if len(stream) + len(one.tail) > limit:
                break
            best = Piece(stream + one.tail, one.output)
        return best


@dataclass(frozen=True)
class Deflate:
    """A raw deflate stream with a window of 2**wbits bytes; what it makes longer is stored in it as it is."""

    wbits: int

    def window(self, pieces: list[Piece]) -> int:
        return self.wbits

    def encode(self, stream: bytes) -> bytes:
        run = self._begin()
        return shorter(run.compress(stream) + run.flush(), stream)

    def longest(self, cuts: Iterator[Cut], limit: int) -> Piece | None:
        best = None
        for output, _, data in self.grown(cuts):
            if len(data) > limit:
                break
            best = Piece(data, output)
        return best

    def grown(self, cuts: Iterator[Cut]) -> Iterator[tuple[int, bytes, bytes]]:
        """Of each cut: what it decodes to, its stream, and that compressed."""
        run, done, stream = self._begin(), b"", b""
        for one in cuts:
            stream += one.kept
            done += run.compress(one.kept)
            end = run.copy()
            whole = stream + one.tail
            yield one.output, whole, shorter(done + end.compress(one.tail) + end.flush(), whole)

    def _begin(self) -> zlib._Compress:
        return zlib.compressobj(9, zlib.DEFLATED, -self.wbits, 9)


def shorter(deflated: bytes, stream: bytes) -> bytes:
    """A raw deflate stream, or one that stores the bytes where that is shorter."""
    if len(deflated) <= len(stream) + 5:
        return deflated
    run = zlib.compressobj(0, zlib.DEFLATED, -15)
    return min(deflated, run.compress(stream) + run.flush(), key=len)


@dataclass(frozen=True)
class Lzma:
    """A stream of lzma_chunk.py for a window of 2**wbits bytes."""

    wbits: int

    def window(self, pieces: list[Piece]) -> int:
        # One that is larger than the longest stream only costs the board's memory.
        return min(self.wbits, max(lzma_chunk.least_window(piece.data) for piece in pieces))

    def encode(self, stream: bytes) -> bytes:
        return lzma_chunk.encode(stream, self.wbits)

    def longest(self, cuts: Iterator[Cut], limit: int) -> Piece | None:
        """Deflate, which goes on where it was, says where to look; LZMA begins anew for the few lengths near there."""
        known: list[tuple[int, bytes]] = []
        for output, stream, deflated in Deflate(lzma_chunk.WINDOWS[0]).grown(cuts):
            if GAIN * len(deflated) > limit and not self._fits(stream, limit):
                break
            known.append((output, stream))
        for output, stream in reversed(known):
            data = self.encode(stream)
            if len(data) <= limit:
                return Piece(data, output)
        return None

    def _fits(self, stream: bytes, limit: int) -> bool:
        one = len(lzma_chunk.encode_with(stream, self.wbits, 0, 0)) or len(stream) + 4
        return one <= limit or (one <= NEAR * limit and len(self.encode(stream)) <= limit)


def filled(form: Form, way: Way, limit: int, sectors: int = SECTORS) -> list[Piece]:
    """The whole form in chunks of at most `sectors` sectors and `limit` bytes."""
    at, done = 0, []
    while at < form.size:
        one = way.longest(islice(form.cuts(at), sectors), limit)
        if not one:
            end = min(at + SECTOR, form.size)
            one = Piece(way.encode(form.fresh(at, end)), end - at)
            if len(one.data) > limit:
                raise Refused("room", f"a sector travels in {len(one.data)} bytes, there is room for {limit}")
        done.append(one)
        at += one.output
    return done
