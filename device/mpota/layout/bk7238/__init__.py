"""A BK7238: one application, and a loader that overwrites it with what it finds in `download`. FORMAT.md.

The Layout is in layout.py, which is imported when a board asks for it: the loader has to do with little memory.
"""


def make(board):
    """The Layout of a Board."""
    from mpota.layout.bk7238.layout import Layout
    from mpota_boot.journal import TRIALS

    return Layout(board.port(), board.journal, board.setting("trials", TRIALS, 255))
