"""The host's end of the serial link, over the same frames as the board's.

`Sender` is the protocol without input or output: it only follows what the board PULLs. `speak` runs it over a wire,
`push` starts the board's side through the raw REPL of mpremote first and leaves the port usable afterwards. A host that
stops says so with an ABORT frame; a host that dies says nothing, and the board resumes with the next one either way.
"""

import contextlib
import io
import os
import select
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mpota.link import frame, serial
from mpota_host.board import raw
from mpota_host.board.errors import PushError

SNIPPET = "from wiring import Board; from mpota import console; console.push(Board())"
# Before a soft reset. A board without mpota, or with an older one, has nobody to tell.
TELL = "try:\n from wiring import Board\n from mpota import console\n console.soft(Board())\nexcept Exception:\n pass"

# No byte of it is a control character that a REPL obeys, but for one Tab.
STOP = bytes(frame.encode(serial._ABORT, 0, 0))
# What ends an earlier host's session: enough to complete a frame's head, and Ctrl-C for whatever else runs.
# A board that is silent after it waits for the rest of a frame, whose payload has 4112 bytes at most. STOP follows when
# that is over: it would be lost behind bytes that come faster than they are read.
WAKE = bytes(frame.EXTRA) + STOP + b"\r\x03"
LONGEST = 4112 + frame.EXTRA
FILL = (bytes(LONGEST), STOP, STOP)
# Seconds of listening after each of these, for a board that prints without a pause; a pause ends it sooner.
LISTEN_S, PAUSE_S = 1.5, 0.3
# Seconds that one read of the port waits, and that a board may take no bytes.
READ_S, WRITE_S = 1, 10
# Seconds to reach the prompt and run the snippet, and to leave it.
START_S, LEAVE_S = 20, 5

