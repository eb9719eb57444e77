"""LZMA1: a range decoder with adaptive probabilities and a window of 2**wbits bytes.

A chunk is a props byte (lc + 45 * pb; 255: plain bytes follow), its decoded length in 3 bytes, and the bytes of the
range coder without its first, which is always 0. The length costs three bytes, an end marker would cost six.

`run` is one viper function, as a call costs more than the bit that it would decode. Viper checks no index, so each
bound has its reason beside it. Nothing passes 32 bits: code <= range, and both are shifted only where range < 2**24.
"""

# ruff: noqa: F821 - uint, ptr8 and ptr16 are viper's.
from array import array

import micropython
from micropython import const

from mpota.stream import pull

# Bits of literal context at most. Each doubles the 1.5 KiB of literals; three gain 0.04 % of a firmware over one.
LC = 1
# The length of a stream that a marker ends.
ENDLESS = const(0x20000000)
_PLAIN = const(255)
# A symbol is at most 48 binary decisions, and each reads at most one byte: so many may lie behind the last one.
_MOST = const(48)
# The input lies before the window, and the byte before the window's first is its neighbour across the edge.
_INPUT = const(1024)
_ROOM = const(1088)
# Words: 0 range, 2 code, 4 input position, 5 window position, 6 rest of a match, 7 to 10 distances, 11 half the bytes
# of a window that was full once, 12 state, 13 8 - lc, 14 last of the window, 15 mask of positions, 16 marker seen; then
# the probabilities.
_PROBS = const(20)
_LEN = const(20)  # choice, choice 2, low and mid with roots 4 to 7 of 32, high with root 1 of 256
_REP = const(342)
_MATCH = const(664)  # 12 states of 4 positions
_ISREP = const(712)  # and which distance it is again: four flags of 12 states
_LONG = const(760)
_SLOT = const(808)  # roots 4 to 7 of 256
_SPEC = const(1064)
_ALIGN = const(1180)
_WORDS = const(1196)


@micropython.viper
def fill(words, at: int, end: int):
    """Make each probability a half."""
    p = ptr16(words)
    while at < end:
        p[at] = 1024
        at += 1


