"""The vendor's manifest: {"ota": [{"Version": 2, "URL": "", "Digest": "64 hex", "EraseVer": false, "Signature": ""}]}

Keys count whatever their case, as in the vendor's parser. The highest version wins; `last_entry` gives the vendor's
rule, under which nothing but the last element of "ota" is looked at. An entry that is wrong is left out, and said to
be so.
"""

from binascii import unhexlify
from json import loads

from device.errors import Refused
from device.stream import pull

MOST = 8192  # bytes a manifest may have unless it is set otherwise
URL = 256
NUMBERS = 999  # three decimal digits are what a row of the database takes


class Entry:
    """One image on offer, or one to be erased."""

    def __init__(self, number, url, digest, signature):
        self.number = number
        self.url = url
        self.digest = digest
        self.signature = signature


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
                self.wrong.append("entry %d: %s" % (n, e))

    def _take(self, fields):
        n = _field(fields, "version", int)
        if not 0 < n <= NUMBERS:
            raise ValueError("Version is %r, wanted 1 to %d" % (n, NUMBERS))
        if _field(fields, "erasever", bool, False):
            self.erase.append(n)
            return
        url = _field(fields, "url", str)
        # What is no ASCII or a line's end would get into the request.
        strange = len(url) > URL or min(url or " ") <= " " or max(url) > "~"
        if strange or (url[:7] != "http://" and url[:8] != "https://"):
            raise ValueError("URL is %r, wanted http or https in at most %d plain characters" % (url[:40], URL))
        text = _field(fields, "digest", str)
        try:
            digest = unhexlify(text[:64].encode())
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise ValueError("Digest is no SHA-256 of 64 hex digits")
        signature = _field(fields, "signature", str, "")
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
        low = key.lower()
        if low in found:
            raise ValueError("two fields are called %s" % low)
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
    """[start, end) of each element of the list "ota"; None where there is no such list, or no end of it."""
    depth = start = begin = 0
    key, found = b"", None
    quoted = escaped = False
    for i, c in enumerate(text):
        if quoted:
            if c == 34 and not escaped:
                quoted = False
                key = bytes(text[begin:i]) if depth == 1 else key
            escaped = c == 92 and not escaped
        elif c == 34:
            quoted = True
            begin = i + 1
        elif c in b"[{":
            if not depth and c == 91:
                return None
            depth += 1
            if c == 91 and depth == 2 and found is None and key.lower() == b"ota":
                found = []
                start = i + 1
        elif found is not None and depth == 2 and c in b",]":
            if c == 44 or found or text[start:i].strip():
                found.append((start, i))
            start = i + 1
            if c == 93:
                return found
        elif c in b"]}":
            depth -= 1
    return None


def parse(text, last_entry=False):
    """The Manifest in bytes of JSON; Refused where it is none. One entry at a time is more than text."""
    pieces = _pieces(text)
    if pieces is None:
        raise Refused("manifest", 'no manifest: it has no list called "ota"')
    try:
        return Manifest((text[a:b] for a, b in (pieces[-1:] if last_entry else pieces)))
    except SyntaxError as e:
        raise Refused("manifest", "no manifest: %s" % (str(e) or "no text in UTF-8"))


def read(src, most=MOST, last_entry=False):
    """The Manifest that `src` brings; Refused above `most` bytes, of which no more is read."""
    buf = bytearray(most + 1)
    n = pull(src, buf)
    if n > most:
        raise Refused("manifest", "the manifest has more than %d bytes" % most)
    for i in range(n, len(buf)):
        # White space, so that no copy has to be made.
        buf[i] = 32
    return parse(buf, last_entry)
