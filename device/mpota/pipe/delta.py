"""The delta stage: a chunk is made of pieces of the image that runs and of new bytes. FORMAT.md has the byte picture.

A chunk is a row of groups. The head of a group (controls, gaps, values) is read into one fixed buffer; a control says
how many new bytes come next, then how many old ones and where they lie. Old bytes are read straight into place, and
the values are added to the few of them that changed: gaps say which. New bytes follow the head and are read straight
into place too. No length is believed before it is held against its buffer: viper has no bounds checks.
"""

from array import array
from struct import unpack

import micropython
from micropython import const

from mpota.stream import pull

# Output is made in pages; no address that crosses the end of one is predicted.
PAGE = const(1024)
# Controls, gaps and values of a group.
_HEAD = const(1024)


@micropython.viper
def patch(page: ptr8, n: int, head: ptr8, s: ptr32) -> int:  # noqa: F821
    """Add values to the changed ones of the old bytes up to page[n]; 0 where a value is missing.

    `s`: where the next one is, then in the head the next gap, the next value, the gaps' end, the values' end. All
    numbers stay below 2**24: a head is at most 1 KiB, a gap at most 255.
    """
    p = int(s[0])
    g = int(s[1])
    z = int(s[2])
    stop = int(s[3])
    end = int(s[4])
    while p < n:
        if z >= end:
            return 0
        page[p] = (page[p] + head[z]) & 255
        z += 1
        p += 1
        d = 255
        while d == 255:
            if g >= stop:
                p = 0x400000
                break
            d = int(head[g])
            g += 1
            p += d
    s[0] = p
    s[1] = g
    s[2] = z
    return 1


@micropython.viper
def number(head: ptr8, s: ptr32) -> int:  # noqa: F821
    """The next number of the controls, in at most four bytes, which end at s[6]; -1 where none is left."""
    i = int(s[5])
    n = 0
    for k in range(0, 28, 7):
        if i >= int(s[6]):
            return -1
        c = int(head[i])
        i += 1
        n |= (c & 127) << k
        if c < 128:
            s[5] = i
            return n
    return -1


class Delta:
    """One for a component; `open(src)` begins a chunk. A Source of the new image's bytes."""

    # The greatest mode of a group, and the numbers of the state.
    MODES = 0
    WORDS = 7

    def __init__(self, chunks):
        self.chunks = chunks
        self.head = bytearray(_HEAD)
        self.page = bytearray(PAGE)
        self.state = array("I", bytes(4 * self.WORDS))

    def open(self, src):
        chunks = self.chunks
        self.src = src
        self.left = chunks.left
        # The old image is read where the new one is written, until a control says otherwise.
        self.out = self.off = chunks.start
        self.extra = self.diff = self.at = self.end = 0
        for i in range(self.WORDS):
            self.state[i] = 0
        return self

    def readinto(self, buf):
        n = 0
        while n < len(buf):
            if self.at == self.end and not self._fill():
                break
            m = min(len(buf) - n, self.end - self.at)
            buf[n : n + m] = memoryview(self.page)[self.at : self.at + m]
            self.at += m
            n += m
        return n

    def close(self):
        self.src.close()

    def _fill(self):
        """Make the next page; 0 at the end of the chunk, which must be the end of its bytes."""
        end = min(self.left, PAGE)
        at = 0
        while at < end:
            if not self.extra and not self.diff:
                self._control(self.left - at, self.head, self.state)
            m = min(self.extra or self.diff, end - at)
            piece = memoryview(self.page)[at : at + m]
            if self.extra:
                if pull(self.src, piece) < m:
                    raise EOFError
                self.extra -= m
            else:
                self._old(piece, self.out + at)
            at += m
        if not end and (self._rest() or self.src.readinto(bytearray(1))):
            raise ValueError
        self.out += end
        self.left -= end
        self.at = 0
        self.end = end
        return end

    def _old(self, piece, at):
        n = len(piece)
        self.chunks.base.read(self.off, piece)
        if not self._correct(piece, self.head, self.state, at):
            raise ValueError
        self.state[0] -= n
        self.off += n
        self.diff -= n

    def _correct(self, piece, head, s, _):
        return patch(piece, len(piece), head, s)

    def _control(self, room, head, s):
        """Take the next control, from the next group if need be. It must give bytes, no more than `room`."""
        if s[5] == s[6]:
            self._group()
        self.extra = number(head, s)
        self.diff = number(head, s)
        seek = number(head, s)
        self.off += self.extra - (seek + 1 >> 1 if seek & 1 else -(seek >> 1))
        last = self.chunks.part.base_size - self.diff
        n = self.extra + self.diff
        if seek < 0 or not 0 < n <= room or (self.diff and not 0 <= self.off <= last):
            raise ValueError

    def _group(self):
        """Fill the head: its mode and the sizes of its three parts, then the parts."""
        view = memoryview(self.head)
        if self._rest() or pull(self.src, view[:7]) < 7:
            raise EOFError
        self.mode, a, b, c = unpack("<BHHH", view[:7])
        n = a + b + c
        if n > len(view) or self.mode > self.MODES:
            raise ValueError
        if pull(self.src, view[:n]) < n:
            raise EOFError
        s = self.state
        s[0] = s[5] = 0
        s[1] = s[6] = a
        s[2] = s[3] = a + b
        s[4] = n

    def _rest(self):
        """Is there anything in the head that was not used?"""
        s = self.state
        return s[5] != s[6] or s[1] != s[3] or s[2] != s[4]


def stage(chunks):
    """The stage of one component: its buffers are taken here, once."""
    return Delta(chunks).open
