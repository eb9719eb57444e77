"""Installs beside plain loops over the same bytes, the same Flash object, in one process and in turns (race.py).

The signature is measured in every round and taken off the install: it is once an update, whatever the image's size.
"""

from __future__ import annotations

from statistics import median

from mpota_host.bench.figure import AT_LEAST, Figure, spread
from mpota_host.bench.material import WBITS, Material, Offer
from mpota_host.bench.memory import DEFAULT_ROOM, WIDE_ROOM

# A raw round takes a twentieth of a second, a loop over DeflateIO half of one.
ROUNDS = {"raw": 41, "deflate": 9}
RAW_BAR, DEFLATE_BAR = 0.7, 3.5
# Near what an ESP32 without PSRAM has, so that the collector works as often as it does there.
HEAP = "128k"


def race(material: Material, offer: Offer, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of (install without its signature, signature, loop), a round each."""
    raw = offer.kind == "raw"
    peer, wbits = (material.bare, 0) if raw else (material.stream, WBITS)
    code = f"import race; race.run({offer.path.name!r}, {offer.room}, {peer.name!r}, {wbits}, {rounds})"
    lines = [[int(word) / 1000 for word in line.split()] for line in material.told(code, HEAP).splitlines()]
    if len(lines) != rounds:
        raise RuntimeError(f"the race ended after {len(lines)} of {rounds} rounds")
    return [a - b for a, b, _ in lines], [b for _, b, _ in lines], [c for _, _, c in lines]


def figure(material: Material, offer: Offer, bar: float) -> Figure:
    """How many times as fast as the loop."""
    ours, signature, loop = race(material, offer, ROUNDS[offer.kind])
    mb = len(material.new) / 1000
    raw = offer.kind == "raw"
    return Figure(
        f"{offer.words}: beside {'a loop' if raw else 'DeflateIO on a file'}",
        median(loop) / median(ours),
        "x",
        AT_LEAST if bar else "",
        bar,
        f"{mb / median(ours):.1f} and {mb / median(loop):.1f} MB/s",
        {"install_ms": spread(ours), "loop_ms": spread(loop), "signature_ms": spread(signature)},
    )


def measure(material: Material) -> list[Figure]:
    """In the rooms of the heap's bars, and in the other one beside them."""
    pairs = [("raw", DEFAULT_ROOM, RAW_BAR), ("raw", WIDE_ROOM, 0), ("deflate", DEFAULT_ROOM, DEFLATE_BAR)]
    pairs.append(("deflate", WIDE_ROOM, DEFLATE_BAR))
    found = [figure(material, material.offer(kind, room), bar) for kind, room, bar in pairs]
    signature = found[0].facts["signature_ms"]["median"]
    return [*found, Figure("the signature, taken off each", signature, "ms")]
