"""The serial link: the board pulls a package out of a host over a UART or its own console.

The board leads: PULL says from which byte, in which portions and how many may be under way; DATA comes back and is
acknowledged as it arrives. A gap, a damaged frame or a silence makes the board PULL again from the byte it wants, so
there is one way to recover and the host only follows. A UART's receive buffer must hold `window * (size + 16)` bytes.

A console blocks until it has all the bytes it was asked for, so never more is asked for than the frame under way lacks.
A host that died in the middle of a frame leaves a wait that the next host ends: mpota_host/board/push.py, `free`.
"""

import select
import sys
from struct import pack

from micropython import const, kbd_intr

from mpota.link.frame import EXTRA, Frames, encode
from mpota_boot.errors import LinkError

_PULL = const(1)  # send from off; payload: u16 payload size, u8 frames under way at once
_ACK = const(2)  # all bytes before off are here
_REPORT = const(3)  # payload: code, newline, text; off numbers it
_PROGRESS = const(4)  # off bytes are done; payload: u32 total
_OFFER = const(5)  # from here on the host's; answer to PULL; payload: u32 package size
_NONE = const(6)  # answer to PULL: nothing on offer
_DATA = const(7)  # package bytes that start at off
_SENT = const(8)  # all bytes before off were sent and no ACK was heard
_ABORT = const(9)  # the person at the host stopped it
_HEARD = const(10)  # answer to REPORT with its off
_BYE = const(11)  # from both; after the host's answer it sends nothing more


def console(size=4096, window=2):
    """The link over the console; Ctrl-C is data from the first word until bye()."""
    link = Serial(sys.stdin.buffer, sys.stdout.buffer, size, window)
    link.kbd_intr = kbd_intr
    if window == 1:
        link.grain = 1  # a UART console may lose bytes in the middle of a frame
    return link


class Serial:
    """A Link and its Source, over streams with readinto and write that select.poll can wait for.

    The port's own errors pass.
    """

    timeout_ms = 1000  # of silence before the board asks again
    tries = 10  # silences in a row before it gives up
    grain = 8192  # bytes asked of `rx` at once, at most
    asked = True  # for what is missing now; nothing is before the first open()
    frames = kbd_intr = None
    rest = b""
    feed = None  # called while waiting, for the watchdog
    time_left = None  # gives the milliseconds that a wait may still take; the agent's

    def __init__(self, rx, tx=None, size=4096, window=2):
        self.rx, self.tx = rx, tx or rx
        self.portion = pack("<HB", size, window)
        self.room = size + EXTRA
        self.run = self.at = self.count = 0

    def open(self, at=0):
        """The package from byte `at` on, or None when the host has nothing to offer."""
        self.start()
        self.run, self.at = self.run + 1 & 0xFF, at
        self._pull()
        kind = None
        while kind != _OFFER:
            kind, _, data = self.next()
            if kind == _NONE:
                return None
        self.size = int.from_bytes(data, "little")
        return self

    def other(self):
        """The host decides what to offer next."""
        return False

    def report(self, code, text):
        """Tell the host; after three silences nobody listens, and that is no error."""
        self.start()
        self.count += 1
        self._ask(_REPORT, self.count, (code + "\n" + text).encode()[: self.room - EXTRA], _HEARD)

    def progress(self, at, size):
        """Tell the host how far the update is; no answer is awaited."""
        if self.frames:
            self.send(_PROGRESS, at, size.to_bytes(4, "little"))

    def readinto(self, buf):
        if not self.rest:
            if self.at >= self.size:
                return 0
            self.rest = self.data()
        n = min(len(buf), len(self.rest))
        buf[:n] = self.rest[:n]
        self.rest = self.rest[n:]
        return n

    def close(self):
        """The package is no longer wanted; the host is told by bye()."""

    def bye(self):
        """Say goodbye and read what is still under way, so that no byte of it reaches a REPL."""
        if self.frames:
            try:
                self._ask(_BYE, 0, b"", _BYE)
            finally:
                self.frames = None
                if self.kbd_intr:
                    self.kbd_intr(3)

    def data(self):
        """The payload that starts at `self.at`; what came before is dropped, what is missing is asked for."""
        while True:
            kind, off, data = self.next()
            if kind == _DATA and off == self.at and data:
                self.asked = False
                self.at += len(data)
                self.send(_ACK, self.at)
                return data
            if off > self.at and (kind == _SENT or not self.asked):
                self._pull()
            elif kind == _SENT:
                self.send(_ACK, self.at)

    def start(self):
        # Listening overwrites a payload that was not read to its end: it is asked for once more.
        self.at -= len(self.rest)
        self.rest = b""
        if self.frames:
            return
        if self.kbd_intr:
            self.kbd_intr(-1)
        self.frames = Frames(bytearray(self.room))
        self.poll = select.poll()
        self.poll.register(self.rx, 1)  # POLLIN

    def send(self, kind, off, data=b""):
        self.tx.write(encode(kind, self.run, off, data))

    def _pull(self):
        self.asked = True
        self.send(_PULL, self.at, self.portion)

    def next(self):
        """The next frame; asks again after each silence."""
        for _ in range(self.tries):
            f = self._listen()
            if f:
                if f[0] == _ABORT:
                    raise LinkError("aborted", "stopped by the host")
                return f
            self._pull()
        raise LinkError("link", "no frame from the host in %d ms" % (self.tries * self.timeout_ms))

    def _ask(self, kind, off, data, answer):
        """Send until the host answers, at most three times, with a silence after each."""
        try:
            for _ in range(3):
                self.send(kind, off, data)
                f = self._listen()
                while f and f[:2] != (answer, off):
                    f = self._listen()
                if f:
                    return
        except (LinkError, OSError):
            return

    def _listen(self):
        """The next frame of this run as (kind, off, payload), or None after a silence or noise worth four frames."""
        frames, ms = self.frames, self.timeout_ms
        noise = 4 * self.room
        while ms > 0 and noise > 0:
            f = frames.take()
            if f:
                # A host that has just come cannot know the run when it stops what an earlier one began.
                if f[1] == self.run or f[0] == _ABORT:
                    return f[0], f[2], f[3]
                continue
            if frames.bad and not self.asked:
                self._pull()
            frames.bad = 0
            if self.feed:
                self.feed()
            if self.time_left and self.time_left() <= 0:
                raise LinkError("late", "no time left for the host, asked again later")
            n = self.poll.poll(50) and self.rx.readinto(frames.room()[: min(frames.need, self.grain)])
            # A silence is [], a UART says None when the bytes went elsewhere; 0 is the end of a pipe.
            if n == 0:
                raise LinkError("link", "the port was closed")
            if n:
                frames.hi += n
                noise -= n
            else:
                ms -= 50
        return None
