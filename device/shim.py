"""What boot.py calls at every boot. It never raises, for main.py runs only after a boot.py that raised nothing.

An ordinary boot reads the journal and writes nothing. On a trial the boot is counted first, then the watchdog is
started, so that an image that hangs in main.py's first line is reset and retreats.
"""

from device.store.journal import trial

# What went wrong at this boot, None if nothing did; `status` shows it.
error = None


def boot(make):
    """`make()` gives the Board. Settles an update that is armed; may reset the board instead of returning."""
    global error
    error = None
    try:
        board = make()
        if trial(board.journal):
            _settle(board)
    except Exception as e:
        error = e


def _settle(board):
    cause = board.cause()
    try:
        if cause and board.layout.settle(cause):
            board.reset()
    finally:
        if board.layout.on_trial():
            board.watch()
