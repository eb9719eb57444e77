"""The last deadline: where a test's own one (pytest-timeout) does not end it, the run ends, with every thread's stack.

That one interrupts a test by an exception. A fixture that hangs while it cleans up behind it, or a thread that the
interpreter waits for at its end, is not interrupted by anything.
"""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator

import pytest

# For a test with its fixtures and its reruns; every own deadline is shorter.
TEST_S = 600
# For the interpreter to end behind the last test.
END_S = 60
# Signals by which somebody else ends a process.
STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


# The runs of this process that have begun and not ended: a test may start one in its own process.
_runs: list["Deadlines"] = []


class Deadlines:
    """A timer for each test. `end` ends the processes of the run and says which."""

    def __init__(self, end: Callable[[], list[str]]) -> None:
        self.end = end
        self.within = bool(_runs)
        _runs.append(self)
        # While a test runs its standard error is caught.
        self.err = os.dup(sys.__stderr__.fileno())
        for number in STOPS:
            # A worker that a signal ends would die without a word.
            faulthandler.register(number, self.err, chain=True)

    def timer(self, seconds: float, what: str) -> threading.Timer:
        timer = threading.Timer(seconds, self.over, (f"{what} did not end in {seconds} s: the run ends here",))
        timer.daemon = True
        timer.start()
        return timer

    def over(self, text: str) -> None:
        os.write(self.err, f"\n{text}\n".encode())
        faulthandler.dump_traceback(self.err)
        for line in self.end():
            os.write(self.err, f"ended: {line}\n".encode())
        os._exit(1)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        timer = self.timer(TEST_S, item.nodeid)
        try:
            return (yield)
        finally:
            timer.cancel()

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        _runs.remove(self)
        # Behind a run in a test the interpreter goes on; a worker waits for the others, and pytest-xdist ends it then.
        if not self.within and not hasattr(config, "workerinput"):
            self.timer(END_S, "the interpreter")
