"""Retry-After of an answer: seconds, or a date to be held against the server's own; RFC 9110, section 10.2.3."""

import time

from micropython import const

from mpota.link.connection import YEAR

_MOST_S = const(86400)  # a server that says more is asked again after a day
_MONTHS = const("JanFebMarAprMayJunJulAugSepOctNovDec")


def wait_ms(after, date, now=None):
    """Milliseconds that an answer asks for, by its fields Retry-After and Date (None: it has none); 0 for nonsense.

    `now` stands for the board's clock.
    """
    try:
        if after.isdigit():
            s = int(after)
        else:
            now = now or time.gmtime()
            if not date and now[0] < YEAR:
                return 0
            s = _seconds(after.decode()) - (_seconds(date.decode()) if date else _since_1970(*now[:6]))
    except (ValueError, IndexError):
        return 0
    return max(0, min(s, _MOST_S)) * 1000


def _seconds(text):
    """Seconds from a date such as "Sun, 06 Nov 1994 08:49:37 GMT"."""
    _, day, month, year, clock, _ = text.split()
    hour, minute, second = clock.split(":")
    return _since_1970(int(year), _MONTHS.index(month) // 3 + 1, *map(int, (day, hour, minute, second)))


def _since_1970(*date):
    year, month, day, hour, minute, second = date
    # Years from March on, so that the leap day is the last.
    year -= month < 3
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day
    return (days - 719469) * 86400 + hour * 3600 + minute * 60 + second
