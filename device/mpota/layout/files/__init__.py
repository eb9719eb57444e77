"""Any board with a file system: its firmware stays, and one of two trees of files runs."""


def make(board):
    """The Layout of a Board."""
    from mpota.layout.files.layout import Layout
    from mpota_boot.journal import TRIALS

    return Layout(board, board.journal, board.setting("trials", TRIALS, 255))
