"""The vendor's BLE serial service: whole messages in values that one ATT packet holds. The same at both ends, sans I/O.

    value: category u8 | flag u8 | bytes of the message u16, in a first or only value | data
    flag: 0 the whole message, 1 its first part, 2 another one, 3 its last

There is no checksum and no number. What begins drops what was not complete; a part that does not fit drops it too, and
is counted. The buffer is given once, and no message is longer.
"""

from struct import pack, unpack

DFU = 1  # the category of upgrades
WHOLE, FIRST, MORE, LAST = range(4)
HEAD = "<BBH"
# Of an ATT value at the smallest MTU.
MTU = 23


def encode(message, mtu=MTU, category=DFU):
    """The values of a message, in order; each fits an ATT MTU."""
    n = mtu - 3
    if len(message) + 4 <= n:
        return [pack(HEAD, category, WHOLE, len(message)) + message]
    values = [pack(HEAD, category, FIRST, len(message)) + message[: n - 4]]
    for at in range(n - 4, len(message), n - 2):
        flag = LAST if at + n - 2 >= len(message) else MORE
        values.append(bytes((category, flag)) + message[at : at + n - 2])
    return values


class Parts:
    """The receiving end: `feed` each value; it gives the message that became whole, or None."""

    def __init__(self, buf, category=DFU):
        self.buf = memoryview(buf)
        self.category = category
        self.bad = 0
        self.size = self.have = 0

    def _drop(self):
        self.bad += 1
        self.size = self.have = 0

    def feed(self, value):
        """A view into the buffer, good until the next call."""
        if len(value) < 2 or value[0] != self.category:
            return self._drop()
        flag = value[1]
        if flag <= FIRST:
            if self.size:
                self._drop()
            if len(value) < 4:
                return self._drop()
            self.size, self.have = unpack(HEAD, value[:4])[2], 0
            value = value[4:]
        elif flag > LAST or not self.size:
            return self._drop()
        else:
            value = value[2:]
        end = self.have + len(value)
        last = flag in (WHOLE, LAST)
        if end > len(self.buf) or end > self.size or (last and end != self.size) or not self.size:
            return self._drop()
        self.buf[self.have : end] = value
        self.have = end
        if last:
            self.size = 0
            return self.buf[:end]
        return None
