"""When a board starts without its application, the rescue; and whether releases bring mpota itself.

A rescue begins when a pin is held, a file says so, or the application failed in three starts in a row. The shim asks
before it lets a release's own copy of mpota run, and runner.py before it lets the application.
"""

import os

FILE = "rescue"
STARTS = 3


def exists(path):
    """Is there a file or a folder of this name?"""
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def words(boots):
    """The reason in a record `boots`, as text; the journal may have cut it inside a character."""
    return repr(boots[1:])[2:-1]


def wanted(board, more=0):
    """Why this board shall start without its application, or None. The same answer however often it is asked.

    `more`: so many failed starts are not in the journal yet.
    """
    if board.layout.on_trial():
        # Only the application can judge a version on trial, and a trial ends by its own rules.
        return None
    if board.held():
        return "the pin is held"
    if exists(board.home + "/" + FILE):
        return "there is a file " + FILE
    boots = board.journal.last("boots") or b"\0"
    n = boots[0] + more
    # After a power-on try the application again: a person who switched the board off and on expects it.
    if n >= STARTS and board.cause() != "power":
        return "%d starts failed: %s" % (n, words(boots))
    return None


def renewed(board):
    """Has the release that runs, or the one before it, a copy of mpota? Then mpota is on trial with it."""
    return exists(board.root + "/1/mpota") or exists(board.root + "/2/mpota")
