"""A PIC32MZW1 for power campaigns: a slot in program flash, an external flash with a file system, and its bootloader.

The campaign starts boards from it and never looks inside. Real are the shipped board, layout, installer and
bootloader. Where the factory image is none of a scenario's images, a board that starts it breaks the promise: a
better one was there.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any
from zlib import crc32

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from mpota.layout.pic32 import loader
from mpota.layout.pic32.layout import SIGNATURE
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.port import BASE, SLOT
from mpota.layout.pic32.store import database
from mpota.store.flash import Region
from mpota_boot.errors import Refused
from mpota_host.chips.pic32.binfile import PAGE, binary, factory
from mpota_host.chips.pic32.cut.disk import Disk
from mpota_host.chips.pic32.prepare import prepare
from mpota_host.chips.pic32.sim.chip import ChipBoard
from mpota_host.cut.medium.cells import SECTOR, CutFlash
from mpota_host.cut.oracle import Bad
from mpota_host.cut.releases import PRODUCT, SECRET, Releases
from mpota_host.cut.rig import VERDICTS as VERDICTS
from mpota_host.cut.rig import Area, Scenario
from mpota_host.package.assemble import Head, Part, assemble
from mpota_host.package.encode.piece import pieces
from mpota_host.package.format import FIRMWARE, RESOURCE
from mpota_host.package.pack import version_bytes
from mpota_host.sim.reset import Reset

TRIALS = 3
ADDRESS = 0xB0000000 + BASE + PAGE
# In place of the bootloader there is one sector.
SLOT_AT = SECTOR
KEPT = ("diary.txt", b"nobody's business")
# Erases of one sector in one life: three programs of the slot and the ones that a cut took, and the page's.
WEAR = 12
# The directory changes with every file that is opened or closed.
DISK_WEAR = 500
# Room for a story's images, and what the layout keeps free beside them.
DISK_SECTORS = 31
# Each image has one more file.
SIGNED_SECTORS = 38
# What this chip's flashes program at once: a byte of the external one, a quad word of its own. Both erase 4 KiB.
UNITS, ERASES = (1, 16), (4096,)
# Distinct states that a full campaign tries; one in so many, at least, is of each category.
STATES = 26_500
SHARE = 8


def image(size: int, seed: int) -> bytes:
    """A .bin whose `size` bytes of code have no two sectors alike."""
    return binary(code(size, seed), ADDRESS)


def code(size: int, seed: int) -> bytes:
    """`size` bytes that repeat with the prime period 251."""
    line = bytes((seed * 7919 + 1) * (i + 1) ** 2 >> 3 & 0xFF for i in range(251))
    return (sha256(b"%d %d" % (seed, size)).digest() + line * (size // 251 + 1))[:size]


# The key of bootloaders that check signatures.
BOOT_KEY = ec.derive_private_key(16, ec.SECP256R1())
POINT = BOOT_KEY.public_key().public_numbers()
PUBLIC = POINT.x.to_bytes(32, "big") + POINT.y.to_bytes(32, "big")


@cache
def signature(data: bytes) -> bytes:
    """The vendor's signature of a file, the same in every process."""
    how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    r, s = decode_dss_signature(BOOT_KEY.sign(data, how))
    return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@dataclass(frozen=True)
class Pic32(Scenario):
    """Where the first image is: `factory`, it is what the device came with; `row`, the database has it."""

    factory: bool = False
    row: bool = True
    # Its bootloader starts signed images alone, and packages carry the signature.
    signed: bool = False
    slot_size: int = 0x4000
    disk: int = DISK_SECTORS


RELATED = (code(4999, 1), code(6007, 1), code(5003, 1))


