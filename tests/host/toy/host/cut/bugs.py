"""The seeded bugs of a toy chip: those of the core, and mistakes in its layout and its loader."""

from __future__ import annotations

from mpota_host.cut import bugs
from mpota_host.cut.bugs import Mutant

LAYOUT, LOADER, IMAGE = (f"mpota.layout.toy.{name}" for name in ("layout", "loader", "image"))
ARMED = 'self.journal.put("armed", record.encode())'
SWITCH = "try: self.choose(record.slot)\nexcept FlashError: ..."
LAYS = "tests.chips.toy.test_toy:test_"

OWN = [
    Mutant(
        "write to the slot that runs", LAYOUT, "target", "self.port.slots[1 - self.port.running]", "self.port.current",
    ),
    Mutant("switch before the journal knows", LAYOUT, "arm", f"{ARMED}\n{SWITCH}", f"{SWITCH}\n{ARMED}"),
    Mutant("retreat without the switch", LAYOUT, "_leave", "self.choose(record.back)", ""),
    Mutant("retreat and keep the trials", LAYOUT, "_leave", "record.trials = 0", ""),
    Mutant(
        "make no check of the image", LAYOUT, "check", "not image.whole(self.target(part), self.port.feed)", "False",
        LAYS + "a_program_that_is_not_its_headers_is_refused_before_it_is_armed",
    ),
    Mutant("take any header", LAYOUT, "admit", "n != part.size", "False"),
    Mutant(
        "start what is torn", LOADER, "boot", "image.whole(slots[n], _nothing)", "slots[n]",
        LAYS + "a_loader_passes_over_what_is_not_whole",
    ),
    Mutant(
        "reset for ever where there is no way back", LAYOUT, "_count", "self.chosen() == record.back", "False",
        LAYS + "a_trial_without_a_way_back_comes_to_its_end",
    ),
]  # fmt: skip
MUTANTS = [*bugs.MUTANTS, *OWN]
