"""An ESP32 for power campaigns: small flashes with everything an update touches, and what may change in them.

The campaign starts boards from it and never looks inside; the offsets here are the oracle's own. Real are the shipped
board, layout and installer, the model of the bootloader, ESP-IDF's functions and its NVS.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from mpota.layout.esp32 import loader, table
from mpota.layout.esp32.loader import verify
from mpota.store.flash import Region
from mpota_host.chips.esp32.prepare import prepare
from mpota_host.chips.esp32.sim import nvs, soc
from mpota_host.chips.esp32.sim.tables import TABLES
from mpota_host.cut.medium.cells import SECTOR, CutFlash
from mpota_host.cut.medium.medium import Misread
from mpota_host.cut.releases import PRODUCT, SECRET, Releases
from mpota_host.cut.rig import VERDICTS as VERDICTS
from mpota_host.cut.rig import Area, Scenario
from mpota_host.package.rom import Rom
from mpota_host.sim import reset

TRIALS = 3
CREDENTIALS = {"ssid": b"a network", "psk": b"its secret"}
# The front of the flash: something in place of the bootloader, then table, nvs, otadata.
TABLE_AT, NVS_AT, OTADATA_AT, SLOTS_AT = 0x1000, 0x2000, 0x5000, 0x7000
NVS_SIZE, OTADATA_SIZE = 0x3000, 0x2000
CAUSES = {"power": reset.PWRON, "reset": reset.HARD, "watchdog": reset.WDT}
# Erases of one otadata sector in one life: three times armed, pending and aborted, then the next update's three, and
# one where a cut took the entry.
OTADATA_WEAR = 13
# A page is erased when it is moved, and once more where a cut left it half moved.
NVS_WEAR = 4
# Entries of an NVS page, less what the first journal record of an update takes.
NEARLY_FULL = 118


def image(size: int, seed: int, chip: int = 0) -> bytes:
    """An application image of at least `size` bytes: esp_image_header_t, one segment, checksum, SHA-256.

    The data repeats with the prime period 251, so no two sectors are alike.
    """
    desc = struct.pack("<IIQ", 0xABCD5432, 0, 0) + bytes(128) + sha256(b"%d" % seed).digest() + bytes(80)
    line = bytes((seed * 7919 + 1) * (i + 1) ** 2 >> 3 & 0xFF for i in range(251))
    n = max(size - 65, len(desc)) // 4 * 4
    data = (desc + line * (n // 251 + 1))[:n]
    out = bytes((0xE9, 1, 2, 0x20)) + struct.pack("<I", 0x40080000) + b"\xee\0\0\0"
    out += struct.pack("<HBHH", chip, 0, 0, 0xFFFF) + bytes(4) + b"\x01" + struct.pack("<II", 0x3F400020, n) + data
    xor = 0xEF
    for c in data:
        xor ^= c
    out += bytes(15 - len(out) % 16) + bytes((xor,))
    return out + sha256(out).digest()


@dataclass(frozen=True)
class Esp32(Scenario):
    """Builds and geometry of one ESP32."""

    bootloader: bool = True
    application: bool = True
    idf: str = "5.5.2"
    factory: bool = False
    slots: int = 2
    slot_size: int = 0x2000
    journal_full: bool = False
    # An application's values fill the first page of the NVS, and on the next one, where the journal lies, so many
    # entries are left: what needs one more moves that page. 0: there is room.
    left: int = 0


# Images that share most of their bytes.
RELATED = (image(4999, 1), image(6007, 1), image(5003, 1))


def _scenarios() -> list[Esp32]:
    return [
        Esp32("update"),
        Esp32("update-unprotected", bootloader=False),
        Esp32("update-undefined", application=False),
        Esp32("update-neither", bootloader=False, application=False),
        Esp32("update-master", idf="master"),
        Esp32("unhealthy", verdict="unhealthy"),
        Esp32("unhealthy-unprotected", verdict="unhealthy", bootloader=False),
        Esp32("unhealthy-undefined", verdict="unhealthy", application=False),
        Esp32("hang", verdict="hangs"),
        Esp32("hang-unprotected", verdict="hangs", bootloader=False),
        Esp32("dies", verdict="dies"),
        Esp32("no-link", verdict="no-link"),
        Esp32("factory", factory=True),
        Esp32("factory-unhealthy", factory=True, verdict="unhealthy"),
        Esp32("factory-hang-unprotected", factory=True, verdict="hangs", bootloader=False),
        Esp32("three-slots", slots=3),
        Esp32("journal-full", journal_full=True),
        Esp32("journal-full-hang", journal_full=True, verdict="hangs"),
        Esp32("deflate", sizes=(8176, 12289, 9999), slot_size=0x4000, chunk=8192, compress="deflate"),
        Esp32("delta", images=RELATED, delta=True, compress="deflate", chunk=8192),
        Esp32("delta-unhealthy", images=RELATED, delta=True, verdict="unhealthy", compress="deflate"),
        Esp32("locked", locked=True, compress="deflate", chunk=8192),
        Esp32("locked-delta", images=RELATED, locked=True, delta=True, compress="deflate"),
        Esp32("unit-4", sizes=(5003, 8111, 6007), prog_size=4),
        Esp32("unit-16", sizes=(5003, 8111, 6007), prog_size=16),
        Esp32("unit-256", sizes=(5003, 8111, 6007), prog_size=256),
        Esp32("erase-64k", sizes=(5003, 70001, 66001), slot_size=0x20000, erase_size=0x10000, chunk=16384),
    ]


# The page of the journal is full when the image is armed, in its first run, when it is confirmed, when it is counted.
MOVES = [
    Esp32("move-arm", left=14),
    Esp32("move-trial", left=20),
    Esp32("move-confirm", left=26),
    Esp32("move-settle-unprotected", left=26, verdict="hangs", bootloader=False),
]
SCENARIOS: dict[str, Esp32] = {s.name: s for s in (*_scenarios(), *MOVES)}
# The smallest geometry: cuts in the cuts of these are tried without leaving one out.
EXHAUSTIVE = ("update",)
# Every two cuts around the switch: with a loader that goes back by itself, and with one that does not.
PAIRS = ("hang", "update-unprotected")
# What `make test` and the search for seeded bugs go through.
QUICK = ("update", "unhealthy", "hang-unprotected", "journal-full", "factory-unhealthy", "locked-delta")
ROOMY = "deflate"
# More of them, for seeded bugs.
HUNT = ("hang", "erase-64k")
# Those that are played with faults; between them they have every way out of a trial.
FAULTY = (
    "update-unprotected",
    "unhealthy",
    "update",
    "hang-unprotected",
    "factory-unhealthy",
    "journal-full",
    "delta",
    "locked-delta",
)
# Distinct states that a full campaign tries, and how they are spread at least: one in so many is of each category.
STATES = 104000
SHARE = 8
UNITS, ERASES = (1, 4, 16, 256), (4096, 65536)


def foreign(image: bytes) -> bytes:
    """Its header names a chip of another id."""
    return image[:12] + b"\x09" + image[13:]


def own(firmware: bytes, table_file: bytes | None) -> Esp32:
    """A scenario with somebody's own firmware (bare or merged) and partition table (binary; default 4MiB-ota)."""
    update = prepare(firmware)[0]
    rows = tuple(TABLES["4MiB-ota"][1])
    if table_file is not None:
        rows = tuple(tuple(row) for row in table.decode(Rom(table_file), 0))
    chip = int.from_bytes(update[12:14], "little")
    around = [image(max(len(update) - 8192, 4999), seed, chip) for seed in (1, 3)]
    return Esp32("own", images=(around[0], update, around[1]), table=rows, chunk=16384)


