"""Runs on the unix port: the shipped main.py of a PIC32MZW1 with a simulated MQTT broker that sends one message.

Reads {"key", "bodies": {name: hex}}. Prints for each body the turns of the application and what main.py died of.
"""

import json
import socket
import sys

import mpota_host
from mpota.layout.pic32.link.mqtt import packet, text
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import B

assert mpota_host
GIVEN = json.loads(sys.stdin.readline())
TURNS = 40


class Enough(BaseException):
    """The application has had its turns."""


class Line:
    """The broker's end: an answer to CONNECT and SUBSCRIBE, then the retained message."""

    def __init__(self, said):
        self.said = said

    def setblocking(self, _):
        pass

    def connect(self, _):
        pass

    def register(self, *_):
        pass

    def poll(self, _):
        return [(self, 4)]

    def readinto(self, buf):
        n = min(len(buf), len(self.said))
        buf[:n] = self.said[:n]
        self.said = self.said[n:]
        return n or None

    def write(self, data):
        return len(data)

    def close(self):
        pass


class Module:
    """A module by another name."""


def modules(said, board):
    net, wiring, app, select = Module(), Module(), Module(), Module()
    lines = []

    def connection(*_):
        lines.append(Line(said))
        return lines[-1]

    net.socket = connection
    net.AF_INET, net.AF_INET6, net.SOCK_STREAM = 2, 10, 1
    net.getaddrinfo = lambda name, port, *_: [(2, 1, 0, "", (name, port))]
    select.poll = lambda: lines[-1]
    wiring.Board = lambda: board
    app.turns = 0

    def step():
        app.turns += 1
        if app.turns > TURNS:
            raise Enough

    app.step = step
    sys.modules["socket"], sys.modules["select"] = net, select
    sys.modules["wiring"], sys.modules["app"] = wiring, app
    return app, lines


def life(body):
    settings = {"service_key": GIVEN["key"], "mqtt": {"host": "broker", "topic": "t"}, "period_ms": 0}
    board = maker.chip((("a.bin", 2, "f8", B),), settings).power_on()
    board.connect = lambda *_: True

    def pause():
        board.ms += 10

    board.pause = pause
    app, lines = modules(b"\x20\2\0\0" + b"\x90\3\0\1\0" + packet(0x31, text("t") + body), board)
    died = None
    with open("device/mpota/layout/pic32/programs/main.py") as f:
        source = f.read()
    try:
        exec(source, {"__name__": "main"})
    except Enough:
        pass
    except Exception as e:
        died = repr(e)
    return {"turns": app.turns, "died": died, "published": bool(lines) and not lines[0].said}


def main():
    real = socket
    assert real
    print(json.dumps({name: life(bytes.fromhex(GIVEN["bodies"][name])) for name in GIVEN["bodies"]}))


main()
