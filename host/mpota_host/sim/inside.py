"""What a program on any virtual board can import and the unix port has not: machine, network; its view of some others.

They stand on one wire to the supervisor. What needs the chip to go down (a reset, a watchdog, an abort) is said on the
wire, and then nothing more runs here: the supervisor ends the process, as the power would.
"""

import socket
import ssl
import struct
import sys
import time

import machine
import micropython
import uctypes

JOIN_MS = 100


class Interrupts:
    """Holds a Ctrl-C back while Python does what is C on a chip, which no exception of an interrupt leaves halfway.

    Shared with sim/interpreter.py, whose handler sets the pending exception, or counts ASKED while HOLD is not 0.
    The VM raises the exception at a jump, so neither method may have one: no `if`, no loop, no `and`. Nor do they
    allocate: what a program imports would come to lie between the remains of its own reading.
    """

    HOLD, ASKED, TOOK = 0, 1, 2

    def __init__(self, shared, pending, exception):
        # A pointer's low half, in the order of bytes that this machine has, is read without the heap.
        word = {"at": uctypes.UINT64 if struct.calcsize("P") == 8 else uctypes.UINT32, "low": uctypes.UINT32}
        self.shared = uctypes.bytearray_at(shared, 3)
        self.pending = uctypes.struct(pending, word)
        self.exception = exception
        self.had = False
        # Where a hold's end writes: nowhere, or to the pending exception, which the handler may have set already.
        self.nowhere = bytearray(8)
        self.places = uctypes.struct(uctypes.addressof(self.nowhere), word), self.pending

    def hold(self):
        self.shared[self.HOLD] += 1
        self.had |= self.pending.low != 0
        self.pending.at = 0

    def release(self):
        depth = self.shared[self.HOLD] - 1
        self.shared[self.HOLD] = depth
        asked = self.shared[self.ASKED]
        due = self.had | (asked != self.shared[self.TOOK])
        self.shared[self.TOOK] = asked
        self.had = due & (depth != 0)
        self.places[due & (depth == 0)].at = self.exception


class NoInterrupts:
    """Of an interpreter that shares nothing: its Ctrl-C is a signal, wherever it is."""

    def hold(self):
        pass

    def release(self):
        pass


def _held(interrupts, call):
    """For any method."""
    hold, release = interrupts.hold, interrupts.release

    def method(*args):
        hold()
        try:
            return call(*args)
        finally:
            release()

    return method


def _quick(interrupts, call, default):
    """For a method of a file system's device: so few arguments and names that the VM needs no heap for the call."""
    held = (interrupts.hold, interrupts.release, call)

    def method(n, buf, off=default):
        held[0]()
        try:
            return held[2](n, buf, off)
        finally:
            held[1]()

    return method


def _quick_ioctl(interrupts, call):
    held = (interrupts.hold, interrupts.release, call)

    def method(op, arg):
        held[0]()
        try:
            return held[2](op, arg)
        finally:
            held[1]()

    return method


class Whole:
    """A block device for a file system, whose calls no interrupt divides."""

    def __init__(self, interrupts, device):
        self.readblocks = _quick(interrupts, device.readblocks, 0)
        self.writeblocks = _quick(interrupts, device.writeblocks, None)
        self.ioctl = _quick_ioctl(interrupts, device.ioctl)


class Wire:
    """Words to the supervisor inside the standard output, behind a mark that no program prints by chance."""

    def __init__(self, mark, interrupts=NoInterrupts()):  # noqa: B008
        self.mark = mark
        self.interrupts = interrupts

    def whole(self, device):
        """The block device as a file system shall have it."""
        return Whole(self.interrupts, device)

    def shield(self, cls, *names):
        """From now on these methods of a class are done as a whole, as C is."""
        for name in names:
            setattr(cls, name, _held(self.interrupts, getattr(cls, name)))

    def say(self, text):
        self.interrupts.hold()
        try:
            sys.stdout.buffer.write(self.mark + text.encode() + b"\n")
        finally:
            self.interrupts.release()

    def down(self, text):
        """Say it and never return: the supervisor ends this process."""
        self.interrupts.hold()
        self.say(text)
        while True:
            try:
                time.sleep(1)
            except KeyboardInterrupt:
                pass


class Machine:
    """Module `machine`; what is not here is the unix port's own."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
    PIN_WAKE, EXT0_WAKE, EXT1_WAKE, TIMER_WAKE = 2, 2, 3, 4

    def __init__(self, wire, cause):
        self._wire = wire
        self._cause = cause
        self.WDT = _wdt_class(wire)

    def __getattr__(self, name):
        return getattr(machine, name)

    def reset(self):
        self._wire.down("reset")

    def reset_cause(self):
        return self._cause

    def wake_reason(self):
        return self.TIMER_WAKE if self._cause == self.DEEPSLEEP_RESET else 0

    def deepsleep(self, time_ms=0):
        self._wire.down("sleep %d" % time_ms)

    def unique_id(self):
        return b"\x02mpota"

    def freq(self, *_):
        return 160000000

    def disable_irq(self):
        return 0

    def enable_irq(self, state):
        pass


def _wdt_class(wire):
    class WDT:
        """The task watchdog: it cannot be stopped, and a soft reset does not stop it either."""

        def __init__(self, id=0, timeout=5000):
            if id != 0:
                raise ValueError
            if timeout <= 0:
                raise ValueError("WDT timeout too short")
            # Telling the supervisor of every feed would cost more than the work in between.
            self._gap = min(100, timeout // 8)
            self._last = time.ticks_ms()
            wire.say("wdt %d %d" % (timeout, self._gap))

        def feed(self):
            now = time.ticks_ms()
            if time.ticks_diff(now, self._last) >= self._gap:
                self._last = now
                wire.say("feed")

    return WDT


class Network:
    """Module `network`: a station that joins any network, or none; TCP/IP is the PC's."""

    STA_IF, AP_IF = 0, 1
    STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP, STAT_NO_AP_FOUND = 1000, 1001, 1010, 201

    def __init__(self, air):
        self.air = air
        self.began = None
        self.on = False
        self.WLAN = _wlan_class(self)

    def joined(self):
        return self.air and self.began is not None and time.ticks_diff(time.ticks_ms(), self.began) >= JOIN_MS


