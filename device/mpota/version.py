"""A version is 8 bytes, four big-endian u16, so that bytes compare as versions do."""

from struct import unpack


def text(version):
    """`1.2.3` for its 8 bytes, the fourth number only where it is not 0."""
    words = "%d.%d.%d.%d" % unpack(">4H", version)
    return words[:-2] if words[-2:] == ".0" else words
