"""The vendor's command `http_ota URL`: fetch what is there, look at all of it, restart into the loader.

A signed package is taken from anywhere; an RBL that nobody signed only where the wiring allows it (bare.py).
"""

from mpota.layout.bk7238 import bare, rbl
from mpota.stream import pull


def http_ota(board, link, install, said=None):
    """Install what `link` offers and reset; `said` is called with (bytes done, bytes in all). Raises an OtaError.

    `install` is that of installer.py, for what is signed.
    """
    src = link.open()
    if src is None:
        return
    start = bytearray(4)
    pull(src, start)
    src.close()
    job = bare.install(board, link) if start == rbl.MAGIC else install(board, link, board.keys())
    while True:
        try:
            done = next(job)
        except StopIteration as e:
            if e.value:
                board.reset()
            return
        if said and done:
            said(*done)
