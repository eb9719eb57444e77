"""The delta stage for Xtensa firmware: old bytes are first made to point where the new image's code and data lie now.

A call, an L32R and a pointer hold an address. Where it went is not told but learned: each address that is decoded
says how far its target moved, and the next one to the same 16 bytes, or else to the same KiB, is thought to have
moved as far. What was learned in a chunk is forgotten at its end. Bytes that only look like an address cost a value
in the delta, never the result. FORMAT.md has the fields and the state `s`; all its numbers are below 2**31.
"""

import micropython
from micropython import const

from device.pipe.delta import Delta, patch

# Bits of a group's mode: predict pointers; instructions too; of more of the memory map.
POINTERS, CODE, WIDE = 1, 2, 4
# The tables in the state: shifts by 16 bytes of target, then by KiB of target.
FINE = const(16)
COARSE = const(16 + 256)
STATE = const(16 + 256 + 512)


@micropython.viper
def follow(page: ptr8, n: int, s: ptr32) -> int:  # noqa: F821
    """Learn from the address before, now that it is right, and let the next one in page[:n] point where it should.

    Returns the end of that next one, which a value may have to put right before this is called again; 0 for none.
    """
    i = int(s[5])
    k = int(s[9])
    x = 0
    if i:
        j = int(s[10])
        x = int(page[j]) | int(page[j + 1]) << 8 | int(page[j + 2]) << 16
        x = ((x >> k) + int(s[11])) & (0xFFFFFF >> k)
        s[int(s[12])] = int(s[14]) | x
        s[int(s[13])] = 0x1000000 | x
    s[5] = 0
    mode = int(s[15])
    # Where flash and RAM are mapped to: on an ESP32 and S2, or on an S3 too.
    low = 0x3C if mode & 4 else 0x3F
    high = 0x42 if mode & 4 else 0x40
    old = int(s[6])
    w = int(s[8])
    k = 1
    e = 0
    while i < n:
        e = i + 4
        if not (old + i) & 3 and e <= n and low <= int(page[i + 3]) and int(page[i + 3]) <= high:
            k = 0
            w = e
            break
        if mode & 2 and i >= w:
            x = int(page[i])
            # Of two bytes or three; CALL8, then L32R.
            e = w = i + 3 - (x >> 3 & 1)
            k = 1 if w > n else 6 if x & 63 == 0x25 else 8 if x & 15 == 1 else 1
            if k != 1:
                break
        i += 1
    if k == 1:
        s[8] = w - n if w > n else 0
        return 0
    s[5] = e
    s[8] = w
    s[9] = k
    s[10] = i
    x = int(page[i]) | int(page[i + 1]) << 8 | int(page[i + 2]) << 16
    m = 0xFFFFFF >> k
    new = 0
    u = 4
    if k:
        # Calls and L32Rs count words, an L32R from the next one; a pointer counts bytes from nowhere.
        j = i + (3 & -(k >> 3))
        old = (old + j) >> 2
        new = (int(s[7]) + j) >> 2
        u = 2
    else:
        old = 0
    t = (old + (x >> k)) & m
    u = t >> u
    j = FINE + ((u + (k << 3)) & 255)
    w = COARSE + (((u >> 6) + (k << 3)) & 511)
    u = u >> 8 & 63 | 64
    s[11] = (new - t) & m
    s[12] = j
    s[13] = w
    s[14] = u << 24
    d = int(s[j])
    if d >> 24 != u:
        d = int(s[w]) or new - old
    x = (x & ((1 << k) - 1)) | ((t + d - new) & m) << k
    page[i] = x & 255
    page[i + 1] = x >> 8 & 255
    page[i + 2] = x >> 16
    return e


class Predicted(Delta):
    """A Delta whose groups may ask for prediction."""

    MODES = 7
    WORDS = STATE

    def _control(self, room):
        super()._control(room)
        self.state[8] = 0

    def _correct(self, piece, head, s, at):
        n = len(piece)
        s[6] = self.off
        s[7] = at
        s[15] = self.mode
        end = self.mode and follow(piece, n, s)
        while end:
            if not patch(piece, end, head, s):
                return 0
            end = follow(piece, n, s)
        return patch(piece, n, head, s)


def stage(chunks):
    """The stage of one component: its buffers and tables are taken here, once."""
    return Predicted(chunks).open
