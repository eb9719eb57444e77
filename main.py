# The board's wiring: its links, its keys, and the application's turn. Yours to change; updates need agent.step().
from time import sleep_ms

from device.agent import Agent
from device.board import Board
from device.link.http import Http

board = Board()
links = []
if "manifest" in board.settings:
    link = Http(board.settings["manifest"], board.product, board.layout.NAME, board.layout.version)
    link.feed = board.feed
    link.ca = board.settings.get("ca")
    link.report_url = board.settings.get("report")
    links.append(link)
agent = Agent(board, links, board.keys())
try:
    try:
        import app  # yours: step() is its turn, health() its verdict on a new firmware
    except ImportError as e:
        if "'app'" not in str(e):
            raise
        app = None
    agent.health = getattr(app, "health", agent.health)
    if links:
        board.connect()
    while True:
        if agent.step() == "reset":
            board.reset()
        if app:
            app.step()
        sleep_ms(10)
except Exception as e:
    if agent.failed(e):
        board.reset()
    raise
