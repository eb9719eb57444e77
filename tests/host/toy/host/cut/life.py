"""A toy chip for power campaigns: a small flash with everything an update touches, and what may change in it.

Real are the shipped Board, layout, installer and loader; the offsets here are the oracle's own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from mpota.layout.toy import loader
from mpota.store.flash import Region
from mpota_boot.errors import Refused
from mpota_host.chips.toy.sim.chip import ToyBoard
from mpota_host.chips.toy.sim.machine import program
from mpota_host.cut.medium.cells import SECTOR, CutFlash
from mpota_host.cut.releases import PRODUCT, Releases
from mpota_host.cut.rig import VERDICTS as VERDICTS
from mpota_host.cut.rig import Area, Scenario
from mpota_host.sim import reset

TRIALS = 3
SLOTS_AT = 2 * SECTOR
CAUSES = {"power": reset.PWRON, "reset": reset.HARD, "watchdog": reset.WDT}
# Erases of one sector in one life: a slot is written once by each of two updates, and again where a cut took it; the
# journal begins another sector with each power-on that puts something.
SLOT_WEAR, LOG_WEAR = 4, 24
ERASES, UNITS = (4096,), (4,)
# One state in so many, at least, is of each category of cuts.
SHARE = 14


@dataclass(frozen=True)
class Toy(Scenario):
    """`slot_size`: bytes of each slot."""

    prog_size: int = 4
    slot_size: int = 0x2000


SCENARIOS = {
    s.name: s
    for s in (
        Toy("update"),
        Toy("unhealthy", verdict="unhealthy"),
        Toy("hang", verdict="hangs"),
        Toy("dies", verdict="dies"),
        Toy("no-link", verdict="no-link"),
        Toy("deflate", sizes=(8176, 12289, 9999), slot_size=0x4000, chunk=8192, compress="deflate"),
    )
}
EXHAUSTIVE = ("update",)
QUICK = ("update", "unhealthy", "hang", "dies")
ROOMY = "deflate"
HUNT = ("no-link", "deflate")
FAULTY = ("update", "unhealthy", "hang")
# Distinct states that a full campaign tries.
STATES = 5000


def image(size: int, seed: int) -> bytes:
    """One that the loader takes."""
    return program(seed, size)


def foreign(image: bytes) -> bytes:
    """Its magic is another chip's."""
    return b"TOY2" + image[4:]


def own(firmware: bytes, table_file: bytes | None) -> Toy:
    """There is none."""
    raise Refused("image", "a campaign of the toy chip has no place for an image of your own")


class Rig(Releases):
    """One chip: its `flash`, what lies where, the images that it may run, and packages of all but the first."""

    layout = "toy"
    trials = TRIALS

    def __init__(self, s: Toy) -> None:
        super().__init__(s)
        self.images = [image(size, i + 1) for i, size in enumerate(s.sizes)]
        end = SLOTS_AT + 2 * s.slot_size
        # The last sector is nobody's.
        self.flash = CutFlash(end + SECTOR, s.prog_size)
        self.chip = Region(self.flash, 0, end)
        self.settings = {"product": PRODUCT, "room": s.chunk, "trials": TRIALS, "layout": self.layout}
        self.keys: Any = None
        self.areas = [
            Area("journal", 0, SLOTS_AT, LOG_WEAR, "log", False),
            Area("slot 0", SLOTS_AT, s.slot_size, SLOT_WEAR, "slot", True),
            Area("slot 1", SLOTS_AT + s.slot_size, s.slot_size, SLOT_WEAR, "slot", False),
        ]
        self.flash.cells.put(SLOTS_AT, self.images[0])

    def trust(self, public: list[bytes], private: Any) -> None:
        """The board trusts `public`; releases are signed with `private` from now on."""
        self.keys, self.key = public, private

    def power_on(self, cause: str) -> bool:
        """Through the loader; False where it starts nothing."""
        self.cause = CAUSES[cause]
        self.runs = False
        self.slot = loader.boot(self.chip)
        return self.slot is not None

    def wired(self) -> Any:
        """The shipped Board on this chip."""
        machine: Any = reset.Machine(self.cause)
        sys.modules["machine"] = machine
        return ToyBoard(self.chip, self.slot, self.settings, self.keys)

    def started(self) -> int:
        """The flash offset that the loader started."""
        return SLOTS_AT + int(self.slot) * self.scenario.slot_size

    def intact(self) -> str:
        """It has no secrets."""
        return ""

    def waver(self, on: bool) -> None:
        """Nothing of this chip keeps what it read."""
