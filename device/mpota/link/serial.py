"""The serial link: the board pulls a package out of a host over a UART or its own console.

The board leads: PULL says from which byte, ACK says for how many bytes its caller waits. The host sends that many, for
the board reads them as they come, and `ahead` bytes of frames behind them, which a receive buffer without flow control
holds while the board erases or hashes. So the line is busy then too, and no byte is lost. A gap, a damaged frame or a
silence makes the board PULL again from the byte it wants: there is one way to recover, and the host only follows.
A UART's receive buffer must hold `ahead + 16` bytes, the last 16 for one SENT.

A console blocks until it has all the bytes it was asked for, so never more is asked for than the frame under way lacks.
Where bytes were lost, or a host died in the middle of a frame, a host ends the wait: mpota_host/board/push.py, `probe`
and `free`. PULL and ACK have 20 bytes at most: MicroPython lets no other thread print between those (py/mpconfig.h,
MICROPY_PY_STRING_TX_GIL_THRESHOLD).
"""

import select
import sys
from struct import pack

from micropython import const, kbd_intr

from mpota.link.frame import EXTRA, Frames, encode
from mpota.stream import finish
from mpota_boot.errors import LinkError

_PULL = const(1)  # send from off; payload: u16 longest payload of a frame, u16 ahead
_ACK = const(2)  # all bytes before off are here; payload: u16 bytes from off that the board waits for
_REPORT = const(3)  # payload: code, newline, text; off numbers it
_PROGRESS = const(4)  # off bytes are done; payload: u32 total
_OFFER = const(5)  # from here on the host's; answer to PULL; payload: u32 package size
_NONE = const(6)  # answer to PULL: nothing on offer
_DATA = const(7)  # package bytes that start at off
_SENT = const(8)  # all bytes before off were sent and no ACK was heard
_ABORT = const(9)  # the person at the host stopped it
_HEARD = const(10)  # answer to REPORT with its off
_BYE = const(11)  # from both; after the host's answer it sends nothing more


# A frame of 4096 bytes, and another one ahead of it: for a line with flow control.
_SIZE = const(4096)
_AHEAD = const(4112)


def console(size=_SIZE, ahead=_AHEAD):
    """The link over the console; Ctrl-C is data from the first word until bye()."""
    link = Serial(sys.stdin.buffer, sys.stdout.buffer, size, ahead)
    link.kbd_intr = kbd_intr
    return link


