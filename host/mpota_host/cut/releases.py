"""What every Rig has: signed packages, release n brings images[n] as the scenario says, and one watchdog a run."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from mpota_boot.board import Board
from mpota_host.cut.medium.cells import CutFlash, sectors
from mpota_host.cut.medium.medium import Medium, Misread
from mpota_host.cut.rig import Area, Scenario
from mpota_host.package.assemble import Head, Part, assemble, sealed
from mpota_host.package.choose import WBITS, EncodeOptions
from mpota_host.package.encode import delta
from mpota_host.package.encode.encrypt import records
from mpota_host.package.encode.fill import Deflate, Plain, Raw, Way, filled
from mpota_host.package.format import FIRMWARE, SECTOR
from mpota_host.package.pack import version_bytes

PRODUCT = "campaign"
# The device key of a board whose packages are encrypted.
SECRET = sha256(b"a device key").digest()


class Releases:
    """The part of a Rig that no chip differs in. `key` signs, None leaves the packages unsigned.

    The same story has the same packages in every process, so that one process's state can be played in another.
    """

    layout: str
    retreats = True
    scenario: Any
    images: list[bytes]
    # Was a Board made since the power came? power_on() says no.
    runs = False
    flash: CutFlash
    areas: list[Area]

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.key: Any = None
        self.made: dict[tuple[int, bool], bytes] = {}

    def wired(self) -> Any:
        """The chip's own: what `Board()` gives."""
        raise NotImplementedError

    def board(self) -> Any:
        """What `Board()` gives in boot.py, and then once more in main.py: there is one watchdog for both."""
        dog = Board._dog if self.runs else None
        board = self.wired()
        Board._dog = dog
        self.runs = True
        return board

    def misread(self, fault: Misread | None) -> None:
        """A read of the journal goes wrong once; None: no more."""
        self.flash.misread = fault
        self.flash.misreads = sectors([(a.off, a.size) for a in self.areas if "log" in (a.kind, a.label)])

    @property
    def medium(self) -> Medium:
        """What the power goes out on."""
        return self.flash

    def installed(self, n: int) -> bytes:
        """What release `n` installs: images[n], or the last one again, in the form in which a package brings it."""
        return self.images[min(n, len(self.images) - 1)]

    def package(self, n: int) -> bytes:
        """Release `n`, the first is 1: as a difference to the release before where the scenario says so."""
        return self._made(n, self.scenario.delta)

    def spare(self, n: int) -> bytes | None:
        """The whole image of release `n`, for a device that does not run the release before; None without deltas."""
        return self._made(n, False) if self.scenario.delta else None

    def _made(self, n: int, based: bool) -> bytes:
        if (n, based) not in self.made:
            self.made[n, based] = self._pack(n, self.installed(n - 1) if based else None)
        return self.made[n, based]

    def _pack(self, n: int, base: bytes | None) -> bytes:
        s = self.scenario
        image = self.installed(n)
        packed = s.compress == "deflate"
        stages = ("inflate",) * packed + ("delta",) * (base is not None)
        way: Way = Deflate(WBITS) if packed else Raw()
        most, longest = EncodeOptions(room=s.chunk, encrypted=True).most(), s.chunk // SECTOR
        # A chunk decodes to no more than the room: there is a place to go on at after each.
        if base is None:
            travel = filled(Plain(image), way, most, longest)
        else:
            travel = delta.plan(base, image, way, most, sectors=longest).pieces
        part = Part(FIRMWARE, "firmware", image, travel, stages, way.window(travel), base or b"")
        head = Head(PRODUCT, self.layout, version_bytes(f"1.{n}.0"), s.chunk)
        if s.locked:
            content = sha256(f"{s.name} {n} {base is None}".encode()).digest()
            head, part = replace(head, recipients=records(content, [SECRET])), sealed(part, content, 0)
        return assemble(head, [part], self.key)
