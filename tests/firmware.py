"""Small ESP32 application images that the loader accepts, and packages of them, for tests on both interpreters."""

from hashlib import sha256
from struct import pack


def image(size, seed=1, chip=0):
    """An application image of about `size` bytes (a multiple of 16, more than 320), its content told by `seed`."""
    n = (size - 24 - 8 - 33) // 4 * 4
    desc = b"\x32\x54\xcd\xab" + bytes(140) + sha256(b"%d" % seed).digest() + bytes(80)
    body = bytearray(desc)
    x = seed * 7919 + 1
    # A prime period, so that no chunk repeats another one.
    line = bytes((x * (i + 1) ** 2 >> 3) & 0xFF for i in range(251))
    while len(body) < n:
        body.extend(line)
    body = bytes(body[:n])
    data = pack("<BBBBIB3sHBHHIB", 0xE9, 1, 0, 0x20, 0x40080000, 0xEE, bytes(3), chip, 0, 0, 0xFFFF, 0, 1)
    data += pack("<II", 0x3FFB0000, n) + body
    check = 0xEF
    for c in body:
        check ^= c
    data += bytes(15 - len(data) % 16) + bytes((check,))
    return data + sha256(data).digest()
