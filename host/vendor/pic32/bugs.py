"""Seeded bugs of the PIC32MZW1's layout and bootloader, each with the story whose cuts have to find it."""

from __future__ import annotations

from host.sim.cut.bugs import Mutant

LAYOUT, LOADER, SETTLE, DATABASE = ("device.layout.pic32" + part for part in ("", ".loader", ".settle", ".database"))
COUNT = "            control.count(self.flash, control.read(self.flash))\n"

BUGS: list[tuple[Mutant, str]] = [
    (Mutant("no bug", DATABASE, "    files.remove(NEW)\n\n\ndef _head", "    files.remove(NEW)\n\n\ndef _head"), "row"),
    (Mutant("count no boots", LOADER, COUNT, "            pass\n"), "row-hang"),
    (Mutant("write the database in place", DATABASE, "    files.put(NEW, _head(text) + text)\n", ""), "row"),
    (Mutant("believe an empty database", DATABASE, "if new[:9] == _head(text):", "if True:"), "row"),
    (
        Mutant(
            "a blank page is the factory's",
            LOADER,
            "return self.select(rows)",
            "return self.select(rows if page else [])",
        ),
        "row",
    ),
    (Mutant("tidy what is being fetched", LAYOUT, "self.tidy(self.free())", "self.tidy()"), "row"),
    (Mutant("keep files that no row names", LAYOUT, "self.tidy(self.free())", "pass"), "row-deflate"),
    (
        Mutant(
            "do not finish what a cut parted",
            SETTLE,
            "    if row is None:\n        name",
            "    if True:\n        return False\n        name",
        ),
        "row",
    ),
]
