"""Wycheproof's cases for what the core checks: RSA-3072 with SHA-256, AES key wrap, AES-CBC with PKCS #7 padding."""

from binascii import unhexlify
from hashlib import sha256

from cryptolib import aes

from mpota.pipe import decrypt, trust
from mpota_boot.errors import Corrupt, Refused
from tests.core.test_decrypt import DEVICE, Sealed, decoded, record, unwrap
from tests.expect import raises
from tests.wycheproof import cases, results

# A release key's exponent; FORMAT.md names it, and no header brings another.
EXPONENT = 65537


def test_every_rsa_signature_is_taken_or_refused_as_it_should_be():
    keys, found = cases("rsa_3072_sha256.json.gz")
    assert results(found) == {"valid": 8, "invalid": 250, "acceptable": 1}
    for number, result, key, message, signature in found:
        modulus, exponent = keys[key]
        # The acceptable one has no NULL in its DigestInfo. RFC 8017 (9.2, note 1) lets a check refuse that, and a
        # check that compares the whole block does. The valid one of exponent 3 is no signature for 65537.
        wanted = result == "valid" and exponent == EXPONENT
        taken = trust.verify(unhexlify(modulus), signature, sha256(message).digest())
        assert taken == wanted, number


def test_a_content_key_is_unwrapped_only_where_its_wrap_is_whole():
    _, found = cases("aes_256_wrap.json")
    assert results(found) == {"valid": 4, "invalid": 12}
    for number, result, secret, key, wrapped in found:
        record = decrypt.key_id(secret) + wrapped
        if result == "valid":
            assert unwrap(record, [secret]) == key, number
        else:
            raises(Refused, "encrypted", unwrap, record, [secret])


def packed(key, stored, size):
    """A package whose one chunk is this ciphertext under the content key `key`, said to hold `size` bytes."""
    maker = Sealed(bytes(size))
    maker.records = [record(DEVICE, key)]
    maker.change = lambda pieces: [stored]
    return maker.bytes()


def test_a_chunk_is_decrypted_only_where_its_padding_is_whole():
    _, found = cases("aes_256_cbc_pkcs5.json")
    assert results(found) == {"valid": 24, "invalid": 48}
    for number, result, key, iv, message, ciphertext in found:
        # A chunk's IV is its place's. The case's own stands in front as a block, and what that decrypts to is left out.
        stored = iv + ciphertext
        if result == "valid":
            assert decoded(packed(key, stored, 16 + len(message)), DEVICE)[16:] == message, number
            continue
        # The lengths that whoever believes the last byte, or knows what was sealed, would promise.
        last = aes(key, 2, iv).decrypt(ciphertext)[-1] if ciphertext else 0
        for size in (16 + len(message), max(len(stored) - last, 1)):
            raises(Corrupt, "decode", decoded, packed(key, stored, size), DEVICE)
