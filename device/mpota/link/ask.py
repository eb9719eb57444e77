"""A request and the head of its answer, in steps. Needed only while a link opens."""

from micropython import const

from mpota.link.web import HEADER, number
from mpota_boot.errors import LinkError

_LOCATION = const(2048)  # bytes of the URL that a redirect gives


def ask(web, to, home, at, post):
    """GET, or POST of `post`; then `web` stands at the body and knows what that is like. A redirect gives its URL."""
    data = _request(web, to, home, at, post)
    # Loading this was a step.
    yield
    while data:
        n = web.io(web.sock.write, data)
        if n:
            data = data[n:]
        else:
            yield
    web.shaking = False
    web.poll.modify(web.sock, 1)  # POLLIN
    web.room = HEADER
    web.buf = b""
    web.status, fields = yield from _head(web)
    return _judge(web, fields, at)


def _request(web, to, home, at, post):
    tls, host, port, path, login = to
    ours = home[:3] == to[:3]
    if ":" in host:
        host = "[%s]" % host
    if port != (443 if tls else 80):
        # A signed URL is for a host without the usual port.
        host += ":%d" % port
    lines = [
        "%s %s HTTP/1.1" % ("POST" if post else "GET", path),
        "Host: " + host,
        "User-Agent: mpota\r\nAccept-Encoding: identity\r\nConnection: close",
    ]
    if at:
        lines.append("Range: bytes=%d-" % at)
    if post:
        lines.append("Content-Length: %d" % len(post))
    if web.tag:
        lines.append("If-None-Match: " + web.tag.decode())
    login = login or (ours and home[4])
    if login:
        from mpota.link.login import basic

        lines.append(basic(login))
    if ours and web.headers:
        from mpota.link.login import fields

        lines += fields(web.headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + post


def _head(web):
    """Steps to the end of the header: its status, and the fields that count. What comes before with 1xx is none."""
    status = 100
    while status // 100 == 1:
        words = (yield from _whole_line(web)).split()
        if len(words) < 2 or words[0][:7] != b"HTTP/1.":
            web.end("http", "the server does not answer in HTTP/1")
        status = number(words[1])
        fields = {}
        line = words[0]
        while line:
            line = yield from _whole_line(web)
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip()
            if name in (
                b"content-length", b"transfer-encoding", b"content-range", b"content-type", b"content-encoding",
                b"location", b"retry-after", b"date", b"etag",
            ):  # fmt: skip
                if web.cut or len(value) > _LOCATION:
                    web.end("http", "%s of more than %d bytes" % (name.decode(), _LOCATION))
                fields[name] = value
    return status, fields


def _judge(web, fields, at):
    """Take from the header what the body is like; the URL of a redirect."""
    status = web.status
    kind = status // 100
    if kind == 3 and fields.get(b"location"):
        return fields[b"location"]
    if kind != 2 and not (status == 304 and web.tag):
        e = LinkError("http", "status %d of %s" % (status, web.url))
        if b"retry-after" in fields:
            from mpota.link.later import wait_ms

            e.after_ms = wait_ms(fields[b"retry-after"], fields.get(b"date"))  # type: ignore[attr-defined]
        raise e
    _body(web, fields)
    if status == 304:
        web.left = 0
    if status == 206:
        web.pos = number(fields.get(b"content-range", b"")[6:].split(b"-")[0])
        if web.pos > at:
            web.end("http", "byte %d was asked for, %d came" % (at, web.pos))


def _body(web, fields):
    """How the body comes."""
    if web.tag is not None:
        web.tag = fields.get(b"etag", b"")
    web.pos = 0
    web.html = fields.get(b"content-type", b"")[:9].lower() == b"text/html"
    web.left = number(fields[b"content-length"]) if b"content-length" in fields else None
    moved = fields.get(b"transfer-encoding", b"identity").lower()
    coding = fields.get(b"content-encoding", b"identity").lower()
    web.chunked = moved == b"chunked"
    web.zipped = coding == b"gzip" and web.tag is not None
    for known, word in ((web.chunked, moved), (web.zipped, coding)):
        if not known and word not in (b"", b"identity"):
            web.end("http", "it comes as %r unasked: switch the server's compression off for it" % word)
    web.gap = False
    if web.chunked:
        web.left = 0


def _whole_line(web):
    line = web.line()
    while line is None:
        yield
        line = web.line()
    return line