@micropython.viper
def run(r: uint, i: int, literals, words, ram) -> int:
    """Decode until input position `r` or window position `i` in `ram`; return the latter, 0 for a wrong distance."""
    # The order of these lines is worth 50 bytes of code: what is named last is nearest in the frame.
    st = ptr16(words)
    lim = i
    stop = int(r)
    m = ptr8(ram)
    top = 0
    lit = ptr16(literals)
    at = st[4]
    s = 0
    end = 65536 >> st[13]
    n = st[6]
    pr = st
    pos = st[5] + _ROOM
    rep = st[7]
    state = st[12]
    r = (uint(st[1]) << 16) | st[0]
    c = (uint(st[3]) << 16) | st[2]
    while True:
        if n:
            # k bytes from i: not past lim, nor past the window's end.
            k = lim - pos
            i = pos - rep - 1
            if i < _ROOM:
                if rep >> 1 >= pr[11]:
                    return 0
                i += pr[14] + 1
                top = pr[14] + _ROOM - i
                if k > top:
                    k = top + 1
            if k > n:
                k = n
            n -= k
            k += pos
            while pos < k:
                m[pos] = m[i]
                pos += 1
                i += 1
            if n and pos < lim:
                continue
        if pos >= lim or at > stop:
            break
        s = pos & pr[15]
        k = _MATCH + (state << 2) + s
        p = pr[k]
        b = r
        r = (r >> 11) * p
        p *= 31
        top = 0
        if c < r:
            p += 2048
        else:
            p += 31
            c -= r
            r = b - r
            top = 2
        pr[k] = p >> 5
        if not r >> 24:
            r <<= 8
            c = (c << 8) | m[at]
            at += 1
        if top:
            ph = 0
            q = _ISREP - 1 + state
            i = 1
        else:
            # Literals lie as a heap: context x begins at node 2**lc + x, so a node is its own index, below `end`.
            i = (m[pos - 1] >> pr[13]) + (end >> 8)
            ph = 12
            if state:
                if state > 6:
                    k = pos - rep - 1
                    if k < _ROOM:
                        k += pr[14] + 1
                    d = m[k] + ((i & 1) << 8)
                    ph = 11
                state -= 3 if state < 10 else 6
                if state < 0:
                    state = 0
        while True:
            # One tree, or one flag as a tree of one bit: from root i of the table at q to a node >= top.
            while i < top:
                k = q + i
                p = pr[k]
                b = r
                r = (r >> 11) * p
                if c < r:
                    pr[k] = (p * 31 + 2048) >> 5
                    i += i
                else:
                    pr[k] = (p * 31 + 31) >> 5
                    i += i + 1
                    c -= r
                    r = b - r
                if not r >> 24:
                    r <<= 8
                    c = (c << 8) | m[at]
                    at += 1
            if ph > 10:
                if ph == 11 and i < end and not (d >> 8) + i & 1:
                    # As long as the bits are those of the byte at the last distance: two nodes for each of the heap's.
                    d += d
                    q = _WORDS + end + i + (d >> 8 & 1)
                    top = i + 1
                    continue
                while i < end:
                    p = lit[i]
                    b = r
                    r = (r >> 11) * p
                    if c < r:
                        lit[i] = (p * 31 + 2048) >> 5
                        i += i
                    else:
                        lit[i] = (p * 31 + 31) >> 5
                        i += i + 1
                        c -= r
                        r = b - r
                    if not r >> 24:
                        r <<= 8
                        c = (c << 8) | m[at]
                        at += 1
                m[pos] = i & 255
                pos += 1
                break
            if ph > 7:
                # A tree of lengths, of slots, or of low bits.
                if ph == 8:
                    n += i
                    if q >= _REP:
                        break
                    q = _SLOT
                    i = n + 2 if n < 5 else 7
                    top = 256
                elif ph == 9:
                    d = rep = i & 63
                    if d < 4:
                        break
                    k = (d >> 1) - 1
                    rep = (d & 1) + 2
                    i = 1
                    if d < 14:
                        rep <<= k
                        q = _SPEC + rep - d
                        top = 1 << k
                    else:
                        while k > 4:
                            k -= 1
                            r >>= 1
                            rep += rep
                            if c >= r:
                                c -= r
                                rep += 1
                            if not r >> 24:
                                r <<= 8
                                c = (c << 8) | m[at]
                                at += 1
                        q = _ALIGN
                        top = 16
                else:
                    if d > 31:
                        # A distance above 16 bits is wrong, but for the marker of 32 ones: 28 in rep, 4 in i's node.
                        if rep + i != 0x1000001E:
                            return 0
                        pr[16] = 1
                        lim = pos
                        n = rep = 0
                        break
                    if d > 13:
                        rep <<= 4
                    k = 0
                    while i > 1:
                        k += k + (i & 1)
                        i >>= 1
                    rep += k
                    break
                ph += 1
            elif ph > 5:
                # Which tree of lengths: n becomes what the node's index lacks to the length.
                q += 1
                if ph == 6 and i == 3:
                    ph = 7
                    i = 1
                else:
                    k = ph + i - 8
                    q += k * 31
                    n = 2 + (k << 3)
                    i = s + 4
                    top = 32
                    if k > 1:
                        i = 1
                        top = 256
                        n = 18 - 248
                    n -= i << 3
                    ph = 8
            elif ph < 3 and i == 3:
                ph += 1
                q += 12
                i = 1
            elif ph == 1:
                q = _LONG - 1 + (state << 2) + s
                i = 1
                ph = 5
            else:
                # 2 a match, 4 to 6 one of three distances again, 7 one byte of the last distance, 8 more of it.
                k = ph + i
                state = 8 if state < 7 else 11
                if k == 7:
                    if state == 8:
                        state = 9
                    n = 1
                    break
                q = _REP - 1
                if k < 7:
                    if k == 2:
                        k = 6
                        state -= 1
                        q = _LEN - 1
                    d = pr[4 + k]
                    while k > 4:
                        pr[4 + k] = pr[3 + k]
                        k -= 1
                    pr[8] = rep
                    rep = d
                i = 1
                ph = 6
    pr[0] = int(r) & 65535
    pr[1] = int(r >> 16)
    pr[2] = int(c) & 65535
    pr[3] = int(c >> 16)
    pr[4] = at
    pr[6] = n
    pr[7] = rep
    pr[12] = state
    return pos


