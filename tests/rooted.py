"""A board with root keys, in one process and on both interpreters: on a folder, or on a simulated file system."""

import os

from mpota_boot.board import Board
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.sim.plain import PlainBoard
from tests.signer import A

SETTINGS = {"product": "demo", "room": 16384}


class Rooted(PlainBoard):
    """The shipped Board with its own keys()."""

    keys = Board.keys


class Home(Plain):
    """`roots` lie in the keys folder below `root`, which has nothing else yet; `os_` and `open_` are a disk's own."""

    def __init__(self, root, roots=(A,), threshold=None, disk=None):
        settings = dict(SETTINGS)
        if threshold:
            settings["threshold"] = threshold
        super().__init__(root, settings)
        make, self.open = (disk.os.mkdir, disk.open) if disk else (os.mkdir, open)
        make(root + "/ota")
        make(root + "/keys")
        self.folder = root + "/keys/roots"
        make(self.folder)
        for n, key in enumerate(roots):
            self.write("r%d.pub" % n, key.public)

    def board(self, why="power"):
        return Rooted(self, why)

    def write(self, name, data):
        """A file beside the roots."""
        with self.open(self.folder + "/" + name, "wb") as f:
            f.write(data)

    def read(self, name):
        with self.open(self.folder + "/" + name, "rb") as f:
            return f.read()

    def new(self):
        """The Board of a new run."""
        self.forget()
        return self.board()
