"""How often a link is asked, so that boards spare a server that is down or has just come back."""

from hashlib import sha256

from micropython import const

_FIRST_MS = const(5000)


def moment(name, spread_ms):
    """When a board asks first after power came back, in ms: its own moment of `spread_ms`, the same each time."""
    return int.from_bytes(sha256(name).digest()[:4], "big") % spread_ms if spread_ms else 0


def pause(failures, most_ms, chance):
    """How long to wait after so many failures in a row: 5 s, doubled up to `most_ms`; then half to three halves of it.

    `chance` is one of 0 to 255, another each time.
    """
    ms = min(_FIRST_MS << min(failures - 1, 20), most_ms)
    return ms // 2 + ms * chance // 255
