"""RSA with SHA-256, PKCS#1 v1.5: the whole encoded block is rebuilt and compared, nothing in it is parsed.

A public key is its modulus, big-endian, of a release key 384 bytes (RSA-3072); the exponent is 65537. Source: RFC 8017,
section 8.2.2.
"""

from hashlib import sha256

from mpota_boot.errors import Refused

SIZE = 384


def key_id(public):
    """The eight bytes that name a public key in a header."""
    return sha256(public).digest()[:8]


def verify(public, sig, digest, size=SIZE):
    """Is `sig` the signature of the key `public`, of `size` bytes, over what has the SHA-256 `digest`?"""
    n = int.from_bytes(public, "big")
    s = int.from_bytes(sig, "big")
    if len(public) != size or len(sig) != size or s >= n:
        return False
    return pow(s, 65537, n).to_bytes(size, "big") == block(digest, size)


def block(digest, size):
    """The encoded block of `size` bytes over a SHA-256."""
    # A zero ends the padding; then DER of DigestInfo for SHA-256, RFC 8017 section 9.2, note 1.
    info = b"\x00010\r\x06\t`\x86H\x01e\x03\x04\x02\x01\x05\x00\x04 "
    return b"\0\1" + b"\xff" * (size - 54) + info + digest


def check(keys, key, sig, digest):
    """Refuse a signature that is not one of a trusted key over `digest`; `key` is the id of the key that it names."""
    for public in keys:
        if key_id(public) == key:
            if verify(public, sig, digest):
                return
            raise Refused("signature", "not the signature of this header")
    raise Refused("key", "signed by a key that is not trusted here")
