"""The HTTP(S) link: a manifest on any static web server says which package is for whom; Range resumes it.

    {"mpota": 1, "packages": [{"product": "lamp", "layout": "esp32", "version": "1.2.3",
                               "file": "name or URL", "size": 12345, "id": "16 hex"}]}

`python -m http.server` is enough. Of several packages of the newest version, deltas and the full image, the smallest
is offered first and after a refusal the next. `file` without a slash is the name of a file beside the manifest, any
characters; with one it is a URL or a part of one. It is seen from the URL of the settings, wherever that redirects to.
The id is for people. https needs `ca`, goes on to https only, and judges the certificate's dates by the board's clock.
More than the manifest's size is never read.
"""

from gc import collect

from mpota.link.url import quote, shown
from mpota.link.web import Web
from mpota.stream import fill, pull
from mpota.version import parse
from mpota_boot.errors import LinkError

MANIFEST = 4096  # bytes a manifest may have
MANIFEST_MS = 30000  # for them, after the header


class Http(Web):
    """A Link and its Source. `current()` gives the 8 bytes of the version that runs, None when it is unknown."""

    report_url = None  # gets a POST of {"product", "layout", "code", "text"}

    def __init__(self, manifest, product, layout, current):
        super().__init__()
        self.manifest = self.home = quote(str(manifest))
        self.product = product
        self.layout = layout
        self.current = current
        self.file = None
        self.offer: tuple = ()
        self.refused = ()
        self.more = False
        self.unchanged = b""  # the ETag of a manifest that has nothing for this board

    def open(self, at=0):
        """The newest package for this board from byte `at` on; None when none is newer than what runs. Waits."""
        return self.wait(self.opening(at))

    def opening(self, at=0):
        """open() in steps; readinto() does not wait either."""
        self.known = self.takes = b""
        try:
            if not at or not self.file:
                self.file = None
                yield from self._find()
                self.close()
                # What stays must not lie behind what goes: neither the connection here nor the installer's buffer next.
                collect()
                if not self.offer:
                    return None
                name = self.offer[2]
                self.file = self.follow(self.manifest, quote(name) if "/" in name else "./" + quote(name, "?#"))
            yield from self.asking(self.file, at, self.offer[1])
        except Exception:
            self.close()
            raise
        collect()
        return self

    def asked(self):
        """The URL that was asked last, without what may be a secret."""
        return shown(self.url or self.home)

    def other(self):
        """After a refusal: is there a larger package of the same version? The next open() gives it."""
        self.refused = self.offer
        self.file = None
        return self.more

    def report(self, code, text):
        """POST it where `report_url` says, and wait; no answer is no error."""
        self.wait(self.reporting(code, text))

    def reporting(self, code, text):
        """report() in steps."""
        if not self.report_url:
            return
        from json import dumps

        self.known = self.takes = b""
        words = {"product": self.product, "layout": self.layout, "code": code, "text": text}
        try:
            yield from self.asking(quote(str(self.report_url)), 0, None, dumps(words).encode())
        except LinkError:
            return
        self.close()

    def _find(self):
        """Find the offer, (version, size, file): the newest for this board, of those the smallest not refused yet."""
        self.known, self.takes = self.unchanged, b"gzip"
        yield from self.asking(self.manifest)
        self.known = self.takes = b""
        if self.status == 304:
            self.offer = ()
            return
        self.most = MANIFEST_MS
        buf = bytearray(MANIFEST)
        n = yield from fill(self, buf)
        try:
            if self.coding == b"gzip":
                buf, n = _inflated(buf, n)
            # Editors of Windows begin a file with a byte order mark.
            found = [] if n == MANIFEST else self._offers(buf[3 if buf[:3] == b"\xef\xbb\xbf" else 0 : n])
        except Exception as e:
            if self.html:
                raise LinkError("portal", shown(self.url) + " is a web page, maybe a login")
            raise LinkError("manifest", "%s is no manifest: %r" % (shown(self.url), e))
        if n == MANIFEST:
            raise LinkError("manifest", "the manifest has %d bytes or more" % n)
        found.sort()
        found = [o for o in found if o[0] == found[-1][0] and o > self.refused] or found[-1:]
        self.offer = found[0] if found else ()
        self.more = len(found) > 1
        # Of one that has an offer the file may be wanted again.
        self.unchanged = b"" if found or [c for c in self.tag if not 0x20 < c < 0x7F] else self.tag

    def _offers(self, data):
        """What a manifest has for this board that is newer than what runs."""
        from json import loads

        text = loads(data)  # the stubs know no bytearray here
        if text["mpota"] != 1:
            raise ValueError("format")
        found = []
        current = self.current() or b""
        for entry in text["packages"]:
            if entry["product"] == self.product and entry["layout"] == self.layout:
                offer = parse(entry["version"]), int(entry["size"]), entry["file"] + ""
                if offer[1] < 1:
                    raise ValueError("size")
                if offer[0] > current:
                    found.append(offer)
        return found


def _inflated(buf, n):
    """A manifest that a proxy has compressed; one that is no longer than this needs no larger window."""
    from io import BytesIO

    from deflate import GZIP, DeflateIO

    out = bytearray(MANIFEST)
    return out, pull(DeflateIO(BytesIO(buf[:n]), GZIP, 12), out)
