"""This board's network in steps: a Wi-Fi that is joined again and again, or Ethernet; and then the clock.

No step waits for an access point or a server, and none raises: `error` says what is wrong. look() alone takes a second
or two, for a scan, and is for the time before the application starts. Without a stored Wi-Fi and without the setting
`lan` nothing here touches the radio: the application may have a network of its own.
"""

import time
from os import urandom

from micropython import const

from mpota.link.connection import YEAR, Connection, forget
from mpota.network import port
from mpota.pace import pause
from mpota_boot.errors import LinkError

# What an attempt to join has, and the longest time between the beginnings of two.
_JOIN_MS = const(15000)
_MOST_MS = const(120000)
# A wire needs 2 to 4 s from the power to an address.
_WIRE_MS = const(5000)
_SNTP_MS = const(5000)
_SNTP_MOST_MS = const(600000)


class Net:
    """The network that the board's settings and its NVS namespace `wifi` name. `up`: at the last step it was there."""

    def __init__(self, board):
        self.board = board
        memory = board.memory("wifi")
        pairs = [(memory.last("ssid" + place), memory.last("psk" + place)) for place in port.PLACES]
        self.names = [(ssid, psk) if psk else (ssid,) for ssid, psk in pairs if ssid]
        self.lan = board.settings.get("lan")
        self.known = bool(self.lan or self.names)
        self.up = False
        self.nic = self.error = None
        # Attempts in a row, when the last one began, and how long it is the last.
        self.tries = self.began = self.wait_ms = 0
        # What the window at the start waits for: this long from `began` on.
        self.hope_ms = _WIRE_MS if self.lan else 0
        # The look at the time server that goes on, when it began, how many failed in a row, and why the last one did.
        self.look_up = self.untimed = None
        self.asked = self.pause_ms = self.failed = 0

    def step(self):
        """Do what is due. True when the network has come up since the step before."""
        before = self.up
        try:
            self.up = bool(self.nic and self.nic.isconnected())
            if self.up:
                self.tries = self.wait_ms = self.hope_ms = 0
                self.error = None
            elif self.known and self.board.since(self.began) >= self.wait_ms:
                self._try()
        except Exception as e:
            self.up = False
            self.error = "the network does not start: %r" % e
        if self.up:
            self._clock()
        return self.up and not before

    def look(self):
        """Scan, so that the first attempt is for a network that is here. Only for a board's start: it waits."""
        if self.lan or not self.names:
            return
        try:
            nic = self._interface()
            if not nic.isconnected():
                here = [found[0] for found in nic.scan()]
                seen = [pair for pair in self.names if pair[0] in here]
                # A network that hides its name is in no scan.
                self.names = seen + [pair for pair in self.names if pair not in seen]
                self.hope_ms = _JOIN_MS if seen else 0
        except Exception as e:
            self.error = "the network does not start: %r" % e

    def coming(self):
        """Is it worth while to hold the application back: is a network that is here about to be joined?"""
        return (
            not self.up and self.nic is not None and 0 < self.tries <= 1 and self.board.since(self.began) < self.hope_ms
        )

    def ready(self, tls):
        """Steps until a link may ask its server; with `tls` the clock is set first, or was asked for in vain."""
        began = self.board.ticks_ms()
        # A link that asks is a reason to try again.
        self.wait_ms = min(self.wait_ms, _JOIN_MS)
        self.step()
        while self.known and not self.up:
            if self.nic is None or self.board.since(began) >= _JOIN_MS:
                raise LinkError("network", self.error or "there is no network")
            yield
            self.step()
        if not tls or not self._unset():
            return
        failed = self.failed
        self.pause_ms = 0
        while self._unset() and self.failed == failed:
            self._clock()
            yield

    def name_server(self):
        """The address of the network's name server; "" where the port does not tell it."""
        return port.name_server(self.nic)

    def _interface(self):
        """The interface, switched on."""
        nic = self.nic
        if nic is None:
            nic = port.wired(self.lan) if self.lan else port.station()
            # An interface of the ESP32's that is on cannot be switched on again.
            if not nic.active():
                nic.active(True)
            self.nic = nic
        return nic

    def _try(self):
        """Begin an attempt: the stored networks in turn, and longer and longer pauses after each round."""
        n = len(self.names) or 1
        number = self.tries
        self.tries += 1
        self.began = self.board.ticks_ms()
        self.wait_ms = min(_JOIN_MS << min(number // n, 3), _MOST_MS)
        nic = self._interface()
        if self.lan:
            self.error = "the wire has no address yet"
            return
        if not nic.active():
            # An application that switched the radio off saves its power.
            self.error = "the application switched the Wi-Fi off"
            return
        pair = self.names[number % n]
        try:
            if number:
                nic.disconnect()
            nic.connect(*pair)
        except (OSError, RuntimeError):
            # After a soft reset the radio may still be joining from before.
            pass
        name = pair[0].decode() if isinstance(pair[0], bytes) else pair[0]
        self.error = "the Wi-Fi %s is not joined; attempt %d" % (name, number + 1)

    def _unset(self):
        return time.localtime()[0] < YEAR and self.board.settings.get("ntp", True)

    def _clock(self):
        """A step of setting the clock, where it was never set."""
        if self.look_up is None:
            if not self._unset() or self.board.since(self.asked) < self.pause_ms:
                return
            from mpota.network.sntp import setting

            self.asked = self.board.ticks_ms()
            line = Connection()
            line.name_server = self.name_server
            line.timeout_ms = _SNTP_MS
            self.look_up = setting(line, str(self.board.settings.get("ntp", "pool.ntp.org")))
        try:
            next(self.look_up)
            return
        except StopIteration:
            self.untimed = None
            self.failed = 0
        except Exception as e:
            self.failed += 1
            self.untimed = "nobody told the time: %s" % e
            self.pause_ms = pause(self.failed, _SNTP_MOST_MS, urandom(1)[0])
        self.look_up = None
        forget("sntp", "mpota.network")
        forget()
