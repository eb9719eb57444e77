"""Which copy of mpota runs from here on: the one that a release brought in its tree, or lib's.

Loaded where the tree that runs has a copy. sys.path has the tree before lib. What boot.py has imported so far is lib's,
and all of it is dropped, so that everything comes from one root: a package that stayed open would bring its modules
from lib. lib's copy runs in a rescue, and where the tree's cannot be imported.
"""

import sys

from mpota_boot.board import Board
from mpota_boot.rescue import wanted


def choose(board, path):
    """True: the copy in the tree `path` runs. None: lib's, for this is a rescue. Else why the copy cannot run."""
    why = None
    try:
        if not wanted(board, board.cause() == "watchdog"):
            _drop()
            sys.path.insert(0, path)
            try:
                _start(board.home)
                return True
            finally:
                sys.path.remove(path)
    except Exception as e:
        why = e
        _drop()
    # While lib's package is open, its modules come from nowhere else.
    __import__("mpota.agent")
    return why


def _drop():
    for name in list(sys.modules):
        if name == "wiring" or name.split(".")[0] == "mpota":
            del sys.modules[name]
    # Journals in files are objects of a class that is gone.
    Board._memories.clear()


def _start(home):
    """Import what main.py will, and let the owner's Board read its journal."""
    names = ["mpota.agent", "mpota.runner"]
    try:
        with open(home + "/main.py", "rb") as f:
            for line in f:
                if line[:11] == b"from mpota.":
                    names.append(line.split()[1].decode())
    except OSError:
        pass  # it may be frozen
    for name in names:
        __import__(name)
    __import__("wiring").Board().layout.on_trial()
