"""A look-up at the network's name server in steps, for socket.getaddrinfo waits: RFC 1035, and 3596 for IPv6.

A name that ends in .local is asked of everybody in the network (RFC 6762, section 5.1).
"""

from os import urandom
from struct import unpack_from

from mpota.link.url import shown
from mpota_boot.errors import LinkError

_PORT = 53


def encode(name, kind, mark):
    """A query for the addresses of a name: `kind` 1 for IPv4, 28 for IPv6; `mark`: two bytes of its own."""
    out = mark + b"\x01\0\0\1\0\0\0\0\0\0"
    for label in name.split("."):
        if not 0 < len(label) < 64:
            raise LinkError(
                "link", "%r is no name: a part of it has %d bytes, 1 to 63 are allowed" % (name, len(label))
            )
        out += bytes((len(label),)) + label.encode()
    return out + bytes((0, 0, kind, 0, 1))


def decode(data, query):
    """The address in an answer to `query`, "" where there is none. None: it is no answer to it."""
    at = len(query)
    if len(data) < at or data[:2] != query[:2] or not data[2] & 0x80 or data[12:at] != query[12:]:
        return None
    for _ in range(data[6] << 8 | data[7]):
        while at < len(data) and 0 < data[at] < 0xC0:
            at += data[at] + 1
        # A name ends with a zero, or with two bytes that point to the rest.
        at += 2 if at < len(data) and data[at] else 1
        if at + 10 > len(data):
            break
        kind, _, _, n = unpack_from(">HHIH", data, at)
        at += 10
        if kind == query[-3] and n == (4 if kind == 1 else 16) and at + n <= len(data):
            parts = unpack_from("4B" if kind == 1 else ">8H", data, at)
            return ("." if kind == 1 else ":").join([("%d" if kind == 1 else "%x") % part for part in parts])
        at += n
    return ""


def look_up(line, name, server, six):
    """Steps to an address of `name`, None where it has none of this family, within the deadlines of `line`."""
    import socket

    query = encode(name.rstrip("."), 28 if six else 1, urandom(2))
    # A server on another port is for tests.
    at = (server, _PORT) if isinstance(server, str) else server
    if name.endswith(".local"):
        at = ("224.0.0.251", 5353)
    line.what = "answer about the name %s from the name server %s" % (name, at[0])
    try:
        found = yield from line.exchange(socket.AF_INET, at, query, lambda data: decode(data, query))
    except OSError as e:
        raise LinkError("link", "%s: no address for the name %s: %s" % (shown(line.url), name, e))
    return found or None
