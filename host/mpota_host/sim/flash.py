"""Strict NOR flash over a file or RAM, for both interpreters: it refuses what a chip would silently get wrong.

A program only clears bits, covers whole units of `prog_size` and touches only units that are still erased; an erase
takes whole sectors. Setting a bit or programming a unit twice is a `Violation`, an offset or a length that does not fit
is a FlashError, and neither changes a byte. Only inside an `overwrite` window may a unit be programmed again, to clear
more of its bits.
A unit counts as erased by its content, so a file that is opened again knows as much as the chip does.

`cut = n` lets the power fail `cut_at` "before", "inside" or "after" the n-th operation (programs and erases,
counted in `ops`, the first is 1). From then on every call raises PowerCut and changes nothing, until `power_on()`.
A file holds each operation as soon as the call returns, so killing the process loses nothing.
"""

import hashlib
import sys

from mpota_boot.errors import FlashError

BLANK = b"\xff" * 4096
# Typical times of a sector: Winbond W25Q32JV, AC characteristics: tSE 45 ms; tPP 0.4 ms for each of 16 pages, and the
# transfer to them.
ERASE_MS, PROGRAM_MS, PAGE_MS = 45, 7, 0.4


class Violation(AssertionError):
    """The code under test asked of the flash what no NOR flash does."""


class PowerCut(BaseException):
    """The power is gone. Nothing but `power_on()` helps, so no `except Exception` may swallow it."""


def prefix(old, new, pick):
    """Torn program: some leading bytes are in, a last one has only a part of its bits cleared."""
    n = pick(len(new))
    return bytes(new[:n]) + bytes((new[n] | (old[n] & pick(256)),)) + bytes(old[n + 1 :])


def half(old, new, pick):
    """Torn erase: the front is erased, the rest is as it was."""
    n = 1 + pick(len(new))
    return bytes(new[:n]) + bytes(old[n:])


class Ram:
    """Bytes of a flash in RAM."""

    def __init__(self, size):
        self.mem = bytearray(size)
        for off in range(0, size, len(BLANK)):
            n = min(len(BLANK), size - off)
            self.mem[off : off + n] = BLANK[:n]

    def get(self, off, n):
        return self.mem[off : off + n]

    def into(self, off, buf):
        memoryview(buf)[:] = memoryview(self.mem)[off : off + len(buf)]

    def put(self, off, data):
        self.mem[off : off + len(data)] = data

    def close(self):
        pass


class File:
    """Bytes of a flash in a file, unbuffered; a missing or empty file is made and is erased flash."""

    def __init__(self, path, size):
        try:
            self.file = open(path, "r+b", 0)
        except OSError:
            self.file = open(path, "w+b", 0)
        have = self.file.seek(0, 2)
        if have == 0:
            for off in range(0, size, len(BLANK)):
                self.file.write(BLANK[: size - off])
        elif have != size:
            self.file.close()
            raise ValueError("%s holds %d bytes, wanted a flash of %d" % (path, have, size))

    def get(self, off, n):
        self.file.seek(off)
        return self.file.read(n)

    def into(self, off, buf):
        self.file.seek(off)
        self.file.readinto(buf)

    def put(self, off, data):
        self.file.seek(off)
        self.file.write(data)

    def close(self):
        self.file.close()


