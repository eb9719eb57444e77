"""Models of LittleFS and FAT, operation by operation: what lies in the file system when the power goes in one of them.

`disk.open` and `disk.os` stand in for `open` and `os` (Stand puts them into modules). Only what changes the disk is an
operation: counted in `ops`, shown to `watch`, and cut at `cut` = n, "before" or "after" it, or inside with one of its
shapes. From then on every call raises PowerCut and changes nothing, until `power_on()`; files that were open are gone.

LittleFS: what a file held stays until close() or flush() puts the new content in its place, all of it; truncation waits
too. rename, remove, mkdir are all or nothing, and rename replaces. FAT: a file is truncated when it is opened; bytes
reach the disk sector by sector and in place, the length with close(); a sector may be torn; a name that is there is
removed before another file takes it, and a rename is a new name and then the end of the old one; names differ in more
than case. The tables of FAT itself are taken as whole: what a torn one loses is not the updater's to save.

A medium of FAT may write in another order than it was asked to, until FatFs says CTRL_SYNC: at the end of a close, a
flush, a remove, a rename and a mkdir (f_sync, f_unlink, f_rename, f_mkdir of ff.c). So a cut may leave the last sector
of an open file without those before it, its new length without its bytes, or the truncation to come.
"""

from mpota_host.sim.flash import PowerCut

ENOENT, EIO, EACCES, EEXIST, ENOTDIR, EISDIR, EINVAL, ENOSPC, ENOTEMPTY = 2, 5, 13, 17, 20, 21, 22, 28, 39
SECTOR = 512
FOLDER, FILE = 0x4000, 0x8000


def up(path: str) -> str:
    """The folder that `path` lies in."""
    return path.rpartition("/")[0]


def _nothing() -> None:
    """An operation that shows only later."""


def _half(old: bytes, new: bytes) -> bytes:
    n = len(new) // 2
    return new[:n] + old[n:]


def _back(old: bytes, new: bytes) -> bytes:
    n = len(new) // 2
    return old[:n] + new[n:]


def _blank(old: bytes, new: bytes) -> bytes:
    return b"\xff" * len(new)


def _over(old: bytes, at: int, new: bytes) -> bytes:
    """`new` at `at` of `old`, whose length stays."""
    new = new[: max(0, len(old) - at)]
    return old[:at] + new + old[at + len(new) :]


# What is in a sector of FAT when the power goes while it is written: the front, the back, or only erased.
TEARS = (("half", _half), ("back", _back), ("blank", _blank))
# Operation -> the shapes of a cut inside it; the others leave what was there or what was to come.
SHAPES = {"sector": [name for name, _ in TEARS] + ["alone"], "length": ["bare", "holes"], "rename-fat": ["both"]}


class _Os:
    """The functions of `os` that device code and its peers use."""

    def __init__(self, disk):
        for name in "stat listdir ilistdir remove rename mkdir rmdir statvfs chdir getcwd".split():
            setattr(self, name, getattr(disk, name))
        self.unlink = disk.remove
        self.sync = _nothing


