"""A PIC32MZW1: one slot in program flash, and a store of images that the bootloader ranks. FORMAT.md.

The Layout is in layout.py, which is imported when a board asks for it: the loader does without.
"""


def make(board):
    """The Layout of a Board, which has `program`, the flash, and `store`, the folder of images."""
    from mpota.layout.pic32.layout import Layout
    from mpota.layout.pic32.port import BASE, IMAGES, SLOT, Port, key_of
    from mpota.layout.pic32.store.control import PAGE
    from mpota.store.flash import Region
    from mpota_boot.journal import TRIALS

    base = board.setting("base", BASE, 1 << 20)
    flash = Region(board.program, base, board.setting("slot", SLOT, 1 << 20))
    port = Port(board, flash, board.store)
    port.address = 0xB0000000 + base + PAGE
    port.images = max(2, board.setting("images", IMAGES, 5))
    if "boot_key" in board.settings:
        port.boot_key = key_of(board.settings["boot_key"])
    return Layout(port, board.journal, board.setting("trials", TRIALS, 7))
