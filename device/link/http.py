"""The HTTP(S) link: a manifest on any static web server says which package is for whom; Range resumes it.

    {"mpota": 1, "packages": [{"product": "lamp", "layout": "esp32", "version": "1.2.3",
                               "file": "URL, relative to the manifest", "size": 12345, "id": "16 hex"}]}

`python -m http.server` is enough. The id is for people. https needs `ca`, goes on to https only, and judges the
certificate's dates by the board's clock, so set that first (ntptime). More than the manifest's size is never read.
"""

from struct import pack

from device.errors import LinkError
from device.link.web import Body, join
from device.stream import pull

MANIFEST = 4096  # bytes a manifest may have


class Http:
    """A Link. `current()` gives the 8 bytes of the version that runs, None when it is unknown."""

    ca = None  # PEM or DER of the CA behind the server's certificate: bytes, or a file's name
    report_url = None  # gets a POST of {"product", "layout", "code", "text"}
    timeout_ms = 10000
    feed = None  # called while waiting, for the watchdog

    def __init__(self, url, product, layout, current):
        self.url = url
        self.product = product
        self.layout = layout
        self.current = current
        self.src = self.file = None

    def open(self, at=0):
        """The newest package for this board from byte `at` on; None when none is newer than what runs."""
        if not at or not self.file:
            self.file = None
            entry = self._newest(self._get(self.url))
            if not entry:
                return None
            self.size, file = entry
            self.file = join(self.src.url, file)
        if at > self.size:
            raise LinkError("short", "byte %d is wanted of %d" % (at, self.size))
        return self._get(self.file, at, self.size)

    def report(self, code, text):
        """POST it where `report_url` says; no answer is no error."""
        if not self.report_url:
            return
        from json import dumps

        words = {"product": self.product, "layout": self.layout, "code": code, "text": text}
        try:
            self._get(self.report_url, 0, None, dumps(words).encode())
            self.close()
        except LinkError:
            return

    def close(self):
        if self.src:
            self.src.close()

    def _get(self, url, at=0, size=None, post=None):
        """The body of the answer to GET, or to POST of `post`, after at most 5 redirects."""
        self.close()
        for _ in range(6):
            self.src = src = Body(self, url, size)
            try:
                goto = src.ask(at, post)
                if not goto:
                    return src
                url = join(url, goto)
            except LinkError:
                src.close()
                raise
            src.close()
        raise LinkError("http", "more than 5 redirects, the last to " + url)

    def _newest(self, src):
        """(size, file) of the newest entry for this board, None when none is newer than what runs."""
        from json import loads

        buf = bytearray(MANIFEST)
        n = pull(src, buf)
        src.close()
        if n == MANIFEST:
            raise LinkError("manifest", "the manifest has %d bytes or more" % n)
        best = None
        newest = self.current() or b""
        try:
            text = loads(buf[:n])
            if text["mpota"] != 1:
                raise ValueError("format %s, not 1" % text["mpota"])
            for entry in text["packages"]:
                if entry["product"] == self.product and entry["layout"] == self.layout:
                    version = encode(entry["version"])
                    if version > newest:
                        newest = version
                        best = int(entry["size"]), entry["file"] + ""
                        if best[0] < 1:
                            raise ValueError("size")
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise LinkError("manifest", "%s is no manifest: %r" % (src.url, e))
        return best


def encode(version):
    """The 8 bytes of "a.b.c" or "a.b.c.d"."""
    parts = [int(part) for part in version.split(".")]
    if not 3 <= len(parts) <= 4 or min(parts) < 0 or max(parts) > 0xFFFF:
        raise ValueError("version " + version)
    return pack(">4H", *(parts + [0])[:4])
