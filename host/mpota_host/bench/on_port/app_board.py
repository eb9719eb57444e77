"""The least board that takes application files, for the unix port: the device's own trees, a dict as Journal.

As in small.py, what it takes from the heap counts against the update; nothing here judges. `whole` is the same with
the layout and the journal that such a board really has. Runs from .mpy on MicroPython alone.
"""
# mypy: ignore-errors

import gc

from mpota.installer import install
from mpota.link.file import File


class Small:
    """Journal, Layout and Board in one; the trees are imported when they are asked for, as the contract does it."""

    NAME = "files"
    product = "bench"
    channel = ""
    trees = None

    def __init__(self, room):
        self.room = room
        self.records = {}
        self.layout = self.journal = self
        self.last = self.records.get
        self.put = self.records.__setitem__

    def __getattr__(self, name):
        if not self.trees:
            from mpota.store.trees import Trees

            self.trees = Trees(0, (), "app/ota")
        return getattr(self.trees, name)

    def floor(self):
        return bytes(8)

    def say(self, *_):
        return None

    ready = version = given_up = feed = arm = say


def whole(room):
    """A board of layout files, its journal in two files."""
    from mpota.layout.files.layout import Layout
    from mpota.store.pair import FileJournal

    class Board:
        product = "bench"
        channel = ""
        root = "app/ota"
        protected = ()
        running = 0

        def feed(self):
            pass

    board = Board()
    board.room = room
    board.journal = FileJournal("app/ota/journal")
    board.layout = Layout(board, board.journal, 3)
    return board


def run(make, source, room):
    """Install the package at `source` on the board that `make` gives; prints the heap in use before, a word after."""
    with open("key.pub", "rb") as f:
        keys = [f.read()]
    board = make(room)
    link = File(source)
    gc.collect()
    print(gc.mem_alloc())
    for _ in install(board, link, keys):
        pass
    print("armed")
