"""RSA-3072 keys of the tests, and records and packages that they sign, on both interpreters.

Their primes lie in vectors/keys, for everybody to read: no board may trust them.
"""

from hashlib import sha256
from struct import pack

from mpota.pipe import keyrecord
from mpota.pipe.trust import SIZE, block, key_id

EXPONENT = 65537
PRIMES = __file__.replace("\\", "/").rpartition("/")[0] + "/vectors/keys/primes.txt"


def _inverse(a, m):
    """1 / a modulo m, by Euclid."""
    old, new, r, s = 0, 1, m, a
    while s:
        q = r // s
        r, s, old, new = s, r - q * s, new, old - q * new
    return old % m


class Key:
    """A key pair: `public`, 384 bytes as a board has it, and sign()."""

    def __init__(self, p, q):
        self.p, self.q = p, q
        self.public = (p * q).to_bytes(SIZE, "big")
        self.id = key_id(self.public)
        self.dp, self.dq, self.inverse = _inverse(EXPONENT, p - 1), _inverse(EXPONENT, q - 1), _inverse(q, p)

    def sign(self, data):
        """The signature over the SHA-256 of `data`, 384 bytes: RFC 8017, section 5.2.1, with two primes."""
        m = int.from_bytes(block(sha256(data).digest(), SIZE), "big")
        a, b = pow(m % self.p, self.dp, self.p), pow(m % self.q, self.dq, self.q)
        return (b + (a - b) * self.inverse % self.p * self.q).to_bytes(SIZE, "big")


def _keys():
    found = {}
    with open(PRIMES) as f:
        for line in f:
            name, _, numbers = line.partition(": ")
            found[name] = Key(*[int(one, 16) for one in numbers.split()])
    return found


KEYS = _keys()
A, B, C, FOREIGN = [KEYS[name] for name in ("root a", "root b", "root c", "foreign root")]
RELEASES = [KEYS["release %d" % n] for n in (1, 2, 3, 4)]
ROLLOUT = KEYS["rollout"]


def body(serial, release, rollout=(ROLLOUT,), product=b"demo", signatures=0):
    """What the roots sign, with 0 signatures."""
    head = pack(keyrecord.HEAD, b"MPOK", keyrecord.FORMAT, len(release), len(rollout), signatures, serial, product)
    return head + b"".join([key.public for key in list(release) + list(rollout)])


def joined(data, signatures):
    """A record: what was signed, and [(root, signature)]."""
    return data[:7] + bytes((len(signatures),)) + data[8:] + b"".join([root.id + sig for root, sig in signatures])


def record(serial, release, roots=(A,), **more):
    """A whole record."""
    data = body(serial, release, **more)
    return joined(data, [(root, root.sign(data)) for root in roots])


def signed(maker, key):
    """The package of a Maker, its header signed by a key."""
    maker.algorithm, maker.key = 1, key.id
    chunks = maker.chunks()
    head = maker.header(chunks)
    return head + key.sign(head) + b"".join(chunks)
