"""The vendor's two problems answered from a dump of the flash: the board's own sentences, and what its loader will do.

The table that the application was compiled with is looked for in its code; where it has none, the vendor's is assumed,
as mpota's wiring has it. The journal is found by its head.
"""

from __future__ import annotations

import struct

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.findings import findings
from mpota.layout.bk7238.layout import Layout
from mpota.layout.bk7238.port import Port
from mpota.layout.bk7238.store import table
from mpota.store.flash import Region
from mpota.store.log import MAGIC, Log
from mpota_boot.errors import OtaError
from mpota_host.chips.bk7238 import verdict
from mpota_host.chips.bk7238.look import tables
from mpota_host.package.rom import Rom

SECTOR = 4096
LARGE = 0x400000


class _Reader:
    """What a Port asks of a board that only looks."""

    root = "/ota"
    protected: tuple[str, ...] = ()

    def feed(self) -> None:
        """Nobody waits."""


def size_of(data: bytes) -> int:
    """Of the chip: a file of a virtual board has its second flash behind it."""
    return LARGE if len(data) >= LARGE else min(table.SIZES)


def answers(data: bytes, theirs: tables.Rows) -> list[tuple[str, str]]:
    """(what, sentence) for the dump of a flash whose loader has the table `theirs`, {} for none."""
    size = size_of(data)
    rom = Rom(data[:size], 0, size)
    rows = table.entries(size)
    mine = _of_application(data, theirs.get(b"app") or rows[b"app"])
    port = Port(_Reader(), rom, rows | mine)
    port.kept = {"RF": table.RADIO[size], "network": table.RADIO[size] + SECTOR}
    port._theirs = theirs
    try:
        said = findings(Layout(port, Log(Region(rom, _journal(rom), 2 * SECTOR)), 1))
    except OtaError as e:
        said = [f"partition tables: {e}"]
    if not mine:
        said[0] += "; the application's own is not in its code, the vendor's is assumed"
    found = [(name, text) for name, _, text in (line.partition(": ") for line in said)]
    return [*found, ("next reset", _next(data, theirs, size))]


def _of_application(data: bytes, app: table.Entry) -> tables.Rows:
    """The table in the application's code, {} where it has none."""
    low, high = app.ends
    found: tables.Rows = table.find(tables.decoded(data[low:high]), bytearray(1024))
    return found if {b"app", b"download"} <= set(found) else {}


def _journal(rom: Rom) -> int:
    """Where a journal's two sectors begin; where the wiring has them if there is none."""
    head = bytearray(8)
    for off in range(0, rom.size, SECTOR):
        rom.read(off, head)
        if head[:4] == MAGIC:
            number = struct.unpack("<I", head[4:])[0]
            start: int = off - number % 2 * SECTOR
            return min(start, rom.size - 2 * SECTOR)
    return int(table.RADIO[rom.size]) + 2 * SECTOR


def _next(data: bytes, theirs: tables.Rows, size: int) -> str:
    """What the loader does with what lies in `download`."""
    row = theirs.get(b"download")
    if row is None:
        return "the loader takes no RBL package"
    here = data[row.offset : row.offset + row.size]
    head = rbl.Header.decode(here[: rbl.SIZE]) if len(here) >= rbl.SIZE else None
    if head is None:
        blank = not here.strip(b"\xff")
        why = "it is blank" if blank else "its header is not there: a download that did not end, or was installed"
        return f"the loader does nothing with `download`, {why}"
    _, end = theirs[b"app"].ends
    runs = tables.decoded(data[max(end - 3 * 34, 0) : end]).data[: rbl.SIZE]
    checked = verdict.checks_for(here[: rbl.SIZE + head.body], size=size, runs=runs, rows=theirs)
    wrong = [verdict.sentence(name, text) for name, text in checked if text]
    return wrong[0] if wrong else f"the loader installs {head.version.decode('latin-1')!r}"
