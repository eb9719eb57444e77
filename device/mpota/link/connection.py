"""A connection to a server in steps: look-up, TCP, TLS, and bytes as they come, each with its deadline.

A generator yields, and `io()` says None, where nothing has come yet. No call waits for a server or a name server; only
the arithmetic of TLS takes its time. `wait()` waits for the end of such steps.
"""

import time

from mpota.link.url import shown
from mpota_boot.errors import LinkError

SPAN_MS = 15000  # of waiting, after which the speed of a body is judged
# No clock that shows an earlier year has been set: a port's begins in 1970, 2000 or 2021.
YEAR = 2026
# Between two looks the application has its turn, which is not the server's fault: so much of it counts.
_LOOK_MS = 1000
# A datagram without an answer is sent again.
_AGAIN_MS = 2000


def reach(call, at):
    """`call(at)` with an address (host, port); the unix port wants it packed."""
    try:
        return call(at)
    except TypeError:
        import socket

        return call(socket.getaddrinfo(*at)[0][-1])


class Connection:
    """One connection after another; `url` says where to, for messages."""

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

    def since(self, then):
        """Milliseconds since `then`, a value of ticks()."""
        return time.ticks_diff(time.ticks_ms(), then)

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
        """A connection over IPv4, or else over IPv6; and TLS over it."""
        tls, host, port = to[:3]
        if self.network:
            yield from self.network.ready(tls)
        self.shaking = False
        errors = []
        for six in (False, True):
            try:
                found = yield from self.address(host, port, six)
                if found:
                    sock = yield from self._join(*found)
                    break
            except LinkError as e:
                errors.append(e)
                self.close()
        else:
            raise (errors or [LinkError("link", "%s: the name %s has no address" % (shown(self.url), host))])[0]
        if tls:
            from mpota.link.tls import secure

            self.shaking = True
            try:
                self.sock = secure(sock, host, self.ca, self.cert)
            except (OSError, ValueError) as e:
                self._fail(e)
        self.poll = self.poller(self.sock, 5)  # POLLIN and POLLOUT: a handshake wants now this, now that
        self.what = "byte"

    def address(self, host, port, six):
        """(family, address) of a host, None where it has none of this family."""
        import socket

        family = getattr(socket, "AF_INET6", 10) if six else socket.AF_INET
        # For this name lwIP asks nobody.
        server = host != "localhost" and self.name_server and self.name_server()
        if server:
            ip = host if six == (":" in host) else None
            if host.strip("0123456789.") and ":" not in host:
                from mpota.link.dns import look_up

                ip = yield from look_up(self, host, server, six)
            return ip and (family, (ip, port))
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0]
            return found[0], found[-1]
        except OSError as e:
            raise LinkError("link", "%s: no address for the name %s: %s" % (shown(self.url), host, e))

    def _join(self, family, at):
        """A connection, in steps."""
        import socket
        from errno import EAGAIN, EINPROGRESS

        words = "%s: no connection to the server: %s"
        self.sock = sock = socket.socket(family)
        sock.setblocking(False)
        try:
            reach(sock.connect, at)
        except OSError as e:
            if e.errno not in (EAGAIN, EINPROGRESS):
                raise LinkError("link", words % (shown(self.url), e))
        self.what = "connection to the server"
        self.quiet = 0
        self.poll = self.poller(self.sock, 4)  # POLLOUT
        found = self.poll.poll(0)
        while not found:
            self.count(None)
            yield
            found = self.poll.poll(0)
        if found[0][1] & 24:  # POLLERR, POLLHUP; on an ESP32 the first write tells
            raise LinkError("link", words % (shown(self.url), "refused, or out of reach"))
        return sock

    def exchange(self, family, at, query, decode):
        """Steps to what `decode(answer)` gives of the first datagram from there for which that is not None."""
        import socket

        self.sock = sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        self.poll = self.poller(sock, 1)  # POLLIN
        self.quiet = due = 0
        found = None
        while found is None:
            if self.quiet >= due:
                reach(lambda to: sock.sendto(query, to), at)
                due += _AGAIN_MS
            if self.poll.poll(0):
                found = decode(sock.recvfrom(512)[0])
            if found is None:
                self.count(None)
                yield
        self.close()
        return found

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
            self._fail(e)
        if n is None:
            self.count(n)
        elif n:
            self.quiet = 0
        return n

    def count(self, moved):
        """Count the time since the last look; raise where a server takes more of it than it has."""
        ms = min(self.since(self.looked), _LOOK_MS)
        self.looked = self.ticks()
        self.waited += ms
        self.quiet = 0 if moved else self.quiet + ms
        url = shown(self.url)
        if self.quiet >= self.timeout_ms:
            raise LinkError("link", "%s: no %s in %d ms" % (url, self.what, self.timeout_ms))
        if self.most:
            if self.waited >= self.most:
                raise LinkError("slow", "%s: no end after %d ms, at most %d" % (url, self.waited, self.most))
        elif self.waited >= SPAN_MS:
            n = self.pos - self.mark
            if n * 1000 < self.least * self.waited:
                words = "%s: %d bytes in %d ms, at least %d a second"
                raise LinkError("slow", words % (url, n, self.waited, self.least))
            self.waited = 0
            self.mark = self.pos

    def _fail(self, e):
        # TCP's errors have numbers from 100 on, those of the TLS libraries are negative or small.
        if self.shaking and not (isinstance(e, OSError) and (e.errno or 0) > 99):
            from mpota.link.tls import refused

            raise refused(shown(self.url), e, None, self.network and self.network.untimed)
        raise LinkError("link", "%s: %s" % (shown(self.url), e))
