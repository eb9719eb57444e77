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

A reader may block until it has all the bytes it asks for. So it asks for one byte until a frame begins, then for the
rest of the head, and only behind a good head for a payload: bytes that are no frame never make it wait.
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
    return head + pack("<H", crc & 0xFFFF) + data + pack("<I", crc32(data, crc))


class Frames:
    """The receiving half: read bytes into `room()` and add their number to `hi`; frames come out by `take()`.

    Payloads can be kept in front of the buffer until somebody reads them: `keep` and `read`.
    """

    def __init__(self, buf):
        self.buf = memoryview(buf)
        self.bad = 0  # frames with a good head and a damaged payload
        self.lo = self.hi = 0
        self.need = 1
        self.forget()

    def room(self):
        """The free part of the buffer, to read into; a frame taken before is gone."""
        at = self.end
        n = at + self.hi - self.lo
        self.buf[at:n] = self.buf[self.lo : self.hi]
        self.lo = at
        self.hi = n
        return self.buf[n:]

    def keep(self, data):
        """Keep a payload that take() has just given, behind those kept before."""
        at = self.end
        self.end += len(data)
        self.buf[at : self.end] = data

    def kept(self):
        """Bytes that were kept and not read."""
        return self.end - self.at

    def read(self, buf):
        """Move kept bytes to `buf`, as many as it takes; returns their number."""
        n = min(len(buf), self.end - self.at)
        buf[:n] = self.buf[self.at : self.at + n]
        self.at += n
        if self.at == self.end:
            self.forget()
        return n

    def forget(self):
        """Keep nothing."""
        self.at = self.end = 0

    def take(self):
        """The next whole frame (kind, run, off, payload) or None, then `need` bytes are lacking at least.

        The payload is a view into the buffer, good until the next room().
        """
        buf = self.buf
        lo = self.lo
        while True:
            while lo < self.hi and buf[lo] != _SYNC0:
                lo += 1
            self.lo = lo
            have = self.hi - lo
            if have < _HEAD:
                self.need = _HEAD - have if have else 1
                return None
            sync, kind, run, off, n, check = unpack_from("<HBBIHH", buf, lo)
            crc = crc32(buf[lo : lo + 10])
            n += EXTRA
            if sync == _SYNC and crc & 0xFFFF == check and n <= len(buf) - self.end:
                if have < n:
                    self.need = n - have
                    return None
                data = buf[lo + _HEAD : lo + n - 4]
                if crc32(data, crc) == unpack_from("<I", buf, lo + n - 4)[0]:
                    self.lo += n
                    return kind, run, off, data
                self.bad += 1
            lo += 1
