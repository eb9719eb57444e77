"""What a request says about who asks: user and password of its URL, and the fields of the settings' `headers`."""

from binascii import b2a_base64

from micropython import const

from mpota_boot.errors import LinkError

_HEX = const("0123456789abcdefABCDEF")


def basic(login):
    """The line for "user:password", which a URL has percent-encoded."""
    return "Authorization: Basic " + b2a_base64(unquote(login)).decode().strip()


def unquote(text):
    """The bytes of a text with percent-encoding."""
    first, *parts = text.encode().split(b"%")
    for part in parts:
        code = part[:2].decode()
        escaped = len(code) == 2 and code[0] in _HEX and code[1] in _HEX
        first += bytes((int(code, 16),)) + part[2:] if escaped else b"%" + part
    return first


def fields(headers):
    """The lines of a request. A line end in one would begin another field, or another request."""
    if not isinstance(headers, dict):
        raise LinkError("headers", "headers is %r, wanted names and values in braces" % type(headers).__name__)
    lines = []
    for name in headers:
        value = headers[name]
        good = isinstance(value, str) and name and not [c for c in name.encode() if not 0x20 < c < 0x7F or c == 58]
        if not good or [c for c in value.encode() if not 0x1F < c < 0x7F]:
            # Its value may be a secret.
            raise LinkError("headers", "headers: %r or its value is no text of one line in ASCII" % name)
        lines.append("%s: %s" % (name, value))
    return lines
