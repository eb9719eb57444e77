"""The vendor's manifest: {"ota": [{"Version": 2, "URL": "", "Digest": "64 hex", "EraseVer": false, "Signature": ""}]}

Keys count whatever their case, as in the vendor's parser. The highest version wins; `last_entry` gives the vendor's
rule, under which nothing but the last element of "ota" is looked at. An entry that is wrong is left out, and said to
be so.
"""

from binascii import unhexlify
from hashlib import sha256
from json import loads

from mpota_boot.errors import Refused

MOST = 8192  # bytes a manifest may have unless it is set otherwise
URL = 256
SIGNATURE = 96  # characters that the vendor's bootloader reads
WRONG = 8  # sentences kept about entries that are wrong
NUMBERS = 999  # three decimal digits are what a row of the database takes


class Entry:
    """One image on offer, or one to be erased."""

    def __init__(self, number, url, digest, signature):
        self.number = number
        self.url = url
        self.digest = digest
        self.signature = signature
        # Another entry has another one.
        self.mark = sha256(repr((number, url, digest, signature)).encode()).digest()[:8]


class Manifest:
    """`offer`: the Entry to take, or None; `erase`: numbers to erase; `wrong`: a sentence for each entry left out."""

    def __init__(self, entries):
        self.offer = None
        self.erase = []
        self.wrong = []
        n = 0
        for entry in entries:
            n += 1
            try:
                self._take(_lower(entry))
            except ValueError as e:
                # Of thousands the first ones tell enough.
                if len(self.wrong) < WRONG:
                    self.wrong.append("entry %d: %s" % (n, e))

    def _take(self, fields):
        n = _field(fields, "version", int)
        if not 0 < n <= NUMBERS:
            raise ValueError("Version is %s, wanted 1 to %d" % (str(n)[:12], NUMBERS))
        if _field(fields, "erasever", bool, False):
            if n not in self.erase:
                self.erase.append(n)
            return
        url = _field(fields, "url", str)
        # What is no ASCII or a line's end would get into the request.
        strange = len(url) > URL or min(url or " ") <= " " or max(url) > "~"
        if strange or url.partition("://")[0].lower() not in ("http", "https"):
            raise ValueError("URL is %r, wanted http or https in at most %d plain characters" % (url[:40], URL))
        text = _field(fields, "digest", str)
        try:
            digest = unhexlify(text[:64].encode())
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise ValueError("Digest is no SHA-256 of 64 hex digits")
        signature = _field(fields, "signature", str, "")
        if len(signature) > SIGNATURE:
            raise ValueError("Signature has %d characters, wanted 88" % len(signature))
        if self.offer is None or n > self.offer.number:
            self.offer = Entry(n, url, digest, signature)


def _lower(entry):
    if isinstance(entry, (bytes, bytearray)):
        try:
            entry = loads(entry)  # type: ignore[type-var]  # the stubs know no bytearray here
        except (ValueError, RuntimeError) as e:
            # RuntimeError: nested without end. Not this entry alone: where it ends nobody knows.
            raise SyntaxError(str(e))
    if not isinstance(entry, dict):
        raise ValueError("is %s, wanted an object" % type(entry).__name__)
    found = {}
    for key in entry:
        # MicroPython's json takes numbers, null and the like for keys.
        if not isinstance(key, str):
            raise ValueError("a field's name is %s, wanted str" % type(key).__name__)
        low = key.lower()
        if low in found:
            raise ValueError("two fields are called %s" % low[:20])
        found[low] = entry[key]
    return found


def _field(fields, name, kind, default=None):
    value = fields.get(name, default)
    if value is None:
        raise ValueError("%s is missing" % name)
    # True is an int to Python, and no number to the vendor.
    if not isinstance(value, kind) or isinstance(value, bool) > (kind is bool):
        raise ValueError("%s is %s, wanted %s" % (name, type(value).__name__, kind.__name__))
    return value


def _pieces(text):
    """Yields [start, end) of each element of the list "ota"; SyntaxError where it is missing or has no end."""
    depth = start = begin = 0
    key = b""
    quoted = escaped = inside = some = False
    for i, c in enumerate(text):
        if quoted:
            if c == 34 and not escaped:
                quoted = False
                key = bytes(text[begin:i]) if depth == 1 else key
            escaped = c == 92 and not escaped
        elif c == 34:
            quoted, begin = True, i + 1
        elif c in b"[{":
            if not depth and c == 91:
                break
            depth += 1
            if c == 91 and depth == 2 and not inside and key.lower() == b"ota":
                inside = True
                start = i + 1
        elif inside and depth == 2 and c in b",]":
            if c == 44 or some or text[start:i].strip():
                some = True
                yield start, i
            start = i + 1
            if c == 93:
                return
        elif c in b"]}":
            depth -= 1
    raise SyntaxError('it has no list called "ota"')


def parse(text, last_entry=False):
    """The Manifest in bytes of JSON; Refused where it is none. One entry at a time is more than text."""
    pieces = _pieces(text)
    try:
        if last_entry:
            last = []
            for piece in pieces:
                last = [piece]
            pieces = last
        return Manifest(text[a:b] for a, b in pieces)
    except SyntaxError as e:
        raise Refused("manifest", "no manifest: %s" % (str(e) or "no text in UTF-8"))


def read(buf, n, last_entry=False):
    """The Manifest in the first `n` bytes of `buf`; Refused where they fill it: nobody knows how many there are."""
    if n == len(buf):
        raise Refused("manifest", "the manifest has more than %d bytes" % (n - 1))
    for i in range(n, len(buf)):
        # White space, so that no copy has to be made.
        buf[i] = 32
    return parse(buf, last_entry)
