"""The vendor's manifest: {"ota": [{"Version": 2, "URL": "", "Digest": "64 hex", "EraseVer": false, "Signature": ""}]}

An entry may have two fields more, which the vendor's service passes over: Product, and EntrySignature over what
Entry.signed() gives. Keys count whatever their case, as in the vendor's parser. The highest version comes first;
`last_entry` gives the vendor's rule, under which nothing but the last element of "ota" is looked at. An entry that is
wrong is left out, and said to be so.
"""

from binascii import hexlify, unhexlify
from hashlib import sha256
from json import loads

from mpota_boot.errors import Refused

MOST = 8192  # bytes a manifest may have unless it is set otherwise
URL = 256
SIGNATURE = 96  # characters that the vendor's bootloader reads
WRONG = 8  # sentences kept about entries that are wrong
NUMBERS = 999  # three decimal digits are what a row of the database takes
OFFERS = 4  # offers that are kept: where the first is nothing for the board, the next may be
ERASES = 8
# Product, Version, Digest in small letters, EraseVer as 0 or 1. No image begins like this.
SIGNED = "mpota pic32 entry\n%s\n%d\n%s\n%d\n"


class Entry:
    """One image on offer, or with `erase` one to be withdrawn. ValueError says which field is wrong."""

    url = ""

    def __init__(self, fields):
        self.number = n = _field(fields, "version", int)
        if not 0 < n <= NUMBERS:
            raise ValueError("Version is %s, wanted 1 to %d" % (str(n)[:12], NUMBERS))
        self.erase = _field(fields, "erasever", bool, False)
        self.product = _field(fields, "product", str, "")
        self.signature = _signature(fields, "Signature")
        self.proof = _signature(fields, "EntrySignature")
        text = _field(fields, "digest", str, "" if self.erase else None)
        try:
            self.digest = unhexlify(text[:64].encode())
        except ValueError:
            self.digest = b""
        if self.erase:
            if len(self.digest) != 32:
                self.digest = b""
            return
        if len(self.digest) != 32:
            raise ValueError("Digest is no SHA-256 of 64 hex digits")
        self.url = url = _field(fields, "url", str)
        # What is no ASCII or a line's end would get into the request.
        strange = len(url) > URL or min(url or " ") <= " " or max(url) > "~"
        if strange or url.partition("://")[0].lower() not in ("http", "https"):
            raise ValueError("URL is %r, wanted http or https in at most %d plain characters" % (url[:40], URL))

    def signed(self):
        """The bytes that EntrySignature signs."""
        digest = hexlify(self.digest).decode()
        return (SIGNED % (self.product, self.number, digest, self.erase)).encode()

    @property
    def mark(self):
        """Eight bytes; those of another entry are others."""
        fields = self.number, self.erase, self.product, self.url, self.digest, self.signature, self.proof
        return sha256(repr(fields).encode()).digest()[:8]


class Manifest:
    """The entries that count for a board.

    `offers`: what it may take, the highest number first, OFFERS at most; `erase`: what to withdraw, ERASES at most;
    `wrong`: a sentence for each entry left out; `other`: a product that an entry is for, where none is for `product`.
    """

    def __init__(self, entries, low=0, high=NUMBERS, product=""):
        self.low, self.high, self.product = low, high, product
        self.offers = []
        self.erase = []
        self.wrong = []
        self.other = ""
        own = False
        n = 0
        for fields in entries:
            n += 1
            try:
                entry = Entry(_lower(fields))
                if product and entry.product and entry.product != product:
                    self.other = entry.product
                    continue
                own = True
                self._take(entry)
            except ValueError as e:
                # Of thousands the first ones tell enough.
                if len(self.wrong) < WRONG:
                    self.wrong.append("entry %d: %s" % (n, e))
        if own:
            self.other = ""

    @property
    def offer(self):
        """The first offer, or None."""
        return self.offers[0] if self.offers else None

    def _take(self, entry):
        n = entry.number
        if entry.erase:
            if len(self.erase) == ERASES:
                raise ValueError("image %d is the %dth to be withdrawn, %d are looked at" % (n, ERASES + 1, ERASES))
            if not [one for one in self.erase if one.mark == entry.mark]:
                self.erase.append(entry)
        elif n > self.high:
            raise ValueError(
                "Version is %d, image %d takes %d to %d: see `jump`" % (n, self.low, self.low + 1, self.high)
            )
        elif n > self.low:
            offers = self.offers
            i = len(offers)
            while i and n > offers[i - 1].number:
                i -= 1
            offers.insert(i, entry)
            del offers[OFFERS:]


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


def _signature(fields, name):
    text = _field(fields, name.lower(), str, "")
    if len(text) > SIGNATURE:
        raise ValueError("%s has %d characters, wanted 88" % (name, len(text)))
    return text


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


def parse(text, last_entry=False, limits=()):
    """The Manifest in bytes of JSON; Refused where it is none. One entry at a time is more than text.

    `limits`: the board's number, the highest that it takes, and its product.
    """
    pieces = _pieces(text)
    try:
        if last_entry:
            last = []
            for piece in pieces:
                last = [piece]
            pieces = last
        return Manifest((text[a:b] for a, b in pieces), *limits)
    except SyntaxError as e:
        raise Refused("manifest", "no manifest: %s" % (str(e) or "no text in UTF-8"))


def read(buf, n, last_entry=False, limits=()):
    """The Manifest in the first `n` bytes of `buf`; Refused where they fill it: nobody knows how many there are."""
    if n == len(buf):
        raise Refused("manifest", "the manifest has more than %d bytes" % (n - 1))
    for i in range(n, len(buf)):
        # White space, so that no copy has to be made.
        buf[i] = 32
    return parse(buf, last_entry, limits)
