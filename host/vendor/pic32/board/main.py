"""The turns of a PIC32MZW1: the vendor's update service, which asks its manifest, and the application.

Yours to change; updates need service.step(). Packages of mpota come over the console, by `push`.
"""

from binascii import unhexlify

from wiring import Board

from device.layout.pic32 import events
from device.layout.pic32.service import Service
from device.layout.pic32.words import WORDS
from device.link.http import Http

board = Board()
settings = board.settings
link = Http(settings.get("service"), board.product, "pic32", board.layout.version)
link.feed = board.feed
link.ca = settings.get("ca")
board.connect()

try:
    import app
except ImportError:
    app = None


def told(event):
    """The application's callback, with the vendor's numbers."""
    print("ota: %d %s" % (event, WORDS[event]))


service = Service(board, link.fetch, settings.get("service"), getattr(app, "health", None))
asks = "service" in settings and settings.get("period_ms") != 0
service.period_ms = board.setting("period_ms", 60000, 7200000) if asks else 0
for name in ("auto_update", "auto_reset", "last_entry", "enforce_tls"):
    if isinstance(settings.get(name), bool):
        setattr(service, name, settings[name])
if "service_key" in settings:
    service.key = unhexlify(settings["service_key"])
service.control(events.REGISTER, told)
trigger = None
if "mqtt" in settings:
    from device.layout.pic32.mqtt import Mqtt

    broker = settings["mqtt"]
    trigger = Mqtt(board, service, broker["host"], broker["topic"])
    trigger.port = broker.get("port", 1883)
    trigger.login = broker.get("login")
    if link.ca:
        from device.link.tls import secure

        trigger.secure = lambda sock, host: secure(sock, host, link.ca)
error = None
trial = service.trial
while True:
    if service.step() == "reset":
        print("ota: restarts")
        board.reset()
    if trial and not service.trial:
        trial = None
        print("ota: confirmed")
    if service.error is not error:
        error = service.error
        print("ota:", error)
    if trigger:
        trigger.step()
    if app:
        app.step()
    board.pause()
