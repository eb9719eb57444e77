"""The scrambler of code in flash: each word is xored with a mask of its logical address and four coefficients.

The coefficients come out of eFuses; most boards have none. It comes before the CRC on the way into the flash, and is
never in a package.
"""


def _rot(x, n, bits):
    """`x` of so many bits, rotated left."""
    return (x << n | x >> bits - n) & (1 << bits) - 1


def _mix15(addr, c):
    high, low = addr >> 16, addr & 0xFFFF
    if c[3] & 64:
        high = _rot(high, 8, 16)
    if c[3] & 32:
        low = _rot(low, 8, 16)
    a = high ^ low ^ c[1] >> 16
    return _rot(a, 9, 16) ^ 0x6371 & (a >> 5 & 15) * 0x1111


def _mix16(addr, c):
    a = addr >> (c[3] >> 8 & 3) & 0x1FFFF ^ ((c[1] >> 8 & 0xFF) << 9 | (c[3] >> 4 & 1) << 8 | c[1] & 0xFF)
    b = (a >> 13 & 1) | (a >> 9 & 1) << 1 | (a >> 5 & 1) << 2 | (a >> 1 & 1) << 3
    return _rot(a, 7, 17) ^ 0x13659 & ((a >> 4 & 1) << 16 | b * 0x1111)


def _mix32(addr, c):
    a = _rot(addr, -8 * (c[3] >> 11 & 3) & 31, 32) ^ c[0]
    return _rot(a, 17, 32) ^ 0xE519A4F1 & (a >> 2 & 15) * 0x11111111


def mask(addr, c):
    """The word that the one at logical address `addr` is xored with, under the four coefficients."""
    off = c[3] & 15
    found = 0 if off & 4 else _mix32(addr, c)
    if not off & 1:
        found ^= _mix15(addr, c) << 16
    if not off & 2:
        found ^= _mix16(addr, c) & 0xFFFF
    return found if off & 8 else found ^ c[2]


def scramble(buf, addr, c):
    """Scramble, or put right again, the words of `buf`, which begins at logical address `addr`, a multiple of 4."""
    for i in range(0, len(buf), 4):
        m = mask(addr + i, c)
        for k in range(4):
            buf[i + k] ^= m >> 8 * k & 0xFF
