"""One answer of a web server at a time, as a Source: the body is exactly what was said, from the byte asked for.

`asking()` is a generator: it yields where nothing has come yet, and afterwards `readinto()` says None. `fetch()` waits
for all of it.

A server has `header_ms` from the request to the end of the header, may be silent for `timeout_ms`, and has to bring
`least` bytes a second of a body. A body that ends early is a LinkError, so the update resumes; more than was said is
never read. Nothing is allocated by what the server says.
"""

from mpota.link.connection import Connection
from mpota.link.url import parse, resolve, shown, unquote
from mpota_boot.errors import LinkError

HEADER = 8192  # bytes of a header, or of a line between two chunks of a body
LOCATION = 2048  # bytes of the URL that a redirect gives
_LINE = 2176  # bytes of a header's line that are kept: a Location with its name
# Bytes that a step reads one by one; an RP2040 needs 0.1 ms for each.
_STEP = 512
_FIELDS = (
    b"content-length transfer-encoding content-range content-type content-encoding location retry-after date etag"
).split()


def number(value, base=10):
    """A count from a header."""
    try:
        n = int(value, base)
    except ValueError:
        n = -1
    if n < 0:
        raise LinkError("http", "%s is no length" % value)
    return n


class Web(Connection):
    """A connection, its request and the body of its answer."""

    headers = None  # name -> value, sent to the server of `home` alone
    home = None  # the URL that the settings name; None: the one asked for first
    header_ms = 30000

    def __init__(self):
        # All that stays, before anything that does not: else it lies in the middle of what gets free.
        super().__init__()
        self.size = self.left = self.buf = None
        self.room = self.n = self.status = 0
        self.chunked = self.html = self.gap = self.cut = False
        self.one = bytearray(1)
        self.known = self.tag = self.coding = self.takes = b""

    def fetch(self, url, at=0, size=None, post=b""):
        """asking(), waited for; readinto() waits as well then."""
        return self.wait(self.asking(url, at, size, post))

    def asking(self, url, at=0, size=None, post=b""):
        """GET, or POST of `post`, after at most 5 redirects, in steps; then this is the body from byte `at` on."""
        self.waits = False
        self.waited = 0
        self.most = self.header_ms
        self.looked = self.ticks()
        home = parse(self.home or url)
        try:
            for _ in range(6):
                self.close()
                self.url = url
                goto = yield from self._ask(home, at, post)
                if not goto:
                    break
                url = self.follow(url, goto)
            else:
                raise LinkError("http", "more than 5 redirects, the last to " + shown(url))
            self.size = size
            self.most = self.waited = 0
            self.mark = self.pos
            skipped = bytearray(1024) if self.pos < at else b""
            while self.pos < at:
                if self._some(memoryview(skipped)[: at - self.pos]) == 0:
                    self._short()
                yield
        except Exception:
            self.close()
            raise
        return self

    def follow(self, base, name):
        """`name` as seen from the page `base`; never from https to less."""
        url = resolve(base, name)
        if parse(url)[0] < parse(base)[0]:
            raise LinkError("tls", "%s leads to %s, which is no https" % (shown(base), shown(url)))
        return url

    def readinto(self, buf):
        """Ends where the manifest or else the server says; raises where the connection ends before."""
        n = self._some(buf)
        while n is None and self.waits:
            self.pause()
            n = self._some(buf)
        return n

    def _some(self, buf):
        """What has come of the body."""
        if self.chunked and not self.left and not self._chunk():
            return None
        n = len(buf)
        for most in (self.left, self.size is not None and self.size - self.pos):
            if most is not None and most is not False:
                n = min(n, most)
        if n:
            n = self.io(self.sock.readinto, memoryview(buf)[:n])
        if n is None:
            return None
        if n < len(buf):
            # All that there was: it was the server that took its time.
            self.count(n)
        # Its type alone says nothing: servers call packages what they like.
        if n and not self.pos and bytes(buf[: min(n, 16)]).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            raise LinkError("portal", shown(self.url) + " is a web page, maybe a login")
        self.pos += n
        if self.left:
            self.left -= n
        if not n and (self.left if self.size is None else self.pos < self.size):
            self._short()
        return n

    def _chunk(self):
        """The line before a chunk's bytes; a line ends the chunk before. False where it is not here yet."""
        while True:
            line = self._line()
            if line is None:
                return False
            self.room = HEADER
            if line or not self.gap:
                break
            self.gap = False
        self.gap = True
        self.left = number(line.split(b";")[0].strip(), 16)
        self.chunked = self.left > 0
        return True

    def _ask(self, home, at, post):
        """Connect, send the request and judge the answer's head; a redirect gives its URL."""
        to = parse(self.url)
        yield from self.connect(to)
        data = self._request(to, home, at, post)
        while data:
            n = self.io(self.sock.write, data)
            if n:
                data = data[n:]
            else:
                yield
        self.shaking = False
        self.poll.modify(self.sock, 1)  # POLLIN
        self.buf = bytearray(_LINE)
        self.room = HEADER
        self.n = 0
        status, fields = yield from self._head()
        # From here on it takes the size of a chunk.
        self.buf = bytearray(24)
        return self._judge(status, fields, at)

    def _request(self, to, home, at, post):
        tls, host, port, path, login = to
        ours = home[:3] == to[:3]
        if ":" in host:
            host = "[%s]" % host
        if port != (443 if tls else 80):
            # A signed URL is for a host without the usual port.
            host += ":%d" % port
        lines = [
            "%s %s HTTP/1.1" % ("POST" if post else "GET", path),
            "Host: " + host,
            "User-Agent: mpota\r\nAccept-Encoding: identity\r\nConnection: close",
        ]
        if at:
            lines.append("Range: bytes=%d-" % at)
        if post:
            lines.append("Content-Length: %d" % len(post))
        if self.known:
            lines.append("If-None-Match: " + self.known.decode())
        login = login or (ours and home[4])
        if login:
            from binascii import b2a_base64

            lines.append("Authorization: Basic " + b2a_base64(unquote(login)).decode().strip())
        if ours and self.headers:
            from mpota.link.login import fields

            lines += fields(self.headers)
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + post

    def _head(self):
        """Steps to the end of the header: its status, and the fields that count. What comes before with 1xx is none."""
        status = 100
        while status // 100 == 1:
            words = (yield from self._whole_line()).split()
            if len(words) < 2 or words[0][:7] != b"HTTP/1.":
                raise LinkError("http", shown(self.url) + ": the server does not answer in HTTP/1")
            status = number(words[1])
            fields = {}
            line = words[0]
            while line:
                line = yield from self._whole_line()
                name, _, value = line.partition(b":")
                name, value = name.strip().lower(), value.strip()
                if name in _FIELDS:
                    if self.cut or len(value) > LOCATION:
                        words = "%s: %s of more than %d bytes"
                        raise LinkError("http", words % (shown(self.url), name.decode(), LOCATION))
                    fields[name] = value
        return status, fields

    def _judge(self, status, fields, at):
        """Take from the header what the body is like; the URL of a redirect."""
        kind = status // 100
        goto = fields.get(b"location")
        if kind == 3 and goto:
            # Not decoded: parse() refuses what is no ASCII.
            return "".join([chr(c) for c in goto])
        if kind != 2 and not (status == 304 and self.known):
            e = LinkError("http", "status %d of %s" % (status, shown(self.url)))
            if b"retry-after" in fields:
                from mpota.link.later import wait_ms

                e.after_ms = wait_ms(fields[b"retry-after"], fields.get(b"date"))  # type: ignore[attr-defined]
            raise e
        self.status = status
        self._body(fields)
        if status == 304:
            self.left = 0
        if status == 206:
            self.pos = number(fields.get(b"content-range", b"")[6:].split(b"-")[0])
            if self.pos > at:
                raise LinkError("http", "byte %d was asked for, %d came" % (at, self.pos))
        return None

    def _body(self, fields):
        """How the body comes."""
        self.tag = fields.get(b"etag", b"")
        self.pos = self.n = 0
        self.html = fields.get(b"content-type", b"")[:9].lower() == b"text/html"
        self.left = number(fields[b"content-length"]) if b"content-length" in fields else None
        moved = fields.get(b"transfer-encoding", b"identity").lower()
        self.coding = fields.get(b"content-encoding", b"").lower()
        self.chunked = moved == b"chunked"
        self.gap = False
        for coding, known in ((moved, (b"chunked", b"identity")), (self.coding, (b"", b"identity", self.takes))):
            if coding not in known:
                words = "%s comes as %r, which was not asked for: switch the server's compression off for it"
                raise LinkError("http", words % (shown(self.url), coding))
        if self.chunked:
            self.left = 0

    def _whole_line(self):
        line = self._line()
        while line is None:
            yield
            line = self._line()
        return line

    def _line(self):
        """The next line without its end, None where it is not here yet. What `buf` has no room for is lost: `cut`."""
        # Byte by byte: what is behind the line is the body's, and goes where that goes.
        while True:
            n = self.io(self.sock.readinto, self.one)
            if n is None:
                return None
            if not n:
                self._short()
            self.room -= 1
            if not self.room:
                raise LinkError("http", "%s: a header of more than %d bytes" % (shown(self.url), HEADER))
            if self.one[0] == 10:
                self.cut = self.n > len(self.buf)
                line = bytes(self.buf[: self.n]).strip()
                self.n = 0
                return line
            if self.n < len(self.buf):
                self.buf[self.n] = self.one[0]
            self.n += 1
            if not self.room % _STEP:
                return None

    def _short(self):
        raise LinkError("short", "%s ends at byte %d" % (shown(self.url), self.pos))