def quicken() -> None:
    """Remember what was made of the same bytes: a campaign mounts the same pages, and verifies the same images."""
    page: Any = nvs.Page
    if page.SEEN is None:
        page.SEEN = {}
        fold = lru_cache(maxsize=65536)(verify.fold)
        verify.fold = lambda buf: fold(bytes(buf))


class Rig(Releases):
    """One ESP32: its `flash`, what lies where, the images that it may run, and packages of all but the first."""

    layout = "esp32"
    trials = TRIALS
    # Has the board a file system, for the second copy of its journal?
    housed = False

    def __init__(self, s: Esp32) -> None:
        super().__init__(s)
        quicken()
        self.images = list(s.images) or [image(size, i + 1) for i, size in enumerate(s.sizes)]
        rows = list(s.table) or self._rows()
        end = max(row[2] + row[3] for row in rows)
        journal = [(row[2], row[3]) for row in rows if row[:2] == (1, 2)]
        others = [(row[2], row[3]) for row in rows if row[0] == 1] + [(0, SLOTS_AT)]
        self.flash = CutFlash(end + SECTOR, s.prog_size, journal, others)
        table_off = table.OFFSET if s.table else TABLE_AT
        settings = {"product": PRODUCT, "room": s.chunk, "trials": TRIALS}
        self.chip = soc.Soc([table.Row(*row) for row in rows], settings, None, self.flash, table_off)
        self.chip.bootloader.rollback = s.bootloader
        self.chip.application.rollback = s.application
        self.chip.idf = s.idf
        self.areas = [self._area(row) for row in rows]
        self._fill(table_off)

    def _rows(self) -> list[tuple[Any, ...]]:
        s = self.scenario
        rows: list[tuple[Any, ...]] = [
            (1, 2, NVS_AT, NVS_SIZE, "nvs", 0),
            (1, 0, OTADATA_AT, OTADATA_SIZE, "otadata", 0),
        ]
        for i in range(s.slots + s.factory):
            subtype = 16 + i if i < s.slots else 0
            rows.append((0, subtype, SLOTS_AT + i * s.slot_size, s.slot_size, f"app{i}", 0))
        return rows

    def trust(self, public: list[bytes], private: Any) -> None:
        """The board trusts `public`; releases are signed with `private` from now on.

        Campaigns go without, and take unsigned ones: a signature writes nothing, so there is nothing in it to cut.
        """
        self.chip.keys, self.key = public, private

    def _area(self, row: tuple[Any, ...]) -> Area:
        """What a row is to the oracle, and the erases of one of its sectors in one life, see `wear`."""
        kind, subtype, off, size, label, _ = row
        if kind == 0:
            first = subtype == 0 if self.scenario.factory else subtype == 16
            # The factory image is never written. A slot is written once an update, and again where a cut took it.
            return Area(label, off, size, 0 if subtype == 0 else 4, "slot", first)
        if subtype == 0:
            return Area(label, off, size, OTADATA_WEAR, "state", False)
        return Area(label, off, size, NVS_WEAR if subtype == 2 else 0, "journal" if subtype == 2 else "other", False)

    def _fill(self, table_off: int) -> None:
        """As it leaves the workshop: the first image, credentials, something wherever no update may write."""
        first = next(area for area in self.areas if area.first)
        self.chip.write(first.off, self.images[0])
        sentinel = bytes(i * i % 251 for i in range(SECTOR))
        covered = [(area.off, area.size) for area in self.areas] + [(table_off, SECTOR)]
        for off in range(0, self.flash.size, SECTOR):
            if not any(low <= off < low + n for low, n in covered):
                self.chip.write(off, sentinel)
        store = self._nvs()
        wifi = store("wifi")
        for key, value in CREDENTIALS.items():
            wifi.set_blob(key, value)
        if self.scenario.locked:
            store("mpota_keys").set_blob("0", SECRET)
        if self.scenario.journal_full:
            self._crowd(store)
        if self.scenario.left:
            self.fill_up()

    def _nvs(self) -> Any:
        return nvs.bind(self._journal())

    def _journal(self) -> Region:
        area = next(a for a in self.areas if a.kind == "journal")
        return Region(self.flash, area.off, area.size)

    def _crowd(self, store: Any) -> None:
        """An application that writes a counter has left one page full and the next one nearly."""
        counter = store("app")
        window = self._journal()
        for i in range(4 * NEARLY_FULL):
            counter.set_i32("n", i)
            last = nvs.Store(window).pages
            if len(last) == 2 and last[-1].next >= NEARLY_FULL:
                return

    def fill_up(self) -> None:
        """An application writes: values that fill a page, then a counter, until `left` entries are left on the next."""
        window = self._journal()
        app = self._nvs()("app")
        for i in range(4 * nvs.COUNT):
            last = nvs.Store(window).pages
            if len(last) == 2 and last[-1].next >= nvs.COUNT - self.scenario.left:
                return
            app.set_i32(f"k{i}" if len(last) < 2 else "n", i)

    def power_on(self, cause: str) -> bool:
        """Through the loader, which may write; False where it starts nothing."""
        self.cause = CAUSES[cause]
        self.runs = False
        # The bootloader does not look at what its writes return.
        self.flash.mute = True
        self.chip.started = loader.boot(self.flash, self.chip.bootloader)
        self.flash.mute = False
        return self.chip.started.name is not None

    def wired(self) -> Any:
        """The shipped Board; the first one of a run finds this run's modules."""
        board = soc.SocBoard(self.chip.settings, self.chip.keys) if self.runs else self.chip.run(self.cause)
        if not self.housed:
            # What no file system keeps need not be asked of the host's.
            board.journal.board = None
        if self.scenario.erase_size != SECTOR:
            _coarse(board, self.flash, self.scenario.erase_size)
        return board

    def started(self) -> int:
        """The flash offset that the loader started."""
        started: Any = self.chip.started
        return int(started.row.offset)

    def intact(self) -> str:
        """What of the board's secrets is gone, "" if nothing is."""
        # The fault of a board's read is not the oracle's.
        self.misread(None)
        wifi = self._nvs()("wifi")
        for key, value in CREDENTIALS.items():
            buf = bytearray(64)
            try:
                n = wifi.get_blob(key, buf)
            except OSError as e:
                return f"{key}: {e}"
            if buf[:n] != value:
                return f"{key} is {bytes(buf[:n])!r}"
        return ""

    def misread(self, fault: Misread | None) -> None:
        """What a wrong bit costs inside the NVS is ESP-IDF's: a call fails."""
        mounted: Any = nvs.Mounted
        mounted.misread = fault

    def waver(self, on: bool) -> None:
        """The model of NVS keeps entries that it decoded."""
        nvs.Page.KEEPS = not on


def _coarse(board: Any, flash: CutFlash, size: int) -> None:
    """The slots lie on a chip that erases `size` bytes at once, as one operation."""
    for part in board.layout.port.slots:
        part.erase_size = size

        def erase(off: int, n: int, row: Any = part.part._row, idf: Any = part.part._idf) -> None:
            idf._guard(row.offset + off, n)
            flash.erase(row.offset + off, n)

        part.erase = erase
