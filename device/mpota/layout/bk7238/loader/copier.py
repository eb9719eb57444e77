"""The loader's copier: two passes over a package, the first of which decodes everything and writes nothing.

What the first pass has to say is said before any erase. The second erases the destination's header before all else.
"""

from gc import collect

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.pipe.unpack import UNPACKS, Unpacker
from mpota.layout.bk7238.store import coded
from mpota.stream import pull
from mpota_boot.errors import OtaError

# The vendor's result codes.
DONE, NONE, GENERAL, CHECK, ALGORITHM, VERIFY, MEMORY, READ, WRITE, ERASE = 0, 1, -1, -2, -3, -5, -6, -7, -8, -9


class _Stop(Exception):
    pass


def copy(download, head, dest, options, custom=False):
    """The copier alone: (result code, was anything erased). `custom`: look at the image's first block too."""
    pack = Copier(download, head, dest, options)
    return pack.copy(custom), pack.erased


class Copier:
    """One package on its way: `copy` gives a result code, `erased` says whether the destination was touched."""

    def __init__(self, download, head, dest, options):
        self.download = download
        self.head = head
        self.dest = dest
        self.options = options
        self.erased = False

    def copy(self, custom):
        head = self.head
        if head.raw + rbl.SIZE > self.dest.size:
            return CHECK
        if head.compression not in UNPACKS:
            return ALGORITHM
        try:
            self.view = memoryview(bytearray(1024))
            unpacker = Unpacker(self.download, head, self.options.secret)
            code = self._pass(unpacker, self._look if custom else self._pass_over)
            if code == DONE:
                self._clear()
                # The inflater's window of the first pass makes room for that of the second.
                collect()
                code = self._pass(unpacker, self._put)
            return code
        except MemoryError:
            return MEMORY
        except OtaError:
            return READ
        except _Stop as e:
            return e.args[0]

    def _pass(self, unpacker, use):
        """Decode it all, hand each piece to `use`; judge hash and length at the end."""
        fnv = rbl.Fnv()
        view = self.view
        total = 0
        most = self.head.raw
        try:
            src = unpacker.open()
            # One piece more than there should be, to find out that there is more.
            while total <= most:
                n = pull(src, view[: min(len(view), max(1, most - total))])
                if not n:
                    break
                if total < most:
                    use(total, view[:n])
                    fnv.update(view[:n])
                total += n
                self.options.feed()
        except (OSError, ValueError, EOFError, IndexError):
            # Errors behind the last byte of the image do not count.
            if total < most:
                return VERIFY
        if fnv.value != self.head.hash:
            return VERIFY
        return DONE if total == most else CHECK

    def _pass_over(self, off, piece):
        pass

    def _look(self, off, piece):
        if not off and not fits(piece, self.head, self.dest):
            raise _Stop(VERIFY)

    def _clear(self):
        """The header's sector first: from here on the application is known to be none."""
        dest = self.dest
        self.erased = True
        try:
            dest.erase(dest.size - rbl.SIZE, rbl.SIZE)
            dest.erase(0, self.head.raw)
        except (OSError, OtaError):
            raise _Stop(ERASE)

    def _put(self, off, piece):
        try:
            self.dest.prog(off, piece)
        except (OSError, OtaError):
            raise _Stop(WRITE)


def fits(first, head, dest):
    """The vendor's look at the first block: not interleaved with CRCs yet, and linked to where `app` lies."""
    if len(first) >= 34 and coded.crc16(coded.TABLE, first, 32) == first[32] << 8 | first[33]:
        return False
    if head.name != b"app":
        return True
    if len(first) < 36:
        return False
    word = first[32] | first[33] << 8 | first[34] << 16 | first[35] << 24
    return dest.start <= word <= dest.start + dest.size
