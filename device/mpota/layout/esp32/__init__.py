"""An ESP32: OTA slots, and otadata, whose newest entry says which one boots. FORMAT.md.

The Layout is in layout.py, which is imported when a board asks for it: an ordinary boot does without.
"""


def make(board):
    """The Layout of a Board."""
    from mpota.layout.esp32.layout import Layout
    from mpota.layout.esp32.port import Port
    from mpota_boot.journal import TRIALS

    return Layout(Port(board), board.journal, board.setting("trials", TRIALS, 255))
