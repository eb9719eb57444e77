"""How a component travels: whatever its boards can decode is tried, and the smallest is kept.

A form is the chunks before compression: the bytes themselves, or what makes them of a base. Each form meets each
compression, and a chunk has to fit the room that a board has for it. The same input gives the same choice.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mpota_boot.errors import Refused
from mpota_host.package import format as fmt
from mpota_host.package.assemble import Part, pieces
from mpota_host.package.encode import delta, lzma_chunk

# What `compress` may be besides auto, and the stage it stands for.
COMPRESSIONS: dict[str, tuple[str, ...]] = {"none": (), "deflate": ("inflate",), "lzma": ("lzma",)}
# DeflateIO of the ESP32 takes a window of 2**wbits bytes from the heap; 4 KiB costs 1.7 % of size beside 32 KiB.
WBITS = 12
LZMA_WBITS = range(12, 17)
# What `flash` puts on a board.
DECODES = frozenset(fmt.STAGES.values()) - {"lzma"}
# Encryption adds up to a block.
BLOCK = 16


@dataclass(frozen=True)
class Content:
    """What a component installs."""

    kind: int
    name: str
    data: bytes

    @property
    def place(self) -> tuple[int, str]:
        """There is one of each in a package, and it is the base of the next one of the same."""
        return self.kind, self.name if self.kind == fmt.RESOURCE else ""


@dataclass(frozen=True)
class EncodeOptions:
    """What may be tried: stages that the boards decode, a compression's name or auto, chunks and windows."""

    decodes: frozenset[str] = DECODES
    compress: str = "auto"
    chunk: int = 16384
    wbits: int = WBITS
    encrypted: bool = False

    def compressions(self) -> list[str]:
        """Names of COMPRESSIONS, the cheapest to decode first."""
        if self.compress != "auto":
            return [self.compress]
        return [name for name, stages in COMPRESSIONS.items() if self.decodes.issuperset(stages)]

    def room(self) -> int:
        """The most bytes of a chunk, without its link and before encryption."""
        return self.chunk + fmt.SLACK - fmt.LINK_SIZE - BLOCK * self.encrypted


@dataclass(frozen=True)
class Try:
    """One way in which a component could travel; `stored` with its links, before encryption."""

    name: str
    size: int
    stages: tuple[str, ...]
    stored: int
    based: bool
    fits: bool
    kept: bool = False


def whole(content: Content, means: EncodeOptions) -> list[Part]:
    """Every way without a base."""
    return list(ways(content, means, list(pieces(content.data, means.chunk)), ()))


def based(content: Content, means: EncodeOptions, base: bytes) -> list[Part]:
    """Every way with one: firmware with prediction too."""
    stages = [name for name in ("delta", "xtensa") if name in means.decodes]
    if content.kind != fmt.FIRMWARE:
        stages = stages[:1] if "delta" in stages else []
    found: list[Part] = []
    for stage in stages:
        planned = delta.plan(base, content.data, means.chunk, stage == "xtensa")
        # What has nothing to predict was made without it already.
        if planned.predicted == (stage == "xtensa"):
            found += [replace(way, base=base) for way in ways(content, means, planned.chunks, (stage,))]
    return found


def ways(content: Content, means: EncodeOptions, plain: list[bytes], after: tuple[str, ...]) -> Iterator[Part]:
    """A form by each compression; `after` are the stages that follow it."""
    for name in means.compressions():
        if after and not COMPRESSIONS[name]:
            continue  # the board's delta asks what is before it for its end
        done, wbits = squeezed(plain, name, means)
        yield Part(content.kind, content.name, content.data, done, COMPRESSIONS[name] + after, wbits)


def squeezed(plain: list[bytes], name: str, means: EncodeOptions) -> tuple[list[bytes], int]:
    """The chunks compressed, and the window that it takes to decode them."""
    if name == "none":
        return plain, 0
    if name == "deflate":
        return [deflated(piece, means.wbits) for piece in plain], means.wbits
    # A window larger than the longest stream only costs the board's memory.
    longest = max(map(len, plain))
    wbits = min(max((longest - 1).bit_length(), LZMA_WBITS[0]), LZMA_WBITS[-1])
    return [lzma_chunk.encode(piece, wbits) for piece in plain], wbits


def deflated(piece: bytes, wbits: int = WBITS) -> bytes:
    """One chunk as raw deflate."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -wbits, 9)
    return min(deflate.compress(piece) + deflate.flush(), stored(piece), key=len)


def stored(piece: bytes) -> bytes:
    """`piece` as raw deflate without compression: zlib adds more than a chunk has room for where nothing repeats."""
    deflate = zlib.compressobj(0, zlib.DEFLATED, -15)
    return deflate.compress(piece) + deflate.flush()


def smallest(found: Iterable[Part], means: EncodeOptions) -> tuple[Part, list[Try]]:
    """The part that travels, and what was tried for it."""
    parts = list(found)
    fit = [max(map(len, part.pieces)) <= means.room() for part in parts]
    fitting = [part for part, fits in zip(parts, fit, strict=True) if fits]
    best = min(fitting, key=Part.stored)
    return best, [
        Try(part.name, len(part.content), part.stages, part.stored(), bool(part.base), fits, part is best)
        for part, fits in zip(parts, fit, strict=True)
    ]


def decoders(text: str) -> frozenset[str]:
    """Names of stages, as `inflate,delta`; with a sign before each they are more or less than what `flash` gives."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    names = {word.lstrip("+-") for word in words}
    unknown = sorted(names - set(fmt.STAGES.values()))
    if unknown or not words:
        known = ", ".join(fmt.STAGES.values())
        raise Refused("decodes", f"boards decode {', '.join(map(repr, unknown)) or 'nothing'}, known are {known}")
    signed = [word for word in words if word[0] in "+-"]
    if not signed:
        return frozenset(names)
    if len(signed) < len(words):
        raise Refused(
            "decodes", f"{text!r} mixes names with and without a sign: +lzma adds to what `flash` puts on a board"
        )
    more = {word[1:] for word in words if word[0] == "+"}
    return (DECODES | more) - (names - more)
