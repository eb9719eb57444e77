"""The bars of a BK7238: the heap that its loader needs for each kind of package, and how long 1 MB takes to pack."""

from __future__ import annotations

import time

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.loader import copier
from mpota_host.bench.figure import AT_MOST, Figure, spread
from mpota_host.bench.material import Material
from mpota_host.chips.bk7238 import heap, packer
from mpota_host.chips.bk7238.sim import machine

TITLE = "BK7238: the loader's least heap on the unix port, and packing"
# Seconds for 1 MB of real code.
PACK_BAR = 3
RUNS = 3


def least(package: bytes, bar: int) -> float:
    """The least heap in KiB that installs it: the one above the first that does not, from the bar down; else NaN."""
    found = float("nan")
    for size in range(bar, 0, -1):
        if heap.boot(package, size)[0] != copier.DONE:
            break
        found = size
    return found


def release(compress: str, size: int) -> bytes:
    """An RBL of `size` bytes of real code."""
    options = packer.Options("1.0.1", "app", compress, "aes", rbl.KEY.decode(), rbl.IV.decode(), 1700000000)
    return packer.pack(machine.application(0, size), options)


def measure(_: Material) -> list[Figure]:
    """Heaps, then seconds."""
    found = [
        Figure(
            f"heap, {kind}",
            least(release(kind, 300001), bar),
            "KB",
            AT_MOST,
            bar,
            "from .mpy, two passes and read-back",
        )
        for kind, bar in heap.BARS.items()
    ]
    times: list[float] = []
    while len(times) < RUNS:
        began = time.perf_counter()
        release("lzma", 1 << 20)
        times.append(time.perf_counter() - began)
    seen = spread(times)
    return [*found, Figure("pack 1 MB, lzma + aes", seen["median"], "s", AT_MOST, PACK_BAR, facts=seen)]
