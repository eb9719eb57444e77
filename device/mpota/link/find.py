"""What a manifest has for this board. Needed only while a link opens."""

from mpota.link.http import MANIFEST
from mpota.stream import pull
from mpota.version import parse


def find(link, buf, n):
    """Find the offer, (version, size, file): the newest for this board, of those the smallest not refused yet.

    After a refusal because something has to run first, that may be one of a lower version.

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
    newest = found and found[-1][0]
    if newest != link.newest:
        # A newer release begins anew.
        link.newest, link.below = newest, None
    mine = [o for o in found if not link.below or o[0] < link.below]
    best = [o for o in mine if o[0] == mine[-1][0]]
    left = [o for o in best if o > link.refused] or best[-1:]
    link.offer = left[0] if left else ()
    link.more = len(left) > 1
    link.less = len(mine) > len(best)
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
        mine = entry["product"] == link.product and entry["layout"] == link.layout
        # The package itself says it too, signed.
        if mine and entry.get("channel", "") == link.channel:
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
