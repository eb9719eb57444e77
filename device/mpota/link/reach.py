"""How a connection comes about, in steps: the address of a name, TCP, TLS. Needed only while a link opens.

socket.getaddrinfo waits for the name server, so names are looked up here: RFC 1035, and 3596 for IPv6. A name that ends
in .local is asked of everybody in the network (RFC 6762, section 5.1).
"""

from struct import unpack_from

from micropython import const

from mpota_boot.errors import LinkError

# A datagram without an answer is sent again.
_AGAIN_MS = const(2000)
_PORT = const(53)


def reach(call, at):
    """`call(at)` with an address (host, port); the unix port wants it packed."""
    try:
        return call(at)
    except TypeError:
        import socket

        return call(socket.getaddrinfo(*at)[0][-1])


def connect(line, to):
    """A connection over IPv4, or else over IPv6; and TLS over it."""
    tls, host, port = to[:3]
    if line.network:
        yield from line.network.ready(tls)
    line.shaking = False
    errors = []
    for six in (False, True):
        try:
            found = yield from address(line, host, port, six)
            if found:
                sock = yield from _join(line, *found)
                break
        except LinkError as e:
            errors.append(e)
            line.close()
    else:
        if errors:
            raise errors[0]
        line.end("link", "the name %s has no address" % host)
    if tls:
        from mpota.link.tls import secure

        line.shaking = True
        try:
            line.sock = secure(sock, host, line.ca, line.cert)
        except (OSError, ValueError) as e:
            line.fail(e)
    line.poll = line.poller(line.sock, 5)  # POLLIN and POLLOUT: a handshake wants now this, now that
    line.what = "byte"


def address(line, host, port, six):
    """(family, address) of a host, None where it has none of this family."""
    import socket

    family = getattr(socket, "AF_INET6", 10) if six else socket.AF_INET
    # For this name lwIP asks nobody.
    server = host != "localhost" and line.name_server and line.name_server()
    if server:
        ip = host if six == (":" in host) else None
        if host.strip("0123456789.") and ":" not in host:
            ip = yield from look_up(line, host, server, six)
        return ip and (family, (ip, port))
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0]
        return found[0], found[-1]
    except OSError as e:
        line.end("link", "no address for the name %s: %s" % (host, e))


def _join(line, family, at):
    """A connection, in steps."""
    import socket
    from errno import EAGAIN, EINPROGRESS

    words = "no connection to the server: %s"
    line.sock = sock = socket.socket(family)
    sock.setblocking(False)
    try:
        reach(sock.connect, at)
    except OSError as e:
        if e.errno not in (EAGAIN, EINPROGRESS):
            line.end("link", words % e)
    line.what = "connection to the server"
    line.quiet = 0
    line.poll = line.poller(line.sock, 4)  # POLLOUT
    found = line.poll.poll(0)
    while not found:
        line.count(None)
        yield
        found = line.poll.poll(0)
    if found[0][1] & 24:  # POLLERR, POLLHUP; on an ESP32 the first write tells
        line.end("link", words % "refused, or out of reach")
    return sock


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
            if kind == 1:
                return ".".join([str(part) for part in data[at : at + n]])
            return ":".join(["%x" % part for part in unpack_from(">8H", data, at)])
        at += n
    return ""


def look_up(line, name, server, six):
    """Steps to an address of `name`, None where it has none of this family, within the deadlines of `line`."""
    import socket
    from os import urandom

    query = encode(name.rstrip("."), 28 if six else 1, urandom(2))
    # A server on another port is for tests.
    at = (server, _PORT) if isinstance(server, str) else server
    if name.endswith(".local"):
        at = ("224.0.0.251", 5353)
    line.what = "answer about the name %s from the name server %s" % (name, at[0])
    try:
        found = yield from exchange(line, socket.AF_INET, at, query, lambda data: decode(data, query))
    except OSError as e:
        line.end("link", "no address for the name %s: %s" % (name, e))
    return found or None


def exchange(line, family, at, query, decode):
    """Steps to what `decode(answer)` gives of the first datagram from there for which that is not None."""
    import socket

    line.sock = sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    line.poll = line.poller(sock, 1)  # POLLIN
    line.quiet = due = 0
    found = None
    while found is None:
        if line.quiet >= due:
            reach(lambda to: sock.sendto(query, to), at)
            due += _AGAIN_MS
        if line.poll.poll(0):
            found = decode(sock.recvfrom(512)[0])
        if found is None:
            line.count(None)
            yield
    line.close()
    return found
