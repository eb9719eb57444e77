"""The two trees of an application, /ota/1 and /ota/2: where the next update goes, and what it takes along.

Tree 0 stands for none: the application lies where the board's owner put it. Paths that the settings call `protected`
are the board's own: no package brings them, and they are copied into the new tree before it is armed.
"""

import os

from mpota.store.tree import Tree, folders, room_of
from mpota.stream import FILES, RESOURCE
from mpota_boot.errors import FlashError, Refused

ROOT = "/ota"


def path_of(number, root=ROOT):
    """The folder of a tree; of tree 0 the one that `root` lies in."""
    return "%s/%d" % (root, number) if number else root.rpartition("/")[0]


class Resource(Tree):
    """One file that comes as a component of its own."""

    def find(self, off):
        return self.path, off, 1 << 30


class Trees:
    """`now` is the number of the tree that runs; `protected` are paths in it that no package may bring."""

    def __init__(self, now, protected=(), root=ROOT):
        self.now = now
        self.next = 2 if now == 1 else 1
        self.protected = protected
        self.old = Tree(path_of(now, root))
        self.new = Tree(path_of(self.next, root), protected)
        self.new.beside = self._own

    def target(self, part):
        """The Flash that a component is written to; its `size` is the room for all of them together."""
        new = self.new
        if part.kind == RESOURCE:
            new = Resource(new.path + "/" + part.name)
        elif part.kind != FILES:
            raise Refused("kind", "components of kind %d are not for this board" % part.kind)
        # begin() removes the files of an earlier update, so their bytes count as room.
        _, _, end, whole = self.new.head()
        new.size = room_of(new.path)[1] + end + whole
        return new

    def running(self, part):
        """The base of a delta."""
        if part.kind == FILES:
            self.old.size = self.old.there() if self.now else 0
            return self.old
        old = Resource(self.old.path + "/" + part.name)
        try:
            old.size = os.stat(old.path)[6]
        except OSError:
            pass
        return old

    def admit(self, part, head):
        """The first bytes of a component: make room for a list, and take a resource only if the list has it."""
        if part.kind == FILES:
            return self.new.begin(head)
        for path, size, apart in self.new.entries(self.protected) if self.new.head()[2] else ():
            if apart and (path, size) == (part.name, part.size):
                return None
        raise Refused("files", "the list of files has no %r of %d bytes" % (part.name, part.size))

    def _own(self):
        """Bytes that the protected files need in the new tree, beyond those that an earlier update copied there."""
        block = room_of(self.new.path)[0]
        old, new = self.old.path + "/", self.new.path + "/"
        return sum([_bytes(old + own, block) - _bytes(new + own, block) for own in self.protected])

    def check(self, part):
        """Every file is there; the board's own are taken along."""
        if part.kind != FILES:
            return
        try:
            self.new.check()
            buf = bytearray(512)
            for own in self.protected:
                # The copy there is of the update before last: the running application may have removed the file since.
                _drop(self.new.path + "/" + own)
                _copy(self.old.path + "/" + own, self.new.path + "/" + own, buf)
        except OSError as e:
            raise FlashError("tree", "%s: %r" % (self.new.path, e))

    def free(self):
        """Remove the tree that does not run."""
        self.new.free()


def _bytes(path, block):
    """Bytes that a file or a folder takes at most, in blocks of `block` bytes."""
    try:
        facts = os.stat(path)
    except OSError:
        return 0
    if facts[0] & 0x4000:
        return sum([_bytes(path + "/" + name, block) for name in os.listdir(path)])
    return -(-facts[6] // block) * block


def _drop(path):
    try:
        if os.stat(path)[0] & 0x4000:
            for name in os.listdir(path):
                _drop(path + "/" + name)
        else:
            os.remove(path)
    except OSError:
        pass  # there is none


def _copy(src, dst, buf):
    try:
        mode = os.stat(src)[0]
    except OSError:
        return
    if mode & 0x4000:
        for name in os.listdir(src):
            _copy(src + "/" + name, dst + "/" + name, buf)
        return
    folders(dst)
    view = memoryview(buf)
    with open(src, "rb") as f, open(dst, "wb") as g:
        n = f.readinto(buf)
        while n:
            g.write(view[:n])
            n = f.readinto(buf)
