"""What a manifest has for this board. Needed only while a link opens."""

from mpota.link.http import MANIFEST
from mpota.stream import pull
from mpota.version import parse


def find(link, buf, n):
    """Find the offer, (version, size, file): the newest for this board, of those the smallest not refused yet.

    The manifest is the first `n` bytes of `buf`.
    """
    if link.status == 304:
        link.offer = ()
        return
    try:
        if link.zipped:
            buf, n = _inflated(buf, n)
        # Editors of Windows begin a file with a byte order mark.
        found = [] if n == MANIFEST else _offers(link, buf[3 if buf[:3] == b"\xef\xbb\xbf" else 0 : n])
    except Exception as e:
        if link.html:
            link.end("portal", "this is a web page, maybe a login")
        link.end("manifest", "this is no manifest: %r" % e)
    if n == MANIFEST:
        link.end("manifest", "the manifest has %d bytes or more" % n)
    _choose(link, found)


def _choose(link, found):
    found.sort()
    found = [o for o in found if o[0] == found[-1][0] and o > link.refused] or found[-1:]
    link.offer = found[0] if found else ()
    link.more = len(found) > 1
    # Of one that has an offer the file may be wanted again.
    tag = link.tag or b""
    link.unchanged = b"" if found or [c for c in tag if not 0x20 < c < 0x7F] else tag


def _offers(link, data):
    """What a manifest has for this board that is newer than what runs."""
    from json import loads

    text = loads(data)  # the stubs know no bytearray here
    if text["mpota"] != 1:
        raise ValueError("format")
    found = []
    current = link.current() or b""
    for entry in text["packages"]:
        if entry["product"] == link.product and entry["layout"] == link.layout:
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
