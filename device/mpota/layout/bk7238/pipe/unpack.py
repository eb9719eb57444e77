"""What the body of an RBL decodes to: decrypt, drop the padding, decompress.

The body is read in pieces of 4096 bytes, one AES-256-CBC chain over all of it. Behind the last byte of the last piece
stand n bytes that are all n, whatever the packer meant by them, and whether or not the body is encrypted: they go. What
the 1.0.14 loader cannot decompress is not in UNPACKS.
"""

from io import IOBase

from cryptolib import aes
from micropython import const

from mpota.layout.bk7238 import rbl
from mpota.stream import pull

UNPACKS = (rbl.NONE, rbl.GZIP, rbl.LZMA)
_CBC = const(2)
# props u8, window u32, length u64 (not used), and the range coder's first byte, always 0.
_LZMA_HEAD = const(14)
# The largest props: lc + 9 * lp + 45 * pb.
_PROPS = const(224)
_WBITS = const(16)
_LEAST = const(4096)


class Body(IOBase):
    """The Source of a body as the packer compressed it. `flash` has the package at 0; `buf` is of rbl.PIECE bytes."""

    def __init__(self, flash, head, secret, buf):
        self.flash = flash
        self.head = head
        self.view = memoryview(buf)
        self.off = rbl.SIZE
        self.at = self.n = 0
        self.aes = aes(secret[0], _CBC, secret[1]) if head.cipher == rbl.AES else None

    def _load(self):
        left = rbl.SIZE + self.head.body - self.off
        n = min(left, rbl.PIECE)
        piece = self.view[:n]
        if n:
            self.flash.read(self.off, piece)
            if self.aes:
                self.aes.decrypt(piece, piece)
        if n and n == left:
            k = piece[n - 1]
            if k <= n and bytes(piece[n - k :]) == bytes((k,)) * k:
                n -= k
            self.off += left - n
        self.off += n
        self.at = 0
        self.n = n

    def readinto(self, buf):
        if self.at == self.n:
            self._load()
        n = min(len(buf), self.n - self.at)
        buf[:n] = self.view[self.at : self.at + n]
        self.at += n
        return n


class Unpacker:
    """Opens the image in a package again and again, with memory that is taken once.

    `secret` is (key, IV). Decoders raise OSError, ValueError, EOFError.
    """

    def __init__(self, flash, head, secret):
        self.flash = flash
        self.head = head
        self.secret = secret
        self.buf = bytearray(rbl.PIECE)
        self.window = 0
        self.lzma = None
        if head.compression == rbl.LZMA:
            from mpota.pipe.lzma import Lzma

            self.lzma = Lzma(_WBITS, 3)
            self.whole = self.lzma.view

    def open(self):
        """A Source of the image, from its first byte."""
        src = Body(self.flash, self.head, self.secret, self.buf)
        if self.lzma:
            from mpota.pipe.lzma import ENDLESS

            head = bytearray(_LZMA_HEAD)
            if pull(src, head) < _LZMA_HEAD:
                raise EOFError
            self.window = head[1] | head[2] << 8 | head[3] << 16 | head[4] << 24
            # 255 would be the pipe's own: plain bytes follow.
            if head[0] > _PROPS or head[13]:
                raise ValueError
            # Distances stay within the window of the vendor's decoder: the header's, 4 KiB at the least.
            n = min(max(self.window, _LEAST) + 3 & ~3, 1 << _WBITS)
            self.lzma.view = self.whole[: len(self.whole) - (1 << _WBITS) + n]
            self.lzma.st[14] = n - 1
            self.lzma.src = src
            self.lzma.more = ENDLESS
            self.lzma.begin(head[0], ENDLESS)
            return self.lzma
        if self.head.compression == rbl.GZIP:
            from deflate import GZIP, DeflateIO

            return DeflateIO(src, GZIP)
        return src
