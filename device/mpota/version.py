"""A version is 8 bytes, four big-endian u16, so that bytes compare as versions do."""

from struct import pack, unpack


def numbers(version):
    """The four numbers."""
    return unpack(">4H", version)


def text(version):
    """`1.2.3` for its 8 bytes, the fourth number only where it is not 0."""
    words = "%d.%d.%d.%d" % numbers(version)
    return words[:-2] if words[-2:] == ".0" else words


def encode(given):
    """The 8 bytes of a list of one to four numbers. ValueError where there are more, or one is not in 0..65535."""
    if len(given) > 4 or min(given) < 0 or max(given) > 0xFFFF:
        raise ValueError(given)
    return pack(">4H", *(given + [0, 0, 0])[:4])


def parse(words):
    """The 8 bytes of `1.2.3` or `1.2.3.4`; ValueError where the text is neither."""
    given = [int(word) for word in words.split(".")]
    if len(given) < 3:
        raise ValueError(words)
    return encode(given)
