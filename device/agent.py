"""When: look for an offer, install it, ask for the reset, then confirm or retreat, and say so.

The one place that catches errors: each becomes a report and a time to try again. A success is reported after the
confirm, with the version that booted; never before.
"""

from device.errors import LinkError, NotNow, OtaError, UpToDate
from device.installer import install
from device.version import text

ASK_MS = 5000
POLL_MS = 600000
TRIAL_MS = 600000


class Agent:
    """`links` are asked in turn. `health()` judges an image on trial: True confirms, False retreats, None is not yet.

    Without a `health`, an image is good as soon as a link has answered it.
    """

    def __init__(self, board, links, keys, health=None):
        self.board = board
        self.links = links
        self.keys = keys
        self.health = health or self._asked
        self.trial = board.layout.on_trial()
        self.began = self.due = board.ticks_ms()
        self.wait_ms = 0
        self.turn = 0
        self.job = self.error = None
        self.progress = (0, 0)
        self.answered = False

    def step(self):
        """One bounded step. Returns "idle", "busy", "trial", or "reset": the board has to be reset now."""
        self.board.feed()
        try:
            return self._judge() if self.trial else self._update()
        except (OtaError, OSError, MemoryError) as e:
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
        self._next(self.board.settings.get("poll_ms", POLL_MS))
        if package is None:
            self._own_up()
            return "idle"
        self._report("armed", "version %s waits for the reset" % text(package.version))
        return "reset"

    def _judge(self):
        try:
            verdict, why = self.health(), "unhealthy"
        except (OtaError, OSError):
            raise
        except Exception as e:
            verdict, why = False, repr(e)
        layout = self.board.layout
        if verdict:
            layout.confirm()
            self.board.relax()
            version = text(self.trial.version)
            self.trial = None
            self._report("confirmed", "version %s runs" % version)
            return "idle"
        if verdict is None:
            if self.board.since(self.began) < self.board.settings.get("trial_ms", TRIAL_MS):
                return "trial"
            why = "no-link"
        layout.retreat(why)
        return "reset"

    def _next(self, wait_ms):
        """The job is over: the next link's turn, in `wait_ms`."""
        self.job = None
        self.turn = (self.turn + 1) % (len(self.links) or 1)
        self.due = self.board.ticks_ms()
        self.wait_ms = wait_ms

    def _note(self, error):
        code = getattr(error, "code", "memory" if isinstance(error, MemoryError) else "os")
        again = ASK_MS if isinstance(error, LinkError) else self.board.settings.get("poll_ms", POLL_MS)
        self._next(again)
        self.error = error
        if not isinstance(error, (UpToDate, LinkError)):
            self._report(code, str(error))
        # A trial that cannot be ended here is ended by the next boot.
        stuck = self.trial or (isinstance(error, NotNow) and error.code == "trial")
        if stuck and self.board.since(self.began) >= self.board.settings.get("trial_ms", TRIAL_MS):
            return "reset"
        return "trial" if self.trial else "idle"

    def _own_up(self):
        """Say once that an update was given up, and why, to a link that has answered."""
        failure = self.board.layout.failure()
        if failure is None:
            return
        record, why = failure
        key = record.encode()[:-1]
        if self.board.journal.last("told") != key:
            self._report("retreated", "version %s was given up: %s" % (text(record.version), why))
            self.board.journal.put("told", key)

    def _report(self, code, words):
        for link in self.links:
            link.report(code, words)

    def _asked(self):
        """Has a link answered? Asks one of them every few seconds; a host at the console confirms by itself."""
        if self.links and self.board.since(self.due) >= self.wait_ms:
            link = self.links[self.turn]
            self._next(ASK_MS)
            try:
                src = link.open()
            except LinkError:
                return None
            self.answered = True
            if src:
                src.close()
        return self.answered or None
