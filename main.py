# The board's wiring: its links, its keys, and the application's turn. Yours to change; updates need runner.turn().
import os

from mpota.agent import Agent
from mpota.link.http import Http
from mpota.runner import Runner
from mpota_boot import shim
from mpota_boot.board import Board

board = Board()
links = []
if "manifest" in board.settings:
    link = Http(board.settings["manifest"], board.product, board.layout.NAME, board.layout.version)
    link.feed = board.feed
    link.ca = board.settings.get("ca")
    link.least = board.setting("least_speed", link.least, 1 << 20)
    link.report_url = board.settings.get("report")
    links.append(link)
    board.connect()


def application():
    """Yours: app.step() is its turn, app.health() its verdict on an update. It lies in its tree, or at the root."""
    if shim.folder:
        os.chdir(shim.folder)
    try:
        import app
    except ImportError as e:
        if "'app'" not in str(e):
            raise
        return None
    return app


runner = Runner(board, Agent(board, links, board.keys()), application)
while True:
    runner.turn()
    board.pause()
