"""The user program: the application's turn, updates, and phones that want to begin an upgrade."""

import os

from wiring import Board, desk

from mpota.agent import Agent
from mpota.runner import Runner
from mpota_boot import shim

board = Board()


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


phones = desk(board)
runner = Runner(board, Agent(board, [], board.keys()), application)
while True:
    runner.turn()
    if not phones.turn():
        board.pause()
    if phones.session.leave and phones.link is None:
        board.reset()
