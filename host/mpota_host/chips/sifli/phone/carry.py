"""What carries a phone's messages to a chip: a serial line or a TCP connection, here; BLE in radio.py.

On a line a beginning and an end are frames (mpota/layout/sifli/line.py). A line that has a speed is never given more
than it can carry by then, so a packet that is lost costs what was under way and no more.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from mpota.layout.sifli.link import framing, line
from mpota_boot.errors import LinkError
from mpota_host.chips.sifli.phone.phone import Phone

HELLO = bytes(line.encode(b""))
# What a frame that a phone before has begun may still lack.
FILL = bytes(line.MTU + line.EXTRA)
# A packet of a block of 512 in one value, and more.
MTU = 1024 + 3
# What may wait in front of a paced line: less would let it rest, more would be lost with a packet.
BACKLOG_S = 0.008
# What starts the phone's side of a user program, at a MicroPython prompt.
SNIPPET = b"import wiring\nwiring.phone()"
# A chip that restarts, installs or is asked twice is there again by then.
PATIENCE_S = 30.0
ANSWER_S = 0.4
# A user program takes a phone that says nothing for gone before that.
GONE_S = 4.0
# A chip that has dropped the link is its other program by then.
AGAIN_S = 0.4


class Wire(Protocol):
    """Bytes both ways: `read` waits so long at most, b"" is nothing yet; OSError where it is gone."""

    def read(self, timeout_s: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class SerialWire:
    """A serial port, or whatever pyserial opens by a URL."""

    def __init__(self, port: str, baud: int) -> None:
        import serial

        self.port = serial.serial_for_url(port, baud, timeout=0, write_timeout=10)

    def read(self, timeout_s: float) -> bytes:
        """What has come. Windows has no select() for a serial port, so pyserial waits."""
        if self.port.timeout != timeout_s:
            self.port.timeout = timeout_s
        data: bytes = self.port.read(1)
        return data + self.port.read(self.port.in_waiting) if data else b""

    def write(self, data: bytes) -> None:
        """All of it."""
        self.port.write(data)

    def close(self) -> None:
        """Leave the port."""
        self.port.close()


class TcpWire:
    """A TCP connection."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), 5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        """What has come."""
        if not select.select([self.sock], [], [], timeout_s)[0]:
            return b""
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionResetError("the chip closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """All of it."""
        self.sock.sendall(data)

    def close(self) -> None:
        """End it."""
        self.sock.close()


class Link:
    """Frames on a wire: `values` come in, `send` takes them; `dropped` once the chip has ended the link."""

    def __init__(self, wire: Wire, baud: int = 0) -> None:
        self.wire = wire
        self.byte_s = 10 / baud if baud else 0.0
        self.free_at = 0.0
        self.frames = line.Frames(bytearray(line.MTU + line.EXTRA))
        self.sent = self.got = 0
        self.dropped = False
        # Greetings on this line that nobody has answered yet: a chip that starts or is busy answers them all later.
        self.owed = 0
        # Did the user program stop for this phone, at its MicroPython prompt?
        self.prompted = False
        # Drops values of so many packets in a hundred, for those who want to see what that costs.
        self.spoil: Callable[[bytes], bool] = lambda value: False

    def values(self, timeout_s: float) -> list[bytes]:
        """What has come; an empty value is a beginning or an end."""
        data = memoryview(self.wire.read(timeout_s))
        self.got += len(data)
        found = []
        while data:
            room = self.frames.room()
            n = min(len(room), len(data))
            room[:n] = data[:n]
            data = data[n:]
            value = self.frames.took(n)
            if value is not None:
                found.append(bytes(value))
        return found

    def room(self) -> float:
        """Seconds until the line can take more; 0 where it can now."""
        return max(0.0, self.free_at - time.monotonic() - BACKLOG_S) if self.byte_s else 0.0

    def send(self, value: bytes) -> None:
        """Write a frame."""
        data = bytes(line.encode(value))
        self.sent += len(data)
        self.free_at = max(self.free_at, time.monotonic()) + len(data) * self.byte_s
        if self.spoil(value):
            data = data[:-1] + bytes((data[-1] ^ 0x55,))
        self.wire.write(data)

    def greet(self, timeout_s: float) -> bool:
        """Say that a phone has come; is there a chip that answers?"""
        self.wire.write(HELLO)
        self.owed += 1
        end = time.monotonic() + timeout_s
        answered = False
        while time.monotonic() < end:
            if said := self.values(0.05).count(b""):
                answered = True
                self.owed -= said
                # An answer that comes later still would be taken for an end. Some never come: the chip was off then.
                end = time.monotonic() + ANSWER_S
                if self.owed <= 0:
                    break
        # One more than was asked for: an answer, and an end right behind it.
        return answered and self.owed >= 0


def prompt(wire: Wire) -> bool:
    """Start the phone's side of the user program from its MicroPython prompt. False where there is none."""
    for text, answer in ((b"\r\x03", b""), (b"\r\x01", b"raw REPL; CTRL-B to exit\r\n>"), (SNIPPET + b"\x04", b"OK")):
        wire.write(text)
        seen, end = b"", time.monotonic() + 1
        while answer not in seen or not answer:
            more = wire.read(0.2)
            seen += more
            if time.monotonic() > end or (not more and not answer):
                break
        if answer not in seen:
            return False
    return True


