"""A BK7238 for power campaigns: a small flash with everything an update touches, and what may change in it.

Real are the shipped Board, layout, installer and loader; the offsets here are the oracle's own. The loader keeps no
image before the one that it installs, so there are no stories of going back: an image that is not wanted stays until
the next release, and has to let that in.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mpota.layout.bk7238 import loader, rbl
from mpota.layout.bk7238.loader import copier
from mpota.layout.bk7238.store import coded, scramble, table
from mpota.store.log import Log
from mpota_boot.errors import Refused
from mpota_host.chips.bk7238 import packer
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.cut.medium.cells import SECTOR, CutFlash
from mpota_host.cut.releases import PRODUCT, SECRET, Releases
from mpota_host.cut.rig import Area, Scenario
from mpota_host.sim import reset

TRIALS = 3
CREDENTIALS = b"network and secret"
# As Beken's SDK keeps it: a header of TLV and its first item. Here it lies in the last sector of `download`.
CALIBRATION = struct.pack("<4sIII", b"TLV\0", 8, 0x11111100, 0)
KEY, IV = rbl.KEY.decode(), rbl.IV.decode()
# Code is 17/16 of its logical size in flash; a partition of it begins and ends with a sector.
CODE = 0x10000
APP_AT, CODE_SIZE = 0x11000, 0x11000
DOWNLOAD_AT, DOWNLOAD_SIZE = 0x22000, 0x8000
RADIO_AT, NETWORK_AT, LOG_AT, END = 0x2A000, 0x2B000, 0x2C000, 0x2F000
CALIBRATION_AT = DOWNLOAD_AT + DOWNLOAD_SIZE - SECTOR
CAUSES = {"power": reset.PWRON, "reset": reset.HARD, "watchdog": reset.WDT}
# What an image may do here, and the geometries: nothing goes back, and SPI NOR of this family takes single bytes.
VERDICTS = ("healthy", "unhealthy", "dies")
ERASES, UNITS = (4096,), (1,)
# One state in so many, at least, is of each category of cuts: this loader begins again from the start, and recovers in
# few steps.
SHARE = 14
# In one life: the header's sector is erased by each of two updates, by the loader's mark, and where a cut took it.
DOWNLOAD_WEAR, APP_WEAR, LOG_WEAR = 8, 4, 20


# Two sectors of package each.
SMALL = (4999, 6007, 5003)


@dataclass(frozen=True)
class Bk7238(Scenario):
    """Builds of one BK7238: how its packages are compressed, what its eFuse scrambles with."""

    sizes: tuple[int, ...] = (21001, 27003, 23019)
    rbl: str = "none"
    scrambler: tuple[int, ...] = ()
    journal_full: bool = False


def raw(size: int, seed: int, line: int = 251) -> bytes:
    """An application: a word at 32 that says where it is linked, data with the period `line`, no CRCs."""
    data = bytes((seed * 7919 + 1) * (i + 1) ** 2 >> 3 & 0xFF for i in range(line))
    out = bytearray((data * (size // line + 1))[:size])
    out[32:36] = struct.pack("<I", CODE + 0x100 * seed)
    return bytes(out)


def image(size: int, seed: int) -> bytes:
    """An RBL of about so many bytes, which this loader takes."""
    return packed(raw(max(size - rbl.SIZE - 16, 200), seed), seed, "none")


def packed(app: bytes, n: int, compress: str) -> bytes:
    """The RBL of an application."""
    return packer.pack(app, packer.Options(f"1.{n}.0", "app", compress, "aes", KEY, IV, 1600000000 + n))


def _scenarios() -> dict[str, Bk7238]:
    found = [
        Bk7238("update"),
        Bk7238("smallest", sizes=SMALL),
        Bk7238("smallest-unhealthy", sizes=SMALL, verdict="unhealthy"),
        Bk7238("unhealthy", verdict="unhealthy"),
        Bk7238("dies", verdict="dies"),
        Bk7238("journal-full", journal_full=True),
        Bk7238("gzip", sizes=(5003, 7001, 6011), rbl="gzip"),
        Bk7238("lzma", sizes=(9001, 12007, 10007), rbl="lzma"),
        Bk7238("scrambled", scrambler=(0x510FB093, 0xA3CBEADC, 0x5993A17E, 0xC7ADEB03)),
        Bk7238("deflate", sizes=(16385, 24001, 20999), chunk=8192, compress="deflate"),
        Bk7238("locked", locked=True, chunk=8192, compress="deflate"),
    ]
    return {s.name: s for s in found}


SCENARIOS: dict[str, Bk7238] = _scenarios()
EXHAUSTIVE = ("smallest", "smallest-unhealthy")
QUICK = ("smallest", "smallest-unhealthy", "dies", "journal-full")
ROOMY = "deflate"
# More of them, for seeded bugs; and those that are played with faults.
HUNT: tuple[str, ...] = ("gzip", "update", "unhealthy", "deflate")
FAULTY = ("update", "unhealthy", "smallest", "smallest-unhealthy", "dies", "journal-full", "deflate")
# Distinct states that a full campaign tries: cuts in cuts that are not left out make 38,000 of them.
STATES = 30000


def foreign(image: bytes) -> bytes:
    """Its header, whose CRC-32 is wrong then, names another partition."""
    return image[:12] + b"\x09" + image[13:]


def own(firmware: bytes, table_file: bytes | None) -> Bk7238:
    """There is none: a whole application of this family does not fit the campaign's flash."""
    raise Refused("image", "a BK7238 campaign has no place for an image of your own")


