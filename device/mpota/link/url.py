"""URLs as RFC 3986 has them, the same on the board and on the host: taken apart, resolved, and quoted once.

    scheme://user:password@host:port/path?query#fragment

Whoever makes a request quotes the names that a person or a manifest gave. A Location is a URL already: it is taken as
it is, or refused.
"""

from mpota_boot.errors import LinkError

_HEX = "0123456789abcdefABCDEF"
# RFC 3986 has these in no part of a URL.
_UNSAFE = ' "<>\\^`{|}'


def split(url):
    """(scheme, authority, path, query, fragment); None for a part that is not there, "" for an empty path."""
    rest, mark, fragment = url.partition("#")
    rest, sign, query = rest.partition("?")
    scheme, colon, path = rest.partition(":")
    letters = [c for c in scheme if "a" <= c.lower() <= "z"]
    if (
        not colon
        or letters[:1] != list(scheme[:1])
        or any(c not in letters and c not in "0123456789+-." for c in scheme)
    ):
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
            elif path[0] != "/":
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
    out = ""
    for i, c in enumerate(text):
        percent = c == "%" and not (len(text) > i + 2 and text[i + 1] in _HEX and text[i + 2] in _HEX)
        if percent or c in _UNSAFE or c in more or c > "\x7f":
            c = "".join(["%%%02X" % byte for byte in c.encode()])
        out += c
    return out


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


def parse(url):
    """(https or not, host, port, path with query, "user:password") of what can be asked for, or LinkError.

    An IPv6 address comes without its brackets.
    """
    for i, c in enumerate(url):
        if not "!" <= c <= "~":
            words = "%r has the byte 0x%02x at %d, a URL has 0x21 to 0x7e only: percent-encode it"
            raise LinkError("url", words % (shown(url), ord(c), i))
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
