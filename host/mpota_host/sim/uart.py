"""A board's serial line in virtual time: the board's code, the host's and a chip's times on one clock, in one process.

`Line` is what the board reads, writes and polls, and what carries the bytes of a host (mpota_host/board/push.py,
`Sender`) to it. Bytes arrive at `baud` while the board computes, erases or waits. A UART's receive buffer takes `ring`
of them and loses what comes then; with `flow` the host keeps what the board has no room for, as USB does.

The flash's times are those of mpota_host/sim/flash.py. A call of the interpreter: a poll and a read took 310 us on the
unix port on a busy PC; no ESP32 was measured. SHA-256 of a sector and what the interpreter does with it: 1 ms, a guess.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from mpota.link.frame import Frames
from mpota.link.serial import Serial
from mpota_host.sim.flash import SlowFlash

HASH_MS, CALL_MS = 1.0, 0.31
# From the last byte of a frame to the first byte of the answer: a USB bridge that is asked each millisecond.
TURN_MS = 1.0
# A ring of 260 bytes keeps one free to tell full from empty.
RING = 259
PROBE_MS = 1000.0
# Virtual milliseconds after which a board or a host waits for ever.
END_MS = 3_600_000.0
SECTOR = 4096


class Stuck(BaseException):
    """The virtual time is over."""


class Host(Protocol):
    """The host's end, as mpota_host/board/push.py has it."""

    frames_seen: int

    @property
    def under_way(self) -> int: ...

    def feed(self, data: bytes) -> None: ...

    def take(self) -> bytes | None: ...

    def probe(self) -> None: ...


class Line:
    """Both directions of a line, and the clock: `now` in milliseconds. `lost` counts what the ring had no room for.

    `chat` is (milliseconds, text): another thread of the board prints the text so often. `noise` sees each piece that a
    side writes, as (from the board, bytes), and returns what becomes of it.
    """

    def __init__(self, host: Host, baud: int, ring: int = RING, flow: bool = False) -> None:
        self.host = host
        self.byte_ms = 10_000 / baud
        self.ring, self.flow = ring, flow
        self.now = 0.0
        self.lost = 0
        self.chat: tuple[float, bytes] | None = None
        self.noise: Callable[[bool, bytes], bytes] = lambda board, data: data
        self._held = bytearray()
        # To the board: pieces as [when the host wrote it, bytes]; and when the line is free for the next byte.
        self._down: deque[list[Any]] = deque()
        self._down_free = self._up_free = 0.0
        # To the host: (when it is there, bytes).
        self._up: deque[tuple[float, bytes]] = deque()
        self._quiet, self._frames, self._chat_at = 0.0, 0, 0.0

    # What the board calls

    def readinto(self, buf: Any) -> int:
        """Block until all of it is there, as a console does."""
        self.work(CALL_MS)
        n = len(buf)
        while len(self._held) < n:
            self._pass(END_MS, n - len(self._held))
        buf[:] = self._held[:n]
        del self._held[:n]
        return n

    def poll(self, ms: int) -> list[Line]:
        """[self] as soon as there is a byte, [] after `ms`."""
        end = self.now + ms
        while not self._held and self.now < end:
            self._pass(end, 1)
        return [self] if self._held else []

    def write(self, data: bytes) -> int:
        self.work(CALL_MS)
        self._say(bytes(data))
        return len(data)

    def work(self, ms: float) -> None:
        """The board does something else; bytes go on arriving."""
        end = self.now + ms
        while self.now < end:
            self._pass(end, 0)

    # The clock

    def _pass(self, end: float, wanted: int) -> None:
        """Let time pass until `end`, until something happens at the host, or until a reader has `wanted` bytes more."""
        due = self._event()
        at = max(self.now, min(end, due, self._arrival(wanted)))
        if at >= END_MS:
            raise Stuck(f"nothing more in {END_MS:.0f} ms")
        self._arrive(at, wanted)
        self.now = at
        if due <= at:
            self._happen()

    def _event(self) -> float:
        """When something happens at the host next."""
        times = [self._probe_at()]
        if self._up:
            times.append(self._up[0][0])
        if self.chat:
            times.append(self._chat_at)
        return min(times)

    def _probe_at(self) -> float:
        """As `speak` has it."""
        return self._quiet + PROBE_MS + self.host.under_way * self.byte_ms

    def _happen(self) -> None:
        if self.chat and self.now >= self._chat_at:
            self._chat_at += self.chat[0]
            self._say(self.chat[1])
        while self._up and self._up[0][0] <= self.now:
            self.host.feed(self._up.popleft()[1])
        if self.host.frames_seen != self._frames:
            self._quiet, self._frames = self.now, self.host.frames_seen
        elif self.now >= self._probe_at():
            self.host.probe()
            self._quiet = self.now
        while (out := self.host.take()) is not None:
            self._down.append([self.now, self.noise(False, out)])

    def _say(self, data: bytes) -> None:
        data = self.noise(True, data)
        self._up_free = max(self._up_free, self.now) + len(data) * self.byte_ms
        self._up.append((self._up_free + TURN_MS, data))

    def _arrival(self, wanted: int) -> float:
        """When so many more bytes are there, or all that are under way."""
        at = END_MS
        free = self._down_free
        for written, data in self._down:
            if wanted <= 0:
                break
            begun = max(free, written)
            at = begun + min(wanted, len(data)) * self.byte_ms
            wanted -= len(data)
            free = begun + len(data) * self.byte_ms
        return at

    def _arrive(self, end: float, wanted: int) -> None:
        """Bytes that are there at `end`. A reader takes those that it waits for, and has taken what was there."""
        while self._down:
            piece = self._down[0]
            written, data = piece
            begun = max(self._down_free, written)
            n = min(len(data), int((end - begun) / self.byte_ms + 1e-6))
            if n <= 0:
                return
            room = min(n, self.ring + wanted if wanted else self.ring - len(self._held))
            self._held += data[:room]
            if self.flow and room < n:
                piece[1] = data[room:]
                self._down_free = end
                return
            self.lost += n - room
            self._down_free = begun + n * self.byte_ms
            piece[1] = data[n:]
            if not piece[1]:
                self._down.popleft()


class Board(Serial):
    """The board's end over a Line, with the time that it takes to look at what came."""

    def __init__(self, line: Line, size: int = 2048, ahead: int = 242) -> None:
        super().__init__(line, line, size, ahead)

    def start(self) -> None:
        self._fresh()
        if not self.frames:
            self.frames: Frames = Frames(bytearray(self.room))
            self.poll = self.rx

    def readinto(self, buf: Any) -> int | None:
        n: int | None = super().readinto(buf)
        self.rx.work((n or 0) * HASH_MS / SECTOR)
        return n


class Flash(SlowFlash):
    """One whose reads take time too, for what is read is hashed."""

    def read(self, off: int, buf: Any) -> None:
        self.work(HASH_MS * len(buf) / SECTOR)
        super().read(off, buf)
