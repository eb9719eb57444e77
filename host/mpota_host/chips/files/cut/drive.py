"""One life of a board whose application lies in files: drive.py's, judged after boot.py, which names the folder."""

from __future__ import annotations

from typing import Any

from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.errors import FlashError
from mpota_host.cut.drive import POLL_MS, Life, Memory, Offer
from mpota_host.cut.oracle import Bad
from mpota_host.sim.reset import Reset

# Boots at rest that must write nothing.
ORDINARY = ("power", "reset")


class FilesLife(Life):
    """Drives a rig of mpota_host/chips/files."""

    rig: Any
    oracle: Any
    # Does an update wait for its reset?
    armed = False
    # Has a cut left something that the device may find wrong? Did this life begin after one?
    begun = cut = False
    copies = True

    def _session(self, cause: str) -> str | None:
        try:
            if self.armed and self.rig.scenario.soft:
                self.armed = False
                self._begin("")
            after = super()._session(cause)
        except Reset:
            return "reset"
        self.armed = after == "reset" and self.phase == "first boot"
        return after

    def _begin(self, cause: str) -> int | None:
        """Through the loader and boot.py: the application that runs, None where nothing starts."""
        if not self.rig.power_on(cause):
            self.oracle.no_boot()
            return None
        self._boot()
        self.rig.leave()
        i: int = self.oracle.started(self.memory.confirmed)
        self.boots.append(i)
        return i

    def _rests(self, agent: Any, i: int, link: Offer) -> bool:
        error, forgiven = agent.error, self.oracle.patient
        if isinstance(error, FlashError) and error.code == "readback" and self.begun and self.oracle.tears:
            # FAT writes a sector again to add to it: a cut took bytes that were noted before. It starts over, once.
            self.oracle.patient, self.begun = True, False
        rests = super()._rests(agent, i, link)
        self.oracle.patient = forgiven
        return rests

    def begin(self, memory: Memory, cuts: int) -> None:
        super().begin(memory, cuts)
        self.begun = self.cut = cuts > 0
        self.armed = False

    def _end(self) -> None:
        """At rest: the oracle's last look, then boots and polls with nothing to do."""
        self.oracle.end(self.cut)
        # Why the release is refused is kept once, by the first of these boots.
        for first, cause in enumerate((ORDINARY[0], *ORDINARY)):
            before = self.rig.medium.ops
            self.rig.power_on(cause)
            try:
                shim.boot(self.rig.board)
                self.rig.leave()
                board = self.rig.board()
                agent = Agent(board, [Offer(self.rig.package(self.memory.release))], board.keys())
                for _ in range(3):
                    agent.step()
                    board.ms += POLL_MS
            except Reset as e:
                raise Bad("quiet", f"a boot with nothing to do ({cause}) resets") from e
            if first:
                self.oracle.quiet(cause, self.rig.medium.ops - before)
