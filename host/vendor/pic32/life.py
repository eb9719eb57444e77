"""A PIC32MZW1 for power campaigns: a slot in program flash, an external flash with a file system, and its bootloader.

The campaign starts boards from it and never looks inside. Real are the shipped board, layout, installer and
bootloader. Where the factory image is none of a scenario's images, a board that starts it breaks the promise: a
better one was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from device.board import Board
from device.layout.pic32 import database, golden, loader
from device.store.flash import Region
from host import format as fmt
from host.assemble import Head, Part, assemble, pieces
from host.choose import WBITS, deflated
from host.delta import plan
from host.encrypt import lock
from host.pack import version_bytes
from host.sim import soc
from host.sim.cut.cells import SECTOR, CutFlash
from host.sim.cut.rig import Area, Scenario
from host.sim.pic32 import ChipBoard
from host.vendor.pic32.binfile import PAGE, binary, factory
from host.vendor.pic32.disk import Disk

PRODUCT = "campaign"
TRIALS = 3
# In place of the bootloader there is one sector.
BASE = SECTOR
ADDRESS = 0xB0000000 + BASE + PAGE
SECRET = sha256(b"a device key").digest()
KEPT = ("diary.txt", b"nobody's business")
# Erases of one sector in one life: three programs of the slot and the ones that a cut took, and the page's.
WEAR = 12
# The directory changes with every file that is opened or closed.
DISK_WEAR = 500
DISK_SECTORS = 24


def image(size: int, seed: int) -> bytes:
    """A .bin whose code has no two sectors alike."""
    return binary(code(size - PAGE, seed), ADDRESS)


def code(size: int, seed: int) -> bytes:
    """`size` bytes that repeat with the prime period 251."""
    line = bytes((seed * 7919 + 1) * (i + 1) ** 2 >> 3 & 0xFF for i in range(251))
    return (sha256(b"%d %d" % (seed, size)).digest() + line * (size // 251 + 1))[:size]


@dataclass(frozen=True)
class Pic32(Scenario):
    """`factory`: the image that the device came with is the first one, else a row is."""

    factory: bool = False
    slot_size: int = 0x4000


RELATED = (code(4999, 1), code(6007, 1), code(5003, 1))


def _scenarios() -> dict[str, Pic32]:
    found = [
        Pic32("row"),
        Pic32("row-unhealthy", verdict="unhealthy"),
        Pic32("row-hang", verdict="hangs"),
        Pic32("row-dies", verdict="dies"),
        Pic32("row-no-link", verdict="no-link"),
        Pic32("golden", factory=True),
        Pic32("golden-unhealthy", factory=True, verdict="unhealthy"),
        Pic32("golden-hang", factory=True, verdict="hangs"),
        Pic32("row-deflate", sizes=(8176, 12000, 9999), chunk=8192, compress="deflate"),
        Pic32("row-delta", images=RELATED, delta=True, compress="deflate", chunk=8192),
        Pic32("row-locked", locked=True, compress="deflate", chunk=8192),
        Pic32("row-unit-16", sizes=(5003, 8111, 6007), prog_size=16),
    ]
    return {s.name: s for s in found}


SCENARIOS: dict[str, Pic32] = _scenarios()
EXHAUSTIVE: tuple[str, ...] = ()
QUICK = ("row", "row-unhealthy", "golden-hang")
ROOMY = "row-deflate"
HUNT = ("row-hang", "golden")


class CampaignBoard(ChipBoard):
    """The shipped Board over the two flashes."""

    def __init__(self, rig: Rig, why: str) -> None:
        self.secret = [SECRET] if rig.scenario.locked else []
        super().__init__(rig, why)

    def secrets(self) -> list[bytes]:
        return self.secret

    def reset(self) -> None:
        raise soc.Reset


class Rig:
    """One device: its `flash`, what lies where, the code that it may run, and packages of all but the first."""

    layout = "pic32"
    trials = TRIALS
    root = "/nowhere"

    def __init__(self, scenario: Pic32) -> None:
        self.scenario = s = scenario
        self.images = list(s.images) or [code(size, i + 1) for i, size in enumerate(s.sizes)]
        self.settings = {"product": PRODUCT, "chunk": s.chunk, "trials": TRIALS, "base": BASE, "slot": s.slot_size}
        self.keys: Any = None
        self.key: Any = None
        self.packages: dict[int, bytes] = {}
        start, self.end, disk = BASE + PAGE, BASE + s.slot_size, DISK_SECTORS * SECTOR
        self.flash = CutFlash(self.end + disk, s.prog_size, [(BASE, PAGE)], [(self.end, disk)])
        self.slot = Region(self.flash, BASE, s.slot_size)
        self.areas = [
            Area("page", BASE, PAGE, WEAR, "other", False),
            Area("slot", start, self.end - start, WEAR, "slot", True),
            Area("disk", self.end, disk, DISK_WEAR, "other", False),
        ]
        self.store = self._mount()
        self._fill()

    def _mount(self) -> Disk:
        return Disk(self.flash, self.end, DISK_SECTORS * SECTOR)

    def _fill(self) -> None:
        """As it leaves the workshop: the factory image in store, and the first image in the slot and maybe in a row."""
        s = self.scenario
        given = self.images[0] if s.factory else code(4800, 77)
        self.store.put(*KEPT)
        self.store.put(golden.FACTORY_FILE, factory(given, ADDRESS, s.slot_size))
        if not s.factory:
            data = binary(self.images[0], ADDRESS)
            self.store.put("first.bin", data)
            row = database.row("first.bin", 2, sha256(data).digest(), "f8")
            self.store.put(database.NAME, database.encode([row]).encode())
        # The workshop lets the bootloader program it.
        self.power_on("power")

    def trust(self, public: list[bytes], private: Any) -> None:
        """The board trusts `public`; releases are signed with `private` from now on."""
        self.keys, self.key = public, private

    def package(self, n: int) -> bytes:
        """Release `n`: images[n], or the last one once more; as a difference to the release before if need be."""
        if n not in self.packages:
            self.packages[n] = self._pack(n, self._bin(n - 1) if self.scenario.delta else None)
        return self.packages[n]

    def spare(self, n: int) -> bytes | None:
        """The whole image of release `n`, for a device that does not run the release before."""
        if self.scenario.delta and -n not in self.packages:
            self.packages[-n] = self._pack(n, None)
        return self.packages.get(-n)

    def _bin(self, n: int) -> bytes:
        return binary(self.images[min(n, len(self.images) - 1)], ADDRESS)

    def _pack(self, n: int, base: bytes | None) -> bytes:
        s = self.scenario
        image = self._bin(n)
        plain = list(pieces(image, s.chunk)) if base is None else plan(base, image, s.chunk).chunks
        packed = s.compress == "deflate"
        stages = ("inflate",) * packed + ("delta",) * (base is not None)
        travel = [deflated(piece) for piece in plain] if packed else plain
        part = Part(fmt.FIRMWARE, "firmware", image, travel, stages, WBITS if packed else 0, base or b"")
        head = Head(PRODUCT, self.layout, version_bytes(f"1.{n}.0"), s.chunk)
        return assemble(*lock(head, [part], [SECRET] if s.locked else []), self.key)

    def power_on(self, cause: str) -> bool:
        """Through the loader, which may write; False where it starts nothing."""
        self.cause = cause
        self.runs = False
        self.store = self._mount()
        self.boot = loader.boot(self.slot, self.store, golden.Options(BASE, TRIALS))
        return self.boot.address is not None

    def board(self) -> Any:
        """What `Board()` gives in boot.py, and then once more in main.py."""
        dog = Board._dog
        board = CampaignBoard(self, self.cause)
        if self.runs:
            Board._dog = dog
        self.runs = True
        return board

    def started(self) -> int:
        """The flash offset that the loader started."""
        return BASE + PAGE

    def intact(self) -> str:
        """What of the store is gone that is no image."""
        name, data = KEPT
        return "" if self.store.get(name, 99) == data else f"{name} is gone"