OTHER = "is it mpota that speaks there, and of this version? `flash` puts this one on the board"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What the board said last: a stable code and a sentence."""

    code: str
    text: str


class Sender:
    """One package for one board: `feed` what came, write what `take` gives until it gives None."""

    def __init__(
        self, package: bytes | None, on_progress: Progress | None = None, on_update: Progress | None = None
    ) -> None:
        self.package = package
        self.on_progress = on_progress
        self.on_update = on_update
        self.report: Report | None = None
        self.finished = False
        self.frames_seen = 0
        # Frames that tell of progress; a board that only repeats its question makes none.
        self.moves = 0
        self._frames = frame.Frames(bytearray(65536))
        self._tail = bytearray()
        self._out: deque[bytes] = deque()
        self._run = 0
        self._next = self._acked = 0
        self._size = self._ahead = 0
        # Bytes before this one are read as they come: the board waits for them.
        self._awaited = 0
        # First and last byte of the frames that no ACK has passed.
        self._flight: deque[tuple[int, int]] = deque()
        self._pulled = -1
        self._probes = 0
        self._answers: dict[int, Callable[[int, int, bytes], None]] = {
            serial._PULL: self._on_pull,
            serial._ACK: self._on_ack,
            serial._REPORT: self._on_report,
            serial._PROGRESS: self._on_update,
            serial._BYE: self._on_bye,
        }

    @property
    def text(self) -> str:
        """The last bytes that came behind the last frame, where a REPL's text stands."""
        return self._tail.decode("utf-8", "replace")

    @property
    def waiting(self) -> bool:
        """Bytes were sent that the board has not acknowledged."""
        return self._acked < self._next

    @property
    def under_way(self) -> int:
        """Bytes of the package that were sent and not acknowledged."""
        return self._next - self._acked

    def feed(self, data: bytes) -> None:
        while data:
            room = self._frames.room()
            n = min(len(room), len(data))
            room[:n] = data[:n]
            self._frames.hi += n
            self._tail += data[:n]
            del self._tail[:-2048]
            data = data[n:]
            while (got := self._frames.take()) is not None:
                kind, run, off, payload = got
                self.frames_seen += 1
                self._probes = 0
                self._tail[:] = self._frames.buf[self._frames.lo : self._frames.hi]
                if kind in self._answers:
                    self._answers[kind](run, off, bytes(payload))

    def take(self) -> bytes | None:
        """The next frame to write, or None when it is the board's turn."""
        if self._out:
            return self._out.popleft()
        if self.package is None or self.finished or self._next >= len(self.package):
            return None
        off = self._next
        n = min(self._size, self._room())
        if n <= 0:
            return None
        data = self.package[off : off + n]
        self._next += len(data)
        self._flight.append((off, self._next))
        return bytes(frame.encode(serial._DATA, self._run, off, data))

    def _room(self) -> int:
        """How long a payload may be now.

        What the board waits for is read at once. Behind it frames may be under way as long as `ahead` bytes hold them.
        """
        whole = self._ahead - frame.EXTRA
        if self._next < self._awaited:
            return max(self._awaited - self._next, whole)
        while self._flight and self._flight[0][1] <= self._acked:
            self._flight.popleft()
        return whole - sum(end - at + frame.EXTRA for at, end in self._flight if at >= self._awaited)

    def probe(self) -> None:
        """After a silence: say how far the sending went, so that the board asks for what was lost.

        A board that does not hear it either waits for the rest of a frame: fill that up, then say it again.
        """
        if self.waiting:
            self._probes += 1
            if self._probes % 2:
                self._say(serial._SENT, self._run, self._next)
            else:
                self._out.append(bytes(self._size + frame.EXTRA))

    def abort(self) -> None:
        """Stop for good; the board reports and says goodbye."""
        self.package = None
        self._out.clear()
        self._say(serial._ABORT, self._run, 0)

    def _say(self, kind: int, run: int, off: int, payload: bytes = b"") -> None:
        self._out.append(frame.encode(kind, run, off, payload))

    def _on_pull(self, run: int, off: int, payload: bytes) -> None:
        if self.package is not None:
            self._size, self._ahead = _fields("PULL", "<HH", payload)
            if not self._size or self._ahead <= frame.EXTRA:
                seen = f"{self._size} bytes a frame and {self._ahead} bytes ahead"
                raise PushError("frame", f"the board asks for {seen}, wanted 1 and {frame.EXTRA + 1} or more: {OTHER}")
        self.moves += off != self._pulled
        self._run, self._pulled = run, off
        # A board that asks twice gets one answer, or the answers pile up before a slow line.
        self._out = deque(out for out in self._out if out[2] not in (0, serial._OFFER, serial._NONE))
        if self.package is None or off > len(self.package):
            self._say(serial._NONE, run, off)
            return
        self._next = self._acked = self._awaited = off
        self._flight.clear()
        self._say(serial._OFFER, run, off, struct.pack("<I", len(self.package)))

    def _on_ack(self, run: int, off: int, payload: bytes) -> None:
        (wanted,) = _fields("ACK", "<H", payload)
        if run != self._run or not self._acked <= off <= self._next:
            return
        self._awaited = off + wanted
        if off > self._acked:
            self._acked = off
            self.moves += 1
            if self.on_progress and self.package is not None:
                self.on_progress(off, len(self.package))

    def _on_report(self, run: int, off: int, payload: bytes) -> None:
        code, _, text = payload.decode("utf-8", "replace").partition("\n")
        self.moves += self.report != Report(code, text)
        self.report = Report(code, text)
        self._say(serial._HEARD, run, off)

    def _on_update(self, run: int, off: int, payload: bytes) -> None:
        self.moves += 1
        if self.on_update:
            self.on_update(off, _fields("PROGRESS", "<I", payload)[0])

    def _on_bye(self, run: int, off: int, payload: bytes) -> None:
        self._out.clear()
        self._say(serial._BYE, run, off)
        self.finished = True


def _fields(name: str, layout: str, payload: bytes) -> tuple[int, ...]:
    """The numbers of a frame; PushError where its payload has another length, since its CRC says that it came whole."""
    n = struct.calcsize(layout)
    if len(payload) != n:
        raise PushError("frame", f"the board sent {len(payload)} bytes in a {name} frame, wanted {n}: {OTHER}")
    return struct.unpack(layout, payload)


