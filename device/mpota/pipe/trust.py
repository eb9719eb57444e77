"""RSA with SHA-256, PKCS#1 v1.5: the whole encoded block is rebuilt and compared, nothing in it is parsed.

It goes in steps, one for each squaring: an RP2040 needs 262 ms for all, 16.8 ms for the longest. A public key is its
modulus, big-endian, of a release key 384 bytes (RSA-3072); the exponent is 65537. Source: RFC 8017, section 8.2.2.
"""

from hashlib import sha256

from mpota.stream import finish
from mpota_boot.errors import Refused

SIZE = 384


def key_id(public):
    """The eight bytes that name a public key in a header."""
    return sha256(public).digest()[:8]


def verify(public, sig, digest, size=SIZE):
    """Is `sig` the signature of the key `public`, both of `size` bytes, over the SHA-256 `digest`?"""
    return finish(verifying(public, sig, digest, size))


def verifying(public, sig, digest, size=SIZE):
    """verify() in steps."""
    n = int.from_bytes(public, "big")
    x = s = int.from_bytes(sig, "big")
    if len(public) != size or len(sig) != size or s >= n:
        return False
    # The exponent is 2**16 + 1.
    for _ in range(16):
        x = x * x % n
        yield
    good = (x * s % n).to_bytes(size, "big") == block(digest, size)
    # A generator that is over may be held for long, and its names with it.
    x = s = n = None
    return good


def block(digest, size):
    """The encoded block of `size` bytes over a SHA-256."""
    # A zero ends the padding; then DER of DigestInfo for SHA-256, RFC 8017 section 9.2, note 1.
    info = b"\x00010\r\x06\t`\x86H\x01e\x03\x04\x02\x01\x05\x00\x04 "
    return b"\0\1" + b"\xff" * (size - 54) + info + digest


def check(keys, key, sig, digest):
    """Refuse, in steps, a signature that no trusted key made over `digest`; `key`: the id of the key that it names.

    `keys` are public keys, or the Keyring of a board with roots.
    """
    if hasattr(keys, "trusted"):
        keys = yield from keys.trusted()
    for public in keys:
        if key_id(public) == key:
            if (yield from verifying(public, sig, digest)):
                return
            raise Refused("signature", "not the signature of this header")
    raise Refused("key", "signed by a key that is not trusted here")
