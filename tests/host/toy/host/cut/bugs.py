"""The seeded bugs of a toy chip: those of the core, and mistakes in its layout and its loader."""

from __future__ import annotations

from mpota_host.cut import bugs
from mpota_host.cut.bugs import Mutant

LAYOUT, LOADER, IMAGE = (f"mpota.layout.toy.{name}" for name in ("layout", "loader", "image"))
ARMED = '        self.journal.put("armed", record.encode())\n'
SWITCH = "        try:\n            self.choose(record.slot)\n"
LAYS = "tests.chips.toy.test_toy:test_"

OWN = [
    Mutant("write to the slot that runs", LAYOUT, "self.port.slots[1 - self.port.running]", "self.port.current"),
    Mutant("switch before the journal knows", LAYOUT, ARMED + SWITCH, SWITCH + "    " + ARMED),
    Mutant("retreat without the switch", LAYOUT, "        self.choose(record.back)\n", ""),
    Mutant("retreat and keep the trials", LAYOUT, "        record.trials = 0\n", ""),
    Mutant(
        "make no check of the image", LAYOUT, "if not image.whole(self.target(part), self.port.feed):", "if False:",
        LAYS + "a_program_that_is_not_its_headers_is_refused_before_it_is_armed",
    ),
    Mutant("take any header", LAYOUT, "        if n != part.size:", "        if False:"),
    Mutant(
        "start what is torn", LOADER, "if image.whole(slots[n], _nothing):", "if slots[n]:",
        LAYS + "a_loader_passes_over_what_is_not_whole",
    ),
    Mutant(
        "reset for ever where there is no way back", LAYOUT, "        if self.chosen() == record.back:\n",
        "        if False:\n", LAYS + "a_trial_without_a_way_back_comes_to_its_end",
    ),
]  # fmt: skip
MUTANTS = [*bugs.MUTANTS, *OWN]
