"""Helpers of test_hostile.py and test_vendors.py: a virtual clock and network, shipped main.py files, the unix port.

No test waits in real time. Device code gets simulated sockets, and the clock advances when the code polls, pauses or
sleeps. Every World has a time limit. Past it Late is raised, which no `except Exception` catches.
"""

import json
import subprocess
import sys
import types
from hashlib import sha256

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import mpota_boot.board
from mpota_boot import shim
from mpota_host.chips.esp32.sim import soc
from mpota_host.chips.pic32 import packer
from mpota_host.chips.pic32.hexfile import slot_of
from mpota_host.sim.reset import Reset
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import CHECKOUT as ROOT
from mpota_host.sources import port_environment
from tests.chips.pic32 import pic32_maker as maker

# A read that does not wait takes this long, so that a flood of data reaches the limit too.
CALL_MS = 1


class Late(BaseException):
    """The time limit of a World is reached."""


class World:
    """A virtual clock, and web servers by host name: `servers[name](request)` gives (delay in ms, bytes) pairs."""

    def __init__(self, monkeypatch, limit_ms):
        self.ms = 0
        self.limit_ms = limit_ms
        self.servers = {}
        self.sent = []
        self._patch(monkeypatch)

    def _patch(self, monkeypatch):
        import select
        import socket
        import time

        for name, call in (
            ("ticks_ms", lambda: self.ms),
            ("ticks_us", lambda: self.ms * 1000),
            ("ticks_diff", lambda a, b: a - b),
            ("ticks_add", lambda a, b: a + b),
            ("sleep_ms", self.wait),
            ("sleep", lambda s: self.wait(int(s * 1000))),
        ):
            monkeypatch.setattr(time, name, call, raising=False)
        monkeypatch.setattr(socket, "socket", lambda *_: Socket(self))
        monkeypatch.setattr(socket, "getaddrinfo", self._find)
        monkeypatch.setattr(select, "poll", lambda: Poll(self))

    def _find(self, name, port, *_):
        if name not in self.servers:
            raise OSError(-2, "no host " + repr(name))
        return [(2, 1, 0, "", (name, port))]

    def wait(self, ms):
        """Time passes."""
        self.ms += ms
        if self.ms > self.limit_ms:
            raise Late

    def on(self, board):
        """Give a board this clock and a radio that is connected."""
        board.ticks_ms = lambda: self.ms
        board.since = lambda then: self.ms - then
        board.pause = lambda: self.wait(10)
        board.connect = lambda *_, **__: True
        return board


class Socket:
    """A connection to a server of the World. As in MicroPython, readinto() gives None while there is no data."""

    def __init__(self, world):
        self.world = world
        self.asked = b""
        self.answer = None
        self.ready = b""
        self.due = 0
        self.open = True

    def connect(self, address):
        self.server = self.world.servers.get(address[0])
        if self.server is None:
            raise OSError(111, "refused")

    def settimeout(self, _):
        pass

    setblocking = settimeout

    def setsockopt(self, *_):
        pass

    def write(self, data):
        self.asked += bytes(data)
        if b"\r\n\r\n" in self.asked and self.answer is None:
            self.world.sent.append(self.asked)
            self.answer = iter(self.server(self.asked))
            self._next()
        return len(data)

    send = write

    def sendall(self, data):
        self.write(data)

    def _next(self):
        try:
            ms, self.ready = next(self.answer)
            self.due = self.world.ms + ms
        except StopIteration:
            self.ready = None

    def here(self):
        """True if a read would give data or the end of the stream."""
        return self.answer is not None and (self.ready is None or self.world.ms >= self.due)

    def readinto(self, buf, *_):
        self.world.wait(CALL_MS)
        if not self.here():
            return None
        if self.ready is None:
            return 0
        n = min(len(buf), len(self.ready))
        buf[:n] = self.ready[:n]
        self.ready = self.ready[n:]
        if not self.ready:
            self._next()
        return n

    recv_into = readinto

    def recv(self, n):
        buf = bytearray(n)
        got = self.readinto(buf)
        if got is None:
            raise BlockingIOError
        return bytes(buf[:got])

    read = recv

    def close(self):
        self.open = False


class Poll:
    """select.poll over simulated sockets; a poll without a result advances the clock."""

    def __init__(self, world):
        self.world = world
        self.known = {}

    def register(self, thing, flags=1):
        self.known[thing] = flags

    modify = register

    def unregister(self, thing):
        self.known.pop(thing, None)

    def poll(self, ms=0):
        found = self._found()
        if not found:
            self.world.wait(max(ms, CALL_MS))
            found = self._found()
        return found

    ipoll = poll

    def _found(self):
        return [(one, flags) for one, flags in self.known.items() if flags & 4 or one.here()]


def ok(body, more=b""):
    """A complete answer of a web server."""
    return [(1, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), more) + body)]


def path_of(request):
    """The path of a request."""
    return request.split(b" ")[1].decode()


