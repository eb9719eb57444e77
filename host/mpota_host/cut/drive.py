"""One life: a device is switched on, again and again, until the newest image runs and is confirmed.

`boot.py` and `main.py` are played with the shipped shim and agent; nothing but the flash survives from one power-on to
the next. Images do what their scenario says: answer, be unhealthy, hang, die, find no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.errors import Corrupt, FlashError, LinkError, OtaError, UpToDate
from mpota_host.cut.oracle import Bad, Oracle
from mpota_host.cut.rig import Rig
from mpota_host.sim.flash import PowerCut, Violation
from mpota_host.sim.reset import Abort, Reset

# Power-ons that a life may take: three trials with the loader's and the shim's own resets, two updates, and slack.
MOST = 40
# What health() of an application does that is not well.
HEALTH = {"unhealthy": lambda: False, "dies": lambda: 1 // 0}
# Steps of an agent from one reset to the next; polls that may come to nothing.
STEPS, POLLS = 200, 6
# How often somebody switches a device with a fault off and on.
CYCLES = 2
POLL_MS = 600000
# Parts of a life in which a trial is counted, judged or ended.
WATCHED = ("first boot", "verdict", "leave")


@dataclass(frozen=True)
class Memory:
    """What the world, not the device, remembers over a power cut.

    The best image that was confirmed, how often the bad one ran, and the release that the publisher has come to.
    """

    confirmed: int = 0
    tries: int = 0
    release: int = 1
    # The power went while the journal's store erased a page. ESP-IDF's NVS moves a page again from a sector whose head
    # outlived its entries, and loses what was on it: nothing written through it can help that.
    lost: bool = False
    # Cuts inside an erase of what says which image boots: the seal of an otadata entry covers its number alone, so a
    # half erased one may keep its number and lose its "aborted" or "pending", which costs one run that nobody counted.
    blurred: int = 0


class Offer:
    """A link that offers one package, and counts from where it was asked for it."""

    def __init__(self, data: bytes | None, spare: bytes | None = None) -> None:
        self.data = data
        self.spare = spare
        self.opened: list[int] = []
        self.reports: list[str] = []

    def open(self, at: int = 0) -> Any:
        if self.data is None:
            raise LinkError("link", "there is no network")
        self.opened.append(at)
        return _Body(self.data, at)

    def other(self, code: str = "") -> bool:
        """After a refusal the whole image, where there is one behind the delta."""
        if self.spare is None:
            return False
        self.data, self.spare = self.spare, None
        return True

    def report(self, code: str, text: str) -> None:
        self.reports.append(code)

    def close(self) -> None:
        """Nothing is held."""


class _Body:
    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def readinto(self, buf: Any) -> int:
        # Odd portions, so that no read ends where a chunk does.
        n = min(len(buf), 3001, len(self.data) - self.at)
        buf[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n

    def close(self) -> None:
        """Nothing is held."""


class Life:
    """Drives `rig`; `rest(cause, memory)` is called with each power-on, and may end the life by returning True."""

    # Has the board a second copy of what a lost journal must not undo?
    copies = False

    def __init__(self, rig: Rig, oracle: Oracle, rest: Callable[[str, Memory], bool] | None = None) -> None:
        self.rig = rig
        self.oracle = oracle
        self.rest = rest
        self.begin(Memory(), 0)

    def begin(self, memory: Memory, cuts: int) -> None:
        """Before a new life. `cuts`: so many have led to it."""
        self.memory = memory
        self.cuts = cuts
        self.recovering = cuts > 0
        # Has boot.py begun since the power came?
        self.runs = False
        self.phase = "first boot"
        self.boots: list[int] = []
        self.resumed = False
        self.errors: list[str] = []
        self.cycles = 0

    def run(self, cause: str = "power") -> None:
        """To rest, or raise Bad. A PowerCut that somebody ordered passes through."""
        for _ in range(MOST):
            if self.rest and self.rest(cause, self.memory):
                return
            after = self._session(cause)
            if after is None:
                self.oracle.after()
                if not self.memory.lost:
                    self._end()
                return
            cause = after
            self.recovering = False
            self.oracle.after()
        raise Bad("rest", f"no rest after {MOST} power-ons; images that ran: {self.boots}; {self.errors[-3:]}")

    def _session(self, cause: str) -> str | None:
        """One power-on to the next: why it comes, None at rest."""
        self.runs = False
        try:
            i = self._begin(cause)
            return None if i is None else self._main(i)
        except Reset:
            return "reset"
        except Abort as e:
            raise Bad("abort", str(e)) from e
        except (PowerCut, Bad):
            raise
        except Violation as e:
            raise Bad("nor", str(e)) from e

    def _begin(self, cause: str) -> int | None:
        """Through the loader and boot.py: the image that runs, None where nothing starts."""
        if not self.rig.power_on(cause):
            self.oracle.no_boot()
            return None
        i = self.oracle.started(self.memory.confirmed)
        self.boots.append(i)
        self._boot()
        return i

    def _end(self) -> None:
        """At rest."""
        self.oracle.end()

    def _boot(self) -> None:
        """boot.py."""
        self.runs = True
        try:
            shim.boot(self.rig.board)
        except Exception as e:
            raise Bad("shim", f"boot.py raised, so main.py does not run: {e!r}") from e
        noted: Any = shim.error
        if noted is not None:
            self.errors.append(f"shim: {noted!r}")
            if not (self._forgives and isinstance(noted, OtaError | OSError)):
                raise Bad("shim", repr(noted))

    @property
    def watched(self) -> bool:
        """May the watchdog of a trial reset the chip here?"""
        return self.runs and self.phase in WATCHED

    @property
    def _forgives(self) -> bool:
        return self.oracle.soft or self.oracle.patient

    def _main(self, i: int) -> str | None:
        """main.py, which an exception ends; then the board waits at its prompt for somebody to switch it on again."""
        try:
            return self._application(self.rig.board(), i)
        except (OtaError, OSError) as e:
            self.errors.append(f"main.py: {e!r}")
            if not self._forgives:
                raise Bad("crash", repr(e)) from e
            return "power"
        except (Violation, Bad):
            raise
        except Exception as e:
            raise Bad("crash", repr(e)) from e

    def _application(self, board: Any, i: int) -> str | None:
        trial = board.layout.on_trial()
        verdict = self.rig.scenario.verdict if i == 1 else "healthy"
        if verdict != "healthy":
            self._bad_runs(board.layout, trial, i)
            if verdict == "hangs":
                excused = self.oracle.soft or (self.memory.lost and not self.copies)
                if board._dog is None and not excused:
                    raise Bad("watchdog", "an image that hangs on its trial is not watched")
                if excused and (board._dog is None or set(self.oracle.whole()) == {i}):
                    # It hangs, and there is no other.
                    return None
                self._enter("leave")
                return "watchdog"
        return self._steps(board, i, verdict)

    def _bad_runs(self, layout: Any, trial: Any, i: int) -> None:
        if self.memory.lost:
            return
        if trial is None and not self.rig.retreats:
            # It stays, for there is no other, and must not pass for good.
            if layout.version() is not None:
                raise Bad("confirmed", f"image {i} is not healthy, and its version counts as confirmed")
            if layout.failure() is None and not self.oracle.soft:
                raise Bad("confirmed", f"image {i} is not healthy, runs without a trial, and was not given up")
            return
        if trial is None and not self.oracle.soft:
            raise Bad("confirmed", f"image {i} is not healthy, and runs without a trial")
        self.memory = replace(self.memory, tries=self.memory.tries + 1)
        # A count that could not be written is one that was not counted.
        most = self.rig.trials + self.memory.blurred + self.oracle.patient
        if self.memory.tries > most and not self.oracle.soft:
            raise Bad("trials", f"a bad image runs for the {self.memory.tries}th time, it has {self.rig.trials} trials")

    def _given_up(self, error: object, i: int) -> None:
        """A cut or a watchdog's reset costs a trial at most, so a healthy image outlives as many as it has, but one."""
        healthy = i != 1 or self.rig.scenario.verdict == "healthy"
        excused = self._forgives or self.memory.lost or self.memory.blurred
        if healthy and self.cuts < self.rig.trials and not excused:
            text = f"image {i} is healthy, has {self.rig.trials} trials, and is given up after {self.cuts} cuts"
            raise Bad("given up", f"{text}: {error!r}")

    def _enter(self, phase: str) -> None:
        self.phase = phase
        if phase != "first boot":
            self.recovering = False

    def _link(self, i: int, verdict: str) -> Offer:
        link = Offer(None)
        if verdict != "no-link":
            self._offer(i, link)
        return link

    def _health(self, verdict: str) -> Any:
        """The application's health(); None where it has none."""
        return HEALTH.get(verdict)

    def _steps(self, board: Any, i: int, verdict: str) -> str | None:
        link = self._link(i, verdict)
        agent = Agent(board, [link], board.keys(), self._health(verdict))
        polls = 0
        for _ in range(STEPS):
            on_trial = agent.trial is not None
            state = self._step(agent, link)
            if state == "reset":
                self.phase = "leave" if on_trial else "first boot"
                return "reset"
            if on_trial and agent.trial is None:
                self.memory = replace(self.memory, confirmed=max(i, self.memory.confirmed), tries=0)
                # The next update begins with the next power-on, a point where many lives meet.
                return "power"
            if state == "busy":
                continue
            release = self.memory.release
            if self._rests(agent, i, link):
                return None
            # After one that was given up the next one has its own polls.
            polls = polls + 1 if self.memory.release == release else 0
            if polls > POLLS:
                return self._patience(agent.error, i)
            # A link that fails is not asked again at once: every other look finds only the time that went by.
            board.ms += POLL_MS + 1 if polls % 2 else 1
        raise Bad("progress", f"{STEPS} steps without a reset: {self.errors[-2:]}")

    def _step(self, agent: Any, link: Offer) -> str:
        """The agent's next turn: what it answers."""
        self._phase_of(agent, agent.trial is not None)
        before = agent.progress
        state: str = agent.step()
        self.resumed = self.resumed or any(at > 400 for at in link.opened)
        if state == "busy":
            # To ask and to read a header is still the way back to where the power went.
            self.recovering = self.recovering and agent.progress == before
        return state

    def _patience(self, error: object, i: int) -> str | None:
        """The device says what is wrong, by name. Somebody switches it off and on; if the flash is worn, that is it."""
        if not (self._forgives and isinstance(error, OtaError | OSError)):
            raise Bad("progress", f"image {i} is offered an update and says: {self.errors[-2:]}")
        self.cycles += 1
        if self.cycles <= CYCLES:
            return "power"
        if self.oracle.soft:
            return None
        raise Bad("progress", f"{CYCLES} power cycles did not help: {self.errors[-2:]}")

    def _phase_of(self, agent: Any, on_trial: bool) -> None:
        if on_trial:
            self._enter("verdict")
        elif agent.job and 0 < agent.progress[0] == agent.progress[1]:
            self._enter("arm")
        else:
            self.phase = "fetch"

    def _offer(self, i: int, link: Offer) -> None:
        """The publisher offers what comes after the image that runs, and never again what was given up."""
        if i + 1 > self.memory.release and i + 1 < len(self.rig.images):
            self.memory = replace(self.memory, release=i + 1)
        link.data, link.spare = self.rig.package(self.memory.release), self.rig.spare(self.memory.release)

    def _rests(self, agent: Any, i: int, link: Offer) -> bool:
        """Is there nothing more to come? Else see to it that the next poll finds something."""
        error = agent.error
        if error is not None:
            self.errors.append(repr(error))
        if isinstance(error, Corrupt | FlashError) and not self._forgives:
            raise Bad("error", f"the flash is good and the release is whole, and the device says: {error!r}")
        last = len(self.rig.images) - 1
        if i == last and isinstance(error, UpToDate):
            if not self.rig.retreats and agent.board.layout.version() is None and not self._forgives:
                raise Bad("confirmed", f"image {i} runs, and the device does not know which one that is")
            return True
        if getattr(error, "code", "") == "failed":
            self._given_up(error, min(self.memory.release, last))
            # The publisher hears of it, once, and offers another release.
            agent.error = None
            self.memory = replace(self.memory, release=self.memory.release + 1)
            self._offer(i, link)
            # A loader whose flash is worn gives up one release after the other, and says so.
            return self.oracle.soft and self.memory.release > last + CYCLES
        return False
