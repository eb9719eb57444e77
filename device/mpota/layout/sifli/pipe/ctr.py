"""AES-256-CTR out of ECB and an exclusive or: neither the unix port nor most chips have the mode itself.

    counter block: the signature hash's first 8 bytes | 4 zeros | number of the 16-byte block, big-endian

The number follows from the offset in the image, so any piece that starts at a multiple of 16 can be read alone. Nothing
is allocated after the first line: two pads of 512 bytes do for any length.
"""

import micropython
from cryptolib import aes
from micropython import const

_PAD = const(512)


@micropython.viper
def _number(pad: ptr8, n: int, first: int):  # noqa: F821
    """Put the numbers `first`, `first` + 1, ... into the blocks of the pad."""
    for at in range(12, n, 16):
        pad[at] = first >> 24 & 255
        pad[at + 1] = first >> 16 & 255
        pad[at + 2] = first >> 8 & 255
        pad[at + 3] = first & 255
        first += 1


@micropython.viper
def _xor(buf: ptr8, pad: ptr8, n: int):  # noqa: F821
    for i in range(n):
        buf[i] ^= pad[i]


class Ctr:
    """One key. `nonce` is 8 bytes; `xor` encrypts and decrypts alike."""

    def __init__(self, key, nonce):
        self.ecb = aes(key, 1)
        self.blocks = bytearray(_PAD)
        self.pad = bytearray(_PAD)
        for at in range(0, _PAD, 16):
            self.blocks[at : at + 8] = nonce

    def xor(self, off, buf):
        """Change `buf`, bytes `off` and on of an image, in place; `off` is a multiple of 16."""
        if off & 15:
            raise ValueError("offset %d is inside a block" % off)
        view = memoryview(buf)
        for at in range(0, len(view), _PAD):
            piece = view[at : at + _PAD]
            n = (len(piece) + 15) & -16
            _number(self.blocks, n, (off + at) >> 4)  # type: ignore[arg-type]
            self.ecb.encrypt(memoryview(self.blocks)[:n], memoryview(self.pad)[:n])
            _xor(piece, self.pad, len(piece))  # type: ignore[arg-type]