def _scenarios() -> dict[str, Pic32]:
    found = [
        Pic32("row"),
        Pic32("row-unhealthy", verdict="unhealthy"),
        Pic32("row-hang", verdict="hangs"),
        Pic32("row-dies", verdict="dies"),
        Pic32("row-no-link", verdict="no-link"),
        Pic32("golden", factory=True, row=False),
        Pic32("golden-unhealthy", factory=True, row=False, verdict="unhealthy"),
        Pic32("golden-hang", factory=True, row=False, verdict="hangs"),
        Pic32("both", factory=True),
        Pic32("both-hang", factory=True, verdict="hangs"),
        Pic32("row-deflate", sizes=(8176, 12000, 9999), chunk=8192, compress="deflate"),
        Pic32("row-delta", images=RELATED, delta=True, compress="deflate", chunk=8192),
        Pic32("row-locked", locked=True, compress="deflate", chunk=8192),
        Pic32("row-unit-16", sizes=(5003, 8111, 6007), prog_size=16),
        Pic32("row-signed", signed=True, disk=SIGNED_SECTORS),
        Pic32("row-signed-hang", signed=True, disk=SIGNED_SECTORS, verdict="hangs"),
        Pic32("both-signed", factory=True, signed=True, disk=SIGNED_SECTORS, verdict="unhealthy"),
    ]
    return {s.name: s for s in found}


SCENARIOS: dict[str, Pic32] = _scenarios()
EXHAUSTIVE: tuple[str, ...] = ()
# Every two cuts around the switch.
PAIRS = ("row",)
QUICK = ("both", "golden", "golden-unhealthy", "both-hang")
ROOMY = "row-deflate"
HUNT = ("row", "row-unhealthy", "row-hang")
# The factory image is one of the images: where a fault takes all others, it is what has to run.
FAULTY = ("golden", "both", "golden-unhealthy", "golden-hang", "both-hang")


def foreign(image: bytes) -> bytes:
    """Its page names another boot address."""
    return image[:12] + b"\x09" + image[13:]


