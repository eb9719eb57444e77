"""Gives the agent and the application their turns, and keeps the agent alone going on the worst day: the rescue.

A rescue begins when a pin is held, a file says so, or the application failed in three starts in a row; and in the
middle of a run when the application raises. It takes a signed package and does nothing else. A start that a watchdog
ended or that raised is counted in the journal, `boots`; a minute without trouble forgets it. Before the application
gets its first turn the agent has one, so that an application that never gives it back can be replaced all the same.
"""

import os
import sys

from micropython import const

from mpota import tried
from mpota_boot import shim
from mpota_boot.rescue import STARTS, wanted

WELL_MS = 60000
_WINDOW_MS = const(1000)


def application():
    """The owner's module `app`: step() is its turn, health() its verdict on an update. None where there is no app.py.

    It lies in its tree, which becomes the current folder, or at the root.
    """
    if shim.folder:
        os.chdir(shim.folder)
    try:
        import app
    except ImportError as e:
        if "'app'" not in str(e):
            raise
        return None
    return app


class Runner:
    """`application()` gives the application's module, or None where there is none. `why`: the reason of a rescue.

    `net`: the board's network, which has a step in each turn.
    """

    def __init__(self, board, agent, application, net=None):
        self.board = board
        self.agent = agent
        self.net = net
        self.app = None
        # The console has a line of each attempt that failed.
        self.tried = tried.last
        self.began = board.ticks_ms()
        if not agent.trial:
            if board.cause() == "watchdog":
                self._count("the watchdog")
        elif board.cause() not in ("", "wake"):
            # Failed starts counted so far belong to the previous version: forget them.
            self._count(None)
        self.why = wanted(board)
        self._window()
        if not self.why:
            self._try(lambda: self._start(application))

    def turn(self):
        """One turn of agent and application. Returns the agent's state: on "idle" and "trial" a board may deep-sleep.

        "busy" stands for a trial whose link is being asked: a board that slept then would never hear it.
        """
        state = self._step()
        if state == "trial" and self.agent.job:
            state = "busy"
        if self.app:
            self._try(self.app.step)
        if self.began is not None and self.board.since(self.began) > WELL_MS and not self.why:
            self.began = None
            self._count(None)
        return state

    async def task(self):
        """turn() as a task of an application that has an event loop: asyncio.create_task(runner.task())."""
        from asyncio import sleep

        while True:
            self.turn()
            await sleep(0.01)

    def _network(self):
        if self.net and self.net.step():
            self.agent.hurry()

    def _step(self):
        self._network()
        state = self.agent.step()
        if tried.last is not self.tried:
            self.tried = tried.last
            tried.say()
        if state == "reset":
            self.board.reset()
        return state

    def _window(self):
        # A host at the console can press Ctrl-C now, and the links are asked for news. An update that has begun goes on
        # after the window.
        board = self.board
        ms = board.setting("window_ms", _WINDOW_MS, 60000)
        # A trial is judged by the application's health(), which is not there yet.
        busy = self.agent.links and not self.agent.trial
        # A board that sleeps a lot has no seconds for a scan and for joining: it joins beside the application. Some
        # ports cannot tell a wake from a reset.
        cause = board.cause()
        net = busy and ms >= _WINDOW_MS and cause in ("power", "watchdog") and self.net
        if net:
            net.look()
            self._network()
        began = self.began
        # Nobody sits at the console of one that wakes.
        least_ms = 0 if cause == "wake" else ms
        while board.since(self.began) < least_ms or (busy and board.since(began) < ms) or (net and net.coming()):
            if busy:
                busy = self._step() == "busy"
            else:
                self._network()
            if net and net.coming():
                # No link can answer before the network is there, so the window begins when it comes.
                began = board.ticks_ms()
            board.feed()
            board.pause()

    def _start(self, application):
        trial = self.agent.trial
        if trial and isinstance(shim.own, Exception):
            # The release brought a copy of mpota that cannot run: lib's runs here, and takes the release back.
            raise shim.own
        if trial and trial.tree & 15 != trial.tree >> 4 and not shim.folder:
            raise OSError("no list of its files")
        # If the import never returns, the watchdog ends it: the note tells the next start why.
        noted = trial and self.board.layout.keep("doing", b"import")
        self.app = application()
        if noted:
            self.board.layout.keep("doing", b"")
        self.agent.health = getattr(self.app, "health", self.agent.health)

    def _try(self, call):
        try:
            call()
        except SystemExit as e:
            # A soft reset follows, and a trial does not count soft resets.
            if self.agent.trial and self._count(repr(e)) >= STARTS:
                self._count(None)
                self.agent.failed(e)
                self.board.reset()
            raise
        except Exception as e:
            self.app = None
            if self.agent.failed(e):
                self.board.reset()
            sys.print_exception(e)
            self.why = "the application failed: %r" % e
            self._count(repr(e))

    def _count(self, error):
        """Note one more start that failed, for this error; None forgets them all. Nothing is written twice."""
        journal = self.board.journal
        boots = journal.last("boots")
        n = 0
        data = b""
        if error is not None:
            n = min((boots[0] if boots else 0) + 1, STARTS)
            # A journal in files has 498 bytes for all records at their longest.
            data = bytes((n,)) + error.encode()[:52]
        if data != (boots or b""):
            try:
                journal.put("boots", data)
            except Exception as e:
                sys.print_exception(e)
        return n
