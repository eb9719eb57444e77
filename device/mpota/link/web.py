"""One answer of a web server at a time, as a Source: the body is exactly what was said, from the byte asked for.

`asking()` is a generator: it yields where nothing has come yet, and afterwards `readinto()` says None. `fetch()` waits
for all of it.

A server has `header_ms` from the request to the end of the header, may be silent for `timeout_ms`, and has to bring
`least` bytes a second of a body. A body that ends early is a LinkError, so the update resumes; more than was said is
never read. Nothing is allocated by what the server says.
"""

from micropython import const

from mpota.link.connection import Connection, forget
from mpota_boot.errors import LinkError

HEADER = 8192  # bytes of a header, or of a line between two chunks of a body
_LINE = const(2176)  # bytes of a header's line that are kept: a Location of 2048 with its name
# Bytes that a step reads one by one; an RP2040 needs 0.1 ms for each.
_STEP = const(512)


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
    tag = None  # the ETag of what we have, then that of the answer; None: there is no telling of the two
    header_ms = 30000

    def __init__(self):
        # All that stays, before anything that does not: else it lies in the middle of what gets free.
        super().__init__()
        self.size = self.left = None
        self.buf = b""
        self.room = self.status = 0
        self.chunked = self.zipped = self.html = self.gap = self.cut = False
        self.one = bytearray(1)

    def fetch(self, url, at=0, size=None, post=b""):
        """asking(), waited for; readinto() waits as well then."""
        return self.wait(self.asking(url, at, size, post))

    def asking(self, url, at=0, size=None, post=b""):
        """GET, or POST of `post`, after at most 5 redirects, in steps; then this is the body from byte `at` on."""
        self.waits = False
        self.waited = 0
        self.most = self.header_ms
        self.looked = self.ticks()
        home = self.home or url
        try:
            for _ in range(6):
                url = yield from self._ask(url, home, at, post)
                if not url:
                    break
            else:
                self.end("http", "more than 5 redirects lead here")
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
            forget()
            raise
        return self

    def _ask(self, url, home, at, post):
        """One request, in steps, and the head of its answer; a redirect gives its URL."""
        self.close()
        url, to, home = self._places(url, home)
        # Each part makes way before the next is loaded.
        forget()
        # A copy, for the text lies behind what went and would split the heap.
        self.url = "%s" % self.url
        yield from self.connect(to)
        # What is over stays on the stack of a generator until something takes its place.
        yield from ()
        forget()
        name = yield from self._head(to, home, at, post)
        yield from ()
        forget()
        return name and self._follow(url, name)

    def _places(self, url, home):
        """A URL, quoted, and what parse() makes of it and of `home`."""
        from mpota.link.url import parse, quote, shown

        # A URL of the settings may have been typed; that of a redirect is none with such characters.
        url = quote(url)
        self.url = shown(url)
        return url, parse(url), parse(quote(str(home)))

    def _head(self, *given):
        from mpota.link.ask import ask

        return ask(self, *given)

    def _follow(self, url, name):
        from mpota.link.url import checked, follow

        # Not quoted: a URL that is none is refused.
        return follow(url, checked(name))

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
            n = self.io(self.sock.readinto, buf if n == len(buf) else memoryview(buf)[:n])
        if n is None:
            return None
        if n < len(buf):
            # All that there was: it was the server that took its time.
            self.count(n)
        # Its type alone says nothing: servers call packages what they like.
        if n and not self.pos and bytes(buf[: min(n, 16)]).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            self.end("portal", "this is a web page, maybe a login")
        self.pos += n
        if self.left:
            self.left -= n
        if not n and (self.left if self.size is None else self.pos < self.size):
            self._short()
        return n

    def _chunk(self):
        """The line before a chunk's bytes; a line ends the chunk before. False where it is not here yet."""
        while True:
            line = self.line()
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

    def line(self):
        """The next line without its end, None where it is not here yet. Of a long one the rest is lost: `cut`."""
        # Byte by byte: what is behind the line is the body's, and goes where that goes.
        while True:
            n = self.io(self.sock.readinto, self.one)
            if n is None:
                return None
            if not n:
                self._short()
            self.room -= 1
            if not self.room:
                self.end("http", "a header of more than %d bytes" % HEADER)
            if self.one[0] == 10:
                line, self.buf = bytes(self.buf), b""
                self.cut = len(line) == _LINE
                return line.strip()
            if not self.buf:
                self.buf = bytearray()
            if len(self.buf) < _LINE:
                self.buf.append(self.one[0])
            if not self.room % _STEP:
                return None

    def _short(self):
        self.end("short", "it ends at byte %d" % self.pos)
