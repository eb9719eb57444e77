"""URLs as RFC 3986 has them, the same on the board and on the host: taken apart, resolved, and quoted once.

    scheme://user:password@host:port/path?query#fragment

Whoever makes a request quotes the names that a person or a manifest gave. A Location is a URL already: it is taken as
it is, or refused.
"""

from micropython import const

from mpota_boot.errors import LinkError

_HEX = const(b"0123456789abcdefABCDEF")
# RFC 3986 has these in no part of a URL.
_UNSAFE = const(b' "<>\\^`{|}')
_SCHEME = const("abcdefghijklmnopqrstuvwxyz0123456789+-.")


def split(url):
    """(scheme, authority, path, query, fragment); None for a part that is not there, "" for an empty path."""
    rest, mark, fragment = url.partition("#")
    rest, sign, query = rest.partition("?")
    scheme, colon, path = rest.partition(":")
    low = scheme.lower()
    if not colon or not low[:1].isalpha() or low.strip(_SCHEME):
        scheme, path = "", rest
    authority = None
    if path[:2] == "//":
        authority, slash, path = path[2:].partition("/")
        path = slash + path
    return scheme or None, authority, path, query if sign else None, fragment if mark else None


def resolve(base, ref):
    """`ref` as seen from the page `base`: RFC 3986, section 5.2.2."""
    scheme, authority, path, query, fragment = split(ref)
    if scheme is None:
        scheme, old, before, asked, _ = split(base)
        if authority is None:
            authority = old
            if not path:
                path = before
                query = asked if query is None else query
            elif path[:1] != "/":
                path = (before.rpartition("/")[0] if before or authority is None else "") + "/" + path
    url = "" if authority is None else "//" + authority
    url += _dots(path)
    for sign, part in (("?", query), ("#", fragment)):
        url += "" if part is None else sign + part
    return scheme + ":" + url if scheme else url


def _dots(path):
    """RFC 3986, section 5.2.4: `.` is left out, `..` takes the folder before it along."""
    parts = path.split("/")
    out = []
    for part in parts:
        if part == ".." and len(out) > 1:
            out.pop()
        if part not in (".", ".."):
            out.append(part)
    if parts[-1] in (".", ".."):
        out.append("")
    return "/".join(out)


def quote(text, more=""):
    """`text` with what no URL holds percent-encoded, and the characters `more`; %41 stays what it is.

    Control characters stay as well, for parse() to refuse.
    """
    # Bytes: MicroPython keeps each character that is taken out of a text, for ever.
    data = text.encode()
    unsafe = _UNSAFE + more.encode()
    out = bytearray()
    at = 0
    for c in data:
        at += 1
        code = data[at : at + 2] if c == 37 else b"00"
        if c > 0x7F or c in unsafe or len(code) < 2 or code.strip(_HEX):
            out += b"%%%02X" % c
        else:
            out.append(c)
    return out.decode()


def beside(base, name):
    """The URL of a `file` of the manifest at `base`: the name of a file beside it, or with a slash a URL."""
    return resolve(base, quote(name) if "/" in name else "./" + quote(name, "?#"))


def follow(base, name):
    """`name` as seen from the page `base`, for a request; never from https to less."""
    url = resolve(base, name)
    if parse(url)[0] < parse(base)[0]:
        raise LinkError("tls", "%s leads to %s, which is no https" % (shown(base), shown(url)))
    return url


def shown(url):
    """A URL for messages: without user, password and query, which may be secrets."""
    scheme, authority, path, query, _ = split(url)
    place = (authority or "").rpartition("@")[2]
    return "%s://%s%s%s" % (scheme, place, path, "" if query is None else "?...") if place else url.rpartition("@")[2]


def checked(data):
    """The text of a URL's bytes, or LinkError."""
    at = 0
    for c in data:
        if not 0x20 < c < 0x7F:
            words = "the URL has the byte 0x%02x at %d, 0x21 to 0x7e are allowed: percent-encode it"
            raise LinkError("url", words % (c, at))
        at += 1
    return data.decode()


def parse(url):
    """(https or not, host, port, path with query, "user:password") of what can be asked for, or LinkError.

    An IPv6 address comes without its brackets.
    """
    checked(url.encode())
    scheme, authority, path, query, _ = split(url)
    scheme = (scheme or "").lower()
    login, _, place = (authority or "").rpartition("@")
    if place[:1] == "[":
        host, end, port = place[1:].partition("]")
        good = end and ":" in host and port[:1] in ("", ":")
        port = port[1:]
    else:
        host, _, port = place.partition(":")
        good = host and "%" not in host
    if scheme not in ("http", "https") or not good:
        raise LinkError("url", "%r is no URL of a web server: http://host/path" % shown(url))
    n = (int(port) if port.isdigit() else 0) if port else 443 if scheme == "https" else 80
    if not 0 < n < 65536:
        raise LinkError("url", "%r has the port %r, a port is 1 to 65535" % (shown(url), port))
    return scheme == "https", host.lower(), n, (path or "/") + ("" if query is None else "?" + query), login