class _Wlan:
    """A station of one network."""

    _net = None
    IF_STA, IF_AP = 0, 1

    def __init__(self, interface_id=0):
        self._station = interface_id == 0

    def active(self, on=None):
        if on is not None:
            self._net.on = bool(on)
            self._net.began = self._net.began if on else None
        return self._net.on

    def connect(self, ssid=None, key=None, bssid=None):
        if not self._net.on:
            raise OSError("Wifi Not Started")
        self._net.began = time.ticks_ms()

    def disconnect(self):
        self._net.began = None

    def isconnected(self):
        return self._station and self._net.joined()

    def status(self, what=None):
        if what == "rssi":
            return -50
        if self._net.joined():
            return self._net.STAT_GOT_IP
        if self._net.began is None:
            return self._net.STAT_IDLE
        return self._net.STAT_CONNECTING if self._net.air else self._net.STAT_NO_AP_FOUND

    def ifconfig(self):
        address = "127.0.0.1" if self._net.joined() else "0.0.0.0"
        return (address, "255.0.0.0", address, address)

    def config(self, *names, **_):
        return {"mac": b"\x02mpota", "ssid": "any"}.get(names[0]) if names else None


def _wlan_class(net):
    class WLAN(_Wlan):
        _net = net

    return WLAN


class Socket:
    """Module `socket` that finds no host before the Wi-Fi has joined."""

    def __init__(self, net):
        self._net = net

    def __getattr__(self, name):
        return getattr(socket, name)

    def getaddrinfo(self, *args):
        if not self._net.joined():
            raise OSError(-202)  # EAI_FAIL of lwIP
        return socket.getaddrinfo(*args)


class Micropython:
    """Module `micropython` whose kbd_intr tells the supervisor too: bytes are no text while Ctrl-C is one of them."""

    def __init__(self, wire):
        self._wire = wire

    def __getattr__(self, name):
        return getattr(micropython, name)

    def kbd_intr(self, char):
        micropython.kbd_intr(char)
        self._wire.say("binary %d" % (char != 3))


class Words:
    """A module with some other answers."""

    def __init__(self, real, **answers):
        self._real = real
        for name in answers:
            setattr(self, name, answers[name])

    def __getattr__(self, name):
        return getattr(self._real, name)


class Clock:
    """The port's clock, and machine.RTC over it; seconds since 1970, as the unix port has them.

    It starts in the port's year at power-on. The supervisor keeps it from run to run.
    """

    def __init__(self, wire, seconds):
        self.wire = wire
        self.began = time.ticks_ms()
        self.seconds = seconds

    def time(self):
        return self.seconds + time.ticks_diff(time.ticks_ms(), self.began) // 1000

    def gmtime(self, seconds=None):
        return time.gmtime(self.time() if seconds is None else seconds)

    def rtc(self):
        clock = self

        class RTC:
            def datetime(self, now=None):
                if now is None:
                    year, month, day, hour, minute, second, weekday, _ = clock.gmtime()
                    return (year, month, day, weekday, hour, minute, second, 0)
                year, month, day, _, hour, minute, second, _ = now
                clock.seconds = time.mktime((year, month, day, hour, minute, second, 0, 0))
                clock.began = time.ticks_ms()
                clock.wire.say("clock %d" % clock.seconds)

        return RTC


def _ssl_context_class(clock):
    def judge(der, depth):
        """mbedTLS asks the chip's clock, here it has the computer's: 0, or MBEDTLS_ERR_X509_CERT_VERIFY_FAILED."""
        return 0 if not_before(bytes(der)) <= clock.gmtime()[:6] else -0x2700

    class SSLContext(ssl.SSLContext):
        def __init__(self, protocol):
            super().__init__(protocol)
            self._context.verify_callback = judge

    return SSLContext


def not_before(der):
    """The first of the two dates in a certificate of X.509, as UTCTime of the years 2000 to 2049."""
    at = der.find(b"\x17\x0d")
    while der[at + 15 : at + 17] != b"\x17\x0d":
        at = der.find(b"\x17\x0d", at + 1)
    text = der[at + 2 : at + 14].decode()
    return (2000 + int(text[:2]),) + tuple([int(text[i : i + 2]) for i in range(2, 12, 2)])


def common(wire, cause, behaviour, clock):
    """Name -> module of what a program on any chip can import and the unix port cannot give."""
    net = Network(behaviour != "no-network")
    chip = Machine(wire, cause)
    chip.RTC = clock.rtc()
    return {
        "machine": chip,
        "time": Words(time, time=clock.time, gmtime=clock.gmtime, localtime=clock.gmtime),
        "ssl": Words(ssl, SSLContext=_ssl_context_class(clock)),
        "micropython": Micropython(wire),
        "network": net,
        "socket": Socket(net),
    }
