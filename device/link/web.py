"""One answer of a web server as a Source: the body is exactly what was said, from the byte that was asked for.

Sockets never block: each wait feeds the watchdog and ends after `timeout_ms` without a byte. A body that ends early is
a LinkError, so the update resumes; more than was said is never read. Nothing is allocated by what the server says.
"""

from device.errors import LinkError

FIELDS = (b"location", b"content-type", b"content-length", b"content-range", b"transfer-encoding")
LINE = 1280  # bytes kept of a header line; the signed URLs of a release host have about 1000


def number(text, base=10):
    """A count from a header."""
    try:
        n = int(text, base)
    except ValueError:
        n = -1
    if n < 0:
        raise LinkError("http", "%s is no length" % text)
    return n


def join(base, url):
    """`url` as seen from the page `base`; never from https to less."""
    scheme, _, rest = base.partition("://")
    path = rest.partition("?")[0]
    if url.startswith("//"):
        url = scheme + ":" + url
    elif url.startswith("/"):
        url = scheme + "://" + path.partition("/")[0] + url
    elif "://" not in url.partition("?")[0]:
        url = scheme + "://" + (path.rpartition("/")[0] or path) + "/" + url
    if scheme == "https" and not url.startswith("https:"):
        raise LinkError("tls", "https leads to " + url)
    return url


class Body:
    """One answer of a server, as a Source."""

    sock = stream = left = None
    chunked = False
    pos = 0

    def __init__(self, link, url, size):
        self.link = link
        self.url = url
        self.size = size

    def readinto(self, buf):
        """Ends where the manifest or else the server says; raises where the connection ends before."""
        n = len(buf)
        if self.size is not None:
            n = min(n, self.size - self.pos)
        if self.chunked and not self.left:
            self._chunk()
        if self.left is not None:
            n = min(n, self.left)
        if n:
            n = self._io(self.stream.readinto, memoryview(buf)[:n])
            if not self.pos and buf[0] == 60:  # "<"
                self._portal()
            self.pos += n
            if self.left is not None:
                self.left -= n
        if not n and (self.pos < self.size if self.size is not None else self.left):
            raise LinkError("short", "%s ends at byte %d" % (self.url, self.pos))
        return n

    def close(self):
        for held in (self.stream, self.sock):
            if held:
                held.close()
        self.stream = self.sock = self.poll = None

    def ask(self, at, post):
        """Send the request, read the answer's head and go to byte `at` of the body; a redirect gives its URL."""
        scheme, _, rest = self.url.partition("://")
        host, _, path = rest.partition("/")
        if scheme not in ("http", "https"):
            raise LinkError("http", self.url + " is no http URL")
        self._connect(scheme == "https", host)
        extra = "Range: bytes=%d-\r\n" % at if at else ""
        if post:
            extra = "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(post)
        verb = "POST" if post else "GET"
        ask = "%s /%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n" % (verb, path, host, extra)
        self._write(ask.encode())
        self._write(post or b"")
        self.buf = memoryview(bytearray(LINE))
        goto = self._head(at)
        while not goto and self.pos < at:
            if not self.readinto(self.buf[: min(LINE, at - self.pos)]):
                raise LinkError("short", "%s ends at byte %d" % (self.url, self.pos))
        # The lines between chunks are short.
        self.buf = self.chunked and memoryview(bytearray(32))
        return goto

    def _head(self, at):
        """Read and judge the head of the answer; a redirect gives its URL."""
        words = self._line().split(b" ", 2)
        if len(words) < 2 or words[0][:7] != b"HTTP/1.":
            raise LinkError("http", self.url + " does not answer in HTTP/1")
        status = number(words[1])
        head = self._fields()
        goto = head.get(b"location")
        if goto and status in (301, 302, 303, 307, 308):
            try:
                return goto.decode()
            except ValueError:
                raise LinkError("http", self.url + " leads to no URL")
        if status // 100 != 2:
            raise LinkError("http", "status %d of %s" % (status, self.url))
        if head.get(b"content-type", b"").lower().startswith(b"text/html"):
            self._portal()
        self.chunked = b"transfer-encoding" in head
        if self.chunked:
            self.left = 0
        elif b"content-length" in head:
            self.left = number(head[b"content-length"])
        if status == 206:
            self.pos = number(head.get(b"content-range", b"")[6:].split(b"-")[0])
            if self.pos > at:
                raise LinkError("http", "byte %d was asked for, %d came" % (at, self.pos))
        return None

    def _fields(self):
        """The header fields that matter here."""
        head = {}
        for _ in range(100):
            line = self._line()
            if not line:
                return head
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in FIELDS:
                head[name] = value.strip()
        raise LinkError("http", "more than 100 header lines")

    def _line(self):
        """One line without its end; what exceeds the buffer is dropped."""
        n = 0
        while True:
            if not self._io(self.stream.readinto, self.buf[n : n + 1]):
                raise LinkError("short", self.url + " ends in a header")
            if self.buf[n] == 10:
                return bytes(self.buf[:n]).strip()
            n = min(n + 1, len(self.buf) - 1)

    def _chunk(self):
        """The length of the next chunk; a line ends the chunk before."""
        line = self._line() or self._line()
        self.left = number(line.partition(b";")[0], 16)
        if not self.left:
            self.chunked = False

    def _portal(self):
        raise LinkError("portal", "%s gives a web page: does this network want a login?" % self.url)

    def _connect(self, tls, host):
        import select
        import socket

        name, _, port = host.partition(":")
        self.shaking = tls
        try:
            at = socket.getaddrinfo(name, int(port or (443 if tls else 80)), socket.AF_INET, socket.SOCK_STREAM)[0][-1]
            self.sock = socket.socket()
            self.sock.settimeout(self.link.timeout_ms / 1000)
            self.sock.connect(at)
            self.sock.setblocking(False)
            if tls:
                from device.link.tls import secure

                self.sock = secure(self.sock, name, self.link.ca)
        except (OSError, ValueError) as e:
            self._fail(e)
        # CPython's sockets are no streams.
        self.stream = self.sock if hasattr(self.sock, "readinto") else self.sock.makefile("rwb", 0)
        self.poll = select.poll()
        self.poll.register(self.stream, select.POLLIN)

    def _write(self, data):
        while data:
            data = data[self._io(self.stream.write, data) :]
        self.shaking = False

    def _io(self, call, data):
        """`call(data)` as soon as it moves a byte or finds the end."""
        ms = self.link.timeout_ms
        while ms > 0:
            if self.link.feed:
                self.link.feed()
            try:
                n = call(data)
            except (OSError, ValueError) as e:
                # CPython's TLS says by error 2 what others say by None: nothing yet. A bad certificate is a ValueError.
                n = None if getattr(e, "errno", 0) == 2 else self._fail(e)
            if n is not None:
                return n
            if not self.poll.poll(100):
                ms -= 100
        raise LinkError("link", "%s sent no byte in %d ms" % (self.url, self.link.timeout_ms))

    def _fail(self, e):
        if not self.shaking:
            raise LinkError("link", "%s: %s" % (self.url, e))
        from device.link.tls import refused

        raise refused(self.url, e)