def dripping(data, ms=1000):
    """These bytes one at a time, then the end of the stream."""
    return ((ms, data[i : i + 1]) for i in range(len(data)))


def packages(*entries):
    """A manifest of the HTTP link."""
    return json.dumps({"mpota": 1, "packages": list(entries)}).encode()


# Shipped main.py files in this process.


class Application:
    """The module `app` of a board. Its step() calls `turn()`, which may raise."""

    def __init__(self, turn=lambda: None):
        self.turns = 0
        self.turn = turn

    def step(self):
        self.turns += 1
        self.turn()


def _run(monkeypatch, path, modules):
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    text = (ROOT / path).read_text()
    exec(compile(text, path, "exec"), {"__name__": "main"})  # the file that a board runs


def main(monkeypatch, board, app):
    """Run the shipped main.py of `board`. Returns "reset", or "late" at the time limit."""
    wiring = types.ModuleType("wiring")
    wiring.Board = lambda: board
    try:
        _run(monkeypatch, "main.py", {"wiring": wiring, "app": app})
    except (Reset, soc.Reset):
        return "reset"
    except Late:
        return "late"
    raise AssertionError("main.py has ended")


def pic32_main(monkeypatch, board, app):
    """Run the shipped main.py of a PIC32MZW1. Returns "reset", "late" or "died of ..." with the exception."""
    wiring = types.ModuleType("wiring")
    wiring.Board = lambda: board
    try:
        _run(monkeypatch, "device/mpota/layout/pic32/programs/main.py", {"wiring": wiring, "app": app})
    except (Reset, soc.Reset):
        return "reset"
    except Late:
        return "late"
    except Exception as e:
        return "died of %r" % e
    raise AssertionError("main.py has ended")


def pic32_life(monkeypatch, world, chip, app, resets=9):
    """Power a PIC32MZW1 on and run main.py after each reset, up to the time limit or the number of resets."""
    why = "power"
    said = []
    while len(said) < resets:
        board = chip.power_on(why)
        assert board is not None, "the bootloader starts nothing: %r" % (chip.boots[-1],)
        said.append(pic32_main(monkeypatch, world.on(board), app))
        if said[-1] != "reset":
            break
        why = "reset"
    return said


def restored(monkeypatch):
    """Restore after the test what simulated boards change in this process."""
    for name in ("esp32", "machine"):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name))
        if sys.modules[name] is None:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(mpota_boot.board, "Board", mpota_boot.board.Board)
    monkeypatch.setattr(mpota_boot.board.Board, "_dog", None)
    monkeypatch.setattr(shim, "folder", "")
    monkeypatch.setattr(shim, "error", None)
    monkeypatch.setattr(sys, "path", list(sys.path))


# A PIC32MZW1 that asks for signatures, and the vendor's manifest.

PRIVATE = ec.derive_private_key(0x1234567, ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
PUBLIC = packer.public(PRIVATE)
SERVICE = "http://h/manifest.json"
OWNER = packer.Options(slot_of("3.7"), key=PRIVATE, product=maker.SETTINGS["product"])


def offered(n, data, signed=True, name="app.bin", digest_of=None):
    """An entry of the vendor's manifest. `digest_of`: other bytes for its Digest and Signature."""
    of = data if digest_of is None else digest_of
    found = {"Version": n, "URL": "http://h/" + name, "Digest": sha256(of).hexdigest()}
    if signed:
        found["Signature"] = packer.sign(of, PRIVATE)
        packer.bind(found, OWNER)
    return found


def erased(n, signed=True):
    """An entry that erases a version."""
    return packer.withdrawal(n, "", OWNER if signed else packer.Options(OWNER.slot))


class Store:
    """The web server of a PIC32's update service: its files, and the names that were asked for."""

    def __init__(self, world, **files):
        self.files = files
        self.asked = []
        world.servers["h"] = self

    def offer(self, *entries):
        self.files["manifest.json"] = json.dumps({"ota": entries}).encode()
        return self

    def __call__(self, request):
        name = path_of(request).rpartition("/")[2]
        self.asked.append(name)
        if name not in self.files:
            return [(1, b"HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n")]
        return ok(self.files[name])


def pic32(rows, key=True, **settings):
    """A chip with these images in its store; its settings name the update service."""
    given = {"service": SERVICE, "period_ms": 60000}
    if key:
        given["service_key"] = PUBLIC.hex()
    given.update(settings)
    return maker.chip(rows, given)


# The unix port.


def on_port(script, given=None, heap="32M", seconds=60):
    """Run a script of tests/cases on the unix port. It reads a line of JSON and prints one."""
    env = port_environment()
    command = [unix_port(), "-X", f"heapsize={heap}", "-m", "tests.cases." + script]
    line = (json.dumps(given) + "\n").encode()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=seconds, input=line)
    text = done.stdout.decode(errors="replace")
    last = text.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("{"):
        raise RuntimeError("%s: %s" % (script, text + done.stderr.decode(errors="replace")))
    return json.loads(last[0])
