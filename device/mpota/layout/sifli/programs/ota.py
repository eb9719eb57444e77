"""The OTA manager, which the chip starts at every reset: it installs what waits, starts the user program, or stays."""

import chip

from mpota.layout.sifli import loader
from wiring import Board, server

board = Board()
why = loader.manage(board.port())
if not why:
    chip.jump()
print("OTA manager: waits for a phone" + (" for 30 s" if why == "wait" else ""))
server(board, True, why, console=True).stay()
board.reset()
