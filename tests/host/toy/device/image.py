"""An image of the toy chip, for its layout and its loader.

0 magic "TOY1" | 4 bytes of the program u32 | 8 CRC-32 of the program u32 | 12 CRC-32 of bytes 0 to 11 u32 | program
"""

from binascii import crc32
from struct import pack, unpack

MAGIC = b"TOY1"
FMT = "<4sIII"
SIZE = 16


def encode(program):
    """The image of a program."""
    head = pack("<4sII", MAGIC, len(program), crc32(program))
    return head + pack("<I", crc32(head)) + program


def length(head):
    """Bytes of the image that begins so, its header included; 0 where none does."""
    if len(head) < SIZE:
        return 0
    magic, n, _, crc = unpack(FMT, head[:SIZE])
    return SIZE + n if n and magic == MAGIC and crc == crc32(head[:12]) else 0


def whole(flash, feed):
    """Does a Flash begin with an image whose every byte is there? `feed` is called for each piece."""
    buf = bytearray(1024)
    view = memoryview(buf)
    flash.read(0, view[:SIZE])
    n = length(view[:SIZE])
    if not SIZE < n <= flash.size:
        return False
    wanted = unpack("<I", buf[8:12])[0]
    seen = 0
    for off in range(SIZE, n, len(buf)):
        piece = view[: n - off]
        flash.read(off, piece)
        seen = crc32(piece, seen)
        feed()
    return seen == wanted
