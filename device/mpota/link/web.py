"""One answer of a web server at a time, as a Source: the body is exactly what was said, from the byte asked for.

Sockets never block: each wait feeds the watchdog and ends after `timeout_ms` without a byte. A server that gives a byte
now and then is held to `header_ms`, to `least`, and to the time that the agent has left. A body that ends early is a
LinkError, so the update resumes; more than was said is never read. Nothing is allocated by what the server says.
"""

import time

from mpota_boot.errors import LinkError

HEADER = 8192  # bytes of a header, or of a line between two chunks of a body
SPAN_MS = 15000  # of waiting, after which the speed of a body is judged


def number(value, base=10):
    """A count from a header."""
    try:
        n = int(value, base)
    except ValueError:
        n = -1
    if n < 0:
        raise LinkError("http", "%s is no length" % value)
    return n


def plain(url):
    """Refuse what no URL has: a line end would begin another request, of somebody else's words."""
    for i, c in enumerate(url):
        if not "!" <= c <= "~":
            words = "%r has the byte 0x%02x at %d, a URL has 0x21 to 0x7e only: percent-encode it" % (url, ord(c), i)
            raise LinkError("url", words)


class Web:
    """A connection, its request and the body of its answer."""

    ca = None  # PEM or DER of the CA behind the server's certificate: bytes, or a file's name
    timeout_ms = 10000
    header_ms = 30000  # from the request to the end of the header, redirects included
    least = 256  # bytes a second that a body has to bring; below that the update goes on later
    feed = None  # called while waiting, for the watchdog
    time_left = None  # gives the milliseconds that a wait may still take; the agent's

    def ticks(self):
        return time.ticks_ms()

    def since(self, then):
        """Milliseconds since `then`, a value of ticks()."""
        return time.ticks_diff(time.ticks_ms(), then)

    def readinto(self, buf):
        """Ends where the manifest or else the server says; raises where the connection ends before."""
        if self.chunked and not self.left:
            # A line ends the chunk before.
            self.room = HEADER
            line = bytearray(20)
            line = self._line(line) or self._line(line)
            self.left = number(line.split(b";")[0], 16)
            self.chunked = self.left > 0
        n = len(buf)
        if self.size is not None:
            n = min(n, self.size - self.pos)
        if self.left is not None:
            n = min(n, self.left)
        if n:
            n = self._io(self.sock.readinto, memoryview(buf)[:n])
        if n and not self.pos and (self.html or buf[0] == 60):  # "<"
            raise LinkError("portal", self.url + " is a web page, maybe a login")
        self.pos += n
        if self.left:
            self.left -= n
        if not n and (self.left if self.size is None else self.pos < self.size):
            self.short()
        return n

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = self.poll = None

    def ask(self, at, post):
        """Send the request and judge the answer's head; a redirect gives its URL."""
        plain(self.url)
        scheme, _, rest = self.url.partition("://")
        host, _, path = rest.partition("/")
        tls = scheme == "https"
        if not tls and scheme != "http":
            raise LinkError("http", self.url + " is no http URL")
        self.connect(tls, host)
        more = "Range: bytes=%d-\r\n" % at if at else "Content-Length: %d\r\n" % len(post) if post else ""
        verb = "POST" if post else "GET"
        data = ("%s /%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n" % (verb, path, host, more)).encode() + post
        while data:
            data = data[self._io(self.sock.write, data) :]
        self.shaking = self.chunked = self.html = False
        self.left = self.size = None
        self.pos = 0
        self.room = HEADER
        # The signed URLs of a release host have about 1000 bytes.
        line = bytearray(1280)
        words = self._line(line).split()
        if len(words) < 2 or words[0][:7] != b"HTTP/1.":
            raise LinkError("http", host + " does not answer in HTTP/1")
        return self._head(line, number(words[1]), at)

    def _head(self, buf, status, at):
        """Read the header fields through `buf` and judge them."""
        goto = start = b""
        for _ in range(100):
            name, _, value = self._line(buf).partition(b":")
            name, value = name.lower(), value.strip()
            if not name:
                break
            if name == b"content-length":
                self.left = number(value)
            elif name == b"transfer-encoding":
                self.chunked = True
            elif name == b"content-range":
                start = value[6:].split(b"-")[0]
            elif name == b"content-type":
                self.html = value[:9].lower() == b"text/html"
            elif name == b"location":
                goto = value
        kind = status // 100
        if goto and kind == 3 and max(goto) < 127:
            return goto.decode()
        if name or kind != 2:
            raise LinkError("http", "status %d of %s" % (status, self.url))
        if self.chunked:
            self.left = 0
        if status == 206:
            self.pos = number(start)
            if self.pos > at:
                raise LinkError("http", "byte %d was asked for, %d came" % (at, self.pos))
        return None

    def _line(self, buf):
        """One line without its end; of one longer than `buf` the rest is lost."""
        # Byte by byte: what is behind the line is the body's, and goes where that goes.
        one = bytearray(1)
        n = 0
        while self._io(self.sock.readinto, one):
            if one[0] == 10:
                return bytes(buf[:n]).strip()
            self.room -= 1
            if not self.room:
                raise LinkError("http", "%s: a header of more than %d bytes" % (self.url, HEADER))
            if n < len(buf):
                buf[n] = one[0]
                n += 1
        self.short()

    def short(self):
        raise LinkError("short", "%s ends at byte %d" % (self.url, self.pos))

    def connect(self, tls, host):
        import select
        import socket

        name, _, port = host.partition(":")
        began = self.ticks()
        self.shaking = tls
        self.hurry(0)
        ms = min(self.timeout_ms, self.most - self.waited, self.time_left() if self.time_left else self.timeout_ms)
        try:
            at = socket.getaddrinfo(name, int(port or (443 if tls else 80)), 2, 1)[0][-1]  # AF_INET, SOCK_STREAM
            self.sock = sock = socket.socket()
            sock.settimeout(ms / 1000)
            sock.connect(at)
            sock.settimeout(0)
            if tls:
                from mpota.link.tls import secure

                self.sock = secure(sock, name, self.ca)
        except (OSError, ValueError) as e:
            self._fail(e)
        self.waited += self.since(began)
        self.poll = select.poll()
        self.poll.register(self.sock, 1)  # POLLIN

    def _io(self, call, data):
        """`call(data)` as soon as it moves a byte or finds the end."""
        began = self.ticks()
        ms = self.timeout_ms
        while ms > 0:
            if self.feed:
                self.feed()
            self.hurry(self.since(began))
            try:
                n = call(data)
            except (OSError, ValueError) as e:
                # A bad certificate is a ValueError.
                self._fail(e)
            # None: nothing yet.
            if n is not None:
                self.waited += self.since(began)
                return n
            if not self.poll.poll(100):
                ms -= 100
        raise LinkError("link", "%s: no byte in %d ms" % (self.url, self.timeout_ms))

    def hurry(self, ms):
        """Raise where a server takes more time than it has; `ms` were waited since `waited` was counted.

        Only waiting counts: between two reads a board erases its flash and gives the application its turns.
        """
        ms += self.waited
        if self.time_left and self.time_left() <= 0:
            raise LinkError("late", self.url + ": no time left, asked again later")
        if self.most:
            if ms >= self.most:
                raise LinkError("slow", "%s: no end after %d ms, at most %d" % (self.url, ms, self.most))
        elif ms >= SPAN_MS:
            n = self.pos - self.mark
            if n * 1000 < self.least * ms:
                raise LinkError("slow", "%s: %d bytes in %d ms, at least %d a second" % (self.url, n, ms, self.least))
            self.waited -= ms
            self.mark = self.pos

    def _fail(self, e):
        if not self.shaking:
            raise LinkError("link", "%s: %s" % (self.url, e))
        from mpota.link.tls import refused

        raise refused(self.url, e)
