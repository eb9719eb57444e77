"""What a virtual board asks of a layout, and where it finds it: `chips/NAME/sim/machine.py`.

SIZE                                           bytes of a new board's flash
make(flash, firmware)                          write a board as it leaves the workshop, its files excepted
windows(flash) -> [(offset, size)]             where a unit may be programmed twice
volume(flash) -> (offset, size) or None        the file system; None: the port finds it by itself
boot(flash, options, cause, before) -> Started the loader's turn; `before` is what it started last, if anything
enter(flash) -> Started                        of a program that starts another one, by the word `jump` on the wire
sha(flash, started) -> hex                     of the image that it started: that of its file
firmware(path) -> bytes                        the first one, out of a file; without one that of the demo
SETTINGS (may be left out)                     what its settings have beside those that are given
files() -> {name: bytes}                       what only boards of this layout have, beside or in place of mpota_files

On the unix port chips/NAME/sim/chip.py gives `modules(wire, flash, config)`: name -> what a program there can import.
Where volume() here gives None, volume(flash) there is (block device, kind). memory(flash, space) is part of its NVS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpota_host.registry import having, part_of


@dataclass(frozen=True)
class Started:
    """What the loader started. `name` is None where it starts nothing; `said` is its line on the console.

    program: a file that runs in place of boot.py and main.py.
    """

    name: str | None
    said: bytes
    offset: int = 0
    program: str = ""
    detail: Any = None


def layouts() -> list[str]:
    """The layouts that have a virtual board."""
    return having("sim.machine")


def machine_of(layout: str) -> Any:
    """The module chips/LAYOUT/sim/machine.py."""
    return part_of(layout, "sim.machine")
