# What this board does: its network, its links, its keys, and the application's turn. Yours to change; updates need
# runner.turn().
from mpota.agent import Agent
from mpota.link.http import Http
from mpota.network.net import Net
from mpota.runner import Runner, application
from wiring import Board

board = Board()
net = None
links = []
if "manifest" in board.settings:
    net = Net(board)
    link = Http(board.settings["manifest"], board.product, board.layout.NAME, board.layout.version)
    link.feed = board.feed
    link.network = net
    link.channel = board.channel
    link.name_server = net.name_server
    link.ca, link.cert, link.headers = map(board.settings.get, ("ca", "cert", "headers"))
    link.least = board.setting("least_speed", link.least, 1 << 20)
    link.report_url = board.settings.get("report")
    links.append(link)

runner = Runner(board, Agent(board, links, board.keys()), application, net)
while True:
    runner.turn()
    board.pause()
