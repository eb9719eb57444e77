"""RSA-2048 (pipe/trust.py), and the public key as the flash table has it.

A key is the 294 bytes of a DER SubjectPublicKeyInfo, compared whole but for the modulus: nothing in it is parsed, and
the exponent is 65537.
"""

from hashlib import sha256

from micropython import const

from mpota.pipe import trust

SIZE = 256
KEY_SIZE = 294
_AT = const(33)
# SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { SEQUENCE { INTEGER of 257 bytes, a zero first
_FRONT = b'0\x82\x01"0\r\x06\t*\x86H\x86\xf7\r\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x000\x82\x01\n\x02\x82\x01\x01\x00'
_BACK = b"\x02\x03\x01\x00\x01"


def modulus(der):
    """The modulus in a key, 256 bytes; None where the bytes are no RSA-2048 key."""
    if len(der) != KEY_SIZE or der[:_AT] != _FRONT or der[_AT + SIZE :] != _BACK or der[_AT] < 128:
        return None
    return der[_AT : _AT + SIZE]


def encode(n):
    """The 294 bytes of the key with this modulus."""
    return _FRONT + n + _BACK


def key_hash(der):
    """The 8 bytes that an eFuse holds of a key, which are every nonce too."""
    return sha256(der).digest()[:8]


def verify(der, sig, digest):
    """Is `sig`, 256 bytes, the signature of the key `der`, 294 bytes, over the SHA-256 `digest`?"""
    front = modulus(der)
    return front is not None and trust.verify(front, sig, digest, SIZE)
