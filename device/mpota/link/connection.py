"""A connection to a server in steps: look-up, TCP, TLS, and bytes as they come, each with its deadline.

A generator yields, and `io()` says None, where nothing has come yet. No call waits for a server or a name server; only
the arithmetic of TLS takes its time. `wait()` waits for the end of such steps.
"""

import sys
import time
from gc import collect

from micropython import const

from mpota_boot.errors import LinkError

_SPAN_MS = const(15000)  # of waiting, after which the speed of a body is judged
# No clock that shows an earlier year has been set: a port's begins in 1970, 2000 or 2021.
YEAR = 2026
# Between two looks the application has its turn, which is not the server's fault: so much of it counts.
_LOOK_MS = const(1000)


def forget(names="ask find later login reach tls url", home="mpota.link"):
    """Give the room of modules back that are needed for a while only, while a link opens; the next time loads them."""
    there = sys.modules[home]
    for name in names.split():
        if sys.modules.pop(home + "." + name, None) and hasattr(there, name):
            delattr(there, name)
    collect()


class Connection:
    """One connection after another; `url` says where to, for messages: without what may be a secret."""

    ca = None  # PEM or DER of the CAs behind the server's certificate: bytes, or a file's name
    cert = None  # (certificate, key), names of files: who we are, for a server that wants to know
    timeout_ms = 10000  # without a byte
    least = 256  # bytes a second of a body
    feed = None  # called while waiting, for the watchdog
    network = None  # the board's network, a Net: whoever asks waits for it in steps
    name_server = None  # gives the address of the name server; without one the port looks up names, and waits
    waits = False  # does readinto() wait too?

    def __init__(self):
        self.url = ""
        self.sock = self.poll = None
        # Bytes so far, and at the last look at the speed; milliseconds of waiting, all and without a byte.
        self.pos = self.mark = self.looked = self.waited = self.quiet = 0
        self.most = 0  # milliseconds that there are; 0: what the least speed allows
        self.shaking = False
        self.what = ""

    def ticks(self):
        return time.ticks_ms()

    def since(self, at):
        """Milliseconds since `at`, a value of ticks()."""
        return time.ticks_diff(time.ticks_ms(), at)

    def wait(self, steps):
        """Run steps to their end, feeding the watchdog."""
        while True:
            try:
                next(steps)
            except StopIteration as e:
                self.waits = True
                return e.value
            self.pause()

    def pause(self):
        if self.feed:
            self.feed()
        if self.poll:
            self.poll.poll(100)
        elif self.network:
            self.network.board.pause()

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = self.poll = None

    def connect(self, to):
        """Steps to a connection; `to` is what url.parse() makes of a URL."""
        from mpota.link.reach import connect

        return connect(self, to)

    def poller(self, sock, events):
        import select

        poll = select.poll()
        poll.register(sock, events)
        return poll

    def io(self, call, data):
        """`call(data)`: the bytes that it moved, 0 at the end, None for nothing yet."""
        try:
            n = call(data)
        except (OSError, ValueError) as e:
            # A bad certificate is a ValueError.
            self.fail(e)
        if n is None:
            self.count(n)
        elif n:
            self.quiet = 0
        return n

    def count(self, n):
        """Count the time since the last look; raise where a server takes more of it than it has."""
        # No garbage here: while nothing comes this is all that is done, again and again.
        ms = min(self.since(self.looked), _LOOK_MS)
        self.looked = self.ticks()
        self.waited += ms
        self.quiet = 0 if n else self.quiet + ms
        if self.quiet >= self.timeout_ms:
            self.end("link", "no %s in %d ms" % (self.what, self.timeout_ms))
        if self.most:
            if self.waited >= self.most:
                self.end("slow", "no end after %d ms, at most %d" % (self.waited, self.most))
        elif self.waited >= _SPAN_MS:
            n = self.pos - self.mark
            if n * 1000 < self.least * self.waited:
                self.end("slow", "%d bytes in %d ms, at least %d a second" % (n, self.waited, self.least))
            self.waited = 0
            self.mark = self.pos

    def end(self, code, words):
        """Raise a LinkError about this URL."""
        raise LinkError(code, "%s: %s" % (self.url, words))

    def fail(self, e):
        # TCP's errors have numbers from 100 on, those of the TLS libraries are negative or small.
        if self.shaking and not (isinstance(e, OSError) and (e.errno or 0) > 99):
            from mpota.link.tls import refused

            self.end(*refused(e, None, self.network and self.network.untimed))
        self.end("link", str(e))
