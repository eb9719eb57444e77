"""The turns of a PIC32MZW1: the vendor's update service, which asks its manifest, and the application.

Yours to change; updates need runner.turn(). Packages of mpota come over the console, by `push`.
"""

from mpota.layout.pic32 import events
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.settings import configure, trigger
from mpota.layout.pic32.words import WORDS
from mpota.link.web import Web
from mpota.network.net import Net
from mpota.runner import Runner, application
from wiring import Board

board = Board()
settings = board.settings
link = Web()
net = link.network = Net(board)
link.name_server = net.name_server
link.ca, link.cert, link.headers = map(settings.get, ("ca", "cert", "headers"))


def told(event):
    """The application's callback, with the vendor's numbers."""
    print("ota: %d %s" % (event, WORDS[event]))


service = Service(board, link.asking, settings.get("service"))
configure(service)
service.control(events.REGISTER, told)
broker = trigger(service)
if broker:
    broker.network, broker.name_server, broker.ca, broker.cert = net, net.name_server, link.ca, link.cert
error = None
trial = service.trial
runner = Runner(board, service, application, net)
while True:
    runner.turn()
    if trial and not service.trial:
        trial = None
        print("ota: confirmed")
    if service.error is not error:
        error = service.error
        print("ota:", error)
    if broker:
        broker.step()
        # A broker that answers is a link too.
        service.answered = service.answered or broker.ready
    board.pause()
