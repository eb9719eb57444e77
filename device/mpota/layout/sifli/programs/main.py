"""The user program: the application's turn, updates, and phones that want to begin an upgrade."""

from mpota.agent import Agent
from mpota.runner import Runner, application
from wiring import Board, server

board = Board()

phones = server(board)
runner = Runner(board, Agent(board, [], board.keys()), application, board.net)
while True:
    runner.turn()
    if not phones.turn():
        board.pause()
    if phones.session.leave and phones.link is None:
        board.reset()
