"""Why a board in one process starts, and how its run ends. Runs on both interpreters.

Reset and Abort are a BaseException, so that no `except Exception` of a program swallows the end of its run.
"""

# machine.reset_cause(), in the numbers of the ESP32's port.
PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5


class Reset(BaseException):
    """The chip goes through its loader now."""


class Abort(BaseException):
    """The chip's own code called abort()."""


class Dog:
    """machine.WDT: counts how often it was fed."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:
        self.timeout = timeout
        self.fed = 0

    def feed(self) -> None:
        self.fed += 1


class Machine:
    """Module `machine`."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = PWRON, HARD, WDT, DEEPSLEEP, SOFT
    WDT = Dog

    def __init__(self, cause: int) -> None:
        self.cause = cause

    def reset_cause(self) -> int:
        return self.cause

    def reset(self) -> None:
        raise Reset