def own(firmware: bytes, table_file: bytes | None) -> Pic32:
    """A scenario with somebody's own .bin or HEX, in the slot that this chip has."""
    if table_file is not None:
        raise Refused("table", "a PIC32MZW1 has no partition table: leave --table off")
    update = prepare(firmware)[0][PAGE:]
    around = [code(max(len(update) - 8192, 4999), seed) for seed in (1, 3)]
    images = around[0], update, around[1]
    return Pic32("own", images=images, chunk=16384, slot_size=SLOT, disk=4 * SLOT // SECTOR + 14)


class Program:
    """Program flash in which only the slot is: what lies before it is the bootloader's."""

    def __init__(self, flash: CutFlash, size: int) -> None:
        self.slot = Region(flash, SLOT_AT, size)
        self.size = BASE + size
        self.erase_size, self.prog_size, self.erased = flash.erase_size, flash.prog_size, 0xFF

    def read(self, off: int, buf: Any) -> None:
        self.slot.read(off - BASE, buf)

    def prog(self, off: int, buf: Any) -> None:
        self.slot.prog(off - BASE, buf)

    def erase(self, off: int, n: int) -> None:
        self.slot.erase(off - BASE, n)


class CampaignBoard(ChipBoard):
    """The shipped Board over the two flashes."""

    def __init__(self, rig: Rig, why: str) -> None:
        self.secret = [SECRET] if rig.scenario.locked else []
        super().__init__(rig, why)
        self.program = rig.program

    def secrets(self) -> list[bytes]:
        return self.secret

    def reset(self) -> None:
        raise Reset


class Rig(Releases):
    """One device: its `flash`, what lies where, and the code that it may run."""

    layout = "pic32"
    trials = TRIALS
    root = "/nowhere"

    def __init__(self, s: Pic32) -> None:
        super().__init__(s)
        self.images = list(s.images) or [code(size, i + 1) for i, size in enumerate(s.sizes)]
        self.settings = {"product": PRODUCT, "room": s.chunk, "trials": TRIALS, "slot": s.slot_size}
        if s.signed:
            self.settings["boot_key"] = PUBLIC.hex()
        self.keys: Any = None
        start, self.end, disk = SLOT_AT + PAGE, SLOT_AT + s.slot_size, s.disk * SECTOR
        self.flash = CutFlash(self.end + disk, s.prog_size, [(SLOT_AT, PAGE)], [(self.end, disk)])
        self.slot = Region(self.flash, SLOT_AT, s.slot_size)
        self.program = Program(self.flash, s.slot_size)
        self.areas = [
            Area("slot", start, self.end - start, WEAR, "slot", True),
            # Not a state that a cut may blur: its CRC tells.
            Area("page", SLOT_AT, PAGE, WEAR, "slot", False),
            # What a file system makes of its own tables when they rot is nobody's promise here.
            Area("directory", self.end, 2 * SECTOR, DISK_WEAR, "other", False),
            Area("files", self.end + 2 * SECTOR, disk - 2 * SECTOR, DISK_WEAR, "slot", False),
        ]
        self.store = self._mount()
        self.shipped = False
        self._fill()
        self.shipped = True

    def installed(self, n: int) -> bytes:
        """The .bin of release `n`."""
        return binary(super().installed(n), ADDRESS)

    def _pack(self, n: int, base: bytes | None) -> bytes:
        if not self.scenario.signed:
            return super()._pack(n, base)
        image = self.installed(n)
        s = self.scenario
        parts = [Part(FIRMWARE, "firmware", image, pieces(image, s.chunk))]
        text = signature(image)
        parts.append(Part(RESOURCE, SIGNATURE, text, pieces(text)))
        return assemble(Head(PRODUCT, self.layout, version_bytes(f"1.{n}.0"), s.chunk), parts, self.key)

    def _mount(self) -> Disk:
        return Disk(self.flash, self.end, self.scenario.disk * SECTOR)

    def _fill(self) -> None:
        """As it leaves the workshop: the factory image in store, and the first image in the slot and maybe in a row."""
        s = self.scenario
        given = self.images[0] if s.factory else code(4800, 77)
        self.store.put(*KEPT)
        whole = factory(given, ADDRESS, s.slot_size)
        self.store.put(golden.FACTORY_FILE, whole)
        if s.signed:
            self.store.put("factory_image_sign.txt", signature(whole))
        if s.row:
            data = self.installed(0)
            self.store.put("first.bin", data)
            if s.signed:
                self.store.put("first_sign.txt", signature(data))
            row = database.row("first.bin", 2, sha256(data).digest(), "f8")
            self.store.put(database.NAME, database.encode([row]).encode())
        # The workshop lets the bootloader program it.
        self.power_on("power")

    def trust(self, public: list[bytes], private: Any) -> None:
        """The board trusts `public`; releases are signed with `private` from now on."""
        self.keys, self.key = public, private

    def power_on(self, cause: str) -> bool:
        """Through the loader, which may write; False where it starts nothing."""
        self.cause = cause
        self.runs = False
        self.store = self._mount()
        better = self.shipped and self.better()
        key = PUBLIC if self.scenario.signed else None
        self.boot = loader.boot(self.slot, self.store, golden.Options(BASE, TRIALS, key))
        did = self.boot.did
        # Where the flash failed there may be a reason.
        if better and "programs " + golden.FACTORY_FILE in did and not any("Error" in words for words in did):
            raise Bad("factory", f"the factory image is programmed, and {better} is stored, whole and good")
        return self.boot.address is not None

    def better(self) -> str:
        """A file whose row says that it may run, that is whole, and that did not use up its boots; "" for none."""
        page = bytearray(3)
        self.slot.read(0, page)
        # FC, and a zero bit for each boot that it had.
        tried = page[0] == 0xFC and 8 - bin(page[2]).count("1") >= TRIALS
        text = self.store.get("image_database.csv", 2048) or b""
        new = self.store.get("image_database.new", 2048) or b""
        if new[:8] == b"%08x" % crc32(new[9:]):
            text = new[9:]
        for fields in (row.split(",") for row in text.decode(errors="replace").split("\n")):
            if len(fields) == 5 and fields[1].lower() in (("f8",) if tried else ("f8", "fe")):
                data = self.store.get(fields[0], 1 << 20)
                if data and sha256(data).hexdigest() == fields[4].lower():
                    return fields[0]
        return ""

    def wired(self) -> Any:
        """The shipped Board over the two flashes."""
        return CampaignBoard(self, self.cause)

    def started(self) -> int:
        """The flash offset that the loader started."""
        return SLOT_AT + PAGE

    def intact(self) -> str:
        """What of the store is gone that is no image."""
        name, data = KEPT
        return "" if self.store.get(name, 99) == data else f"{name} is gone"

    def waver(self, on: bool) -> None:
        """Nothing of this chip keeps what it read."""
