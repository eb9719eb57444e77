"""What the campaign asks of a layout, and where it finds it: `chips/NAME/cut/life.py` for each layout.

SCENARIOS   name -> Scenario            STATES   distinct states that a full campaign tries
EXHAUSTIVE  those whose every cut in a life after a cut is tried      QUICK   those of `make test`
DEEP        optional: those of EXHAUSTIVE that go one cut deeper
EDGES       optional: others, in which every cut between two operations is tried in the life after every such cut
PAIRS       optional: others, in which every two cuts around arm and settle are tried
FAULTY      those played with faults; seeded bugs are hunted with the first two, and by the cuts of QUICK and HUNT
ROOMY       the one with place for 12 KiB, to which forged releases are offered; "" for none
THOROUGH    optional: True where cuts in cuts are so few that quick campaigns and hunts leave none out
BY_STORY    optional: True where the same bytes in another story are another state
Life, Oracle   optional: subclasses of those in drive.py and oracle.py
VERDICTS    what its images may do on trial   UNITS, ERASES   what its flashes program and erase at once
SHARE       each part of an update has one state in so many, at least
image(size, seed)                            one that its loader takes
foreign(image)                               the same for another chip: its first bytes say so
own(firmware, table) -> Scenario             with an image of the user's own; Refused where there is no place for it
Rig(scenario)                                a device as it leaves the workshop, running its first image
    .layout .flash .areas .images .trials
    .medium                                  what the power goes out on (medium/medium.py): the flash, or more
    .trust(public, private)                  the device trusts these keys, releases are signed by this one
                                             (only where ROOMY names a scenario)
    .package(n)                              release n, the first is 1: brings images[n], or the last one again
    .spare(n)                                the whole image of it where package(n) is a delta, else None
    .power_on(cause) -> bool                 through the loader; cause is "power", "reset" or "watchdog"
    .board() -> Board                        of the run that power_on began; boot.py and main.py take one each
                                             (releases.py has this one and package, spare; a chip wired())
    .started() -> offset                     of the image that the loader started
    .retreats                                can a chip of this kind go back to the image before?
    .intact() -> str                         what of the device's secrets is gone
    .misread(fault)                          a read of the journal goes wrong once (medium/medium.py); None: no more
    .waver(on)                               cells may read differently each time: a model that keeps what it read stops
                                             (only where FAULTY names scenarios)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mpota_host.cut.medium.cells import CutFlash
from mpota_host.cut.medium.medium import Medium, Misread
from mpota_host.registry import part_of
from mpota_host.sources import DEVICE

# What an image may do once it runs on trial.
VERDICTS = ("healthy", "unhealthy", "hangs", "dies", "no-link")


@dataclass(frozen=True)
class Scenario:
    """A device and a story: images[0] runs, images[1] is offered and judged, the last one is offered after that."""

    name: str
    verdict: str = "healthy"
    # Bytes of each image, multiples of nothing.
    sizes: tuple[int, ...] = (4999, 6007, 5003)
    chunk: int = 4096
    compress: str = "none"
    # Releases are differences to the one before, and encrypted for the device.
    delta: bool = False
    locked: bool = False
    prog_size: int = 1
    erase_size: int = 4096
    # The user's own images and table rows, in place of those that the layout would make.
    images: tuple[bytes, ...] = ()
    table: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class Area:
    """A named place in the flash. `wear`: erases of one sector that one life may ask; 0 means nothing may change.

    kind: slot (an image), state (what boots), journal, log (a journal that no cut takes), other. first: the first image
    lies here.
    """

    label: str
    off: int
    size: int
    wear: int
    kind: str
    first: bool


class Rig(Protocol):
    """See the module."""

    layout: str
    scenario: Scenario
    flash: CutFlash
    medium: Medium
    areas: list[Area]
    images: list[bytes]
    trials: int
    retreats: bool

    def __init__(self, scenario: Scenario) -> None: ...
    def trust(self, public: list[bytes], private: Any) -> None: ...
    def package(self, n: int) -> bytes: ...
    def spare(self, n: int) -> bytes | None: ...
    def power_on(self, cause: str) -> bool: ...
    def board(self) -> Any: ...
    def started(self) -> int: ...
    def intact(self) -> str: ...
    def misread(self, fault: Misread | None) -> None: ...
    def waver(self, on: bool) -> None: ...


def layouts() -> list[str]:
    """Every layout of the device; one that has no life.py fails when it is asked for."""
    return sorted(p.parent.name for p in (DEVICE / "mpota" / "layout").glob("*/__init__.py"))


def life_of(layout: str) -> Any:
    """The module chips/LAYOUT/cut/life.py."""
    return part_of(layout, "cut.life")


def scenario_of(layout: str, name: str) -> Scenario:
    """A scenario by its name; KeyError where there is none."""
    found: Mapping[str, Scenario] = life_of(layout).SCENARIOS
    return found[name]
