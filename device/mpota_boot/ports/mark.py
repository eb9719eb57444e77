"""A mark in a register that every hardware reset clears and no soft reset touches; the port's table says which.

It tells a soft reset where reset_cause() keeps the answer of the reset before it, and that a watchdog goes on.
"""


def hold(place, more):
    """Add the mark `more`, 1: a run has begun, 2: the watchdog runs. Returns the sum of those before, or None."""
    import machine

    at, run, dog = place
    try:
        had = machine.mem32[at]
        machine.mem32[at] = had | (run if more == 1 else dog)
    except (AttributeError, LookupError):
        # A build without mem32, or without this register.
        return None
    return (had & run == run) + 2 * (had & dog == dog)


def begin(board):
    """At the first Board of a run: why it began, in a word; and may a watchdog run that was started before?"""
    had = hold(board._port.MARK, 1)
    if had is None:
        import machine

        # Power-on is 1 on every port.
        return "power" if machine.reset_cause() == 1 else "unknown", True
    return "" if had else board.cause(), had == 3