class SimFlash:
    """A Flash (mpota/store/flash.py) that counts, traces, wears, refuses and dies on demand."""

    erased = 0xFF

    def __init__(self, size, erase_size=4096, prog_size=4, path=None, overwrite=()):
        if size % erase_size or erase_size % prog_size:
            raise ValueError("size %d, sector %d, unit %d do not divide" % (size, erase_size, prog_size))
        self.size = size
        self.erase_size = erase_size
        self.prog_size = prog_size
        self.overwrite = tuple(overwrite)
        self.cells = File(path, size) if path else Ram(size)
        self.ops = 0
        # `trace = None` switches the trace off.
        self.trace = []
        self.wear = [0] * (size // erase_size)
        self.cut = None
        self.cut_at = "inside"
        self.seed = 0
        # Tear shapes: (old, new, pick) -> the bytes that a cut inside the operation leaves.
        self.tears = {"prog": prefix, "erase": half}
        self.dead = False

    def read(self, off, buf):
        self._fits("read", off, len(buf), 1)
        self.cells.into(off, buf)

    def prog(self, off, buf):
        n = len(buf)
        self._fits("prog", off, n, self.prog_size)
        old = self.cells.get(off, n)
        if not _blank(old):
            self._judge(off, old, buf)
        self._operate("prog", off, old, buf)

    def erase(self, off, n):
        self._fits("erase", off, n, self.erase_size)
        for i in range(off // self.erase_size, (off + n) // self.erase_size):
            self.wear[i] += 1
        self._operate("erase", off, None, n)

    def power_on(self):
        """The power is back: what the cells hold is what is left."""
        self.dead = False
        self.cut = None

    def snapshot(self):
        """All bytes of the flash, for `restore`."""
        return bytes(self.cells.get(0, self.size))

    def restore(self, data):
        """Put the bytes of a snapshot back; counts and trace go on."""
        if len(data) != self.size:
            raise ValueError("a snapshot of %d bytes for a flash of %d" % (len(data), self.size))
        self.cells.put(0, data)

    def digest(self):
        """SHA-256 of all bytes."""
        sha = hashlib.sha256()
        for off in range(0, self.size, self.erase_size):
            sha.update(self.cells.get(off, self.erase_size))
        return sha.digest()

    def close(self):
        self.cells.close()

    def _fits(self, op, off, n, unit):
        if self.dead:
            raise PowerCut("%s at %d without power" % (op, off))
        if off < 0 or off + n > self.size:
            raise FlashError("bounds", "%s of %d bytes at %d leaves a flash of %d" % (op, n, off, self.size))
        if off % unit or n % unit:
            raise FlashError("align", "%s of %d bytes at %d is not in units of %d" % (op, n, off, unit))

    def _judge(self, off, old, buf):
        """Raise Violation unless `buf` may be programmed over `old`, which is not blank."""
        bits = int.from_bytes(buf, "little")
        if int.from_bytes(old, "little") & bits != bits:
            i = 0
            while old[i] & buf[i] == buf[i]:
                i += 1
            raise Violation("program sets bits: 0x%02x over 0x%02x at 0x%x" % (buf[i], old[i], off + i))
        for start, size in self.overwrite:
            if start <= off and off + len(buf) <= start + size:
                return
        for i in range(0, len(old), self.prog_size):
            if not _blank(old[i : i + self.prog_size]):
                raise Violation("second program of the %d bytes at 0x%x without erase" % (self.prog_size, off + i))

    def _operate(self, op, off, old, new):
        """Count, trace and do one operation; `new` is the bytes of a program or the length of an erase."""
        n = new if op == "erase" else len(new)
        if not n:
            return
        self.ops += 1
        if self.trace is not None:
            self.trace.append((op, off, n))
        cut = self.cut is not None and self.ops >= self.cut
        if cut and self.cut_at not in ("before", "inside", "after"):
            raise ValueError("cut_at is %r, wanted before, inside or after" % self.cut_at)
        if cut and self.cut_at == "inside":
            was = self.cells.get(off, n) if old is None else old
            want = b"\xff" * n if op == "erase" else bytes(new)
            self.cells.put(off, self.tears[op](was, want, self._pick()))
        elif not cut or self.cut_at == "after":
            self._change(op, off, new)
        if cut:
            self.dead = True
            raise PowerCut("power cut %s operation %d: %s of %d bytes at 0x%x" % (self.cut_at, self.ops, op, n, off))

    def _change(self, op, off, new):
        if op == "prog":
            self.cells.put(off, new)
            return
        for at in range(off, off + new, len(BLANK)):
            self.cells.put(at, BLANK[: off + new - at])

    def _pick(self):
        """A source of numbers below n that is the same on both interpreters: SHA-256 of seed, operation and draw."""
        draws = [0]

        def pick(n):
            draws[0] += 1
            word = hashlib.sha256(b"%d %d %d" % (self.seed, self.ops, draws[0])).digest()
            return int.from_bytes(word[:4], "little") % n

        return pick


class SlowFlash(SimFlash):
    """One that takes a chip's time: `work` is called with the milliseconds of each operation, and lets them pass."""

    def __init__(self, size, work=None, **options):
        super().__init__(size, **options)
        self.work = work or (lambda ms: None)

    def prog(self, off, buf):
        self.work(max(PAGE_MS, PROGRAM_MS * len(buf) / len(BLANK)))
        super().prog(off, buf)

    def erase(self, off, n):
        self.work(ERASE_MS * n / len(BLANK))
        super().erase(off, n)


class Held(SimFlash):
    """Of a process that ends with its input: behind the program of the byte at `hold` it only waits for that."""

    hold = -1

    def prog(self, off, buf):
        super().prog(off, buf)
        if off <= self.hold < off + len(buf):
            sys.stdin.read()
            sys.exit(1)


def _blank(data):
    """Whether all of `data` is erased, without a loop over bytes."""
    n = len(data)
    if n <= len(BLANK):
        return data == (BLANK if n == len(BLANK) else BLANK[:n])
    for off in range(0, n, len(BLANK)):
        if data[off : off + len(BLANK)] != BLANK[: n - off]:
            return False
    return True