def connect(open_wire: Callable[[], Wire], baud: int, patience_s: float = PATIENCE_S) -> Link:
    """A link to whichever program of the chip runs; LinkError where none answers."""
    end = time.monotonic() + patience_s
    why, owed = "no answer", 0
    while time.monotonic() < end:
        try:
            wire = open_wire()
        except OSError as e:
            why = str(e)
            time.sleep(0.2)
            continue
        link = Link(wire, baud)
        # A connection is new, a line is not.
        link.owed = 0 if isinstance(wire, TcpWire) else owed
        with contextlib.suppress(OSError):
            if link.greet(ANSWER_S) or _raise(link):
                return link
        owed = max(0, link.owed)
        wire.close()
    raise LinkError("silent", f"no chip answers ({why}); is it the right port, and is it on?")


def _raise(link: Link) -> bool:
    """A chip that did not answer may be at a prompt, or in the middle of a frame."""
    if not isinstance(link.wire, TcpWire) and prompt(link.wire):
        link.prompted = True
        # The prompt took what came before.
        link.owed = 0
        return link.greet(3.0)
    link.wire.write(FILL)
    return link.greet(ANSWER_S)


def give_back(wire: Wire) -> None:
    """The user program goes on where no upgrade came of this: a soft reset, once its chip sees that nobody speaks."""
    seen, end = b"", time.monotonic() + GONE_S
    while b"\x04>" not in seen and time.monotonic() < end:
        seen += wire.read(0.2)
    if b"\x04>" in seen:
        wire.write(b"\x02\x04")


class Drive:
    """Plays a phone until its upgrade is done or has failed; `note` hears of what goes wrong on the way."""

    def __init__(
        self,
        phone: Phone,
        open_wire: Callable[[], Wire],
        baud: int = 0,
        note: Callable[[str], None] = lambda text: None,
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.phone, self.open_wire, self.baud, self.note, self.step = phone, open_wire, baud, note, step
        self.parts = framing.Parts(bytearray(4096))
        self.link: Link | None = None
        self.spoil: Callable[[bytes], bool] | None = None
        # Connections that came to nothing, one after the other.
        self.tries = 4

    def run(self) -> None:
        """LinkError where the link fails for good; `phone` says how the rest ended."""
        left, before = self.tries, -1
        while self.phone.phase not in ("done", "failed"):
            if self.phone.stored > before or self.phone.phase == "reboot":
                left, before = self.tries, self.phone.stored
            if not left:
                raise LinkError("link", f"{self.phone.error or 'the link was lost'}; push again, it goes on")
            left -= 1
            try:
                self._once()
            except OSError as e:
                self.note(f"the link was lost: {e}")
            finally:
                self.phone.lost()
                self.close()

    def close(self) -> None:
        """Leave the line."""
        if self.link:
            with contextlib.suppress(OSError):
                self.link.wire.close()

    def _once(self) -> None:
        self.link = link = connect(self.open_wire, self.baud)
        if self.spoil:
            link.spoil = self.spoil
        self.parts.size = 0
        self.phone.connected()
        while not (self.phone.hang_up or self.phone.phase == "failed"):
            wait = self._write(link)
            for value in link.values(wait):
                if not value:
                    self._said()
                    return time.sleep(AGAIN_S)
                message = self.parts.feed(value)
                if message is not None:
                    self.phone.feed(bytes(message))
                    self.step(self.phone.stored, self.phone.total)
            self.phone.tick()
        if self.phone.phase == "failed" and link.prompted:
            give_back(link.wire)
        self._said()

    def _said(self) -> None:
        if self.phone.error and self.phone.phase == "link":
            self.note(f"the chip says: {self.phone.error}; once more")

    def _write(self, link: Link) -> float:
        """Send what may be sent; seconds to listen until there is more."""
        while not link.room():
            message = self.phone.take()
            if message is None:
                return 0.02
            for value in framing.encode(message, MTU):
                link.send(value)
        return min(0.02, link.room())


def opener(where: str, baud: int) -> Callable[[], Wire]:
    """What opens `host:port`, or a serial port."""
    host, colon, port = where.rpartition(":")
    if colon and port.isdigit() and not where.startswith("/"):
        return lambda: TcpWire(host, int(port))
    return lambda: SerialWire(where, baud)
