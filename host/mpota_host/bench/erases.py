"""Sectors erased by one real update on the simulated ESP32, counted in the flash's own trace, region by region.

The chip has MicroPython's 4MiB-ota table and the old firmware in its first slot; loader, ESP-IDF's functions and NVS
are those of mpota_host/sim, and the board is the one that ships.
"""

from __future__ import annotations

from collections import Counter

from mpota.installer import install
from mpota.layout.esp32 import table
from mpota.link.file import File
from mpota_boot import shim
from mpota_boot.errors import OtaError
from mpota_host.bench.figure import AT_MOST, EXACTLY, Figure
from mpota_host.bench.material import PRODUCT, Material, Offer
from mpota_host.bench.memory import DEFAULT_ROOM, WIDE_ROOM
from mpota_host.registry import part_of
from mpota_host.sim.reset import HARD, PWRON

soc, TABLES = part_of("esp32", "sim.soc"), part_of("esp32", "sim.tables").TABLES
SECTOR = 4096
JOURNAL_BAR = 3
# What `pack` makes where the board decodes it.
UPDATE = "predicted delta + deflate"
SLOT, OTADATA, JOURNAL = "ota_1", "otadata", "nvs"


class Chip:
    """A chip that runs the old firmware and trusts the bench's key; counts what each step erases.

    Its NVS has been written all round, as on a board after some updates: a new one has pages that need no erase.
    """

    def __init__(self, material: Material) -> None:
        rows = [table.Row(*row) for row in TABLES["4MiB-ota"][1]]
        self.soc = soc.Soc(rows, {"product": PRODUCT, "room": 16384}, [material.public])
        self.soc.write(self.soc.row("ota_0").offset, material.old)
        self.board = self.soc.power_on()
        self.soc.flash.trace = []
        turn = 0
        while not self.counted()[JOURNAL]:
            turn += 1
            self.board.journal.put("progress", turn.to_bytes(88, "little"))
        self.board.journal.put("progress", b"")
        self.counted()

    def counted(self) -> Counter[str]:
        """Sectors erased since the last call, by the label of their partition."""
        found: Counter[str] = Counter()
        for kind, off, n in self.soc.flash.trace:
            if kind == "erase":
                row = next(row for row in self.soc.rows if row.offset <= off < row.offset + row.size)
                found[row.label] += n // SECTOR
        self.soc.flash.trace = []
        return found

    def update(self, offer: Offer) -> Counter[str]:
        """First byte through arm."""
        for _ in install(self.board, File(str(offer.path)), self.board.keys()):
            pass
        return self.counted()

    def reset(self) -> Counter[str]:
        """The loader alone."""
        self.board = self.soc.power_on(HARD)
        return self.counted()

    def boot(self) -> None:
        """What boot.py does; it must not fail."""
        shim.boot(lambda: self.board)
        if shim.error:
            raise shim.error

    def confirm(self) -> Counter[str]:
        """What boot.py and a healthy application do."""
        self.boot()
        if self.soc.started.name != SLOT:
            raise OtaError("bench", f"the loader started {self.soc.started.name}, wanted {SLOT}")
        self.board.layout.confirm()
        return self.counted()

    def written(self) -> int:
        """Operations of an ordinary boot, loader and boot.py."""
        self.board = self.soc.power_on(PWRON)
        self.boot()
        return len(self.soc.flash.trace)


def figures(material: Material, offer: Offer) -> list[Figure]:
    """One package, from its first byte to the boot after its confirm."""
    chip = Chip(material)
    wanted = -(-len(material.new) // SECTOR)
    update, loader, confirm = chip.update(offer), chip.reset(), chip.confirm()
    image = chip.soc.image(SLOT, len(material.new))
    if image != material.new:
        raise OtaError("bench", "the slot does not hold the image")
    journal = update[JOURNAL] + loader[JOURNAL] + confirm[JOURNAL]
    # Every chunk leaves a record to go on at, and a full image has many chunks; the bar is that of an update.
    bar = (AT_MOST, JOURNAL_BAR) if offer.kind == UPDATE else ("", 0)
    words = offer.words
    return [
        Figure(
            f"{words}: through arm",
            update[SLOT] + update[OTADATA],
            "",
            EXACTLY,
            wanted + 1,
            f"slot {update[SLOT]}, otadata {update[OTADATA]}",
            {"update": dict(update), "loader": dict(loader), "confirm": dict(confirm)},
        ),
        Figure(f"{words}: by the loader", loader[SLOT] + loader[OTADATA], "", EXACTLY, 1),
        Figure(f"{words}: by confirm", confirm[SLOT] + confirm[OTADATA], "", EXACTLY, 1),
        Figure(f"{words}: in the journal", journal, "", *bar, "" if bar[0] else "a record for each chunk"),
        Figure(f"{words}: next boot writes", chip.written(), "", EXACTLY, 0),
    ]


def measure(material: Material) -> list[Figure]:
    """An update as most are, then full images, which have more chunks."""
    offers = [(UPDATE, DEFAULT_ROOM), ("deflate", WIDE_ROOM), ("deflate", DEFAULT_ROOM)]
    return [one for kind, room in offers for one in figures(material, material.offer(kind, room))]
