"""A SiFli chip for power campaigns: a small flash with everything an update touches, and what may change in it.

Real are the shipped layout, installer, manager and chip; the offsets here are the oracle's own. Every story begins on a
board as a workshop leaves it: the first program in its place and its compressed form in a staging area, so that there
is something to go back to. Nothing of the journal is forgiven: a cut in an erase of it may cost nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mpota.layout.sifli import loader, port
from mpota.layout.sifli.loader import finish, install
from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.port import Chip
from mpota_boot.errors import OtaError, Refused
from mpota_host.chips.sifli import workshop
from mpota_host.chips.sifli.cut import phone
from mpota_host.chips.sifli.sim import soc as chips
from mpota_host.chips.sifli.workshop import program, stored
from mpota_host.cut.medium.cells import SECTOR, CutFlash
from mpota_host.cut.releases import PRODUCT, SECRET, Releases
from mpota_host.cut.rig import VERDICTS as VERDICTS
from mpota_host.cut.rig import Area, Scenario
from mpota_host.sim import reset

TRIALS = 3
CREDENTIALS = b"network and secret"
BASE = 0x10000000
TABLE_SIZE, MANAGER_AT, STATE_AT = 0x5000, 0x5000, 0x6000
HEADER_SECTOR = 0x1000
CAUSES = {"power": reset.PWRON, "reset": reset.HARD, "watchdog": reset.WDT}
# Erases of one sector in one life. The program's place: installed for each of two updates and two retreats, and again
# where a cut took it. An area: an update, and again. The log: a sector for each power-on that
# puts something, and for each that is full.
USER_WEAR, AREA_WEAR, LOG_WEAR, HEADER_WEAR = 8, 5, 24, 8
# A page is written when a phone agrees, and again where a cut took the agreement; what else a phone brings, twice, and
# again.
PAGE_WEAR, EXTRA_WEAR = 6, 6


@dataclass(frozen=True)
class Sifli(Scenario):
    """`apart`: the table keeps the program's header in a sector of its own; `user_first`: it lies before the areas."""

    apart: bool = True
    user_first: bool = True
    journal_full: bool = False
    # A phone brings the releases (phone.py), and more than a program.
    phone: bool = False
    # Bytes of the program's place and of each area.
    place: int = 0x4000


