"""Frames on a byte line, the same code at both ends. No input or output happens here.

    offset  bytes
    0       2      F5 4D; F5 stands in no UTF-8 text, so what a REPL prints between frames is skipped
    2       1      kind: link/serial.py has them
    3       1      run: the open() of the board that this frame belongs to
    4       4      off: a byte offset in the package, or the number of a report
    8       2      n, bytes of payload
    10      2      low half of the CRC-32 of bytes 0..9: a damaged length is never waited for
    12      n      payload
    12 + n  4      CRC-32 of bytes 0..9 and the payload

All numbers are little-endian. The buffer is given once; a frame that does not fit in it is noise.
"""

from binascii import crc32
from struct import pack, unpack_from

from micropython import const

EXTRA = const(16)  # bytes a frame is longer than its payload
_HEAD = const(12)
_SYNC = const(0x4DF5)
_SYNC0 = const(0xF5)


def encode(kind, run, off, data=b""):
    """One frame as bytes."""
    head = pack("<HBBIH", _SYNC, kind, run, off, len(data))
    crc = crc32(head)
    return b"".join((head, pack("<H", crc & 0xFFFF), data, pack("<I", crc32(data, crc))))


class Frames:
    """The receiving half: bytes in by `feed`, or `room` and `fed`; frames out by `take`."""

    def __init__(self, buf):
        self.buf = memoryview(buf)
        self.bad = 0  # frames with a good head and a damaged payload
        self.reset()

    def reset(self):
        """Forget what has come so far."""
        self.lo = self.hi = self.used = 0
        self.need = EXTRA

    def room(self):
        """The free part of the buffer, to read into; a frame taken before is gone."""
        self.lo += self.used
        self.used = 0
        n = self.hi - self.lo
        if self.lo:
            self.buf[:n] = self.buf[self.lo : self.hi]
            self.lo = 0
            self.hi = n
        return self.buf[n:]

    def fed(self, n):
        """`n` bytes were put to the front of the room."""
        self.hi += n

    def feed(self, data):
        """Take in the front of `data`, return how many bytes; when that is less than all, take() before more."""
        room = self.room()
        n = min(len(room), len(data))
        room[:n] = data[:n]
        self.hi += n
        return n

    def take(self):
        """The next whole frame (kind, run, off, payload) or None, then `need` bytes are lacking at least.

        The payload is a view into the buffer, good until the next call of anything here.
        """
        self.lo += self.used
        self.used = 0
        while True:
            have = self._sync()
            if have < _HEAD:
                self.need = _HEAD - have
                return None
            lo = self.lo
            sync, kind, run, off, n, check = unpack_from("<HBBIHH", self.buf, lo)
            crc = crc32(self.buf[lo : lo + 10])
            if sync == _SYNC and crc & 0xFFFF == check and n + EXTRA <= len(self.buf):
                if have < n + EXTRA:
                    self.need = n + EXTRA - have
                    return None
                data = self.buf[lo + _HEAD : lo + _HEAD + n]
                if crc32(data, crc) == unpack_from("<I", self.buf, lo + _HEAD + n)[0]:
                    self.used = n + EXTRA
                    return kind, run, off, data
                self.bad += 1
            self.lo += 1

    def _sync(self):
        """Skip to what may be the start of a frame; return the bytes from there on."""
        lo = self.lo
        hi = self.hi
        buf = self.buf
        while lo < hi and buf[lo] != _SYNC0:
            lo += 1
        self.lo = lo
        return hi - lo
