"""The watchdog: started for a trial and for a push, and what becomes of it afterwards, for it cannot be stopped.

An ordinary boot does not load this. There is one watchdog, so Board keeps it and its feeder for every Board of a run.
"""

from mpota_boot.board import Board

# A time that every port's watchdog accepts, and one so long that no person at the REPL is reset by it.
LEAST_MS, DAY_MS = 5000, 86400000
FEED_MS = 2000


def watch(board, ms):
    """Start the watchdog, or change its time to `ms`, 0: the setting `wdt_ms`; the port's limit. Returns the time."""
    from machine import WDT

    if Board._feeder:
        Board._feeder.deinit()
        Board._feeder = None
    ms = ms or board.setting("wdt_ms", 60000, 3600000)
    ms = min(ms, board._port.DOG_MS or ms)
    try:
        Board._dog = WDT(timeout=ms)
    except ValueError:
        ms = LEAST_MS
        Board._dog = WDT(timeout=ms)
    if board._port.MARK:
        from mpota_boot.ports.mark import hold

        hold(board._port.MARK, 2)
    return ms


def relax(board):
    """After a trial: give it the longest time. Where that is shorter than a day, a timer feeds it from now on."""
    if watch(board, board._port.DOG_MS or DAY_MS) >= DAY_MS:
        return
    from machine import Timer

    dog = Board._dog

    def feed(timer):
        dog.feed()  # type: ignore[attr-defined]  # None before a watchdog is there

    try:
        # In the interrupt: a call that waits in C does not hold it up.
        Board._feeder = Timer(-1, period=FEED_MS, callback=feed, hard=True)
    except TypeError:
        # Before MicroPython 1.27.
        Board._feeder = Timer(-1, period=FEED_MS, callback=feed)


def resume(board):
    """After a soft reset: feed the watchdog that the run before may have left."""
    try:
        relax(board)
    except Exception:
        # A build without a watchdog has left none running.
        Board._dog = None
