"""The fields of a header, for the few packages that have any. FORMAT.md has their names.

One that a board does not know is passed over where its first letter is small, else the package is refused by its name.
"""

from struct import unpack_from

from micropython import const

from mpota_boot.errors import Refused

_FIELD = const("<4sH")
# Each name with the bytes of its value, 0 for text.
_FIELDS = const(((b"Chan", 0), (b"From", 8), (b"Firm", 8), (b"Boot", 2)))


def fields(buf, at, end):
    """The values by name, of the known ones, in buf[at:end]."""
    known = dict(_FIELDS)
    found = {}
    while at < end:
        if at + 6 > end:
            raise Refused("format", "the header ends inside a field")
        key, n = unpack_from(_FIELD, buf, at)
        at += 6 + n
        if at > end or key in found or known.get(key, n) not in (n, 0):
            raise Refused("format", "field %r twice, or of %d bytes" % (key, n))
        if key not in known and not key[0] & 32:
            raise Refused("field", "the package asks for %r, which this mpota does not know: update mpota first" % key)
        found[key] = bytes(buf[at - n : at])
    return {key: found[key] for key in found if key in known}
