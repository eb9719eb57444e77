"""The HTTP(S) link: a manifest on any static web server says which package is for whom; Range resumes it.

    {"mpota": 1, "packages": [{"product": "lamp", "layout": "esp32", "version": "1.2.3",
                               "file": "name or URL", "size": 12345, "id": "16 hex", "channel": "beta"}]}

`python -m http.server` is enough. Of several packages of the newest version, deltas and the full image, the smallest
is offered first and after a refusal the next; where something else must run first, those of the version below. An
entry without `channel` is of the stable one. `file` without a slash is the name of a file beside the manifest, any
characters; with one it is a URL or a part of one. It is seen from the URL of the settings, wherever that redirects to.
The id is for people. https needs `ca`, goes on to https only, and judges the certificate's dates by the board's clock.
More than the manifest's size is never read.
"""

from micropython import const

from mpota.link.connection import forget
from mpota.link.web import Web
from mpota.stream import fill
from mpota_boot.errors import LinkError

MANIFEST = 4096  # bytes a manifest may have
_MANIFEST_MS = const(30000)  # for them, after the header


class Http(Web):
    """A Link and its Source. `current()` gives the 8 bytes of the version that runs, None when it is unknown."""

    # The newest version that the manifest had; the next offer is of one below `below`, where that is set.
    newest = below = None
    channel = ""
    report_url = None  # gets a POST of {"product", "layout", "code", "text"}

    def __init__(self, manifest, product, layout, current):
        super().__init__()
        self.home = manifest
        self.product = product
        self.layout = layout
        self.current = current
        self.file = None
        self.offer: tuple = ()
        self.refused = ()
        self.more = self.less = False
        self.unchanged = b""  # the ETag of a manifest that has nothing for this board

    def open(self, at=0):
        """The newest package for this board from byte `at` on; None when none is newer than what runs. Waits."""
        return self.wait(self.opening(at))

    def opening(self, at=0, buf=None):
        """open() in steps; readinto() does not wait either. `buf`: 4096 bytes for the manifest, until it is over."""
        try:
            if not at or not self.file:
                self.file = None
                self.tag = self.unchanged
                yield from self.asking(str(self.home))
                self.most = _MANIFEST_MS
                buf = buf or bytearray(MANIFEST)
                n = yield from fill(self, buf)
                self.close()
                self._choose(buf, n)
                buf = None
                forget()
                if not self.offer:
                    return None
                self.file = self._place(self.offer[2])
            self.tag = None
            yield from self.asking(self.file, at, self.offer[1])
            yield from ()
        except Exception:
            self.close()
            forget()
            raise
        return self

    def _choose(self, buf, n):
        from mpota.link.find import find

        find(self, buf, n)

    def _place(self, name):
        """The URL of the `file` of an entry."""
        from mpota.link.url import beside, follow, quote

        manifest = quote(str(self.home))
        return follow(manifest, beside(manifest, name))

    def asked(self):
        """The URL that was asked last, without what may be a secret."""
        if self.url:
            return self.url
        from mpota.link.url import shown

        return shown(self.home)

    def other(self, code=""):
        """After a refusal: is there a larger package of the same version? The next open() gives it.

        Or one of a lower version, where something has to come first.
        """
        self.refused = self.offer
        self.file = None
        if self.more or code != "needs" or not self.less:
            return self.more
        self.below = self.offer[0]
        self.refused = ()
        return True

    def report(self, code, text):
        """POST it where `report_url` says, and wait; no answer is no error."""
        self.wait(self.reporting(code, text))

    def reporting(self, code, text):
        """report() in steps."""
        if not self.report_url:
            return
        from json import dumps

        self.tag = None
        words = {"product": self.product, "layout": self.layout, "code": code, "text": text}
        try:
            yield from self.asking(str(self.report_url), 0, None, dumps(words).encode())
        except LinkError:
            return
        self.close()