class Lzma:
    """A Source of what LZMA1 decodes. Its memory is taken once: for windows of 2**wbits bytes, 12 to 16, and `lc`."""

    def __init__(self, wbits, lc=LC):
        self.lc = lc
        self.view = memoryview(bytearray(_ROOM + (1 << wbits)))
        self.st = array("H", bytes(2 * _WORDS + (1536 << lc)))
        self.st[14] = (1 << wbits) - 1
        self.lit = memoryview(self.st)[_WORDS:]

    def open(self, src, more=ENDLESS):
        """Begin the chunk in the next `more` bytes of `src`: props, length, what a range coder left."""
        self.src = src
        self.more = more
        head = self.view[:4]
        if self._read(head) < 4:
            raise EOFError
        self.begin(head[0], head[1] | head[2] << 8 | head[3] << 16)
        return self

    def begin(self, props, left):
        """Begin a stream of `left` bytes, or ENDLESS, at the range coder's second byte in `src`."""
        st = self.st
        view = self.view
        self.left = self.end = 0
        for i in range(2, 13):
            st[i] = 0
        self.next = self._read
        if props != _PLAIN:
            lc = props % 45
            if lc > self.lc or props > 134:
                raise ValueError
            if self._read(view[:4]) < 4:
                raise EOFError
            st[0] = st[1] = 65535
            st[2] = view[2] << 8 | view[3]
            st[3] = view[0] << 8 | view[1]
            st[13] = 8 - lc
            st[15] = (1 << props // 45) - 1
            st[16] = view[_ROOM - 1] = 0
            fill(st, _PROBS, _WORDS + (768 << lc))
            self.next = self._decode
        self.left = left

    def readinto(self, buf):
        """At the end nothing may be left: no byte, no rest of a match, and 0 in the range coder's code."""
        n = min(len(buf), self.left)
        view = memoryview(buf)
        done = 0
        while done < n:
            k = self.next(view[done:n])
            if not k:
                if self.left < ENDLESS // 2:
                    raise EOFError
                self.left = n = done
            done += k
        self.left -= n
        if not self.left:
            st = self.st
            if st[2] or st[3] or st[6] or st[4] != self.end or (self.more and self._read(self.view[:1])):
                raise ValueError
        return n

    def _read(self, buf):
        n = min(len(buf), self.more)
        got = pull(self.src, buf[:n])
        self.more = self.more - n if got == n else 0
        return got

    def _decode(self, buf):
        """Decode up to the end of `buf`, of the window or of the input buffer; 0 behind a marker."""
        st = self.st
        view = self.view
        if st[16]:
            return 0
        pos = st[5] + _ROOM
        at = st[4]
        k = self.end - at
        if k < _MOST and self.more:
            view[:k] = view[at : at + k]
            self.end = k + self._read(view[k:_INPUT])
            st[4] = 0
        end = run(self.end - (_MOST if self.more else 0), min(pos + len(buf), len(view)), self.lit, st, view)
        if not end:
            raise ValueError
        if st[4] > self.end:
            raise EOFError
        n = end - pos
        buf[:n] = view[pos:end]
        if end == len(view):
            view[_ROOM - 1] = view[end - 1]
            st[11] = (st[14] >> 1) + 1
            end = _ROOM
        st[5] = end - _ROOM
        return n

    def close(self):
        """Nothing is held."""


def stage(chunks):
    """One decoder for all chunks of a component."""
    lzma = Lzma(chunks.part.wbits)
    ram = chunks.ram
    return lambda src: lzma.open(src, chunks.stored - ram.tell() if src is ram else ENDLESS)
