"""Wycheproof's cases for ECDSA over P-256 with SHA-256, which the PIC32MZW1's bootloader and service check."""

from binascii import b2a_base64, unhexlify
from hashlib import sha256

from mpota.layout.pic32.pipe import p256
from tests.wycheproof import cases, results


def test_every_signature_is_taken_or_refused_as_it_should_be():
    keys, found = cases("p256_sha256.json.gz")
    assert results(found) == {"valid": 173, "invalid": 89} and len(keys) == 112
    for number, result, key, message, signature in found:
        digest = sha256(message).digest()
        taken = p256.verify(unhexlify(keys[key]), signature, digest)
        assert taken == (result == "valid"), number
        assert p256.verify_text(unhexlify(keys[key]), b2a_base64(signature), digest) == taken, number
