"""The one streaming vocabulary: bytes are pulled through fixed buffers; and the kinds of what they bring.

A Source is anything with `readinto(buf) -> n` and `close()`: a file, a BytesIO, a link's open package, a decoder. `n`
may be less than `len(buf)`; 0 is the end and stays the end. A source allocates nothing by what the wire says. A second
close does nothing. One that has bytes under way while its reader erases or programs has `between()` too, which its
reader calls after each such work.

A link's Source may say None: nothing has come yet. Whoever reads one does it in steps: a generator that yields there,
and is asked to go on later. Every other source waits, or raises LinkError.
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


def fill(src, buf):
    """pull() in steps, for the Source of a link: yields each time that it has no more for now."""
    n = 0
    rest = buf
    while n < len(buf):
        got = src.readinto(rest)
        if got == 0:
            break
        if got:
            n += got
            # Cut once for all the looks that find nothing: their garbage would fill the heap.
            rest = memoryview(buf)[n:]
        if n < len(buf):
            yield
    return n


def opened(link, at=0, buf=None):
    """link.open(at) in steps, where the link has them: its generator `opening(at, buf)`. Another link waits.

    `buf`: 4096 bytes that the link may use until it is open.
    """
    if hasattr(link, "opening"):
        return (yield from link.opening(at, buf))
    return link.open(at)


def finish(steps):
    """Run a generator to its end, where nothing has to be waited for; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value
