"""An application's files as one Flash: their list, then the files one after the other.

So a tree of files goes through the installer as an image does: written front to back, resumed at an offset, read back
and hashed, the base of the next delta. There are two trees; the one that runs is never written to. Every write is
closed before the next one begins, so that what the journal notes is in the file system.
"""

import os
from struct import unpack

from mpota.store.listing import ENTRY, ENTRY_SIZE, HEAD, HEAD_SIZE, LIST, MAGIC, judge
from mpota_boot.errors import FlashError, Refused

# littlefs, as MicroPython sets it up: bytes of a file that lies in its folder at most, bytes of an entry beside its
# name (tags of name, structure and time), blocks of a folder (a pair).
SMALL, ROW, FOLDER = 128, 28, 2


def folders(path):
    """Make the folders above the file `path`."""
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass  # it is there, or the file will say so
        at = path.find("/", at + 1)


def room_of(path):
    """(bytes of a block, bytes that are free) in the file system of `path`, which need not be there yet."""
    while True:
        try:
            facts = os.statvfs(path or "/")
            return facts[0], facts[0] * facts[3]
        except OSError:
            if not path:
                raise
            path = path.rpartition("/")[0]


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


class Tree:
    """The Flash contract over the folder `path`. `size`: the bytes that are there, or the room for more."""

    erase_size = prog_size = 1
    erased = 0xFF
    beside = int  # gives the bytes that other files will need; here 0

    def __init__(self, path, protected=()):
        self.path = path
        self.protected = protected
        self.begun = False
        self.rows = self.end = None
        self.lo = self.hi = self.size = 0

    def erase(self, off, n):
        """A file needs none."""

    def read(self, off, buf):
        self._move(off, buf, "rb")

    def prog(self, off, buf):
        if self.end is None:
            self.end = self.head()[2]
        n = self.end - off
        if 0 < n <= len(buf):
            # The list is there, and nothing of the files.
            self._move(off, buf[:n], "r+b")
            self._want(self._need(), room_of(self.path)[1])
            off += n
            buf = buf[n:]
        self._move(off, buf, "r+b")

    def _move(self, off, buf, mode):
        view = memoryview(buf)
        try:
            while len(view):
                path, at, n = self.find(off)
                piece = view[:n]
                if mode != "rb" and not at:
                    folders(path)
                with open(path, mode if at or mode == "rb" else "wb") as f:
                    f.seek(at)
                    n = f.readinto(piece) if mode == "rb" else f.write(piece)
                if not n:
                    raise OSError(5)
                off += n
                view = view[n:]
        except Refused:
            if self.begun:
                raise
            # It was taken when it came.
            raise FlashError("tree", "the list in %s is not what was written" % self.path)
        except OSError as e:
            if e.args[0] == 28:  # ENOSPC
                # The file system is full: make room, which the running application needs too.
                self.free()
            raise FlashError("tree", "%s, byte %d: %r" % (self.path, off, e))

    def find(self, off):
        """(path, offset in it, bytes to its end: no more than a slice of 32 bits) of byte `off`."""
        if self.rows is None or off < self.lo:
            self.lo = 0
            self.hi = self.head()[2]
            self.name = LIST
            self.rows = self.entries(self.protected)
        while off >= self.hi:
            for name, size, apart in self.rows:
                if not apart:
                    self.name, self.lo = name, self.hi
                    self.hi += size
                    break
            else:
                raise OSError(22)  # EINVAL: more than the list has room for
        return self.path + "/" + self.name, off - self.lo, min(self.hi - off, 1 << 30)

    def there(self):
        """Bytes of the list and of the files that come with it; 0 where there is no list."""
        magic, _, end, _ = self.head()
        try:
            return end + sum([size for _, size, apart in self.entries() if not apart]) if magic == MAGIC else 0
        except Refused:
            return 0

    def head(self):
        """(magic, files, bytes of the list, bytes of all files); zeros where there is no list."""
        data = b""
        try:
            with open(self.path + "/" + LIST, "rb") as f:
                data = f.read(HEAD_SIZE)
        except OSError:
            pass
        return unpack(HEAD, data) if len(data) == HEAD_SIZE else (b"", 0, 0, 0)

    def entries(self, protected=()):
        """(path, size, apart) of every file, in the order of the list; none that is `protected`."""
        _, files, end, _ = self.head()
        if not end:
            raise FlashError("tree", "%s has no list of files" % self.path)
        before = ""
        with open(self.path + "/" + LIST, "rb") as f:
            f.seek(HEAD_SIZE)
            for _ in range(files):
                data = f.read(ENTRY_SIZE)
                if len(data) < ENTRY_SIZE:
                    end = -1
                    break
                size, apart, n = unpack(ENTRY, data)
                try:
                    path = f.read(n).decode()
                except UnicodeError:
                    path = ""
                before = judge(path, before, protected)
                if path[-1:] == "/" and (size or apart):
                    raise Refused("files", "%r is a folder, and has %d bytes" % (path, size))
                yield path, size, apart
            if f.tell() != end:
                raise Refused("files", "the list of %d files does not end at byte %d" % (files, f.tell()))

    def begin(self, head):
        """A list that starts with `head` comes: remove an earlier one's files; Refused where there is no room."""
        if len(head) < HEAD_SIZE or bytes(head[:4]) != MAGIC:
            raise Refused("files", "a list of files begins with %r, this with %r" % (MAGIC, bytes(head[:4])))
        end, need = unpack(HEAD, head[:HEAD_SIZE])[2:]
        self.free()
        self.begun = True
        self.end = end
        # A first look; prog() counts blocks once the list is there.
        self._want(end + need + self.beside(), room_of(self.path)[1])
        self.lo, self.hi, self.name = 0, end, LIST
        self.rows = self.entries(self.protected)

    def _need(self):
        """Bytes that the file system needs for the list's files and those beside them, a little low."""
        block = room_of(self.path)[0]
        # FAT, which tells no case, has a block for each file and folder; littlefs keeps a small file in its folder.
        fat = exists(self.path + "/" + LIST.upper())
        small, folder = (0, 1) if fat else (SMALL, FOLDER)
        # The root of a tree is there.
        blocks, rows, before = 0, 0, ""
        for name, size, _ in self.entries(self.protected):
            rows += ROW + len(name)
            if size > small:
                # A block of littlefs points to those before it: two words, on the average.
                blocks += size // (block - 8) + 1
            else:
                rows += size
            at = name.find("/") + 1
            while at:
                # The list is sorted, so paths of one folder follow each other.
                blocks += 0 if before.startswith(name[:at]) else folder
                at = name.find("/", at) + 1
            before = name
        # Blocks of a folder are half full.
        return (blocks + (0 if fat else FOLDER * (2 * rows // block))) * block + self.beside()

    def _want(self, need, room):
        if need > room:
            self.free()
            raise Refused("size", "the files need %d bytes, there is room for %d" % (need, room))

    def free(self):
        """Remove every file that the list names, then the list; other files stay."""
        if not self.head()[2]:
            # A torn one names nothing, and takes room.
            _remove(self.path + "/" + LIST)
            return
        # The list goes last, and nothing is written into it: on FAT a torn sector would take the names with it.
        try:
            for name, _, _ in self.entries():
                _remove(self.path + "/" + name)
                self._empty(name)
        except Refused:
            pass  # the rest of the list cannot be read
        self.rows = None
        _remove(self.path + "/" + LIST)

    def _empty(self, name):
        """Remove the folders above a file that is gone, as far as they are empty; a cut may have left the upper ones.

        An empty folder would hide a module of the board's.
        """
        while "/" in name:
            name = name.rpartition("/")[0]
            try:
                os.rmdir(self.path + "/" + name)
            except OSError:
                pass

    def check(self):
        """Make the empty files and folders, and hold the sizes of the others to the list."""
        for name, size, apart in self.entries(self.protected):
            path = self.path + "/" + name
            folder = name[-1:] == "/"
            if not size and not apart:
                folders(path)
                if not folder:
                    with open(path, "wb"):
                        pass
            facts = os.stat(path[:-1] if folder else path)
            if folder and not facts[0] & 0x4000:
                raise FlashError("tree", "%s is no folder" % path)
            if not folder and facts[6] != size:
                raise FlashError("tree", "%s has %d bytes, wanted %d" % (path, facts[6], size))
