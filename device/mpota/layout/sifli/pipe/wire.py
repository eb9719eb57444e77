"""An image as it travels: a record for each block.

    0 SHA-256 of the plain block 32 | 32 offset in the image u32 | 36 the block as stored, the last one shorter

The whole hash counts, and a record must lie where its number says: the vendor compares 8 bytes of the hash and writes
wherever the offset points.
"""

import struct
from hashlib import sha256

from mpota_boot.errors import Corrupt

HEAD = "<32sI"
HEAD_SIZE = 36


def count(length, block):
    """Records of an image of `length` stored bytes."""
    return (length + block - 1) // block


def size(length, block):
    """Bytes of the wire file of an image."""
    return length + HEAD_SIZE * count(length, block)


def encode(off, plain, stored):
    """One record."""
    return struct.pack(HEAD, sha256(plain).digest(), off) + stored


def check(record, off, buf, cipher=None):
    """Put the stored block of a record, which must be the one at `off`, into `buf`, and prove it; n bytes.

    `cipher` (a Ctr) decrypts what the hash is of. Raises Corrupt; `buf` has room for a block, and more is refused.
    """
    n = len(record) - HEAD_SIZE
    if not 0 < n <= len(buf):
        raise Corrupt("chunk", "a record of %d bytes, at most %d" % (len(record), HEAD_SIZE + len(buf)))
    sha, at = struct.unpack(HEAD, record[:HEAD_SIZE])
    if at != off:
        raise Corrupt("chunk", "a record for byte %d, wanted %d" % (at, off))
    block = memoryview(buf)[:n]
    block[:] = record[HEAD_SIZE:]
    if cipher:
        cipher.xor(off, block)
    seen = sha256(block).digest()
    if cipher:
        block[:] = record[HEAD_SIZE:]
    if seen != sha:
        raise Corrupt("chunk", "the block at %d is not the one that its record promises" % off)
    return n
