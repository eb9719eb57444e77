"""The serial link: the board pulls a package out of a host over a UART or its own console.

The board leads: PULL says from which byte, in which portions and how many may be under way; DATA comes back and is
acknowledged as it arrives. A gap, a damaged frame or a silence makes the board PULL again from the byte it wants, so
there is one way to recover and the host only follows. A UART's receive buffer must hold `window * (size + 16)` bytes.

A console blocks until it has all the bytes it was asked for, so never more is asked for than the frame under way lacks.
A host that died in the middle of a frame leaves a wait that the next host ends: host/push/serial.py, `free`.
"""

from struct import pack, unpack

from device.errors import LinkError
from device.link.frame import (
    ABORT,
    ACK,
    BYE,
    DATA,
    EXTRA,
    HEARD,
    NONE,
    OFFER,
    PROGRESS,
    PULL,
    REPORT,
    SENT,
    Frames,
    encode,
)


def console(size=4096, window=2):
    """The link over the console; Ctrl-C is data from the first word until close().

    A window of 1 is for a UART console, which may lose bytes in the middle of a frame: it is read byte by byte.
    """
    import sys

    import micropython

    link = Serial(sys.stdin.buffer, sys.stdout.buffer, size, window)
    link.kbd_intr = micropython.kbd_intr
    if window == 1:
        link.grain = 1
    return link


class Serial:
    """A Link over streams with readinto and write that select.poll can wait for."""

    timeout_ms = 1000  # of silence before the board asks again
    tries = 10  # silences in a row before it gives up
    grain = 8192  # bytes asked of `rx` at once, at most
    kbd_intr = None
    feed = None  # called while waiting, for the watchdog

    def __init__(self, rx, tx=None, size=4096, window=2):
        self.rx = rx
        self.tx = tx or rx
        self.portion = pack("<HB", size, window)
        self.buf_size = size + EXTRA
        self.frames = None
        self.rest = b""
        self.run = self.at = self.number = 0

    def open(self, at=0):
        """The package from byte `at` on, or None when the host has nothing to offer."""
        self._start()
        self.rest = b""
        self.run = self.run + 1 & 0xFF
        self.at = at
        self._pull()
        while True:
            kind, _, data = self._next()
            if kind == NONE:
                return None
            if kind == OFFER:
                self.size = unpack("<I", data)[0]
                if at > self.size:
                    raise LinkError("link", "byte %d is wanted of a package of %d" % (at, self.size))
                return _Body(self)

    def report(self, code, text):
        """Tell the host; after three silences nobody listens, and that is no error."""
        self._start()
        # Listening overwrites a payload that was not read to its end: it is asked for once more.
        self.at -= len(self.rest)
        self.rest = b""
        self.number += 1
        self._ask(REPORT, self.number, ("%s\n%s" % (code, text)).encode()[: self.buf_size - EXTRA], HEARD)

    def progress(self, done, total):
        """Tell the host how far the update is; no answer is awaited."""
        if self.frames:
            self._send(PROGRESS, done, pack("<I", total))

    def close(self):
        """Say goodbye and read what is still under way, so that no byte of it reaches a REPL."""
        if not self.frames:
            return
        try:
            self._ask(BYE, 0, b"", BYE)
        finally:
            self.frames = self.poll = None
            if self.kbd_intr:
                self.kbd_intr(3)

    def data(self):
        """The payload that starts at `self.at`; what came before is dropped, what is missing is asked for."""
        while True:
            kind, off, data = self._next()
            if kind == DATA and off == self.at and data:
                self.asked = False
                self.at += len(data)
                self._send(ACK, self.at)
                return data
            if off <= self.at:
                if kind == SENT:
                    self._send(ACK, self.at)
            elif kind == SENT or not self.asked:
                self._pull()

    def _start(self):
        if self.frames:
            return
        import select

        if self.kbd_intr:
            self.kbd_intr(-1)
        self.frames = Frames(bytearray(self.buf_size))
        self.poll = select.poll()
        self.poll.register(self.rx, select.POLLIN)

    def _send(self, kind, off, data=b""):
        try:
            self.tx.write(encode(kind, self.run, off, data))
        except OSError as e:
            raise LinkError("link", "the port does not write: %s" % e)

    def _pull(self):
        self.asked = True
        self._send(PULL, self.at, self.portion)

    def _next(self):
        """The next frame; asks again after each silence."""
        for _ in range(self.tries):
            f = self._listen()
            if f:
                if f[0] == ABORT:
                    raise LinkError("aborted", "the host stopped the update")
                return f
            self._pull()
        raise LinkError("link", "no frame from the host in %d ms" % (self.tries * self.timeout_ms))

    def _ask(self, kind, off, data, answer):
        """Send until the host answers; three silences, or frames of something else without end, end it."""
        for _ in range(3):
            try:
                self._send(kind, off, data)
                for _ in range(32):
                    f = self._listen()
                    if not f or (f[0] == answer and f[1] == off):
                        break
                else:
                    continue
                if f:
                    return
            except LinkError:
                return

    def _listen(self):
        """The next frame of this run as (kind, off, payload), or None after a silence or noise worth four frames."""
        frames = self.frames
        ms = self.timeout_ms
        noise = 4 * self.buf_size
        while ms > 0 and noise > 0:
            f = frames.take()
            if f:
                # A host that has just come cannot know the run when it stops what an earlier one began.
                if f[1] == self.run or f[0] == ABORT:
                    return f[0], f[2], f[3]
                continue
            if frames.bad:
                frames.bad = 0
                if not self.asked:
                    self._pull()
            n = self._read()
            noise -= n
            if not n:
                ms -= 50
        return None

    def _read(self):
        """Read a part of what is lacking; 0 after 50 ms without a byte."""
        if self.feed:
            self.feed()
        try:
            if not self.poll.poll(50):
                return 0
            n = self.rx.readinto(self.frames.room()[: min(self.frames.need, self.grain)])
        except OSError as e:
            raise LinkError("link", "the port does not read: %s" % e)
        # A UART says None when the bytes went elsewhere; 0 is the end of a pipe.
        if n == 0:
            raise LinkError("link", "the port was closed by the other side")
        self.frames.fed(n or 0)
        return n or 0


class _Body:
    """A package as it arrives."""

    def __init__(self, link):
        self.link = link

    def readinto(self, buf):
        link = self.link
        if not link.rest:
            if link.at >= link.size:
                return 0
            link.rest = link.data()
        n = min(len(buf), len(link.rest))
        buf[:n] = link.rest[:n]
        link.rest = link.rest[n:]
        return n

    def close(self):
        """What is under way belongs to an old run and is dropped by the next open()."""
        self.link.rest = b""
