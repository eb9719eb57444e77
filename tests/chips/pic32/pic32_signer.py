"""Signatures as the vendor's tool makes them, by the key of RFC 6979, A.2.5. For tests: its nonce is no secret."""

from binascii import b2a_base64, hexlify
from hashlib import sha256

from mpota.layout.pic32.pipe import p256

PRIVATE = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
NONCE = 0xA6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60


def _x(k):
    """The x of k times the base point."""
    found, power = None, p256.G
    while k:
        if k & 1:
            found = p256._add(found, power)
        power = p256._double(power)
        k >>= 1
    return found[0] * pow(found[2], p256.P - 3, p256.P) % p256.P


R = _x(NONCE) % p256.N


def sign(data):
    """The text of a signature over the SHA-256 of `data`."""
    z = int.from_bytes(sha256(data).digest(), "big")
    s = pow(NONCE, p256.N - 2, p256.N) * (z + R * PRIVATE) % p256.N
    return b2a_base64(R.to_bytes(32, "big") + s.to_bytes(32, "big")).strip().decode()


def proof(n, digest=b"", product="demo", erase=0):
    """The text of an EntrySignature, its bytes as FORMAT.md has them."""
    text = "mpota pic32 entry\n" + product + "\n" + str(n) + "\n" + hexlify(digest).decode() + "\n" + str(erase) + "\n"
    return sign(text.encode())


def bound(n, digest=b"", product="demo", erase=0):
    """Product and EntrySignature, as the text of an entry goes on."""
    return ', "Product": "%s", "EntrySignature": "%s"' % (product, proof(n, digest, product, erase))


def erased(n, digest=b"", product="demo"):
    """A signed entry that takes a number back."""
    more = bound(n, digest, product, 1)
    if digest:
        more += ', "Digest": "%s"' % hexlify(digest).decode()
    return '{"Version": %d, "EraseVer": true%s}' % (n, more)
