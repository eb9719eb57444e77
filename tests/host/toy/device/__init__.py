"""A toy chip: two slots, and a bootloader that starts the one which the journal names. FORMAT.md."""


def make(board):
    """The Layout of a Board."""
    from mpota.layout.toy.layout import Layout
    from mpota_boot.journal import TRIALS

    return Layout(board.port(), board.journal, board.setting("trials", TRIALS, 255))