def noisy(size: int, seed: int) -> bytes:
    """A program that does not compress, of at least `size` bytes."""
    data = b"".join(sha256(b"%d %d" % (seed, i)).digest() for i in range(size // 32 + 1))
    return program(8, seed)[:8] + data[: size + -size % 16 - 8]


def image(size: int, seed: int) -> bytes:
    """A program of about `size` bytes whose package has as many chunks as its size says."""
    return noisy(size, seed)


NOISE = (noisy(9001, 1), noisy(12009, 2), noisy(10007, 3))


def _scenarios() -> dict[str, Sifli]:
    found = [
        Sifli("update"),
        Sifli("update-shared-table", apart=False),
        Sifli("update-behind", user_first=False),
        Sifli("unhealthy", verdict="unhealthy"),
        Sifli("unhealthy-shared-table", verdict="unhealthy", apart=False),
        Sifli("hang", verdict="hangs"),
        Sifli("hang-behind", verdict="hangs", user_first=False),
        Sifli("dies", verdict="dies"),
        Sifli("no-link", verdict="no-link"),
        Sifli("journal-full", journal_full=True),
        Sifli("journal-full-hang", journal_full=True, verdict="hangs"),
        Sifli("noise", images=NOISE),
        Sifli("noise-hang", images=NOISE, verdict="hangs"),
        Sifli("deflate", images=NOISE, chunk=4096, compress="deflate"),
        Sifli("locked", locked=True, chunk=8192, compress="deflate"),
        Sifli("unit-4", prog_size=4, images=NOISE),
        Sifli("unit-16", prog_size=16),
        Sifli("unit-256", prog_size=256),
        Sifli("unit-256-hang", prog_size=256, verdict="hangs"),
        Sifli("phone", phone=True),
        Sifli("phone-hang", phone=True, verdict="hangs"),
        Sifli("phone-unit-16", phone=True, prog_size=16, user_first=False),
        Sifli("erase-64k", sizes=(5003, 70001, 66001), erase_size=0x10000, place=0x20000),
    ]
    return {s.name: s for s in found}


SCENARIOS: dict[str, Sifli] = _scenarios()
EXHAUSTIVE = ("update", "unhealthy", "hang")
# What `make test` and the search for seeded bugs go through.
QUICK = ("update", "deflate", "unhealthy", "hang-behind", "journal-full-hang", "dies", "noise-hang")
ROOMY = "deflate"
# More of them, for seeded bugs.
HUNT = ("hang", "update-shared-table", "unit-256", "erase-64k")
# Those that are played with faults; between them they have every way out of a trial.
FAULTY = ("update", "unhealthy", "hang-behind", "dies", "no-link", "update-shared-table", "journal-full", "locked")
# Distinct states that a full campaign tries, and how they are spread at least: one in so many is of each category.
STATES = 25000
SHARE = 11
UNITS, ERASES = (1, 4, 16, 256), (4096, 65536)


Life, Oracle = phone.PhoneLife, phone.PhoneOracle


def foreign(image: bytes) -> bytes:
    """As it is: a package for this chip has the compressed form."""
    return image


def own(firmware: bytes, table_file: bytes | None) -> Sifli:
    """There is none: a whole program of this family does not fit the campaign's flash."""
    raise Refused("image", "a SiFli campaign has no place for an image of your own")


class Rig(Releases):
    """One chip: its `flash`, what lies where, the programs that it may run, and packages of all but the first."""

    layout = "sifli"
    trials = TRIALS

    def __init__(self, s: Sifli) -> None:
        super().__init__(s)
        # As explore.py says of the installer's.
        finish.collect = install.collect = loader.collect = port.collect = int
        self.images = list(s.images) or [noisy(size, i + 1) for i, size in enumerate(s.sizes)]
        names = ["user", "area 0", "area 1"]
        row = names if s.user_first else names[1:] + names[:1]
        first = max(STATE_AT + 4 * SECTOR, s.erase_size)
        self.at = {name: first + i * s.place for i, name in enumerate(row)}
        self.network = first + 3 * s.place
        end = self.network + SECTOR
        if s.phone:
            self.at |= {name: end + i * phone.PLACE for i, name in enumerate(phone.IDS)}
            end += len(phone.IDS) * phone.PLACE
        self.flash = CutFlash(end, s.prog_size)
        self.places = {
            **{"flash": BASE, "table": (BASE, TABLE_SIZE), "manager": (BASE + MANAGER_AT, SECTOR)},
            **{"state": (BASE + STATE_AT, 4 * SECTOR), "user": (BASE + self.at["user"], s.place)},
            "upgrade": [(BASE + self.at[name], s.place) for name in names[1:]],
            **({name: (BASE + self.at[name], phone.PLACE) for name in phone.IDS} if s.phone else {}),
        }
        # An RSA-2048 modulus that nobody has the key of, where packages are mpota's own.
        self.public = phone.public() if s.phone else signed.encode(b"\xc5" * signed.SIZE)
        self.efuse = bytes(16) + signed.key_hash(self.public) + b"\xa5" + bytes(71) + bytes(32)
        self.settings = {"product": PRODUCT, "room": s.chunk, "trials": TRIALS, "layout": self.layout}
        self.given: Any = None
        self.packages: dict[int, phone.Package] = {}
        self.areas = self._areas()
        self._fill()

    def _areas(self) -> list[Area]:
        s = self.scenario
        found = [
            Area("table", 0, HEADER_SECTOR, 0, "other", False),
            # Erased where it has a sector of its own, and else programmed once.
            Area("header", HEADER_SECTOR, SECTOR, HEADER_WEAR if self.scenario.apart else 1, "other", False),
            Area("rest of the table", 0x2000, TABLE_SIZE - 0x2000, 0, "other", False),
            Area("manager", MANAGER_AT, SECTOR, 0, "other", False),
            Area("log", STATE_AT, 2 * SECTOR, LOG_WEAR, "other", False),
            Area("control pages", STATE_AT + 2 * SECTOR, 2 * SECTOR, PAGE_WEAR * s.phone, "other", False),
            Area("user", self.at["user"], self.scenario.place, USER_WEAR, "slot", True),
        ]
        for name in ("area 0", "area 1"):
            found.append(Area(name, self.at[name], self.scenario.place, AREA_WEAR, "slot", False))
        for name in phone.IDS if s.phone else ():
            found.append(Area(name, self.at[name], phone.PLACE, EXTRA_WEAR, "other", False))
        return found

    def _fill(self) -> None:
        """As it leaves the workshop."""
        whole = workshop.table_bytes((BASE + MANAGER_AT, SECTOR), self.public, BASE, self.scenario.apart)
        first, kept = self.images[0], stored(self.images[0])
        for off, data in (
            (0, whole),
            (MANAGER_AT, bytes(i * i % 251 for i in range(SECTOR))),
            (self.at["user"], first),
            (self.at["area 0"], kept),
            (self.network, CREDENTIALS),
        ):
            self.flash.cells.put(off, data)
        for name in phone.IDS if self.scenario.phone else ():
            self.flash.cells.put(self.at[name], phone.extra(name, 0))
        chip = self._chip()
        workshop.know(chip, first, kept, "1.0.0")
        if self.scenario.journal_full:
            for i in range(33):
                chip.journal.put("reason", bytes((i,)) * 100)
            chip.journal.put("reason", b"")

    def _chip(self) -> Any:
        chip = Chip(self.flash, self.places, self.efuse, lambda: None)
        for place in (chip.user, *chip.slots):
            place.erase_size = self.scenario.erase_size
        return chip

    def trust(self, public: list[bytes], private: Any) -> None:
        """The board trusts `public`; releases are signed with `private` from now on."""
        self.given, self.key = public, private

    def installed(self, n: int) -> bytes:
        """A package brings the compressed form."""
        return stored(super().installed(n))

    def power_on(self, cause: str) -> bool:
        """Through the chip's own step and the manager, which may write; False where no program starts."""
        self.cause = CAUSES[cause]
        self.runs = False
        self.start: Any = None
        self.chip = self._chip()
        try:
            self.start = loader.boot(self.chip)
        except (OtaError, OSError):
            return False
        return bool(self.start.name == loader.USER)

    def brought(self, n: int) -> phone.Package:
        """What a phone brings as release `n`."""
        n = min(n, len(self.images) - 1)
        if n not in self.packages:
            self.packages[n] = phone.Package(n, self.images[n], self.efuse[96:128], self.efuse[16:24])
        return self.packages[n]

    def wired(self) -> Any:
        """The shipped Board on a new Chip."""
        machine: Any = reset.Machine(self.cause)
        sys.modules["machine"] = machine
        return chips.ChipBoard(self._chip(), self.settings, self.given, [SECRET] if self.scenario.locked else [])

    def started(self) -> int:
        """The flash offset that the manager started."""
        return int(self.start.address) - BASE

    def intact(self) -> str:
        """What of the board's secrets is gone, "" if nothing is."""
        seen = self.flash.cells.get(self.network, len(CREDENTIALS))
        return "" if seen == CREDENTIALS else f"the network's sector begins with {seen!r}"

    def waver(self, on: bool) -> None:
        """Nothing of this chip keeps what it read."""