def quicken() -> None:
    """Remember what the slow loops gave: a campaign asks for the same blocks again and again.

    And leave the collector alone: what this process holds is no board's heap.
    """
    if hasattr(coded, "quick"):
        return
    coded.quick = True
    loader.collect = copier.collect = int
    coded.gather, coded.spread = _remembered_gather(coded.gather), _remembered_spread(coded.spread)
    rbl._fnv, scramble.scramble = _remembered_fnv(rbl._fnv), _remembered_mix(scramble.scramble)


def _remembered_gather(gather: Any) -> Any:
    @lru_cache(maxsize=65536)
    def gathered(data: bytes, blocks: int) -> tuple[bytes, int]:
        out = bytearray(blocks * 32)
        bad = gather(coded.TABLE, data, out, blocks)
        return bytes(out), bad

    def quick(_: Any, data: Any, plain: Any, blocks: int) -> int:
        out, bad = gathered(bytes(data[: blocks * 34]), blocks)
        plain[: len(out)] = out
        return bad

    return quick


def _remembered_spread(spread: Any) -> Any:
    @lru_cache(maxsize=65536)
    def spread_out(data: bytes, blocks: int) -> bytes:
        out = bytearray(blocks * 34)
        spread(coded.TABLE, data, out, blocks)
        return bytes(out)

    def quick(_: Any, plain: Any, data: Any, blocks: int) -> None:
        data[: blocks * 34] = spread_out(bytes(plain[: blocks * 32]), blocks)

    return quick


def _remembered_fnv(fnv: Any) -> Any:
    @lru_cache(maxsize=65536)
    def hashed(low: int, high: int, data: bytes) -> tuple[int, int]:
        half = type(rbl.Fnv().half)("H", (low, high))
        fnv(half, data, len(data))
        return half[0], half[1]

    def quick(half: Any, buf: Any, n: int) -> None:
        half[0], half[1] = hashed(half[0], half[1], bytes(buf[:n]))

    return quick


def _remembered_mix(mix: Any) -> Any:
    @lru_cache(maxsize=65536)
    def mixed(data: bytes, addr: int, coefficients: tuple[int, ...]) -> bytes:
        out = bytearray(data)
        mix(out, addr, coefficients)
        return bytes(out)

    def quick(buf: Any, addr: int, coefficients: Any) -> None:
        buf[:] = mixed(bytes(buf), addr, tuple(coefficients))

    return quick


