"""A port that mpota has no table for: what its names tell. What they cannot tell is "unknown".

"unknown" counts towards the end of a trial, and never towards a rescue.
"""

MARK = None
# The watchdog's limit is not known: dog.py tries the wanted time.
DOG_MS = 0


def cause(n):
    """Why this start, in a word, for a value of machine.reset_cause()."""
    import machine as m

    words = {"PWRON": "power", "WDT": "watchdog", "DEEPSLEEP": "wake", "SOFT": ""}
    # Not every port has every one of them.
    word = {getattr(m, key + "_RESET", key): words[key] for key in words}.get(n, "reset")
    if getattr(m, "HARD_RESET", 0) != 2:
        # machine.reset() has no number of its own, or a soft reset leaves the number before it.
        return word if word in ("power", "wake") else "unknown"
    # A soft reset that reads 0 reads like a reset that has set no flag.
    return word if word or m.SOFT_RESET else "unknown"
