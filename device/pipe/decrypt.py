"""AES-256-CBC with stock `cryptolib`: the content key out of the header's records, and the stage that uses it.

The content key is wrapped (RFC 3394) for each device key that may read the package; a board holds such keys, and no
package brings one. A chunk is decrypted where it lies, in the RAM of the stored chunk, so that the stage behind reads
plain memory. Its IV is its number, encrypted (NIST SP 800-38A, appendix C, first method): no two are the same.
"""

from hashlib import sha256
from struct import pack

from cryptolib import aes

from device.errors import Refused


def key_id(secret):
    """The eight bytes that name a device key."""
    return sha256(b"mpota device key" + secret).digest()[:8]


def unwrap(records, secrets):
    """The content key: `records` has 48 bytes for each device key that may open it, `secrets` are this board's."""
    names = ""
    for off in range(0, len(records), 48):
        name = bytes(records[off : off + 8])
        names += " " + name.hex()
        for secret in secrets:
            if key_id(secret) == name:
                # RFC 3394, 2.2.2.
                buf = bytearray(records[off + 8 : off + 48])
                ecb = aes(secret, 1)
                for t in range(24, 0, -1):
                    i = 8 + (t - 1) % 4 * 8
                    buf[7] ^= t
                    block = ecb.decrypt(buf[:8] + buf[i : i + 8])
                    buf[:8] = block[:8]
                    buf[i : i + 8] = block[8:]
                if buf[:8] == b"\xa6" * 8:
                    return buf[8:]
                names += " (another)"
    what = "encrypted for %d device keys (%s), this board has none: `flash --device-key`, or pack --encrypt-for its own"
    raise Refused("encrypted", what % (len(records) // 48, names[1:68]))


def stage(chunks):
    """An `open` that decrypts the stored chunk in place, and lowers `chunks.stored` to where its padding begins."""
    key = chunks.key or unwrap(b"", b"")
    ecb = aes(key, 1)
    ram = chunks.ram
    view = memoryview(bytearray(512))

    def open(src):
        cbc = aes(key, 2, ecb.encrypt(pack("<8sII", b"mpota iv", chunks.i, chunks.index - 1)))
        at = start = ram.tell()
        piece = view
        while at < chunks.stored:
            piece = view[: chunks.stored - at]
            ram.readinto(piece)
            cbc.decrypt(piece, piece)
            ram.seek(at)
            at += ram.write(piece)
        n = piece[-1]
        if n > 16 or piece[-n:] != bytes((n,)) * n:
            raise ValueError
        chunks.stored -= n
        ram.seek(start)
        return src

    return open
