"""The HTTP(S) link: a manifest on any static web server says which package is for whom; Range resumes it.

    {"mpota": 1, "packages": [{"product": "lamp", "layout": "esp32", "version": "1.2.3",
                               "file": "URL, relative to the manifest", "size": 12345, "id": "16 hex"}]}

`python -m http.server` is enough. Of several packages of the newest version, deltas and the full image, the smallest
is offered first and after a refusal the next. The id is for people. https needs `ca`, goes on to https only, and
judges the certificate's dates by the board's clock, so set that first (ntptime). More than the manifest's size is
never read.
"""

from gc import collect

from mpota.link.web import Web
from mpota.stream import pull
from mpota.version import parse
from mpota_boot.errors import LinkError

MANIFEST = 4096  # bytes a manifest may have
MANIFEST_MS = 30000  # for them, after the header


class Http(Web):
    """A Link and its Source. `current()` gives the 8 bytes of the version that runs, None when it is unknown."""

    report_url = None  # gets a POST of {"product", "layout", "code", "text"}

    def __init__(self, manifest, product, layout, current):
        self.manifest = manifest
        self.product = product
        self.layout = layout
        self.current = current
        # All that stays, before anything that does not: else it lies in the middle of what gets free.
        self.url = self.file = self.size = self.left = self.sock = self.poll = None
        self.offer: tuple = ()
        self.refused = ()
        self.pos = self.mark = self.waited = self.most = self.room = 0
        self.more = self.chunked = self.html = self.shaking = False

    def open(self, at=0):
        """The newest package for this board from byte `at` on; None when none is newer than what runs."""
        if not at or not self.file:
            self.file = None
            self.find()
            # What stays must not lie behind what goes: neither the connection here nor the installer's buffer next.
            collect()
            if not self.offer:
                return None
            self.file = join(self.url, self.offer[2])
        self.fetch(self.file, at, self.offer[1])
        collect()
        return self

    def fetch(self, url, at=0, size=None, post=b""):
        """GET, or POST of `post`, after at most 5 redirects; then this is the body from byte `at` on."""
        self.waited = 0
        self.most = self.header_ms
        try:
            for _ in range(6):
                self.close()
                self.url = url
                goto = self.ask(at, post)
                if not goto:
                    break
                url = join(url, goto)
            else:
                raise LinkError("http", "more than 5 redirects, the last to %r" % url)
            self.size = size
            self.most = self.waited = 0
            self.mark = self.pos
            while self.pos < at:
                if not self.readinto(bytearray(min(256, at - self.pos))):
                    self.short()
        except LinkError:
            self.close()
            raise
        return self

    def other(self):
        """After a refusal: is there a larger package of the same version? The next open() gives it."""
        self.refused = self.offer
        self.file = None
        return self.more

    def report(self, code, text):
        """POST it where `report_url` says; no answer is no error."""
        if not self.report_url:
            return
        from json import dumps

        words = {"product": self.product, "layout": self.layout, "code": code, "text": text}
        try:
            self.fetch(self.report_url, 0, None, dumps(words).encode())
        except LinkError:
            return
        self.close()

    def find(self):
        """Find the offer, (version, size, file): the newest for this board, of those the smallest not refused yet."""
        from json import loads

        buf = bytearray(MANIFEST)
        src = self.fetch(self.manifest)
        self.most = MANIFEST_MS
        n = pull(src, buf)
        self.close()
        if n == MANIFEST:
            raise LinkError("manifest", "the manifest has %d bytes or more" % n)
        found = []
        current = self.current() or b""
        try:
            text = loads(buf[:n])  # type: ignore[type-var]  # the stubs know no bytearray here
            if text["mpota"] != 1:
                raise ValueError("format")
            for entry in text["packages"]:
                if entry["product"] == self.product and entry["layout"] == self.layout:
                    offer = parse(entry["version"]), int(entry["size"]), entry["file"] + ""
                    if offer[1] < 1:
                        raise ValueError("size")
                    if offer[0] > current:
                        found.append(offer)
        except Exception as e:
            raise LinkError("manifest", "%s is no manifest: %r" % (self.url, e))
        found.sort()
        found = [o for o in found if o[0] == found[-1][0] and o > self.refused] or found[-1:]
        self.offer = found[0] if found else ()
        self.more = len(found) > 1


def join(base, url):
    """`url` as seen from the page `base`; never from https to less."""
    scheme, _, rest = base.partition("://")
    path = rest.partition("?")[0]
    if url[:2] == "//":
        url = scheme + ":" + url
    elif url[:1] == "/":
        url = scheme + "://" + path.partition("/")[0] + url
    elif "://" not in url.partition("?")[0]:
        url = scheme + "://" + (path.rpartition("/")[0] or path) + "/" + url
    if scheme == "https" and url[:6] != "https:":
        raise LinkError("tls", "https leads to %r" % url)
    return url
