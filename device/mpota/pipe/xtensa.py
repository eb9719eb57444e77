"""The delta stage for Xtensa firmware: old bytes are first made to point where the new image's code and data lie now.

A call, an L32R and a pointer hold an address. Where it went is not told but learned: each address that is decoded
says how far its target moved, and the next one to the same 16 bytes, or else to the same KiB, is thought to have
moved as far. What was learned in a chunk is forgotten at its end. Bytes that only look like an address cost a value
in the delta, never the result. FORMAT.md has the fields and the state `s`; all its numbers are below 2**31.
"""

import micropython
from micropython import const

from mpota.pipe.delta import Delta, patch

# Bits of a group's mode: predict pointers; instructions too; of more of the memory map.
POINTERS, CODE, WIDE = 1, 2, 4
# The tables in the state: shifts by 16 bytes of target, then by KiB of target.
FINE = const(18)
COARSE = const(18 + 256)
STATE = const(18 + 256 + 512)


@micropython.viper
def follow(page: ptr8, n: int, s: ptr32) -> int:  # noqa: F821
    """Let the addresses in page[:n] point where they should, each learning from those before.

    Returns behind an address that values change, for it must be put right before the next call; 0 at the end of the
    piece. That is behind every address while s[0] is 0.
    """
    mode = int(s[17])
    # Where flash and RAM are mapped to: on an ESP32 and S2, or on an S3 too.
    low = 0x3C if mode & 4 else 0x3F
    high = 0x42 if mode & 4 else 0x40
    i = int(s[7])
    w = int(s[10])
    k = int(s[11])
    e = i
    while True:
        if e:
            # The address at `i` is now corrected: learn from it.
            i = int(s[12])
            x = int(page[i]) | int(page[i + 1]) << 8 | int(page[i + 2]) << 16
            x = ((x >> k) + int(s[13])) & (0xFFFFFF >> k)
            s[int(s[14])] = int(s[16]) | x
            s[int(s[15])] = 0x1000000 | x
            i = e
        old = int(s[8])
        k = 1
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
            s[7] = 0
            s[10] = w - n if w > n else 0
            return 0
        s[12] = i
        x = int(page[i]) | int(page[i + 1]) << 8 | int(page[i + 2]) << 16
        m = 0xFFFFFF >> k
        new = 0
        u = 4
        if k:
            # Calls and L32Rs count words, an L32R from the next one; a pointer counts bytes from nowhere.
            j = i + (3 & -(k >> 3))
            old = (old + j) >> 2
            new = (int(s[9]) + j) >> 2
            u = 2
        else:
            old = 0
        t = (old + (x >> k)) & m
        u = t >> u
        j = FINE + ((u + (k << 3)) & 255)
        c = COARSE + (((u >> 6) + (k << 3)) & 511)
        u = u >> 8 & 63 | 64
        s[13] = (new - t) & m
        s[14] = j
        s[15] = c
        s[16] = u << 24
        d = int(s[j])
        if d >> 24 != u:
            d = int(s[c]) or new - old
        x = (x & ((1 << k) - 1)) | ((t + d - new) & m) << k
        page[i] = x & 255
        page[i + 1] = x >> 8 & 255
        page[i + 2] = x >> 16
        if int(s[0]) < e:
            s[7] = e
            s[10] = w
            s[11] = k
            return e


class Predicted(Delta):
    """A Delta whose groups may ask for prediction."""

    MODES = 7
    WORDS = STATE

    def _control(self, room, head, s):
        super()._control(room, head, s)
        s[10] = 0

    def _correct(self, piece, head, s, at):
        n = len(piece)
        s[8] = self.off
        s[9] = at
        s[17] = self.mode
        end = self.mode and follow(piece, n, s)
        while end:
            if not patch(piece, end, head, s):
                return 0
            end = follow(piece, n, s)
        return patch(piece, n, head, s)


def stage(chunks):
    """The stage of one component: its buffers and tables are taken here, once."""
    return Predicted(chunks).open
