"""The vendor's command `http_ota URL`: fetch what is there, look at all of it, restart into the loader.

A signed package is taken from anywhere; an RBL that nobody signed only where the wiring allows it (bare.py).
"""

from device import installer
from device.layout.bk7238 import bare, rbl
from device.link.http import Http
from device.stream import pull


class Url(Http):
    """A Link to one file at a URL."""

    def __init__(self, url):
        super().__init__(url, "", "", None)

    def open(self, at=0):
        return self.fetch(self.manifest, at)


def http_ota(board, link, said=None):
    """Install what `link` offers and reset; `said` is called with (bytes done, bytes in all). Raises an OtaError."""
    src = link.open()
    if src is None:
        return
    start = bytearray(4)
    pull(src, start)
    src.close()
    job = bare.install(board, link) if start == rbl.MAGIC else installer.install(board, link, board.keys())
    while True:
        try:
            done = next(job)
        except StopIteration as e:
            if e.value:
                board.reset()
            return
        if said:
            said(*done)
