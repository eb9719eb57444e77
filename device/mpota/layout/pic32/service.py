"""The vendor's update service: asks a manifest, brings the best image into the store, and makes the loader choose it.

`step()` is one bounded step; it answers "idle", "busy", "trial", or "reset" when the board has to be reset now.
Events and control messages have the vendor's numbers. `fetch(url)` gives a Source, or the steps to one as Web.asking
does. What becomes of an image is the layout's: this is one more front door to it.
"""

from mpota.layout.pic32.download import Download
from mpota.layout.pic32.events import (
    CHECK,
    CHECK_FAILED,
    FACTORY_RESET,
    FACTORY_RESET_SUCCESS,
    FAILURE,
    IDLE,
    INITIATE,
    REGISTER,
    RESET,
    ROLLBACK,
    ROLLBACK_SUCCESS,
    SUCCESS,
    TRIGGER_FAILED,
    WAITING_FOR_TIME,
)
from mpota.layout.pic32.link import manifest
from mpota_boot.errors import OtaError, Refused

TRIAL_MS = 600000


class Service(Download):
    """`self_test()` judges an image on trial: True confirms, False goes back, None is not yet."""

    def control(self, message, given=None):
        """A control message; SUCCESS, or FAILURE where it cannot be done now."""
        if message == REGISTER:
            self.callback = given
            return SUCCESS
        if self.job or self.trial or message not in (CHECK, INITIATE, RESET, FACTORY_RESET, ROLLBACK):
            return FAILURE
        if message == CHECK:
            # Whoever asks by hand may have mended what failed.
            self.failed = []
        return (self._check_now, self._initiate, self._reset, self._factory, self._back)[message - 1]()

    def look(self):
        """A check that somebody far away asks for, any number of times: what failed is not fetched again for it."""
        return FAILURE if self.job or self.trial else self._check_now()

    def set_parameters(self, url, number, digest, signature=""):
        """An image without a manifest: INITIATE takes it next."""
        self.offered({"Version": number, "URL": url, "Digest": digest, "Signature": signature})

    def offered(self, fields):
        """The same as an entry of a manifest."""
        found = manifest.Manifest([fields])
        if found.offer is None:
            raise Refused("manifest", (found.wrong + ["it names no image"])[0])
        self.offer = found.offer

    @property
    def status(self):
        """The vendor's SYS_OTA_STATUS: the last event while something is done, else what is waited for."""
        if self.job:
            return self.said
        return WAITING_FOR_TIME if self.period_ms and not self.done else IDLE

    def step(self):
        """One bounded step."""
        self.board.feed()
        if self.trial:
            return self._judge()
        if self.reset:
            return "reset"
        if self.job is None:
            if not self.period_ms or self.done or not (self.ask or self.board.since(self.due) >= self.period_ms):
                return "idle"
            self._check_now()
        try:
            next(self.job)  # type: ignore[arg-type]
            return "busy"
        except StopIteration:
            pass
        except Exception as e:
            # A port above 2**30 is an OverflowError, and memory can be short: the next look may fare better.
            self._fail(CHECK_FAILED, e)
        self.job = None
        self.ask = False
        self.due = self.board.ticks_ms()
        return "reset" if self.reset else "idle"

    # What control messages do.

    def _check_now(self):
        self.job = self._check()
        return SUCCESS

    def _initiate(self):
        if self.offer is None:
            self._tell(TRIGGER_FAILED)
            return FAILURE
        self.job = self._update(self.offer)
        return SUCCESS

    def _reset(self):
        self.reset = self.done
        return SUCCESS if self.done else FAILURE

    def _factory(self):
        return self._leave(self.layout.factory_reset, FACTORY_RESET_SUCCESS)

    def _back(self):
        return self._leave(lambda: self.layout.rollback("rollback"), ROLLBACK_SUCCESS)

    def _leave(self, call, event):
        try:
            call()
        except (OSError, OtaError) as e:
            self._fail(event + 1, e)
            return FAILURE
        self.done = True
        self._tell(event)
        return SUCCESS

    # What step() goes through.

    def _judge(self):
        try:
            verdict, why = self.self_test(), "self-test"
        except Exception as e:
            verdict, why = False, repr(e)
        if verdict is None:
            if self.board.since(self.began) < self.board.setting("trial_ms", TRIAL_MS, 432000000):
                return "trial"
            why = "no verdict"
        try:
            if verdict:
                self.layout.confirm()
            else:
                self.layout.retreat(why)
        except (OSError, OtaError) as e:
            # The trial goes on until it is written.
            self.error = e
            return "trial"
        self.trial = None
        if not verdict:
            self.reset = True
            return "reset"
        try:
            self.layout.tidy()
        except OtaError as e:
            self.error = e
        self.board.relax()
        return "idle"
