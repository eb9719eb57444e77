"""The pipeline on the unix port: each stage alone, and whole installs of every kind, in turns in one process.

A stage alone is the last one of a package, fed from RAM and writing no flash; whole installs read back and prove what
they wrote. Every ratio is the median of the rounds' own ratios; absolute figures stand beside their peer.
"""

from __future__ import annotations

from statistics import median

from mpota_host.bench.figure import AT_LEAST, AT_MOST, Figure, spread
from mpota_host.bench.material import Material
from mpota_host.bench.memory import DEFAULT_ROOM
from mpota_host.bench.size.packages import words
from mpota_host.bench.speed import HEAP

ROUNDS = 11
# A stage alone has what the stage before it made in RAM too.
ROOMY = "1M"
PEER = "delta + deflate"
HUNG_BAR, AES_BAR, LZMA_BAR = 3, 25, 0.5
INSTALLS = (
    "raw",
    "deflate",
    "deflate + AES",
    "LZMA",
    "delta + deflate",
    "delta + deflate + AES",
    "predicted delta + deflate",
    "predicted delta + LZMA",
)
# Stages beside inflate, each the last one of a package.
ALONE = {
    "decrypt": "raw + AES",
    "delta": "delta + deflate",
    "delta with prediction": "predicted delta + deflate",
    "lzma": "LZMA",
}


def rounds(material: Material, call: str, heap: str = HEAP) -> list[list[float]]:
    """The lines of one race, in milliseconds."""
    told = material.told(f"import laps; {call}", heap)
    lines = [[int(word) / 1000 for word in line.split()] for line in told.splitlines()]
    if len(lines) != ROUNDS:
        raise RuntimeError(f"the race ended after {len(lines)} of {ROUNDS} rounds")
    return lines


def installs(material: Material) -> tuple[list[float], dict[str, list[float]]]:
    """Milliseconds of the peer, and of the installs without their signature, a round each."""
    offers = {kind: material.offer(kind, DEFAULT_ROOM).path.name for kind in INSTALLS}
    lines = rounds(material, f"laps.turns({list(offers.values())}, {offers[PEER]!r}, {DEFAULT_ROOM}, {ROUNDS})")
    columns = list(zip(*lines, strict=True))
    signature = columns[0]
    ours = [[a - b for a, b in zip(column, signature, strict=True)] for column in columns[2:]]
    return list(columns[1]), dict(zip(offers, ours, strict=True))


def alone(material: Material) -> dict[str, list[float]]:
    """Milliseconds to fetch and prove a raw image, to inflate it, and of each other stage alone, a round each."""
    kinds = ("raw", "deflate", *ALONE.values())
    offers = [material.offer(kind, DEFAULT_ROOM).path.name for kind in kinds]
    lines = rounds(material, f"laps.stages({offers}, {DEFAULT_ROOM}, {ROUNDS})", ROOMY)
    columns = list(zip(*lines, strict=True))
    # Proving and decoding stand in turns.
    return dict(zip(("prove", "inflate", *ALONE), map(list, [columns[0], *columns[3::2]]), strict=True))


def ratio(a: list[float], b: list[float]) -> float:
    """How many times `b` `a` took, in the same rounds."""
    return median(x / y for x, y in zip(a, b, strict=True))


def rate(material: Material, took: list[float]) -> str:
    """Megabytes of the image a second."""
    return f"{len(material.new) / 1000 / median(took):.1f}"


def install(kind: str) -> str:
    """The row that says how fast packages of this kind install."""
    return f"install, {kind}: beside deflate"


def names() -> list[str]:
    """The rows that the bench prints."""
    return [
        f"install, {words(PEER, DEFAULT_ROOM)}: beside DeflateIO hung on the file",
        "install, deflate + AES: AES adds",
        install("LZMA"),
        *(install(kind) for kind in INSTALLS if kind not in ("deflate", "LZMA")),
        *(f"stage alone, {stage}: beside inflate" for stage in ("prove", *ALONE)),
    ]


def measure(material: Material) -> list[Figure]:
    """The three bars, then all installs and all stages beside deflate."""
    hung, took = installs(material)
    deflate = took["deflate"]
    mb = {kind: rate(material, one) for kind, one in took.items()}
    facts = {"ms": {kind: spread(one) for kind, one in took.items()}, "hung_ms": spread(hung)}
    more = 100 * (ratio(took["deflate + AES"], deflate) - 1)
    beside = {kind: f"{mb[kind]} and {mb['deflate']} MB/s" for kind in INSTALLS}
    values = [
        (ratio(hung, took[PEER]), "x", AT_LEAST, HUNG_BAR, f"{mb[PEER]} and {rate(material, hung)} MB/s"),
        (more, "%", AT_MOST, AES_BAR, beside["deflate + AES"]),
        (ratio(deflate, took["LZMA"]), "x", AT_LEAST, LZMA_BAR, beside["LZMA"]),
    ]
    others = [kind for kind in INSTALLS if kind not in ("deflate", "LZMA")]
    values += [(ratio(deflate, took[kind]), "x", "", 0, beside[kind]) for kind in others]
    stage = alone(material)
    inflate = stage["inflate"]
    values += [
        (ratio(inflate, one), "x", "", 0, f"{rate(material, one)} and {rate(material, inflate)} MB/s")
        for name, one in stage.items()
        if name != "inflate"
    ]
    found = [Figure(name, *value) for name, value in zip(names(), values, strict=True)]
    found[0].facts, found[-1].facts = facts, {"ms": {kind: spread(one) for kind, one in stage.items()}}
    return found
