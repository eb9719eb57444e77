"""What boot.py calls at every boot. It never raises, for main.py runs only after a boot.py that raised nothing.

An ordinary boot reads the journal and writes nothing. On a trial the boot is counted first, then the watchdog is
started, so that an image that hangs in main.py's first line is reset and retreats. Then the application's tree goes to
the front of sys.path. A release may bring a copy of mpota in its tree, never of this package: updater.py.
"""

import os
import sys

from mpota_boot.journal import tree, trial

# What a package may ask for: it grows when shim, journal or errors do what they did not.
NUMBER = 1
# Wakes from deep sleep that a trial may take. No bootloader counts them.
_WAKES = 50
# What went wrong at this boot, None if nothing did; `status` shows it.
error = None
# The folder of the application that runs, "" where no package brought it.
folder = ""
# Of the copy of mpota in that folder: True where it runs, else the error for which lib's does; None without one, and in
# a rescue.
own = None


def boot(make):
    """`make()` gives the Board. Settles an update that is armed; may reset the board instead of returning."""
    global error
    error = None
    try:
        board = make()
        try:
            if trial(board.journal):
                _settle(board)
        finally:
            # Also if settling failed: the agent would otherwise confirm an application that never started.
            _enter(board)
    except Exception as e:
        error = e


def _settle(board):
    cause = board.cause()
    layout = board.layout
    try:
        if board.journal.last("soft") and layout.keep("soft", b""):
            # A host said that its soft reset follows.
            cause = ""
        if cause == "wake":
            over = layout.woke(board.setting("trial_wakes", _WAKES, 255))
        else:
            over = cause and layout.settle(cause)
        if over:
            board.reset()
    finally:
        if layout.on_trial():
            board.watch()


def _enter(board):
    global folder, own
    n = tree(board.journal, lambda: board.layout.on_trial())
    folder = ""
    own = None
    if n:
        path = "%s/%d" % (board.root, n)
        with open(path + "/.mpota", "rb") as f:
            # A tree that is being freed has lost this magic; then the application at the root runs.
            if f.read(4) == b"MPFL":
                folder = path
        if folder:
            if "mpota" in os.listdir(path):
                from mpota_boot.updater import choose

                own = choose(board, path)
            sys.path.insert(0, path + "/lib")
            sys.path.insert(0, path)
