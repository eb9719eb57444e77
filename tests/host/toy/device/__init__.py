"""A toy chip: two slots, and a bootloader that starts the one which the journal names. FORMAT.md."""


def make(board):
    """The Layout of a Board."""
    from mpota.layout.toy.layout import Layout

    return Layout(board.port(), board.journal, board.setting("trials", 0, 255))
