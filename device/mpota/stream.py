"""The one streaming vocabulary: bytes are pulled through fixed buffers; and the kinds of what they bring.

A Source is anything with `readinto(buf) -> n` and `close()`: a file, a BytesIO, a link's open package, a decoder. `n`
may be less than `len(buf)`; 0 is the end and stays the end. A source allocates nothing by what the wire says and
never returns None: it waits, or raises LinkError. A second close does nothing. One that has bytes under way while its
reader erases or programs has `between()` too, which its reader calls after each such work.
"""

# Kinds of components, pipe/FORMAT.md.
FIRMWARE, FILES, RESOURCE = 1, 2, 3


def pull(src, buf):
    """Fill `buf` from `src`; return the byte count, short only at the end of the source."""
    n = src.readinto(buf)
    if n == len(buf) or not n:
        return n
    view = memoryview(buf)
    while n < len(buf):
        got = src.readinto(view[n:])
        if not got:
            break
        n += got
    return n
