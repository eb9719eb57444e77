"""LZMA1 symbol by symbol, for streams that no compressor writes. It shares no code with device/.

`Maker(lc, pb)`, then literal(), match(), again(), short() and marker() in any order, then done() for the range coder's
bytes without the first one. Distances count from 1, and what is out of reach can be written too.
"""


class Maker:
    def __init__(self, lc=0, pb=0):
        self.lc = lc
        self.pb = pb
        self.low = 0
        self.range = 0xFFFFFFFF
        self.cache = 0
        self.pending = 0
        self.out = bytearray()
        self.probs = {}
        self.state = 0
        self.reps = [0, 0, 0, 0]
        self.data = bytearray()

    def _shift(self):
        if self.low < 0xFF000000 or self.low >> 32:
            carry = self.low >> 32
            self.out.append((self.cache + carry) & 255)
            for _ in range(self.pending):
                self.out.append((255 + carry) & 255)
            self.pending = 0
            self.cache = (self.low >> 24) & 255
        else:
            self.pending += 1
        self.low = (self.low << 8) & 0xFFFFFFFF

    def _bit(self, key, bit):
        p = self.probs.get(key, 1024)
        bound = (self.range >> 11) * p
        if bit:
            self.low += bound
            self.range -= bound
            p -= p >> 5
        else:
            self.range = bound
            p += (2048 - p) >> 5
        self.probs[key] = p
        while self.range < 1 << 24:
            self.range = (self.range << 8) & 0xFFFFFFFF
            self._shift()

    def _direct(self, value, count):
        for i in reversed(range(count)):
            self.range >>= 1
            if value >> i & 1:
                self.low += self.range
            while self.range < 1 << 24:
                self.range = (self.range << 8) & 0xFFFFFFFF
                self._shift()

    def _tree(self, key, value, count):
        node = 1
        for i in reversed(range(count)):
            bit = value >> i & 1
            self._bit((key, node), bit)
            node = node * 2 + bit

    def _reverse(self, key, value, count):
        node = 1
        for i in range(count):
            bit = value >> i & 1
            self._bit((key, node), bit)
            node = node * 2 + bit

    def _place(self):
        return len(self.data) & ((1 << self.pb) - 1)

    def _length(self, key, n):
        s = self._place()
        n -= 2
        self._bit((key, "choice"), n >= 8)
        if n < 8:
            return self._tree((key, "low", s), n, 3)
        self._bit((key, "choice2"), n >= 16)
        if n < 16:
            return self._tree((key, "mid", s), n - 8, 3)
        self._tree((key, "high"), n - 16, 8)

    def _copy(self, n):
        for _ in range(n):
            far = self.reps[0] + 1
            self.data.append(self.data[-far] if far <= len(self.data) else 0)

    def literal(self, byte):
        self._bit(("match", self.state, self._place()), 0)
        context = (self.data[-1] if self.data else 0) >> (8 - self.lc)
        same = self.state > 6
        far = self.reps[0] + 1
        other = self.data[-far] if same and far <= len(self.data) else 0
        node = 1
        for i in reversed(range(8)):
            bit = byte >> i & 1
            self._bit(("literal", context, node, (other >> i & 1) if same else None), bit)
            node = node * 2 + bit
            same = same and bit == other >> i & 1
        self.data.append(byte)
        self.state = (0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5)[self.state]
        return self

    def match(self, far, n):
        self._bit(("match", self.state, self._place()), 1)
        self._bit(("isrep", self.state), 0)
        self._length("match length", n)
        self._distance(far - 1, n)
        self.reps = [far - 1] + self.reps[:3]
        self._copy(n)
        self.state = 7 if self.state < 7 else 10
        return self

    def _distance(self, d, n):
        slot = d
        if d > 3:
            bits = 0
            while d >> bits > 3:
                bits += 1
            slot = (bits + 1) * 2 + (d >> bits & 1)
        self._tree(("slot", min(n - 2, 3)), slot, 6)
        if slot > 3:
            bits = slot // 2 - 1
            if slot < 14:
                self._reverse(("low bits", slot), d & ((1 << bits) - 1), bits)
            else:
                self._direct(d >> 4 & ((1 << (bits - 4)) - 1), bits - 4)
                self._reverse("align", d & 15, 4)

    def again(self, which, n):
        """A match at one of the last four distances."""
        s = self._place()
        self._bit(("match", self.state, s), 1)
        self._bit(("isrep", self.state), 1)
        self._bit(("rep0", self.state), which > 0)
        if which:
            self._bit(("rep1", self.state), which > 1)
            if which > 1:
                self._bit(("rep2", self.state), which > 2)
        else:
            self._bit(("long", self.state, s), 1)
        self.reps.insert(0, self.reps.pop(which))
        self._length("rep length", n)
        self._copy(n)
        self.state = 8 if self.state < 7 else 11
        return self

    def short(self):
        """One byte of the last distance."""
        s = self._place()
        for key, bit in (("match", 1), ("isrep", 1), ("rep0", 0), ("long", 0)):
            self._bit((key, self.state, s) if key in ("match", "long") else (key, self.state), bit)
        self._copy(1)
        self.state = 9 if self.state < 7 else 11
        return self

    def marker(self):
        self._bit(("match", self.state, self._place()), 1)
        self._bit(("isrep", self.state), 0)
        self._length("match length", 2)
        self._distance(0xFFFFFFFF, 2)
        return self

    def done(self):
        for _ in range(5):
            self._shift()
        return bytes(self.out[1:])

    def chunk(self, length=None):
        """The stream of a chunk, with its props and a length."""
        n = len(self.data) if length is None else length
        return bytes([self.lc + 45 * self.pb, n & 255, n >> 8 & 255, n >> 16]) + self.done()
