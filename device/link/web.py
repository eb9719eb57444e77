"""One answer of a web server at a time, as a Source: the body is exactly what was said, from the byte asked for.

Sockets never block: each wait feeds the watchdog and ends after `timeout_ms` without a byte. A body that ends early is
a LinkError, so the update resumes; more than was said is never read. Nothing is allocated by what the server says.
"""

from device.errors import LinkError

LINE = 1280  # bytes kept of a header line; the signed URLs of a release host have about 1000

EARLY = 64  # bytes of the body that may come along with the head


def number(text, base=10):
    """A count from a header."""
    try:
        n = int(text, base)
    except ValueError:
        n = -1
    if n < 0:
        raise LinkError("http", "%s is no length" % text)
    return n


class Web:
    """A connection, its request and the body of its answer."""

    ca = None  # PEM or DER of the CA behind the server's certificate: bytes, or a file's name
    timeout_ms = 10000
    feed = None  # called while waiting, for the watchdog

    def readinto(self, buf):
        """Ends where the manifest or else the server says; raises where the connection ends before."""
        if self.chunked and not self.left:
            # A line ends the chunk before.
            line = self._line() or self._line()
            self.left = number(line.split(b";")[0], 16)
            self.chunked = self.left > 0
        n = len(buf)
        if self.size is not None:
            n = min(n, self.size - self.pos)
        if self.left is not None:
            n = min(n, self.left)
        # What came along with the head is first.
        early = min(n, self.hi - self.lo)
        if early:
            n = early
            buf[:n] = memoryview(self.buf)[self.lo : self.lo + n]
            self.lo += n
        elif n:
            n = self._io(self.stream.readinto, memoryview(buf)[:n])
        if n and not self.pos and (self.html or buf[0] == 60):  # "<"
            raise LinkError("portal", self.url + " is a web page, maybe a login")
        self.pos += n
        if self.left:
            self.left -= n
        if not n and (self.left if self.size is None else self.pos < self.size):
            self.short()
        return n

    def close(self):
        for held in (self.stream, self.sock):
            if held:
                held.close()
        self.stream = self.sock = self.poll = self.buf = None

    def ask(self, at, post):
        """Send the request and judge the answer's head; a redirect gives its URL."""
        scheme, _, rest = self.url.partition("://")
        host, _, path = rest.partition("/")
        if scheme not in ("http", "https"):
            raise LinkError("http", self.url + " is no http URL")
        self._connect(scheme == "https", host)
        more = "Range: bytes=%d-\r\n" % at if at else "Content-Length: %d\r\n" % len(post) if post else ""
        verb = "POST" if post else "GET"
        data = ("%s /%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n" % (verb, path, host, more)).encode() + post
        while data:
            data = data[self._io(self.stream.write, data) :]
        self.shaking = self.chunked = self.html = False
        self.buf = bytearray(LINE)
        self.lo = self.hi = self.pos = 0
        self.left = self.size = None
        words = self._line().split()
        if len(words) < 2 or words[0][:7] != b"HTTP/1.":
            raise LinkError("http", host + " does not answer in HTTP/1")
        goto = self._head(number(words[1]), at)
        # From here on there are only the lines between chunks.
        self.hi -= self.lo
        self.rest[: self.hi] = memoryview(self.buf)[self.lo : self.lo + self.hi]
        self.buf = self.rest
        self.lo = 0
        return goto

    def _head(self, status, at):
        """Read the header fields and judge them."""
        goto = start = b""
        for _ in range(100):
            name, _, value = self._line().partition(b":")
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
        if goto and status in (301, 302, 303, 307, 308) and max(goto) < 127:
            return goto.decode()
        if name or status // 100 != 2:
            raise LinkError("http", "status %d of %s" % (status, self.url))
        self.left = 0 if self.chunked else self.left
        if status == 206:
            self.pos = number(start)
            if self.pos > at:
                raise LinkError("http", "byte %d was asked for, %d came" % (at, self.pos))
        return None

    def _line(self):
        """One line without its end; of an endless one a part is lost."""
        buf = self.buf
        while True:
            end = buf.find(b"\n", self.lo, self.hi)
            if end >= 0:
                line = bytes(memoryview(buf)[self.lo : end]).strip()
                self.lo = end + 1
                return line
            n = self.hi - self.lo
            buf[:n] = buf[self.lo : self.hi]
            self.lo = 0
            self.hi = n if n < len(buf) else n // 2
            # No more than a little of the body comes along, since it has to be kept.
            n = self._io(self.stream.readinto, memoryview(buf)[self.hi : self.hi + EARLY])
            if not n:
                self.short()
            self.hi += n

    def short(self):
        raise LinkError("short", "%s ends at byte %d" % (self.url, self.pos))

    def _connect(self, tls, host):
        import select
        import socket

        name, _, port = host.partition(":")
        self.shaking = tls
        try:
            at = socket.getaddrinfo(name, int(port or (443 if tls else 80)), socket.AF_INET, socket.SOCK_STREAM)[0][-1]
            self.sock = sock = socket.socket()
            sock.settimeout(self.timeout_ms / 1000)
            sock.connect(at)
            sock.setblocking(False)
            if tls:
                from device.link.tls import secure

                self.sock = sock = secure(sock, name, self.ca)
        except (OSError, ValueError) as e:
            self._fail(e)
        # CPython's sockets are no streams.
        self.stream = sock if hasattr(sock, "readinto") else sock.makefile("rwb", 0)
        self.poll = select.poll()
        self.poll.register(self.stream, select.POLLIN)

    def _io(self, call, data):
        """`call(data)` as soon as it moves a byte or finds the end."""
        ms = self.timeout_ms
        while ms > 0:
            if self.feed:
                self.feed()
            try:
                n = call(data)
            except (OSError, ValueError) as e:
                # CPython's TLS says by error 2 what others say by None: nothing yet. A bad certificate is a ValueError.
                n = None if getattr(e, "errno", 0) == 2 else self._fail(e)
            if n is not None:
                return n
            if not self.poll.poll(100):
                ms -= 100
        raise LinkError("link", "%s: no byte in %d ms" % (self.url, self.timeout_ms))

    def _fail(self, e):
        if not self.shaking:
            raise LinkError("link", "%s: %s" % (self.url, e))
        from device.link.tls import refused

        raise refused(self.url, e)
