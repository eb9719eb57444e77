"""Why the last attempt brought no update: when, what was asked, code, sentence, and how often in a row.

It is kept in this module for the run, and in the memory `mpota_tried` when it changes, for after a reset. An attempt
that ends well forgets it. What was asked comes without user, password and query.
"""

import sys

from mpota_boot.errors import LinkError, NotNow

# [ticks_ms() of the end, what was asked, code, sentence, times in a row] of this run.
last = None
# The failure that could not be reported, since no link was up: a sentence, or "".
unheard = ""
# May the memory know of one before?
kept = True


def begin():
    """Another run, or another agent."""
    global last, kept, unheard
    last = None
    kept = True
    unheard = ""


def failed(board, link, error):
    """An attempt over `link` ended with `error`."""
    global last, unheard
    asked = link.asked() if hasattr(link, "asked") else ""
    code = getattr(error, "code", type(error).__name__)
    said = [asked, code, str(error)]
    n = last[4] if last and last[1:4] == said else 0
    last = [board.ticks_ms()] + said + [n + 1]
    if isinstance(error, LinkError):
        unheard = "before: " + words()[7:]
    # NotNow is not kept: after a reset it is out of date.
    if not n and not isinstance(error, NotNow):
        memory = board.memory("mpota_tried")
        _keep(memory, "asked", asked.encode())
        _keep(memory, "said", ("%s %s" % (code, said[2])).encode())


def passed(board):
    """An attempt ended well."""
    global last, kept
    if last or kept:
        last = None
        kept = False
        memory = board.memory("mpota_tried")
        _keep(memory, "said", b"")
        _keep(memory, "asked", b"")


def _keep(memory, tag, data):
    if (memory.last(tag) or b"") != data[:128]:
        memory.put(tag, data[:128])


def say():
    """A line of the console."""
    if last:
        sys.stderr.write(words() + "\n")


def words():
    """The line's words."""
    _, asked, code, text, n = last  # type: ignore[misc]  # asked after a failure
    return "mpota: %s: %s%s" % (code, text, "" if n == 1 else " (%d times in a row)" % n) + (
        "" if not asked or asked in text else ", asked " + asked
    )


def facts(board):
    """A dict for `status`, or None: `seconds` ago and `count` are None for what was before the last reset."""
    if last:
        at, asked, code, text, n = last
        return {"seconds": board.since(at) // 1000, "asked": asked, "code": code, "text": text, "count": n}
    memory = board.memory("mpota_tried")
    said = memory.last("said")
    if not said:
        return None
    # The journal may have cut it inside a character.
    code, _, text = repr(said)[2:-1].partition(" ")
    asked = repr(memory.last("asked") or b"")[2:-1]
    return {"seconds": None, "asked": asked, "code": code, "text": text, "count": None}
