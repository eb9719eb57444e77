"""A version is 8 bytes, four big-endian u16, so that bytes compare as versions do."""

from struct import unpack


def text(version):
    """`1.2.3` for its 8 bytes, the fourth number only where it is not 0."""
    numbers = unpack(">4H", version)
    return ".".join(str(n) for n in (numbers if numbers[3] else numbers[:3]))
