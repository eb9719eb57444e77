"""Values of the serial service over what has no packets: a UART, a console, a TCP connection.

    AA 55 | bytes of the value u16 | value | CRC-16 of all between, as the vendor's frames over USB have it, u16

A value of no bytes is a phone that has come, and is given back; from the chip alone it says that the link is dropped.
Noise is passed over. A console blocks until it has what it was asked for, so never more is asked for than the frame
under way lacks: whoever comes after one that died in the middle of a frame sends a frame's worth of zeros first.
"""

import select
from struct import pack, unpack

import micropython

MARK = b"\xaa\x55"
EXTRA = 6
# The longest value: a message of a whole block of 2048 in one.
MTU = 2112


@micropython.viper
def _crc(buf: ptr8, n: int) -> int:  # noqa: F821
    """Polynomial 1021 from FFFF, not reflected."""
    crc = 0xFFFF
    for i in range(n):
        x = (crc >> 8) ^ int(buf[i])
        x ^= x >> 4
        crc = ((crc << 8) ^ (x << 12) ^ (x << 5) ^ x) & 0xFFFF
    return crc


def encode(value):
    """A frame."""
    body = pack("<H", len(value)) + value
    return MARK + body + pack("<H", _crc(body, len(body)))  # type: ignore[arg-type]


class Frames:
    """The receiving end: put `need` bytes, or fewer, at `room()` and call `took(n)`; a value, or None."""

    def __init__(self, buf):
        self.buf = memoryview(buf)
        self.have = self.bad = 0
        self.need = 1

    def room(self):
        return self.buf[self.have : self.have + self.need]

    def took(self, n):
        """A view into the buffer, good until more is put there."""
        self.have += n
        self.need -= n
        return None if self.need else self._look()

    def _look(self):
        buf = self.buf
        if self.have == 1:
            # Skip bytes typed in a terminal one by one: waiting for a whole frame would hang on them.
            self.have, self.need = (1, 3) if buf[0] == MARK[0] else (0, 1)
            return None
        if self.have == 4:
            if bytes(buf[:2]) == MARK:
                self.need = unpack("<H", buf[2:4])[0] + 2
                if 4 + self.need <= len(buf):
                    return None
            self.bad += 1
            return self._shift()
        end, self.have, self.need = self.have - 2, 0, 1
        if unpack("<H", buf[end : end + 2])[0] == _crc(buf[2:end], end - 2):  # type: ignore[arg-type]
            return buf[4:end]
        self.bad += 1
        return None

    def _shift(self):
        """A frame may begin inside the four bytes that began none."""
        at = 1
        while at < 4 and self.buf[at] != MARK[0]:
            at += 1
        self.have = 4 - at
        self.need = at if at < 4 else 1
        self.buf[: self.have] = bytes(self.buf[at:4])


class Line:
    """A link over streams that select.poll can wait for; `came` counts phones, `up` says that there is one."""

    mtu = MTU + 3
    # True: a phone that comes now is not answered.
    deaf = False

    def __init__(self, rx, tx=None):
        self.frames = Frames(bytearray(MTU + EXTRA))
        self.poll = select.poll()
        self.came = 0
        self.up = False
        self.open(rx, tx)

    def open(self, rx, tx=None):
        """Stand on these streams from now on."""
        self.rx = rx
        self.tx = tx or rx
        self.poll.register(rx, select.POLLIN)

    def read(self):
        """The next value, None where there is none now."""
        frames = self.frames
        while self.poll.poll(0):
            n = self.rx.readinto(frames.room())
            if not n:
                if n == 0:
                    self.lost()
                return None
            value = frames.took(n)
            if value is None:
                continue
            if len(value):
                return value
            if self.deaf:
                continue
            self.came += 1
            self.up = True
            self.write(b"")
            # The reader has to see the new phone before its first value.
            return None
        return None

    def write(self, value):
        """Send a value. True where it is on its way, or the phone is gone."""
        data = encode(value)
        try:
            while data:
                n = self.tx.write(data)
                if not n:
                    raise OSError(11)
                data = data[n:]
        except OSError:
            self.lost()
        return True

    def drop(self):
        """The chip ends the link."""
        if self.up:
            self.up = False
            self.write(b"")

    def lost(self):
        """Nothing comes from there any more."""
        self.up = False


class Tcp(Line):
    """A link over a listening socket that does not block; one phone at a time, the newest."""

    def __init__(self, server):
        self.server = server
        self.door = select.poll()
        self.door.register(server, select.POLLIN)
        super().__init__(server)

    def open(self, rx, tx=None):
        """A phone's connection, or none: the server itself."""
        self.rx = self.tx = rx
        if rx is not self.server:
            self.poll.register(rx, select.POLLIN)

    def read(self):
        """As Line; a phone that comes takes the place of one before."""
        try:
            if self.door.poll(0):
                self.lost()
                sock = self.server.accept()[0]
                sock.setblocking(False)
                self.frames.have, self.frames.need = 0, 1
                self.open(sock)
            return None if self.rx is self.server else super().read()
        except OSError:
            return self.lost()

    def write(self, value):
        """As Line; True also where no phone is connected."""
        return self.rx is self.server or super().write(value)

    def drop(self):
        """The chip ends the connection."""
        super().drop()
        self.lost()

    def lost(self):
        """The connection is over."""
        self.up = False
        if self.rx is not self.server:
            self.poll.unregister(self.rx)
            self.rx.close()
            self.rx = self.server
