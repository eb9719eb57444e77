"""One dynamic block of raw deflate for bytes that do not compress.

The vendor's eZIP always writes one such block, and the chip's own inflater is given nothing else. zlib stores what does
not compress, and takes the fixed codes for what is short. Here every literal has a code of 8 bits but one, and that one
and the block's end have 9: a complete code, whose description has 32 bytes.
"""

from __future__ import annotations

END = 256
# The order in which a block describes the lengths of its codes of lengths (RFC 1951, 3.2.7), as far as 1 is.
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
# Lengths that occur, and "as the last one, 3 to 6 times": each has a code of two bits, in the order of the numbers.
USED = (1, 8, 9, 16)
REPEAT, MOST = 16, 6


class Bits:
    """Bits from the lowest of each byte on; codes come with their first bit highest."""

    def __init__(self) -> None:
        self.value = self.size = 0
        self.out = bytearray()

    def number(self, n: int, bits: int) -> None:
        """A number, its lowest bit first."""
        self.value |= n << self.size
        self.size += bits
        while self.size >= 8:
            self.out.append(self.value & 255)
            self.value >>= 8
            self.size -= 8

    def code(self, n: int, bits: int) -> None:
        """A code of Huffman's."""
        self.number(int(f"{n:0{bits}b}"[::-1], 2), bits)


def _lengths(rare: int) -> list[int]:
    """Of the code of each literal, of the end, and of the two distances that a description has at least."""
    return [9 if i in (rare, END) else 8 for i in range(END + 1)] + [1, 1]


def _describe(bits: Bits, lengths: list[int]) -> None:
    for n, width in ((1, 1), (2, 2), (0, 5), (1, 5), (len(ORDER) - 4, 4)):
        bits.number(n, width)
    for n in ORDER:
        bits.number(2 if n in USED else 0, 3)
    at = 0
    while at < len(lengths):
        bits.code(USED.index(lengths[at]), 2)
        run = 1
        while at + run < len(lengths) and lengths[at + run] == lengths[at]:
            run += 1
        at += 1
        run -= 1
        while run >= 3:
            bits.code(USED.index(REPEAT), 2)
            bits.number(min(run, MOST) - 3, 2)
            at += min(run, MOST)
            run -= min(run, MOST)


def block(data: bytes) -> bytes:
    """`data` as literals."""
    rare = min(range(END), key=data.count)
    bits = Bits()
    _describe(bits, _lengths(rare))
    # Codes of one length count up; the two of nine bits follow those of eight.
    codes, n = {rare: (0b111111110, 9), END: (0b111111111, 9)}, 0
    for i in range(END):
        if i != rare:
            codes[i] = (n, 8)
            n += 1
    for byte in (*data, END):
        bits.code(*codes[byte])
    bits.number(0, -bits.size % 8)
    return bytes(bits.out)
