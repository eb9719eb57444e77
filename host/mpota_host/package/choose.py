"""How a component travels: whatever its boards can decode is tried, and the smallest is kept.

A form is what is compressed: the bytes themselves, or what makes them of a base. Each form meets each compression,
and fills chunks for the room that a board has. The same input gives the same choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from mpota_boot.errors import Refused
from mpota_host.package import format as fmt
from mpota_host.package.assemble import Part
from mpota_host.package.encode import delta
from mpota_host.package.encode.fill import Deflate, Lzma, Plain, Raw, Way, filled
from mpota_host.package.encode.lzma_chunk import WINDOWS
from mpota_host.package.encode.piece import Piece

# What `compress` may be besides auto, and the stage it stands for.
COMPRESSIONS: dict[str, tuple[str, ...]] = {"none": (), "deflate": ("inflate",), "lzma": ("lzma",)}
# A decoder takes a window of 2**wbits bytes from the board's heap, and a chunk has little more for it to look back at.
WBITS = 12
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
    """What may be tried: stages that the boards decode, a compression's name or auto, room for a chunk and windows."""

    decodes: frozenset[str] = DECODES
    compress: str = "auto"
    room: int = 4096
    wbits: int = WBITS
    encrypted: bool = False

    def compressions(self) -> list[str]:
        """Names of COMPRESSIONS, the cheapest to decode first."""
        if self.compress != "auto":
            return [self.compress]
        return [name for name, stages in COMPRESSIONS.items() if self.decodes.issuperset(stages)]

    def way(self, name: str) -> Way:
        """The compression of that name."""
        if name == "lzma":
            return Lzma(max(self.wbits, WINDOWS[0]))
        return Deflate(min(self.wbits, 15)) if name == "deflate" else Raw()

    def most(self) -> int:
        """The most bytes of a chunk, without its link and before encryption."""
        return self.room + fmt.SLACK - fmt.LINK_SIZE - BLOCK * self.encrypted


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
    form = Plain(content.data)
    return [part(content, name, means, filled(form, means.way(name), means.most())) for name in means.compressions()]


def based(content: Content, means: EncodeOptions, base: bytes) -> list[Part]:
    """Every way with one: firmware with prediction too."""
    stages = [name for name in ("delta", "xtensa") if name in means.decodes]
    if content.kind != fmt.FIRMWARE:
        stages = stages[:1] if "delta" in stages else []
    # The board's delta asks what is before it for its end.
    names = [name for name in means.compressions() if COMPRESSIONS[name]]
    found: list[Part] = []
    for stage, name in product(stages, names):
        planned = delta.plan(base, content.data, means.way(name), means.most(), stage == "xtensa")
        # What has nothing to predict was made without it already.
        if planned.predicted == (stage == "xtensa"):
            made = part(content, name, means, planned.pieces)
            found.append(replace(made, stages=(*made.stages, stage), base=base))
    return found


def part(content: Content, name: str, means: EncodeOptions, pieces: list[Piece]) -> Part:
    """A component in chunks that were compressed so, and the window that it takes to decode them."""
    return Part(content.kind, content.name, content.data, pieces, COMPRESSIONS[name], means.way(name).window(pieces))


def smallest(found: Iterable[Part], means: EncodeOptions) -> tuple[Part, list[Try]]:
    """The part that travels, and what was tried for it."""
    parts = list(found)
    fit = [max(len(piece.data) for piece in part.pieces) <= means.most() for part in parts]
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