class Disk:
    """A file system of `blocks` blocks of `block` bytes; 0: as large as anybody wants. LittleFs and Fat say the rest:

    truncate(path) of a file that is opened to be written anew, renamed(old, new, change), and the class of a File.
    """

    NAME = ""
    # Are bytes of a file written over where they lie?
    IN_PLACE = False
    # A read of a journal's file that goes wrong, see cut/medium.
    misread = None
    # What opening a folder gives.
    OPENS_FOLDER = EISDIR
    File: type

    def __init__(self, blocks=0, block=4096):
        self.block = block
        self.blocks = blocks
        self.os = _Os(self)
        self.watch = None
        self.load(((), ()))

    def load(self, state):
        """Put a state back: power on, counts at 0."""
        self.files = dict(state[0])
        self.dirs = set(state[1])
        self.ops = 0
        self.power_on()

    def state(self):
        """((path, bytes) of each file, the folders): all that outlives a power cut."""
        return tuple(sorted(self.files.items())), tuple(sorted(self.dirs))

    def power_on(self):
        """The power is back. Whatever was open is not."""
        self.dead = False
        self.cut = None
        self.cut_at = "before"
        self.cwd = ""
        self.run = object()

    def left(self, change):
        """The state that `change` would leave."""
        files, dirs = self.files, self.dirs
        self.files, self.dirs = dict(files), set(dirs)
        change()
        state = self.state()
        self.files, self.dirs = files, dirs
        return state

    def do(self, op, path, change, torn=()):
        """One operation. `torn`: (shape, change) of what a cut inside it may leave."""
        self.alive()
        if self.watch:
            self.watch(op, path, (("after", change),) + tuple(torn))
        self.ops += 1
        if self.cut is None or self.ops < self.cut:
            return change()
        if self.cut_at != "before":
            dict((("after", change),) + tuple(torn))[self.cut_at]()
        self.dead = True
        raise PowerCut("power cut %s operation %d: %s %s" % (self.cut_at, self.ops, op, path))

    def alive(self, run=None):
        """Raise PowerCut while there is no power, and for what was opened before it went."""
        if self.dead or run not in (None, self.run):
            raise PowerCut("no power")

    # Names.

    def same(self, name):
        """What names are compared by."""
        return name

    def legal(self, path):
        """Can it be a name?"""
        return max([len(part) for part in path.split("/")]) <= 255

    def find(self, path):
        """`path` as it lies there, from the root; what is not there as it would."""
        self.alive()
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if path[:1] != "/" and self.cwd:
            parts = self.cwd.strip("/").split("/") + parts
        wanted = "/" + "/".join(parts) if parts else ""
        if wanted in self.files or wanted in self.dirs:
            return wanted
        same = self.same(wanted)
        for names in (self.files, self.dirs):
            for name in names:
                if self.same(name) == same:
                    return name
        return wanted

    def above(self, path):
        """The folder that `path` is to lie in; OSError where there is none or the name is none."""
        if not self.legal(path):
            raise OSError(EINVAL)
        folder = self.find(up(path))
        if folder in self.files:
            raise OSError(ENOTDIR)
        if folder and folder not in self.dirs:
            raise OSError(ENOENT)

    def used(self):
        """Blocks that are taken."""
        return len(self.dirs) + sum([(len(data) + self.block - 1) // self.block for data in self.files.values()])

    def room(self, more):
        """ENOSPC unless `more` bytes can come."""
        if self.blocks and self.used() + (more + self.block - 1) // self.block > self.blocks:
            raise OSError(ENOSPC)

    def truncate(self, path):
        raise NotImplementedError

    def renamed(self, old, new, change):
        raise NotImplementedError

    # The functions of `os`.

    def open(self, path, mode="r", *_, **__):
        path = self.find(path)
        if path in self.dirs or not path:
            raise OSError(self.OPENS_FOLDER)
        if path not in self.files:
            if mode[0] == "r":
                raise OSError(ENOENT)
            self.above(path)
            self.do("create", path, lambda: self.files.__setitem__(path, b""))
        elif mode[0] == "w":
            self.truncate(path)
        return self.File(self, path, mode)

    def stat(self, path):
        path = self.find(path)
        if path in self.files:
            return (FILE, 0, 0, 0, 0, 0, len(self.files[path]), 0, 0, 0)
        if path and path not in self.dirs:
            raise OSError(ENOENT)
        return (FOLDER, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def ilistdir(self, path="."):
        path = self.find(path)
        if path and path not in self.dirs:
            raise OSError(ENOENT)
        for kind, names in ((FILE, self.files), (FOLDER, self.dirs)):
            for name in sorted(names):
                if up(name) == path:
                    yield name[len(path) + 1 :], kind, 0

    def listdir(self, path="."):
        return [row[0] for row in self.ilistdir(path)]

    def remove(self, path):
        path = self.find(path)
        if path not in self.files:
            raise OSError(EISDIR if path in self.dirs else ENOENT)
        self.do("remove", path, lambda: self.files.__delitem__(path))

    def mkdir(self, path):
        path = self.find(path)
        if path in self.files or path in self.dirs or not path:
            raise OSError(EEXIST)
        self.above(path)
        self.room(self.block)
        self.do("mkdir", path, lambda: self.dirs.add(path))

    def rmdir(self, path):
        path = self.find(path)
        if path not in self.dirs:
            raise OSError(ENOTDIR if path in self.files else ENOENT)
        if self.listdir(path):
            raise OSError(ENOTEMPTY)
        self.do("rmdir", path, lambda: self.dirs.remove(path))

    def rename(self, old, new):
        old, there = self.find(old), self.find(new)
        if old not in self.files and old not in self.dirs:
            raise OSError(ENOENT)
        self.above(there)
        if (there in self.dirs and there != old) or (there in self.files and old in self.dirs):
            raise OSError(EEXIST)
        self.renamed(old, there, lambda: self.give(old, there))

    def give(self, old, new):
        """Everything under the name `old` has the name `new`."""
        for name in [name for name in self.files if name == old or name.startswith(old + "/")]:
            self.files[new + name[len(old) :]] = self.files.pop(name)
        for name in [name for name in self.dirs if name == old or name.startswith(old + "/")]:
            self.dirs.remove(name)
            self.dirs.add(new + name[len(old) :])

    def statvfs(self, path):
        self.stat(path)
        free = max(0, self.blocks - self.used()) if self.blocks else 1 << 20
        return (self.block, self.block, self.blocks, free, free, 0, 0, 0, 0, 255)

    def chdir(self, path):
        self.stat(path)
        self.cwd = self.find(path)

    def getcwd(self):
        return self.cwd or "/"


class File:
    """An open file: what it will hold, and where the next byte goes. LittleFile and FatFile put and flush."""

    def __init__(self, disk, path, mode):
        self.disk = disk
        self.path = path
        self.run = disk.run
        self.text = "b" not in mode
        self.reads = mode[0] == "r" or "+" in mode
        self.writes = mode[0] != "r" or "+" in mode
        self.data = bytearray(b"" if mode[0] == "w" else disk.files[path])
        self.at = len(self.data) if mode[0] == "a" else 0
        self.dirty = mode[0] == "w"
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        line = self.readline()
        while line:
            yield line
            line = self.readline()

    def _open(self, may):
        self.disk.alive(self.run)
        if self.closed or not may:
            raise OSError(9)

    def read(self, n=-1):
        self._open(self.reads)
        data = bytearray(self.data[self.at : self.at + n if n >= 0 else len(self.data)])
        self.at += len(data)
        misread = self.disk.misread
        if misread and self.path[-7:-1] == "/mpota" and misread.now():
            if misread.how == "fails":
                raise OSError(EIO)
            misread.spoil(data)
        data = bytes(data)
        return data.decode() if self.text else data

    def readline(self):
        n = self.data.find(b"\n", self.at) + 1
        return self.read((n or len(self.data)) - self.at)

    def readinto(self, buf):
        self._open(self.reads)
        n = min(len(buf), max(0, len(self.data) - self.at))
        buf[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n

    def seek(self, at, whence=0):
        self._open(True)
        self.at = at + (0, self.at, len(self.data))[whence]
        return self.at

    def tell(self):
        return self.at

    def write(self, buf):
        self._open(self.writes)
        data = buf.encode() if self.text else bytes(buf)
        self.disk.room(max(0, self.at + len(data) - len(self.data)) if self.disk.IN_PLACE else self.at + len(data))
        if self.at > len(self.data):
            self.data += bytes(self.at - len(self.data))
        self.put(data)
        return len(buf)

    def close(self):
        if self.writes and not self.closed:
            self.disk.alive(self.run)
            self.flush()
        self.closed = True


class LittleFile(File):
    """Nobody sees what is written before it is closed."""

    def put(self, data):
        self.data[self.at : self.at + len(data)] = data
        self.at += len(data)
        self.dirty = True
        self.disk.do("write", self.path, _nothing)

    def flush(self):
        self._open(True)
        if self.dirty:
            data = bytes(self.data)
            self.disk.do("close", self.path, lambda: self.disk.files.__setitem__(self.path, data))
            self.dirty = False


class FatFile(File):
    """Sectors go to the disk as they are left; the length follows at the end."""

    # The number of the sector that was begun, and is still in RAM.
    sector = -1
    touched = False
    # What the disk had when it was last asked to have everything, and sectors that were written since.
    synced = b""
    late = 0

    def __init__(self, disk, path, mode):
        super().__init__(disk, path, mode)
        self.synced = disk.before.pop(path, disk.files[path])

    def put(self, data):
        self.touched = True
        while data:
            n = min(SECTOR - self.at % SECTOR, len(data))
            if self.sector != self.at // SECTOR:
                self._leave()
            self.sector = self.at // SECTOR
            self.data[self.at : self.at + n] = data[:n]
            self.at += n
            data = data[n:]
            if not self.at % SECTOR:
                self._leave()

    def _leave(self):
        if self.sector < 0:
            return
        low = self.sector * SECTOR
        new = bytes(self.data[low : low + SECTOR])
        self.sector = -1
        # What lies behind the length that the folder has shows when that length is written.
        shown = new[: max(0, len(self.disk.files[self.path]) - low)]

        def change(tear=None):
            old = self.disk.files[self.path]
            piece = tear(old[low : low + len(shown)], shown) if tear else shown
            self.disk.files[self.path] = old[:low] + piece + old[low + len(shown) :]

        torn = [(name, lambda tear=tear: change(tear)) for name, tear in TEARS] if shown else []
        if self.late or self.synced != self.disk.files[self.path]:
            torn.append(("alone", lambda: self._put_back(_over(self.synced, low, new))))
        self.late += 1
        self.disk.do("sector", self.path, change, torn)

    def _put_back(self, data):
        self.disk.files[self.path] = data

    def flush(self):
        self._open(True)
        if self.touched:
            self._leave()
            data = bytes(self.data)
            self.disk.do("length", self.path, lambda: self._put_back(data), self._orders(data))
            self.touched = False
            self.synced = data
            self.late = 0

    def _orders(self, data):
        """The length, and of the sectors none, or every other one."""
        bare = (self.synced + b"\xff" * (len(data) - len(self.synced)))[: len(data)]
        if not self.late or bare == data:
            return ()
        holes = bare
        for at in range(SECTOR, len(data), 2 * SECTOR):
            holes = _over(holes, at, data[at : at + SECTOR])
        orders = (("bare", lambda: self._put_back(bare)), ("holes", lambda: self._put_back(holes)))
        return orders[: 1 + (holes not in (bare, data))]


class LittleFs(Disk):
    """LittleFS 2, as MicroPython's VfsLfs2."""

    NAME = "LittleFS"
    File = LittleFile

    def truncate(self, path):
        """Waits for close()."""

    def renamed(self, old, new, change):
        self.do("rename", old, change)


class Fat(Disk):
    """FatFs, as MicroPython's VfsFat."""

    NAME = "FAT"
    IN_PLACE = True
    OPENS_FOLDER = ENOENT
    File = FatFile

    def same(self, name):
        return name.lower()

    def legal(self, path):
        return super().legal(path) and not [c for c in path if c in '\\:*?"<>|']

    def load(self, state):
        super().load(state)
        # What a file held that was opened to be written anew.
        self.before = {}

    def truncate(self, path):
        self.before[path] = self.files[path]
        self.do("truncate", path, lambda: self.files.__setitem__(path, b""))

    def renamed(self, old, new, change):
        if new in self.files and new != old:
            # FatFs says no; MicroPython removes what is there and asks again.
            self.remove(new)

        def both():
            files, dirs = dict(self.files), set(self.dirs)
            change()
            self.files.update(files)
            self.dirs.update(dirs)

        self.do("rename-fat", old, change, (("both", both),))


class Stand:
    """`open` and `os` of some modules are the disk's, until `end()` or until the next one stands there."""

    now = None

    def __init__(self, disk, modules):
        if Stand.now:
            Stand.now.end()
        Stand.now = self
        self.kept = [(module, getattr(module, "os", None)) for module in modules]
        for module, kept in self.kept:
            module.open = disk.open
            if kept:
                module.os = disk.os

    def end(self):
        """The modules have their own again."""
        for module, kept in self.kept:
            del module.open
            if kept:
                module.os = kept
        Stand.now = None


def modules():
    """The modules of the device that open files."""
    from mpota import keyring, runner
    from mpota.store import pair, tree, trees
    from mpota_boot import board, rescue, shim, spare, updater

    return [shim, spare, rescue, updater, board, keyring, runner, pair, tree, trees]
