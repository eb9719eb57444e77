"""The least board there is, for the unix port: a file as Flash, a dict as Journal, and a layout that agrees to all.

What it takes from the heap counts against the update, so it is one class: every class costs half a kilobyte. It
judges nothing; what boots is measured on the simulated chip. Runs from .mpy on MicroPython alone.
"""
# mypy: ignore-errors

import gc

from mpota.installer import install


class Small:
    """Flash, Journal, Layout and Board in one, as mpota/installer.py and mpota/store/writer.py ask for them."""

    NAME = "esp32"
    product = "bench"
    channel = ""
    size = 0x180000
    erase_size = 4096
    prog_size = 4
    erased = 255
    # No chip takes RAM for an erase, so the file gets it in small pieces.
    blank = b"\xff" * 256

    def __init__(self, file, room):
        self.file = file
        self.room = room
        self.records = {}
        self.layout = self.journal = self
        self.last = self.records.get
        self.put = self.records.__setitem__

    def read(self, off, buf):
        self.file.seek(off)
        self.file.readinto(buf)

    def prog(self, off, buf):
        self.file.seek(off)
        self.file.write(buf)

    def erase(self, off, n):
        self.file.seek(off)
        for _ in range(n // len(self.blank)):
            self.file.write(self.blank)

    def target(self, kind):
        return self

    def floor(self):
        return bytes(8)

    def running(self, part):
        return Small(open("old.bin", "rb"), 0)

    def secrets(self):
        with open("device.key", "rb") as f:
            return [f.read()]

    def say(self, *_):
        return None

    ready = version = given_up = feed = admit = check = arm = say


def key():
    with open("key.pub", "rb") as f:
        return f.read()


def offered(board, source):
    """The link to `source`, a path or the URL of a manifest."""
    if source.startswith("http:"):
        from mpota.link.http import Http

        return Http(source, board.product, board.NAME, board.version)
    from mpota.link.file import File

    return File(source)


def run(source, room):
    """Install the package at `source` on a board that has `room` bytes for a chunk.

    Prints the heap in use before the first call, and a word at the end.
    """
    keys = [key()]
    with open("slot.bin", "r+b") as slot:
        board = Small(slot, room)
        link = offered(board, source)
        gc.collect()
        print(gc.mem_alloc())
        for _ in install(board, link, keys):
            pass
    print("armed")
