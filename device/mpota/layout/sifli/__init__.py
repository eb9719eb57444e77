"""A SiFli chip: a user program, staging areas, and a manager that installs what is staged and goes back by itself.

The manager imports this package too, and has no memory for what only the user program needs.
"""


def make(board):
    """The Layout of a Board."""
    from mpota.layout.sifli.layout import Layout
    from mpota_boot.journal import TRIALS

    return Layout(board.port(), board.journal, board.setting("trials", TRIALS, 255))
