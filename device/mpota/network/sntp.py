"""The time from a server over UDP, in steps, for a clock that was never set: RFC 4330 (SNTP version 4).

    0 leap, version, mode u8   1 stratum u8   12 reference id 4   24 originate 8   40 transmit: seconds since 1900 u32

The server sends back the query's transmit time as `originate`: eight bytes of chance, so that nobody who does not see
the query can answer it. Whoever sees it can tell any time from YEAR on; what a certificate is for it cannot change.
"""

import time
from os import urandom
from struct import unpack_from

from micropython import const

from mpota.link.connection import YEAR
from mpota.link.reach import address, exchange
from mpota.network.port import put_clock
from mpota_boot.errors import LinkError

_PORT = const(123)
_SIZE = const(48)
# From 1900 to 1970, and from there to 2000.
_TO_1970 = const(2208988800)
_TO_2000 = const(946684800)


def encode(mark):
    """A query of version 4, mode 3 (client); `mark`: 8 bytes of its own."""
    return b"\x23" + bytes(39) + mark


def decode(data, query, server):
    """Seconds since 1970 of an answer to `query`, None: it is no answer to it. LinkError: the server has no time."""
    if len(data) < _SIZE or data[24:32] != query[40:48] or data[0] & 7 != 4:
        return None
    # Stratum 0 is a "kiss of death"; leap 3 says that the server's own clock is not set.
    if not 0 < data[1] < 16 or data[0] >> 6 == 3:
        raise LinkError("clock", "%s has no time: stratum %d, leap %d" % (server, data[1], data[0] >> 6))
    s = unpack_from(">I", data, 40)[0]
    # The seconds begin anew in 2036.
    return s + (0 if s & 0x80000000 else 1 << 32) - _TO_1970


def put(s, server):
    """Set the clock to `s` seconds since 1970."""
    date = time.gmtime(s - (_TO_2000 if time.gmtime(0)[0] == 2000 else 0))
    if date[0] < YEAR:
        raise LinkError("clock", "%s says that it is %d, wanted is %d or later" % (server, date[0], YEAR))
    put_clock(date)
    now = time.localtime()
    if now[0] < YEAR:
        raise LinkError("clock", "the clock shows %d after it was set to %d" % (now[0], date[0]))


def setting(line, server):
    """Steps that set the clock by `server`, a name or an IPv4 address, with ":port" where it is not 123."""
    host, _, port = server.partition(":")
    line.url = "ntp://" + server
    try:
        found = None
        for six in (False, True):
            found = found or (yield from address(line, host, int(port or _PORT), six))
        if not found:
            raise LinkError("clock", "the time server %s has no address" % server)
        query = encode(urandom(8))
        line.what = "answer from the time server"
        s = yield from exchange(line, found[0], found[1], query, lambda data: decode(data, query, server))
        put(s, server)
    finally:
        line.close()
