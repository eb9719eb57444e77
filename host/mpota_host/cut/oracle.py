"""Judges a device by the bytes of its flash and by what it does; shares no code with installer, layout or loader.

The rules, each with a name that a report quotes: what the loader started is one approved image, byte for byte; what was
confirmed is not given up again; an image that is not healthy gets its trials and no more, and is never confirmed; the
device comes to rest with the newest image, whatever happened before; no byte outside an update's places changed; no
sector was erased more often than one life asks; no operation that NOR flash forbids was tried. `map` shows what it saw.
"""

from __future__ import annotations

from mpota_host.cut.medium.cells import BLANK, SECTOR
from mpota_host.cut.rig import Area, Rig

# Signs in a line of a map.
WIDE = 64


class Bad(Exception):
    """The promise is broken: the rule's name, and what was seen."""

    def __init__(self, rule: str, text: str) -> None:
        # Both as they are: it travels from one process to another.
        super().__init__(rule, text)
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.rule}: {self.args[1]}"


class Oracle:
    """Rules over one rig.

    `soft`: the flash itself is at fault for good, so a whole image must run where one exists, and errors must have a
    name. `patient`: it was at fault once, so an error may be seen and somebody may have to switch it off and on.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.soft = False
        self.patient = False
        self.first = rig.flash.shot()
        # What the bytes outside every area that may change were, sector by sector.
        self.frozen = {i: s for i, s in enumerate(self.first) if not self._may_change(i)}

    def _may_change(self, i: int) -> bool:
        return any(a.wear and a.off <= i * SECTOR < a.off + a.size for a in self.rig.areas)

    def holds(self, off: int) -> int:
        """Which approved image lies at `off`, whole; -1 for none."""
        cells = self.rig.flash.cells
        for i, image in enumerate(self.rig.images):
            if cells.get(off, len(image)) == image:
                return i
        return -1

    def whole(self) -> list[int]:
        """The approved images that lie whole in some slot."""
        return [i for a in self.rig.areas if a.kind == "slot" and (i := self.holds(a.off)) >= 0]

    def no_boot(self) -> None:
        """The loader found nothing to start."""
        if not self.soft or self.whole():
            raise Bad("boots", f"the loader starts nothing; whole in flash: images {self.whole()}")

    def started(self, confirmed: int) -> int:
        """Judge what the loader started: the number of the image."""
        off = self.rig.started()
        i = self.holds(off)
        if i < 0:
            raise Bad("whole", f"what starts at 0x{off:x} is no approved image")
        if i < confirmed and not self.soft:
            raise Bad("kept", f"image {i} runs after image {confirmed} was confirmed")
        return i

    def after(self) -> None:
        """Judge what was done to the flash."""
        flash = self.rig.flash
        if flash.violations:
            raise Bad("nor", flash.violations[0])
        sectors = flash.cells.sectors
        for i, data in self.frozen.items():
            if sectors[i] is not data and sectors[i] != data:
                raise Bad("outside", f"the sector at 0x{i * SECTOR:x} changed")

    def wear(self, wear: list[int]) -> None:
        """Judge how often each sector was erased since the power returned."""
        for area in self.rig.areas:
            n = max(wear[area.off // SECTOR : (area.off + area.size) // SECTOR])
            if n > area.wear and not self.soft:
                raise Bad("wear", f"a sector of {area.label} was erased {n} times, at most {area.wear} in one life")

    def end(self) -> None:
        """Judge a device at rest."""
        lost = self.rig.intact()
        if lost and not self.soft:
            raise Bad("secrets", lost)

    def map(self, when: str = "when the power returned") -> list[str]:
        """What lies where, for a person: a sign for each sector, or for several where an area is large."""
        legend = ". erased, # as at the beginning, 1 like image 1 there, ? anything else, + several of them"
        return [f"The flash {when}: {legend}", *map(self._row, self.rig.areas)]

    def _row(self, area: Area) -> str:
        first = area.off // SECTOR
        row = [self._sign(i, i - first) for i in range(first, first + area.size // SECTOR)]
        step = -(-len(row) // WIDE)
        signs = [set(row[i : i + step]) for i in range(0, len(row), step)]
        whole = self.holds(area.off)
        note = f"  image {whole}, whole" if area.kind == "slot" and whole >= 0 else ""
        return f"  0x{area.off:06x} {area.label:10} {''.join(s.pop() if len(s) == 1 else '+' for s in signs)}{note}"

    def _sign(self, i: int, n: int) -> str:
        """Of sector `i`, the n-th of its area."""
        data = self.rig.flash.cells.sectors[i]
        if data == BLANK:
            return "."
        if data == self.first[i]:
            return "#"
        for k, image in enumerate(self.rig.images):
            piece = image[n * SECTOR : (n + 1) * SECTOR]
            if piece and data[: len(piece)] == piece:
                return str(k)
        return "?"