class Serial:
    """A Link and its Source, over streams with readinto and write that select.poll can wait for.

    `size`: the longest payload of a frame; one is kept in RAM. `ahead`: bytes of frames that may be under way while the
    caller is at work. The longer `size` is beside `ahead`, the more of them are taken in between its works.
    The port's own errors pass.

    In steps it waits for the bytes of a frame that is under way, and for 50 ms of silence.
    """

    timeout_ms = 1000  # of silence before the board asks again
    tries = 10  # times in a row that it asks in vain before it gives up
    asked = True  # for what is missing now; nothing is before the first open()
    frames: Frames = None  # type: ignore[assignment]  # from start() to bye()
    kbd_intr = None
    waits = True  # does readinto() wait for a host that says nothing?
    steps = None  # those to the next bytes
    feed = None  # called while waiting, for the watchdog

    def __init__(self, rx, tx=None, size=_SIZE, ahead=_AHEAD):
        self.rx, self.tx = rx, tx or rx
        self.portion = pack("<HH", size, ahead)
        self.ahead = ahead
        self.room = size + EXTRA
        self.run = self.at = self.count = self.wanted = 0
        self._fresh()

    def open(self, at=0):
        """The package from byte `at` on, or None when the host has nothing to offer. Waits."""
        found = finish(self.opening(at))
        self.waits = True
        return found

    def opening(self, at=0, buf=None):
        """open() in steps; readinto() does not wait either."""
        self.start()
        self.waits = self.steps = None
        self.frames.forget()
        self.run, self.at, self.wanted = self.run + 1 & 0xFF, at, 0
        self._pull()
        kind = None
        while kind != _OFFER:
            kind, _, data = yield from self.next()
            if kind == _NONE:
                return None
            yield
        self.size = int.from_bytes(data[:4], "little")
        self._fresh()
        return self

    def other(self, code=""):
        """The host decides what to offer next."""
        return False

    def report(self, code, text):
        """Tell the host, and wait; after three silences nobody listens, and that is no error."""
        finish(self.reporting(code, text))

    def reporting(self, code, text):
        """report() in steps."""
        self.start()
        self.count += 1
        return self._ask(_REPORT, self.count, (code + "\n" + text).encode()[: self.room - EXTRA], _HEARD)

    def progress(self, at, size):
        """Tell the host how far the update is; no answer is awaited."""
        if self.frames:
            self.send(_PROGRESS, at, size.to_bytes(4, "little"))

    def readinto(self, buf):
        frames = self.frames
        if not frames.kept():
            if self.at >= self.size:
                return 0
            if not self.steps:
                self.wanted = min(len(buf), self.size - self.at, 0xFFFF)
                self._ack()
                self.steps = self._more()
            for _ in self.steps:
                if not self.waits:
                    return None
        return frames.read(buf)

    def _more(self):
        """Steps to bytes that are of use."""
        try:
            while not self._use(*(yield from self.next())):
                yield
        finally:
            self.wanted, self.steps = 0, None

    def between(self):
        """Between two long works of the caller: take in the frame that came meanwhile, so that the next one can come.

        Nothing is done where the buffer may have no room, or where something is amiss: readinto() sees to it.
        """
        room = self.room - self.frames.end >= self.ahead
        if room and self.at < self.size and not self.asked and self.poll.poll(0):
            try:
                next(self._listen())
            except StopIteration as e:
                if e.value and self._use(*e.value):
                    self._ack()

    def close(self):
        """The package is no longer wanted; the host is told by bye()."""

    def bye(self):
        """Say goodbye and read what is still under way, so that no byte of it reaches a REPL."""
        if self.frames:
            try:
                finish(self._ask(_BYE, 0, b"", _BYE))
            finally:
                self.frames = None
                if self.kbd_intr:
                    self.kbd_intr(3)

    def _use(self, kind, off, data):
        """Keep the payload that starts at `self.at`: True. What came before is dropped, what lacks is asked for."""
        if kind == _DATA and off == self.at and data:
            self.asked = False
            self.at += len(data)
            self.frames.keep(data)
            self._fresh()
            if self.at >= self.size:
                self._ack()
            return True
        if off > self.at and (kind == _SENT or not self.asked):
            self._pull()
        elif kind == _SENT:
            self._ack()
        return False

    def start(self):
        self._fresh()
        if self.frames:
            return
        if self.kbd_intr:
            self.kbd_intr(-1)
        self.frames = Frames(bytearray(self.room))
        self.poll = select.poll()
        self.poll.register(self.rx, 1)  # POLLIN

    def send(self, kind, off, data=b""):
        self.tx.write(encode(kind, self.run, off, data))

    def _fresh(self):
        """The host has brought what was asked for."""
        self.vain = 0
        self.noise = 4 * self.room

    def _pull(self):
        self.asked = True
        self.send(_PULL, self.at, self.portion)
        if self.wanted:
            self._ack()

    def _ack(self):
        self.send(_ACK, self.at, pack("<H", self.wanted))

    def next(self):
        """Steps to the next frame; asks again after each silence, and where what comes is of no use."""
        while True:
            f = yield from self._listen()
            if f:
                return f
            self.vain += 1
            if self.vain >= self.tries:
                text = "no frame from the host with byte %d, asked %d times in %d ms"
                raise LinkError("link", text % (self.at, self.tries, self.tries * self.timeout_ms))
            self.noise = 4 * self.room
            self._pull()

    def _ask(self, kind, off, data, answer):
        """Steps that send until the host answers, at most three times, with a silence after each."""
        try:
            for _ in range(3):
                self._fresh()
                self.send(kind, off, data)
                f = yield from self._listen()
                while f and f[:2] != (answer, off):
                    yield
                    f = yield from self._listen()
                if f:
                    return
        except (LinkError, OSError):
            return

    def _listen(self):
        """Steps to the next frame of this run as (kind, off, payload); None after a silence or too much of no use."""
        ms = self.timeout_ms
        while ms > 0 and self.noise > 0:
            f = self.frames.take()
            if f:
                # A host that has just come cannot know the run when it stops what an earlier one began.
                if f[0] == _ABORT:
                    raise LinkError("aborted", "stopped by the host")
                if f[1] == self.run:
                    return f[0], f[2], f[3]
            elif not self._read():
                ms -= 50
            elif self.frames.need > 1 or self.noise & 127:
                # A frame is under way, or some noise.
                continue
            yield
        return None

    def _read(self):
        """Read what the frame under way lacks; the bytes, or [] or None after 50 ms of silence."""
        frames = self.frames
        if frames.bad and not self.asked:
            self._pull()
        frames.bad = 0
        if self.feed:
            self.feed()
        n = self.poll.poll(50) and self.rx.readinto(frames.room()[: frames.need])
        # A silence is [], a UART says None when the bytes went elsewhere; 0 is the end of a pipe.
        if n == 0:
            raise LinkError("link", "the port was closed")
        if n:
            frames.hi += n
            self.noise -= n
        return n
