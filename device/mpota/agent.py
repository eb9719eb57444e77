"""When: look for an offer, install it, ask for the reset, then confirm or retreat, and say so.

The one place that catches errors: each becomes a report and a time to try again. A success is reported after the
confirm, with the version that booted; never before.
"""

from micropython import const

from mpota.installer import install
from mpota.version import text
from mpota_boot.errors import LinkError, NotNow, Refused, UpToDate

_ASK_MS = const(5000)
_POLL_MS = const(600000)
_TRIAL_MS = const(600000)
# Packages of one version that are tried after another: a manifest of 4096 bytes has no more.
_OFFERS = const(32)
# A trial's time is kept in tenths, over all its starts: ten writes at most, and none outside a trial.
_PARTS = const(10)
# Six days is what a MicroPython clock can tell apart.
_MOST_MS = const(432000000)


class Agent:
    """`links` are asked in turn. `health()` judges an image on trial: True confirms, False retreats, None is not yet.

    Without a `health`, an image is good as soon as a link has answered it. One that raises has judged: False.
    """

    # What a step may take while the application waits for its start; 0 where it does not.
    step_ms = 0

    def __init__(self, board, links, keys, health=None):
        self.board = board
        self.links = links
        self.keys = keys
        self.health = health or self._asked
        self.trial = board.layout.on_trial()
        self.began = self.due = self.now = board.ticks_ms()
        self.wait_ms = self.turn = self.refusals = 0
        self.job = self.error = self.said = None
        self.progress = (0, 0)
        self.answered = False
        self.spent = self.kept = self._told()[1] if self.trial else 0
        for link in links:
            link.time_left = self.left
        if board.cause() not in ("", "wake"):
            board.layout.heal()

    def left(self):
        """Milliseconds that a link may still hold up this step."""
        if self.trial:
            return (_PARTS - self.spent) * self._part_ms() - self.board.since(self.began)
        return self.step_ms - self.board.since(self.now) if self.step_ms else _MOST_MS

    def step(self):
        """One bounded step. Returns "idle", "busy", "trial", or "reset": the board has to be reset now."""
        self.board.feed()
        self.now = self.board.ticks_ms()
        try:
            return self._judge() if self.trial else self._update()
        except Exception as e:
            return self._note(e)

    def failed(self, error):
        """The application died of `error`. On a trial that is a verdict: retreat. Returns True when a reset is due."""
        if not self.trial:
            return False
        self.board.layout.retreat(repr(error))
        return True

    def _update(self):
        if self.job is None:
            if not self.links or self.board.since(self.due) < self.wait_ms:
                return "idle"
            self.job = install(self.board, self.links[self.turn], self.keys)
        try:
            self.progress = next(self.job)
            return "busy"
        except StopIteration as e:
            package = e.value
        self._next()
        if package is None:
            return "idle"
        self._report("armed", "version %s waits for the reset" % text(package.version))
        return "reset"

    def _judge(self):
        try:
            verdict, why = self.health(), "unhealthy"
        except Exception as e:
            verdict, why = False, repr(e)
        layout = self.board.layout
        if verdict:
            layout.confirm()
            version = text(self.trial.version)
            self.trial = None
            self.board.relax()
            self._report("confirmed", "version %s runs" % version)
            return "idle"
        if verdict is None:
            if not self._late():
                return "trial"
            why = "no-link"
        layout.retreat(why)
        return "reset"

    def _late(self):
        """Is the time over in which a trial has to come to an end? That of its starts before this one counts."""
        spent = self.spent + self.board.since(self.began) // self._part_ms()
        if self.trial and self.kept < spent < _PARTS:
            self.kept = spent
            self.board.layout.keep("wakes", bytes((self._told()[0], spent)))
        return spent >= _PARTS

    def _told(self):
        """Wakes of the trial, and tenths of its time that its starts have used."""
        return (self.board.journal.last("wakes") or b"") + b"\0\0"

    def _part_ms(self):
        return max(self.board.setting("trial_ms", _TRIAL_MS, _MOST_MS) // _PARTS, 1)

    def _next(self, wait_ms=0):
        """The job is over: the next link's turn, in `wait_ms` or as often as the settings say."""
        self.job = None
        self.refusals = 0
        self.turn = (self.turn + 1) % (len(self.links) or 1)
        self.due = self.board.ticks_ms()
        self.wait_ms = wait_ms or self.board.setting("poll_ms", _POLL_MS, _MOST_MS)

    def _note(self, error):
        code = getattr(error, "code", type(error).__name__)
        # A delta takes more memory than the whole.
        again = isinstance(error, (Refused, MemoryError)) and not self.trial and self.refusals < _OFFERS
        if again and self.links[self.turn].other():
            # It was due, so it still is.
            self.job = None
            self.refusals += 1
            return "busy"
        self._next(isinstance(error, LinkError) and _ASK_MS)
        self.error = error
        said = code, str(error)
        if said != self.said and not isinstance(error, (UpToDate, LinkError)):
            self.said = said
            self._report(*said)
        # A trial that cannot be ended here is ended by the next boot; what a reset did not end, another will not.
        stuck = isinstance(error, NotNow) and code == "trial" and self.board.cause() not in ("reset", "unknown")
        if (self.trial or stuck) and self._late():
            return "reset"
        return "trial" if self.trial else "idle"

    def _report(self, code, words):
        self.now = self.board.ticks_ms()
        for link in self.links:
            try:
                link.report(code, words)
            except Exception as e:
                # Nobody heard it; what happened has happened all the same.
                self.error = e

    def _asked(self):
        """Has a link answered? Asks one of them every few seconds; a host at the console confirms by itself."""
        if self.links and self.board.since(self.due) >= self.wait_ms:
            link = self.links[self.turn]
            self._next(_ASK_MS)
            try:
                src = link.open()
            except Exception:
                # Whatever is wrong with a link says nothing about this image.
                return None
            self.answered = True
            if src:
                src.close()
        return self.answered or None
