"""A whole SiFli chip in one process: its flash, its two programs, and the link that reaches whichever one runs.

`power_on` goes through the loader; from then on the manager or the user program has a session. `confirm` is what a user
program does that finds itself well. Nothing but the flash survives a reset.
"""

from __future__ import annotations

from typing import Any

from mpota.layout.sifli import loader
from mpota.layout.sifli.link import session
from mpota.layout.sifli.policy import Policy
from mpota.layout.sifli.port import Chip
from mpota_boot.journal import trial
from mpota_host.sim.plain import Blobs, GivenBoard


class ChipBoard(GivenBoard):
    """The shipped Board on a Chip: its journal and its layout are the chip's."""

    def __init__(self, chip: Chip, settings: dict[str, Any], keys: Any, secrets: list[bytes]) -> None:
        self.chip = chip
        self._held = secrets
        super().__init__(settings, keys)
        chip.feed, chip.root = self.feed, self.root

    def port(self) -> Any:
        """The chip is what the layout works on."""
        return self.chip

    def memory(self, name: str) -> Any:
        if name == "mpota":
            return self.chip.journal
        return Blobs({str(i): key for i, key in enumerate(self._held)} if name == "mpota_keys" else {})


LINGER_MS = 500  # the last message leaves before the reset


class Clock:
    """Milliseconds that somebody moves."""

    def __init__(self) -> None:
        self.ms = 0

    def ticks_ms(self) -> int:
        """Now."""
        return self.ms

    def since(self, then: int) -> int:
        """Milliseconds since then."""
        return self.ms - then


class Device:
    """`flash`, a memory map and eFuses; `healthy`: does a program that is on trial confirm itself?"""

    def __init__(self, flash: Any, places: dict[str, Any], efuse: bytes, clock: Clock, healthy: bool = True) -> None:
        self.flash, self.places, self.efuse, self.clock = flash, places, efuse, clock
        self.healthy = healthy
        self.policy = Policy(lambda found: True)
        self.resets = 0
        self.linked = False
        self.end = 0
        self.power_on()

    def power_on(self) -> None:
        """A reset: the loader, then the program that it names."""
        self.resets += 1
        self.linked = False
        self.end = 0
        self.chip = Chip(self.flash, self.places, self.efuse, lambda: None)
        self.start = loader.boot(self.chip)
        self.manager = self.start.name == loader.MANAGER
        if not self.manager and self.healthy:
            self.confirm()
        self.session = session.Session(self.chip, self.policy, self.clock, self.manager, self.start.why)

    def confirm(self) -> None:
        """The user program is well: what is on trial stays."""
        record: Any = trial(self.chip.journal)
        if record and record.slot == self.chip.running:
            self.chip.journal.put("running", record.encode())

    def feed(self, message: bytes) -> None:
        """A message from the phone."""
        self.session.feed(message)
        if self.session.job:
            self.session.work()

    def take(self) -> bytes | None:
        """A message for the phone."""
        found: bytes | None = self.session.take()
        return found

    def turn(self) -> bool:
        """Time went by. True where the chip drops the link."""
        self.session.tick()
        drops = bool(self.session.closing and not self.session.out)
        if drops:
            self.session.lost()
        if self.session.leave and not self.session.out:
            self.end = self.end or self.clock.ms + LINGER_MS
            if self.clock.ms >= self.end:
                self.power_on()
        return drops
