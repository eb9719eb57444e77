"""A picture of an ESP32's flash for a terminal: what each partition holds, sector by sector, and what boots next.

It reads bytes and nothing else, so it draws a dump of a real board as well as the file of a virtual one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rich.text import Text

from mpota.layout.esp32 import image, loader, otadata, table
from mpota.store.flash import Region
from mpota_boot.errors import OtaError
from mpota_host.package.rom import Rom

NOTES = {"nvs": "radio settings, Wi-Fi name, mpota's journal", "phy_init": "radio calibration"}


def draw(flash: bytes, running: str, names: dict[str, str] | None = None) -> Iterator[Text]:
    """A line a partition, 80 columns wide. `running`: the label that runs; `names`: SHA-256 in hex to words."""
    rom = Rom(flash, 0, len(flash))
    rows = table.decode(rom)
    boots = next_boot(rom, rows)
    for row in rows:
        what = describe(rom, rows, row, names or {})
        runs = row.label == running
        if row.type == table.APP:
            what += ", runs" * runs + ", boots next" * (row.label == boots and not runs)
        yield line(row.label, flash[row.offset : row.offset + row.size], what, runs)
    end = max(row.offset + row.size for row in rows)
    yield line("vfs", flash[end:], "LittleFS: mpota and your files", False)


def line(label: str, data: bytes, words: str, runs: bool) -> Text:
    """One partition."""
    out = Text(f"{'>' if runs else ' '} {label:10.10}{size_words(len(data)):>8}  ", style="bold green" if runs else "")
    cells = bar(data)
    cells.pad_right(17 - len(cells))
    return out + cells + Text(words, style="bold green" if runs else "")


def size_words(n: int) -> str:
    """`1.5 MiB` or `16 KiB`."""
    return f"{n / (1 << 20):.2g} MiB" if n >= 1 << 20 else f"{n >> 10} KiB"


def bar(data: bytes) -> Text:
    """One cell for each 96 KiB, a sixteenth of the usual slot: full, partly written, erased."""
    step = 96 << 10
    out = Text()
    for off in range(0, len(data), step):
        piece = data[off : off + step]
        used = sum(piece[i : i + 4096].count(0xFF) != len(piece[i : i + 4096]) for i in range(0, len(piece), 4096))
        full = -(-len(piece) // 4096)
        out.append("█" if used == full else "▒" if used else "·", style="cyan" if used else "dim")
    return out


def next_boot(rom: Rom, rows: list[table.Row]) -> str | None:
    """The label that otadata names."""
    row = table.find(rows, table.DATA, table.OTADATA)
    slots = table.slots(rows)
    if row is None or not slots:
        return None
    entries = otadata.read(Region(rom, row.offset, row.size))
    i = otadata.active(*entries)
    return str(slots[entries[i].slot(len(slots))].label) if i >= 0 else None


def describe(rom: Rom, rows: list[table.Row], row: table.Row, names: dict[str, str]) -> str:
    """What a partition holds, in a few words."""
    if row.type == table.APP:
        return application(Region(rom, row.offset, row.size), names)
    if (row.type, row.subtype) == (table.DATA, table.OTADATA):
        slots = table.slots(rows)
        entries = otadata.read(Region(rom, row.offset, row.size))
        return ", ".join(entry_words(entry, slots) for entry in entries)
    return NOTES.get(row.label, "")


def entry_words(entry: otadata.Entry, slots: list[table.Row]) -> str:
    """`2 valid: ota_1` for an entry of otadata."""
    if loader.blank(entry):
        return "blank"
    if not loader.sealed(entry):
        return "torn"
    state = loader.STATES.get(entry.state, f"state {entry.state}")
    return f"{entry.seq} {state}: {slots[entry.slot(len(slots))].label}"


def application(flash: Region, names: dict[str, str]) -> str:
    """`firmware 1.1.0, 1,495,344 bytes` or what else lies in a slot."""
    try:
        n = image.walk(flash)
    except OtaError:
        first = bytearray(4096)
        flash.read(0, first)
        return "erased" if first == b"\xff" * 4096 else "no whole image"
    data = bytearray(n)
    flash.read(0, data)
    sha = hashlib.sha256(data).hexdigest()
    return f"{names.get(sha, 'image ' + sha[:8])}, {n:,} bytes"
