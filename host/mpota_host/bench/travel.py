"""What travels: whole packages of ours, signed and with their hash chains, beside the bare patches of other tools.

Two pairs of real firmwares: of the ESP32, and of the ESP8266, whose images the prediction does not know. A size counts
when the new image came back: of a package on the unix port, of a peer's patch by the peer. The seconds are those of the
encoder, once, beside its peers'.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from math import nan

from mpota_host.bench.figure import AT_MOST, Figure
from mpota_host.bench.material import Material, Offer
from mpota_host.bench.size import peers
from mpota_host.bench.size.packages import Pair, words
from mpota_host.bench.size.peers import PEERS, Missing, Peer

OLD, NEW = "bench-old", "bench-new"
SECOND = "ESP8266"


@dataclass(frozen=True)
class Ours:
    """A package; `bar` in % of the image of the first pair."""

    kind: str
    room: int
    bar: float = 0

    @property
    def name(self) -> str:
        """Its row."""
        return f"mpota: {words(self.kind, self.room)}"


OURS = [
    Ours("deflate", 4096),
    Ours("deflate", 8192),
    Ours("LZMA", 4096),
    Ours("LZMA", 8192),
    Ours("delta + deflate", 4096, 23.5),
    Ours("delta + deflate", 8192, 23.5),
    Ours("delta + LZMA", 8192),
    Ours("predicted delta + deflate", 4096, 18.37),
    Ours("predicted delta + deflate", 8192, 18.07),
    Ours("predicted delta + LZMA", 4096),
    Ours("predicted delta + LZMA", 8192, 17.14),
    Ours("predicted delta + LZMA", 16384),
]


@dataclass
class Seen:
    """Bytes that travel, seconds to make them, bytes of the image; or why there are none."""

    size: int
    seconds: float
    image: int
    missing: str = ""

    @property
    def percent(self) -> float:
        """Of the image; not a number where there are none."""
        return nan if self.missing else 100 * self.size / self.image


def names() -> list[str]:
    """All rows that the bench prints, in no order."""
    return [one.name for one in OURS] + [one.name for one in PEERS]


def second() -> Pair:
    """The ESP8266's pair: the combined images of two successive MicroPythons, November 2016. Missing where it is."""
    images = []
    for group in (OLD, NEW):
        place = peers.installed(peers.requirements(group)[0], alone=True)
        images.append(next(place.rglob("firmware-combined.bin")).read_bytes())
    return Pair(SECOND, images[0], images[1])


def ours(material: Material, pair: Pair, one: Ours) -> Seen:
    """A package, proven to decode to the new image."""
    offer = material.offer(one.kind, one.room, pair)
    prove(material, offer, pair)
    return Seen(offer.path.stat().st_size, offer.seconds, len(pair.new))


def prove(material: Material, offer: Offer, pair: Pair) -> None:
    """The unix port must decode it; RuntimeError where something else comes out."""
    material.runs(pair)
    seen, signed = material.told(f"import laps; laps.check({offer.path.name!r}, {offer.room})").split()
    material.runs(material.pair)
    if not seen == signed == hashlib.sha256(pair.new).hexdigest():
        raise RuntimeError(f"{offer.path.name} decodes to {seen}, wanted {signed}")


def theirs(pair: Pair, peer: Peer) -> Seen:
    """A peer's patch, applied by the peer."""
    try:
        # What is fetched, built and imported on the way is no time of the encoder.
        peer.make(b"old", b"new")
        began = time.perf_counter()
        made = peer.make(pair.old, pair.new)
        seconds = time.perf_counter() - began
    except Missing as e:
        return Seen(0, 0, len(pair.new), str(e))
    if peer.back(pair.old, made) != pair.new:
        raise RuntimeError(f"{peer.name} does not give the image back")
    return Seen(len(made), seconds, len(pair.new))


def figure(name: str, seen: list[Seen], bar: float = 0) -> Figure:
    """A row: the first pair, and in its note the second one."""
    first, *rest = seen
    notes = [f"{first.size:,} B in {first.seconds:.1f} s"]
    if first.missing:
        notes = [first.missing]
    notes += [one.missing or f"{SECOND} {one.percent:.1f} %" for one in rest]
    facts = {"pairs": [asdict(one) for one in seen]}
    rule = AT_MOST if bar else ""
    return Figure(name, first.percent, "%", rule, bar, "; ".join(dict.fromkeys(notes)), facts)


def measure(material: Material) -> list[Figure]:
    """All of it, the smallest first, what could not be measured last."""
    pairs, why = [material.pair], ""
    try:
        pairs.append(second())
    except Missing as e:
        why = str(e)
    found = [figure(one.name, [ours(material, pair, one) for pair in pairs], one.bar) for one in OURS]
    found += [figure(one.name, [theirs(pair, one) for pair in pairs]) for one in PEERS]
    if why:
        found.append(Figure(f"the {SECOND} pair", nan, "", note=why))
    return sorted(found, key=lambda one: (one.value != one.value, one.value))
