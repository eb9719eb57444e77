"""A mark in a register that every hardware reset clears and no soft reset touches; the port's table says which.

It tells a soft reset where reset_cause() keeps the answer of the reset before it, and that a watchdog goes on.
"""


def hold(place, more):
    """What was marked before, and mark `more`: 1, a run has begun; 2, the watchdog was started. None: it cannot."""
    import machine

    at, run, dog = place
    try:
        had = machine.mem32[at]
        machine.mem32[at] = had | (run if more == 1 else dog)
    except (AttributeError, LookupError):
        # A build without it.
        return None
    return (had & run == run) + 2 * (had & dog == dog)