class Wire(Protocol):
    """A byte line: `read` waits at most so many seconds and gives what is there, b"" for nothing."""

    def read(self, timeout_s: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...


class FdWire:
    """A wire over a file descriptor, for example the master of a pty."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read(self, timeout_s: float) -> bytes:
        if not select.select([self.fd], [], [], timeout_s)[0]:
            return b""
        try:
            data = os.read(self.fd, 65536)
        except OSError as e:
            raise PushError("port", f"the port does not read: {e}") from e
        if not data:
            raise PushError("port", "the port was closed by the other side")
        return data

    def write(self, data: bytes) -> None:
        end = time.monotonic() + WRITE_S
        try:
            while data:
                if not select.select([], [self.fd], [], max(0.0, end - time.monotonic()))[1]:
                    raise PushError("port", "the board takes no bytes: is another program on its port?")
                data = data[os.write(self.fd, data) :]
        except OSError as e:
            raise PushError("port", f"the port does not write: {e}") from e


class SerialWire:
    """A wire over an open pyserial port."""

    def __init__(self, port: Any) -> None:
        self.port = port

    def read(self, timeout_s: float) -> bytes:
        try:
            self.port.timeout = timeout_s
            data: bytes = self.port.read(1)
            return data + self.port.read(self.port.in_waiting) if data else b""
        except OSError as e:
            raise PushError("port", f"the port does not read: {e}") from e

    def write(self, data: bytes) -> None:
        try:
            self.port.write(data)
        except OSError as e:
            raise PushError("port", f"the port does not write: {e}") from e


class TooLong(OSError):
    """The time for what was done at the port is over."""


class Timed:
    """A pyserial port with an end: its calls fail when the time that `allow` gave is over.

    mpremote and ampy wait as long as bytes come, and on a pty for a first one that never comes; each of their loops
    calls the port, and so ends.
    """

    def __init__(self, port: Any, seconds: float) -> None:
        port.timeout, port.write_timeout = READ_S, WRITE_S
        vars(self).update(_port=port, _end=0.0, _seconds=0.0)
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """From now on."""
        vars(self).update(_end=time.monotonic() + seconds, _seconds=seconds)

    def _check(self) -> None:
        if time.monotonic() > self._end:
            raise TooLong(f"the board was not done in {self._seconds:.0f} s: reset it, or stop what it prints")

    def read(self, n: int = 1) -> bytes:
        self._check()
        data: bytes = self._port.read(n)
        return data

    def write(self, data: bytes) -> int | None:
        self._check()
        n: int | None = self._port.write(data)
        return n

    def inWaiting(self) -> int:
        self._check()
        n: int = self._port.in_waiting
        return n

    in_waiting = property(inWaiting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._port, name, value)


def speak(
    wire: Wire, sender: Sender, patience_s: float = 60.0, probe_s: float = 1.0, baud: int = 115200
) -> Report | None:
    """Serve until the board says goodbye; return its last report. No progress for `patience_s` is an error.

    Bytes that are under way take their time at `baud`: a board that is silent so long is not asked.
    """
    moved, moves, heard = time.monotonic(), sender.moves, False
    # A board may print all the time and wait for a frame all the same: only a frame is an answer.
    quiet, frames = moved, sender.frames_seen
    while not sender.finished:
        while (out := sender.take()) is not None:
            wire.write(out)
        data = wire.read(probe_s)
        sender.feed(data)
        if sender.moves != moves:
            moved, moves, heard = time.monotonic(), sender.moves, False
        elif time.monotonic() - moved > patience_s:
            did = "came no further" if heard else "said nothing"
            raise PushError("silent", f"the board {did} for {patience_s:.0f} s; push again to resume")
        heard = heard or bool(data)
        if sender.frames_seen != frames:
            quiet, frames = time.monotonic(), sender.frames_seen
        elif time.monotonic() - quiet >= probe_s + sender.under_way * 10 / baud:
            _ask(sender)
            quiet = time.monotonic()
    while (out := sender.take()) is not None:
        wire.write(out)
    return sender.report


def _ask(sender: Sender) -> None:
    """The board has said no frame for a while: is its program over?"""
    text, ended, _ = sender.text.rpartition("\x04>")
    if ended:
        raise PushError("board", f"the board's program ended: {_last_line(text)}")
    sender.probe()


def stop(wire: Wire, sender: Sender, patience_s: float = 5.0) -> Report | None:
    """End a session from this side; the board keeps what it has and can resume."""
    sender.abort()
    try:
        return speak(wire, sender, patience_s, 0.2)
    except PushError:
        return None


def push(port: str, sender: Sender, baud: int = 115200, snippet: str = SNIPPET) -> Report | None:
    """Push over the board's console at `port`; returns the board's last report, None if it gave none."""
    from mpremote.transport import TransportError
    from mpremote.transport_serial import SerialTransport

    try:
        board = SerialTransport(port, baudrate=baud)
    except (TransportError, OSError) as e:
        raise PushError("port", f"cannot open {port} ({e}); is the board plugged in, and is it that port?") from e
    try:
        board.serial = Timed(board.serial, START_S)
        # A session has an end of its own.
        wire = SerialWire(board.serial._port)
        free(wire)
        board.serial.allow(START_S)
        _start(board, snippet)
        try:
            report = speak(wire, sender, baud=baud)
        except KeyboardInterrupt:
            stop(wire, sender)
            _leave(board)
            raise
        # A board that is armed resets itself at once; there is no prompt to wait for.
        if report is None or report.code != "armed":
            _leave(board)
        return report
    finally:
        with contextlib.suppress(OSError):
            board.close()


def free(wire: Wire) -> None:
    """End what an earlier host left behind: a board in the middle of a session does not listen to Ctrl-C."""
    for _ in range(100):
        if not wire.read(0):
            break
    sender = Sender(None)
    for data in (WAKE, *FILL):
        wire.write(data)
        end = time.monotonic() + LISTEN_S
        while time.monotonic() < end and (came := wire.read(PAUSE_S)):
            sender.feed(came)
            while (out := sender.take()) is not None:
                wire.write(out)
            if sender.finished:
                return
        # Frames alone may be an old session's last words; text alone is a REPL or a program that Ctrl-C has ended.
        if sender.text and not sender.frames_seen:
            return


def tell(run: Callable[[str], Any]) -> None:
    """Tell the board that a soft reset follows; one that does not listen is restarted all the same."""
    with contextlib.suppress(Exception):
        run(TELL)


def _start(board: Any, snippet: str, tries: int = 3) -> None:
    """Run the snippet after a soft reset; a board may miss a key while its application or its boot has the line."""
    from mpremote.transport import TransportError

    for left in reversed(range(tries)):
        try:
            # mpremote prints what it did not expect.
            with contextlib.redirect_stdout(io.StringIO()):
                board.enter_raw_repl(soft_reset=False, timeout_overall=5)
                tell(lambda code: raw.run(board, code))
                board.enter_raw_repl(soft_reset=True, timeout_overall=5)
                raw.start(board, snippet)
            return
        except (TransportError, OSError, struct.error) as e:
            if not left:
                text = f"no MicroPython prompt on this port ({e}): is it the right port and baud rate?"
                raise PushError("repl", text) from e


def _leave(board: Any) -> None:
    """Back to the friendly prompt; a board that has reset itself is left alone."""
    from mpremote.transport import TransportError

    with contextlib.suppress(TransportError, OSError):
        board.serial.allow(LEAVE_S)
        board.serial.timeout = 0.1
        board.read_until(1, b"\x04>", timeout=2)
        board.exit_raw_repl()


def _last_line(text: str) -> str:
    lines = [line for line in text.replace("\x04", "\n").split("\n") if line.strip(" >\r")]
    return lines[-1].strip() if lines else "no message"