class Rig(Releases):
    """One BK7238: its `flash`, what lies where, the images that it may run, and packages of all but the first."""

    layout = "bk7238"
    trials = TRIALS
    # The loader overwrites the image that ran.
    retreats = False

    def __init__(self, scenario: Bk7238) -> None:
        super().__init__(scenario)
        quicken()
        s = scenario
        line = 251 if s.rbl == "none" else 4001
        self.apps = [raw(size, i + 1, line) for i, size in enumerate(s.sizes)]
        self.flash = CutFlash(END)
        rows = {
            b"bootloader": table.Entry(b"bootloader", table.CODE, 0, CODE),
            b"app": table.Entry(b"app", table.CODE, CODE, CODE),
            b"download": table.Entry(b"download", table.DATA, DOWNLOAD_AT, DOWNLOAD_SIZE),
        }
        settings = {"product": PRODUCT, "room": s.chunk, "trials": TRIALS}
        self.chip = sim.Chip(settings, None, self.flash, rows, LOG_AT)
        self.chip.kept = {"RF": RADIO_AT, "network": NETWORK_AT}
        self.chip.scrambler = s.scrambler or None
        self.chip.secrets = [SECRET] if s.locked else []
        self.areas = [
            Area("app", APP_AT, CODE_SIZE, APP_WEAR, "slot", True),
            Area("download", DOWNLOAD_AT, DOWNLOAD_SIZE, DOWNLOAD_WEAR, "slot", False),
            Area("log", LOG_AT, 2 * SECTOR, LOG_WEAR, "log", False),
            Area("loader", 0, CODE_SIZE, 0, "other", False),
        ]
        self.images = [self._coded(app) for app in self.apps]
        self._fill()

    def _coded(self, app: bytes) -> bytes:
        """An application as it lies in flash."""
        self.chip.write(app)
        return self.flash.cells.get(APP_AT, (len(app) + 31) // 32 * 34)

    def _fill(self) -> None:
        """As it leaves the workshop: the loader, the first image without a header, credentials, something beyond."""
        self.chip.write_loader()
        self.chip.write(self.apps[0])
        self.flash.cells.put(RADIO_AT, bytes(i * i % 251 for i in range(SECTOR)))
        self.flash.cells.put(NETWORK_AT, CREDENTIALS)
        self.flash.cells.put(CALIBRATION_AT, CALIBRATION)
        self.flash.cells.put(LOG_AT + 2 * SECTOR, bytes(i * 7 % 251 for i in range(SECTOR)))
        if self.scenario.journal_full:
            self._crowd()

    def _crowd(self) -> None:
        """Records of an earlier day fill the sector that is to grow."""
        log = Log(self.chip.log())
        for i in range(38):
            log.put("reason", bytes((i,)) * 90)

    def trust(self, public: list[bytes], private: Any) -> None:
        """The board trusts `public`; releases are signed with `private` from now on."""
        self.chip.keys, self.key = public, private

    def installed(self, n: int) -> bytes:
        """Release `n` as a package brings it: an RBL of apps[n], or of the last one with a newer version."""
        return packed(self.apps[min(n, len(self.apps) - 1)], n, self.scenario.rbl)

    def power_on(self, cause: str) -> bool:
        """Through the loader, which may write; False where it starts nothing."""
        self.cause = CAUSES[cause]
        self.runs = False
        return bool(self.chip.boot().starts)

    def wired(self) -> Any:
        """The shipped Board on this chip."""
        return self.chip.run(self.cause)

    def started(self) -> int:
        """The flash offset that the loader started."""
        return APP_AT

    def intact(self) -> str:
        """What of the board's secrets, and of the radio's calibration, is gone, "" if nothing is."""
        for at, wanted in ((NETWORK_AT, CREDENTIALS), (CALIBRATION_AT, CALIBRATION)):
            seen = self.flash.cells.get(at, len(wanted))
            if seen != wanted:
                return f"the sector at 0x{at:x} begins with {seen!r}, wanted {wanted!r}"
        return ""

    def waver(self, on: bool) -> None:
        """Nothing of this chip keeps what it read."""
