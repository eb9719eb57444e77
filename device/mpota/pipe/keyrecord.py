"""The keys record: which keys sign packages and which sign offers, signed by root keys. FORMAT.md has the byte picture.

Nothing in it counts before enough of a board's own roots have signed it. A signature of any other root says nothing.
"""

from hashlib import sha256
from struct import unpack_from

from micropython import const

from mpota.pipe.trust import SIZE, key_id, verifying
from mpota.stream import fill
from mpota_boot.errors import LinkError, Refused

# The fields are those of FORMAT.md, in its order.
HEAD = "<4sBBBBI32s"
HEAD_SIZE = const(44)
MAGIC = b"MPOK"
FORMAT = const(1)
SIGNED = const(392)
MOST = const(4096)


def length(head):
    """Bytes of the record that begins with these bytes, 8 or more; Refused where that is none."""
    magic, form, release, rollout, signatures = unpack_from("<4sBBBB", head)
    n = HEAD_SIZE + SIZE * (release + rollout) + SIGNED * signatures
    if magic != MAGIC or form != FORMAT:
        raise Refused("record", "no keys record of format 1: it begins with %r" % bytes(head[:5]))
    if not (release and signatures) or n > MOST:
        raise Refused("record", "a keys record of %d release keys, %d signatures, %d bytes" % (release, signatures, n))
    return n


class KeysRecord:
    """A record's fields, none of them proven; `release` and `rollout` are public keys. Refused where not whole."""

    def __init__(self, data):
        if len(data) < HEAD_SIZE or length(data) != len(data):
            raise Refused("record", "a keys record of %d bytes is not whole" % len(data))
        _, _, n, _, signatures, self.serial, product = unpack_from(HEAD, data)
        try:
            self.product = product.rstrip(b"\0").decode()
        except UnicodeError:
            raise Refused("record", "the keys record's product is not UTF-8")
        end = len(data) - SIGNED * signatures
        keys = [bytes(data[at : at + SIZE]) for at in range(HEAD_SIZE, end, SIZE)]
        self.release = keys[:n]
        self.rollout = keys[n:]
        # As it was before anybody signed it: with no signatures.
        h = sha256(data[:7])
        h.update(b"\0")
        h.update(data[8:end])
        self.digest = h.digest()
        self.signatures = {
            bytes(data[at : at + 8]): bytes(data[at + 8 : at + SIGNED]) for at in range(end, len(data), SIGNED)
        }

    def proving(self, roots, threshold):
        """Refuse, in steps, what fewer than `threshold` of the keys `roots` have signed; no root counts twice."""
        n = 0
        for public in roots:
            signature = self.signatures.get(key_id(public))
            if signature and (yield from verifying(public, signature, self.digest)):
                n += 1
            if n == threshold:
                return
        raise Refused(
            "root", "%d roots of this board have signed keys record %d, wanted %d" % (n, self.serial, threshold)
        )


def reading(src, view):
    """The bytes of the record, in steps, of which `view` (4096 bytes) has the first 16."""
    n = length(view)
    if (yield from fill(src, view[16:n])) < n - 16:
        raise LinkError("short", "it ends inside its keys record")
    return view[:n]


def ahead(src, view, keys):
    """A record in front of a package: `keys` takes it, if that is a keyring. Returns its bytes, of which `view` has 16.

    Who has no roots passes it over.
    """
    data = yield from reading(src, view)
    if hasattr(keys, "taking"):
        yield from keys.taking(data)
    return len(data)
