"""Builds RBL packages on both interpreters, also such as no packer makes; compressing is left to stored blocks."""

from binascii import crc32
from struct import pack

from cryptolib import aes

from mpota.layout.bk7238 import rbl


def payload(n):
    """What the vendor's tools were given: the generator that the file describes."""
    x = 0x12345678
    out = bytearray(n)
    for i in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = (i >> 4) & 0xFF if i % 4 else x >> 24
    return bytes(out)


def padded(data):
    n = 16 - len(data) % 16
    return data + bytes((n,)) * n


def made(image, body, algo, pad=True):
    """A package around compressed bytes."""
    if pad or (algo & 15 == rbl.AES and len(body) % 16):
        body = padded(body)
    if algo & 15 == rbl.AES:
        body = aes(rbl.KEY, 2, rbl.IV).encrypt(body)
    fnv = rbl.Fnv()
    fnv.update(image)
    tail = (b"app", b"1.0.1", rbl.SERIAL, crc32(body), fnv.value, len(image), len(body))
    return rbl.Header(rbl.MAGIC, algo, 1600000000, *tail), body


def linked(image, word):
    """`image` with another word at 32, where a real application has an address."""
    return image[:32] + pack("<I", word) + image[36:]


def gzipped(data):
    """A gzip member of stored blocks (RFC 1951, 3.2.4; RFC 1952): any inflater takes it."""
    body = b""
    for i in range(0, len(data) or 1, 0x8000):
        piece = data[i : i + 0x8000]
        body += pack("<BHH", i + 0x8000 >= len(data), len(piece), len(piece) ^ 0xFFFF) + piece
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + pack("<II", crc32(data), len(data))


def application(size, seed=1):
    """An application that the loader takes: a word at 32 that says where it is linked, and no CRCs."""
    line = bytes([(seed * 7919 + 1) * (i + 1) * (i + 1) >> 3 & 0xFF for i in range(251)])
    return linked((line * (size // 251 + 1))[:size], 0x10000 + 0x100 * seed)


def package(image, algo=rbl.AES, **changed):
    """A package of `image`; fields of its header may be changed before its CRC is taken."""
    stream = gzipped(image) if algo & 0xF00 == rbl.GZIP else image
    head, body = made(image, stream, algo)
    for name in changed:
        setattr(head, name, changed[name])
    return head.encode() + body
