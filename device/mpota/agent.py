"""When: look for an offer, install it, ask for the reset, then confirm or retreat, and say so.

The one place that catches errors: each becomes a report and a time to try again. A success is reported after the
confirm, with the version that booted; never before. A link that can be asked in steps never holds up a step.
"""

from micropython import const

from mpota import tried
from mpota.installer import install
from mpota.pace import moment, pause
from mpota.stream import opened
from mpota.version import text
from mpota_boot.errors import LinkError, NotNow, Refused, UpToDate
from mpota_boot.rescue import renewed

_POLL_MS = const(600000)
_TRIAL_MS = const(600000)
# Packages of one version that are tried after another: a manifest of 4096 bytes has no more.
_OFFERS = const(32)
# A trial's time is kept in tenths, over all its starts: ten writes at most, and none outside a trial.
_PARTS = const(10)
# Half of the 12.4 days after which ticks_ms() wraps on 30 bits, less some: longer waits cannot be measured.
_MOST_MS = const(432000000)
# layout.awake() counts in units of this time.
_AWAKE_MS = const(360000)
# On a trial a link is asked at least ten times, and after a failure not before this.
_TRIAL_ASK_MS = const(5000)


class Agent:
    """`links` are asked in turn. `health()` judges an image on trial: True confirms, False retreats, None is not yet.

    Without a `health`, an image is good as soon as a link has answered it. One that raises has judged: False.
    Where the release on trial, or the one before it, brought its own copy of mpota, a link has to answer as well: the
    next release comes by what runs now. Without links health() alone decides.
    """

    def __init__(self, board, links, keys, health=None):
        self.board = board
        self.links = links
        self.keys = keys
        self.health = health
        self.trial = board.layout.on_trial()
        # Is mpota itself on trial?
        self.renewed = self.trial and links and renewed(board)
        self.began = self.due = self.counted = board.ticks_ms()
        self.wait_ms = self.turn = self.refusals = self.failures = 0
        self.job = self.telling = self.error = self.said = self.fault = None
        self.progress = (0, 0)
        self.answered = False
        tried.begin()
        self.spent = self.kept = self._used()[1] if self.trial else 0
        # A start that ended while a link was asked has left a mark; a hang of this one is its own.
        self.asking = board.journal.last("doing") == b"link"
        self._ask(False)
        cause = board.cause()
        if cause not in ("", "wake"):
            board.layout.heal()
        if cause not in ("", "power") and not self.trial:
            # Count a reset like a wake, since some ports cannot tell them apart. A power-on writes nothing.
            self._awake(1)
        spread_ms = board.setting("spread_ms", 0, _MOST_MS)
        if spread_ms and cause == "power" and not self.trial:
            # All boards of a house start at once when the power comes back.
            self.wait_ms = moment(board.id(), spread_ms)

    def step(self):
        """One bounded step. Returns "idle", "busy", "trial", or "reset": the board has to be reset now."""
        self.board.feed()
        try:
            if self.telling:
                return self._told()
            return self._judge() if self.trial else self._update()
        except Exception as e:
            return self._note(e)

    def failed(self, error):
        """The application died of `error`. On a trial that is a verdict: retreat. Returns True when a reset is due."""
        if not self.trial:
            return False
        self.board.layout.retreat(repr(error))
        return True

    def _awake(self, n):
        self.counted = self.board.ticks_ms()
        try:
            self.board.layout.awake(n)
        except Exception as e:
            self.error = e

    def _update(self):
        if self.job is None:
            n = self.board.since(self.counted) // _AWAKE_MS
            if n:
                self._awake(n)
            if not self.links or self.board.since(self.due) < self.wait_ms:
                return "idle"
            why = self._later()
            if why:
                raise NotNow("later", str(why))
            self.job = install(self.board, self.links[self.turn], self.keys)
        try:
            self.progress = next(self.job) or self.progress
            return "busy"
        except StopIteration as e:
            package = e.value
        self._next()
        if package is None:
            return "idle"
        return self._report("armed", "version %s waits for the reset" % text(package.version), "reset")

    def _later(self):
        """A sentence of the owner's Board.later() that says why no update may begin now. One that raises says none."""
        try:
            return getattr(self.board, "later", bool)()
        except Exception as e:
            self.error = e

    def _judge(self):
        try:
            heard = self._asked() if self.renewed or not self.health else True
            verdict, why = (not self.health or self.health()) and heard, "unhealthy"
        except Exception as e:
            verdict, why = False, repr(e)
        layout = self.board.layout
        if verdict:
            layout.confirm()
            version = text(self.trial.version)
            self.trial = self.job = None
            self.board.relax()
            return self._report("confirmed", "version %s runs" % version, "idle")
        if verdict is None:
            if not self._late():
                return "trial"
            why = self.fault or "no-link"
        layout.retreat(why)
        return "reset"

    def _late(self):
        """Is the time over in which a trial has to come to an end? That of its starts before this one counts."""
        spent = self.spent + self.board.since(self.began) // self._part_ms()
        if self.trial and self.kept < spent < _PARTS:
            self.kept = spent
            self.board.layout.keep("wakes", bytes((self._used()[0], spent)))
        return spent >= _PARTS

    def _used(self):
        """Wakes of the trial, and tenths of its time that its starts have used."""
        return (self.board.journal.last("wakes") or b"") + b"\0\0"

    def _part_ms(self):
        return max(self.board.setting("trial_ms", _TRIAL_MS, _MOST_MS) // _PARTS, 1)

    def _next(self, error=None):
        """The job is over: the next link's turn, as often as the settings say, or less and less after errors."""
        self.job = None
        self._ask(False)
        self._tried(error)
        self.refusals = 0
        self.turn = (self.turn + 1) % (len(self.links) or 1)
        self.due = self.board.ticks_ms()
        self.wait_ms = poll_ms = self.board.setting("poll_ms", _POLL_MS, _MOST_MS)
        if not isinstance(error, LinkError):
            self.failures = 0
            return
        self.failures += 1
        if self.trial:
            poll_ms = min(poll_ms, max(self._part_ms(), _TRIAL_ASK_MS))
        # Boards that fail together come back apart: the moment to the millisecond is chance enough.
        wait_ms = pause(self.failures, poll_ms, moment(b"%d" % self.due, 256))
        # A server may say when to come back.
        self.wait_ms = min(max(wait_ms, getattr(error, "after_ms", 0)), _MOST_MS)

    def _tried(self, error):
        """Keep why there is no update. A failure to keep it goes into `error` alone."""
        try:
            if error is None or isinstance(error, UpToDate):
                tried.passed(self.board)
            elif self.links:
                tried.failed(self.board, self.links[self.turn], error)
        except Exception as e:
            self.error = e

    def hurry(self):
        """The network has come: a link that was not asked for want of it is asked soon, at this board's own moment."""
        if self.failures and not self.job and getattr(self.error, "code", "") == "network":
            spread_ms = 0 if self.trial else self.board.setting("spread_ms", 0, _MOST_MS)
            self.due = self.board.ticks_ms()
            chance = moment(b"%d" % self.due, 256)
            soon_ms = moment(self.board.id(), spread_ms) if spread_ms else pause(1, _POLL_MS, chance)
            self.wait_ms = min(self.wait_ms, soon_ms)
            self.failures = 0

    def _note(self, error):
        code = getattr(error, "code", type(error).__name__)
        # A larger package may fit: a delta needs more memory than a full package. Or an older one has to come first.
        again = isinstance(error, (Refused, MemoryError)) and not self.trial and self.refusals < _OFFERS
        if again and self.links[self.turn].other(code):
            # Ask again at once: the poll that was due has not ended.
            self.job = None
            self.refusals += 1
            return "busy"
        self._next(error)
        self.error = error
        # If the trial cannot be ended here, reset and let the boot code end it. If the last reset did not help, do not
        # ask for another.
        stuck = isinstance(error, NotNow) and code == "trial" and self.board.cause() not in ("reset", "unknown")
        then = "trial" if self.trial else "idle"
        if (self.trial or stuck) and self._late():
            then = "reset"
        said = code, str(error)
        if said == self.said or isinstance(error, (UpToDate, LinkError)):
            return then
        self.said = said
        return self._report(code, said[1], then)

    def _report(self, code, words, then):
        """Tell the links, in steps; after them step() returns `then`."""
        if tried.unheard:
            # An earlier failure that no link could report goes along.
            words, tried.unheard = "%s; %s" % (words, tried.unheard), ""
        self.telling = self._tell(code, words, then)
        return self._told()

    def _told(self):
        try:
            next(self.telling)  # type: ignore[arg-type]
        except StopIteration as e:
            self.telling = None
            return e.value
        return "trial" if self.trial else "busy"

    def _tell(self, code, words, then):
        for link in self.links:
            try:
                if hasattr(link, "reporting"):
                    yield from link.reporting(code, words)
                else:
                    link.report(code, words)
            except Exception as e:
                # The report is lost; the outcome that it tells stays as it is.
                self.error = e
        return then

    def _ask(self, asking):
        """On a trial the journal knows whether a link is being asked: a start that ends there has judged nothing."""
        if self.trial and asking != self.asking:
            self.asking = asking
            self.board.layout.keep("doing", b"link" if asking else b"")

    def _may_ask(self):
        if not self._late():
            return self.board.since(self.due) >= self.wait_ms
        # An application may have kept its agent from the first turn. A link that waits still answers in this step.
        return not self.failures and not hasattr(self.links[self.turn], "opening")

    def _asked(self):
        """Has a link answered? Asks one of them at a time; a host at the console confirms by itself."""
        if not self.job and self.links and self._may_ask():
            self.job = opened(self.links[self.turn])
            self._ask(True)
        if self.job:
            try:
                next(self.job)
            except StopIteration as e:
                self.answered = True
                self._next()
                if e.value:
                    e.value.close()
            except Exception as e:
                # A fault of the link is no verdict on this image; it is one on an mpota that cannot read what came.
                if self.renewed and getattr(e, "code", "manifest") == "manifest":
                    self.fault = "updater: %r" % e
                self._next(e if isinstance(e, LinkError) else LinkError("link", repr(e)))
        return self.answered or None
