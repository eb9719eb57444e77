# What this board does: its links, its keys, and the application's turn. Yours to change; updates need runner.turn().
from mpota.agent import Agent
from mpota.link.http import Http
from mpota.link.port import name_server
from mpota.runner import Runner, application
from wiring import Board

board = Board()
links = []
if "manifest" in board.settings:
    link = Http(board.settings["manifest"], board.product, board.layout.NAME, board.layout.version)
    link.feed = board.feed
    link.name_server = name_server
    link.ca, link.cert, link.headers = map(board.settings.get, ("ca", "cert", "headers"))
    link.least = board.setting("least_speed", link.least, 1 << 20)
    link.report_url = board.settings.get("report")
    links.append(link)
    board.connect()

runner = Runner(board, Agent(board, links, board.keys()), application)
while True:
    runner.turn()
    board.pause()
