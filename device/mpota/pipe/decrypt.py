"""AES-256-CBC with stock `cryptolib`: the content key out of the header's records, and the stage that uses it.

The content key is wrapped (RFC 3394) for each device key that may read the package; a board holds such keys, and no
package brings one. A chunk is decrypted where it lies, in the RAM of the stored chunk, so that the stage behind reads
plain memory. Its IV is where it belongs, encrypted (NIST SP 800-38A, appendix C, first method): no two are the same.
"""

from gc import collect
from hashlib import sha256
from struct import pack

from cryptolib import aes

from mpota_boot.errors import Refused


def key_id(secret):
    """The eight bytes that name a device key."""
    return sha256(b"mpota device key" + secret).digest()[:8]


def unlock(package, secrets, buf):
    """Give `package` its content key, by one of this board's device keys; `buf` still holds the header."""
    names = ""
    at = package.locks
    for off in range(at, at + 48 * package.recipients, 48):
        name = buf[off : off + 8]
        names += " " + name.hex()
        for secret in secrets:
            if key_id(secret) == name:
                # RFC 3394, 2.2.2.
                key = buf[off + 8 : off + 48]
                ecb = aes(secret, 1)
                for t in range(24, 0, -1):
                    i = (t + 3) % 4 * 8 + 8
                    key[7] ^= t
                    block = ecb.decrypt(key[:8] + key[i : i + 8])
                    key[:8] = block[:8]
                    key[i : i + 8] = block[8:]
                if key[:8] == b"\xa6" * 8:
                    # Collect now: the 8 KB of garbage must not lie below the chunk buffer.
                    collect()
                    package.key = key[8:]
                    return
                names += " (another)"
    what = "encrypted for %d device keys%s, none is here: `flash --device-key` brings one"
    raise Refused("encrypted", what % (package.recipients, names[:68]))


def stage(chunks):
    """An `open` that decrypts the stored chunk in place, and lowers `chunks.stored` to where its padding begins."""
    if not chunks.key:
        unlock(chunks.package, b"", b"")
    key = chunks.key
    ecb = aes(key, 1)
    view = memoryview(bytearray(512))

    def open(src):
        cbc = aes(key, 2, ecb.encrypt(pack("<8sII", b"mpota iv", chunks.i, chunks.start)))
        at = start = chunks.ram.tell()
        while at < chunks.stored:
            piece = view[: chunks.stored - at]
            chunks.ram.readinto(piece)
            cbc.decrypt(piece, piece)
            chunks.ram.seek(at)
            at += chunks.ram.write(piece)
        n = piece[-1]
        if n > 16 or piece[-n:] != bytes((n,)) * n:
            raise ValueError
        chunks.stored -= n
        chunks.ram.seek(start)
        return src

    return open
