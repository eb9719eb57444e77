"""One life of a board whose application lies in files: drive.py's, judged after boot.py, which names the folder."""

from __future__ import annotations

from typing import Any

from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.errors import FlashError, LinkError
from mpota_host.chips.files.cut import own
from mpota_host.cut.drive import POLL_MS, Life, Memory, Offer
from mpota_host.cut.imports import Hang
from mpota_host.cut.oracle import Bad
from mpota_host.sim.reset import Reset

# Why an mpota is given up that cannot read what came, and one to which nothing came.
REASONS = {"blind": "updater: ", "no-link": "no-link"}
# Boots at rest that must write nothing.
ORDINARY = ("power", "reset")


class Blind(Offer):
    """A link over which an offer comes that this mpota cannot read."""

    def __init__(self, link: Offer) -> None:
        super().__init__(link.data, link.spare)

    def open(self, at: int = 0) -> Any:
        raise LinkError("manifest", "this is no manifest: ValueError('format')")


class FilesLife(Life):
    """Drives a rig of mpota_host/chips/files."""

    rig: Any
    oracle: Any
    # Does an update wait for its reset?
    armed = False
    # Has a cut left something that the device may find wrong? Did this life begin after one?
    begun = cut = False
    copies = True
    # Did an import of this boot never return?
    _hung = False

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
        try:
            self._boot()
        except Hang:
            self._hung = True
        self.rig.leave()
        i: int = self.oracle.started(self.memory.confirmed)
        self.boots.append(i)
        if self.rig.scenario.updaters and not self._hung:
            self._imports(i)
        return i

    def _imports(self, i: int) -> None:
        """main.py begins."""
        for name in (*own.wanted(self.rig.main), "app"):
            try:
                self.rig.imports.import_(name)
            except ImportError as e:
                if self.rig.folder or name != "app":
                    raise Bad("updater", f"main.py cannot import {name}: {e}") from e
        self.oracle.imported(i, self.memory.confirmed)

    def _application(self, board: Any, i: int) -> str | None:
        trial = board.layout.on_trial()
        if self._hung:
            # The copy of mpota that a release brought never returns from its import.
            self._hung = False
            self._bad_runs(board.layout, trial, i)
            if board._dog is None and not self.oracle.soft:
                raise Bad("watchdog", "an import that hangs on its trial is not watched")
            self._enter("leave")
            return "watchdog"
        if trial and isinstance(shim.own, Exception):
            # As Runner._start does it.
            self._bad_runs(board.layout, trial, i)
            self._enter("leave")
            Agent(board, [], board.keys()).failed(shim.own)
            return "reset"
        return super()._application(board, i)

    def _step(self, agent: Any, link: Offer) -> str:
        state = super()._step(agent, link)
        wanted = REASONS.get(self.rig.scenario.verdict)
        # A cut may come before the reason, or be one.
        if state == "reset" and agent.trial and wanted and self.rig.scenario.updaters and not self.cuts:
            reason = agent.board.layout.failure()[1]
            if not reason.startswith(wanted):
                raise Bad("reason", f"an mpota is given up for {reason!r}, wanted {wanted!r}")
        return state

    def _health(self, verdict: str) -> Any:
        """Where mpota itself is on trial the application says that all is well: a link has to answer all the same."""
        return (lambda: True) if self.rig.scenario.updaters else super()._health(verdict)

    def _link(self, i: int, verdict: str) -> Offer:
        link = super()._link(i, verdict)
        return Blind(link) if verdict == "blind" else link

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
