"""The one streaming vocabulary: bytes are pulled through fixed buffers.

A Source is anything with `readinto(buf) -> n` and `close()`. `n` may be less than `len(buf)`; 0 is the end and
stays the end. A source never allocates by what the wire says and never returns None: it waits, or raises LinkError.
"""


class Source:
    """What `readinto` and `close` mean; a file or a BytesIO is one without inheriting."""

    def readinto(self, buf):
        """Fill a part of `buf`, return the bytes written to its front; 0 means the end."""
        raise NotImplementedError

    def close(self):
        """Give back what the source holds; a second call does nothing."""


class Stage(Source):
    """A source that changes the bytes of another one."""

    def __init__(self, src):
        self.src = src

    def close(self):
        self.src.close()


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
