"""What a program on a SiFli chip can import and the unix port has not: flash, eFuses, the other program, Bluetooth.

The eFuses of a virtual board are the last sector of its flash file, which no map names. A manager jumps to the user
program by a word on the wire, since every program here is a process of its own.

The radio's controllers run elsewhere: the environment variable MPOTA_AIR names them, HOST:PORT; without it the radio is
on and nobody is in range. Both sides send a JSON array a line. The chip: ["services", ...], ["advertise", ...],
["notify", ...], ["disconnect", conn]. The controllers: ["connect", conn], ["gone", conn], ["mtu", conn, n],
["written", handle, hex], ["sent"]. An interrupt of a chip comes at any time; here it comes while the program sleeps.
"""

import json
import os
import select
import socket
import sys
import time

from mpota.store.flash import Region

EFUSE_SIZE = 128
MAC = b"\xf0\xf1\xf2\xf3\xf4\xf5"
# Notifications that the radio has room for.
ROOM = 8
CONNECT, DISCONNECT, WRITTEN, MTU = 1, 2, 3, 21


class ChipModule:
    """Module `chip`."""

    def __init__(self, wire, flash, behaviour):
        self._wire = wire
        self._raw = flash
        self.healthy = behaviour != "unhealthy"

    def flash(self):
        """The flash without what stands for the eFuses."""
        return Region(self._raw, 0, self._raw.size - self._raw.erase_size)

    def efuse(self):
        """The 128 bytes of the eFuses."""
        buf = bytearray(EFUSE_SIZE)
        self._raw.read(self._raw.size - self._raw.erase_size, buf)
        return bytes(buf)

    def jump(self):
        """Start the user program; does not return."""
        self._wire.down("jump")


class UUID:
    """Of a service or a characteristic."""

    def __init__(self, text):
        self.text = text


def _hex(data):
    return bytes(data or b"").hex()


class BLE:
    """bluetooth.BLE; there is one radio, so whoever makes a second object has the first one's."""

    _radio = None

    def __init__(self):
        if BLE._radio is None:
            BLE._radio = _Radio()
        self._r = BLE._radio

    def active(self, on=None):
        if on:
            self._r.start()
        return self._r.started

    def config(self, *names, **values):
        return (0, MAC) if names == ("mac",) else None

    def irq(self, handler):
        self._r.handler = handler

    def gatts_register_services(self, services):
        handles = []
        told = []
        n = 0
        for uuid, characteristics in services:
            handles.append(tuple(range(n, n + len(characteristics))))
            n += len(characteristics)
            told.append([uuid.text, [[c[0].text, c[1]] for c in characteristics]])
        self._r.tell("services", told)
        return tuple(handles)

    def gatts_set_buffer(self, handle, size, append=False):
        pass

    def gatts_read(self, handle):
        return self._r.values.get(handle, b"")

    def gatts_notify(self, conn, handle, data=b""):
        if self._r.pending >= ROOM:
            raise OSError(12)
        self._r.pending += 1
        self._r.tell("notify", conn, handle, _hex(data))

    def gap_advertise(self, interval_us, adv_data=b"", resp_data=b""):
        self._r.tell("advertise", interval_us, _hex(adv_data), _hex(resp_data))

    def gap_disconnect(self, conn):
        self._r.tell("disconnect", conn)


class _Radio:
    """The line to the controllers."""

    def __init__(self):
        self.handler = None
        self.values = {}
        self.pending = 0
        self.started = False
        self.sock = None
        self.poll = select.poll()
        self.rest = b""

    def start(self):
        if self.started:
            return
        self.started = True
        air = os.getenv("MPOTA_AIR")
        if not air:
            return
        host, _, port = air.rpartition(":")
        self.sock = socket.socket()
        self.sock.connect(socket.getaddrinfo(host, int(port))[0][-1])
        self.poll.register(self.sock, select.POLLIN)
        # The program's module, whose other answers stay.
        sys.modules["time"].sleep_ms = self.sleep

    def sleep(self, ms):
        self.hear()
        time.sleep_ms(ms)
        self.hear()

    def tell(self, *words):
        if self.sock:
            self.sock.write(json.dumps(words).encode() + b"\n")

    def hear(self):
        """Take what has come."""
        while self.sock and self.poll.poll(0):
            data = self.sock.recv(4096)
            if not data:
                self.sock.close()
                self.sock = None
                return
            lines = (self.rest + data).split(b"\n")
            self.rest = lines.pop()
            for line in lines:
                self._event(*json.loads(line))

    def _event(self, word, *facts):
        if word == "sent":
            self.pending -= 1
        elif word == "written":
            handle, text = facts
            self.values[handle] = bytes.fromhex(text)
            self.handler(WRITTEN, (0, handle))
        elif word == "mtu":
            self.handler(MTU, tuple(facts))
        elif word == "connect":
            self.pending = 0
            self.handler(CONNECT, (facts[0], 0, b""))
        elif word == "gone":
            self.handler(DISCONNECT, (facts[0], 0, b""))


class Bluetooth:
    """Module `bluetooth`."""

    BLE, UUID = BLE, UUID


def modules(wire, flash, config):
    """Modules `chip` and `bluetooth`, beside what every board has."""
    return {"chip": ChipModule(wire, flash, config["behaviour"]), "bluetooth": Bluetooth()}
