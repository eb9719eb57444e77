"""MicroPython's own VfsLfs2 and VfsFat on blocks in RAM whose power can be cut: the unix port alone has them.

A board of files is switched on, updated, cut at a write or an erase of a block, and switched on again with nothing left
but the blocks. LittleFS: a block's program may be torn where the cut falls, as littlefs allows. FAT: a sector is
written or it is not, since a torn sector of its tables is lost by FAT itself, with whatever lies in the file system.
"""

import os

from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.errors import UpToDate
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.sim.flash import PowerCut
from mpota_host.sim.reset import Reset
from tests.packages import Maker, Ram, version
from tests.trees import archive, files_of

MOUNT = "/cut"
EIO = 5
SETTINGS = {"product": "demo", "room": 4096, "trials": 3, "protected": ["config.json"]}
OLD = {
    "app.py": b"VERSION = 1\n",
    "gone.py": b"pass\n" * 100,
    "lib/empty.txt": b"",
    "lib/net.py": bytes(range(256)) * 3,
    "table.bin": bytes((i * i >> 3) & 0xFF for i in range(4500)),
}
NEW = {
    "app.py": b"VERSION = 2  # longer\n",
    "lib/deep/new.py": b"import os\n" * 60,
    "lib/net.py": bytes(range(255, -1, -1)) * 3,
    "none.txt": b"",
    "table.bin": bytes((i * i >> 4) & 0xFF for i in range(4700)),
}
OWN = {"config.json": b'{"name": "mine"}'}
STRANGERS = {"log.csv": b"1;2;3\n" * 50, "ota/1/own.txt": b"kept by hand\n"}


class Blocks:
    """A block device over `data`, for one run. `cut` = n: the power goes at the n-th program or erase, `at` before,
    inside or after it. Then nothing changes any more and every call fails, with a number: an exception through the C
    code of a file system would leave it in a state that no board that is off can be in.
    """

    def __init__(self, size, data):
        self.size = size
        self.data = data
        self.ops = 0
        self.cut = None
        self.at = "before"
        self.dead = self.over = False

    def readblocks(self, n, buf, off=0):
        if self.dead:
            return 0 if self.over else -EIO
        at = n * self.size + off
        memoryview(buf)[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, n, buf, off=0):
        if self.dead:
            # Of a run that is over the collector closes what a cut left open; it may not allocate, and nobody listens.
            return 0 if self.over else -EIO
        if self.size > 512:
            return self._change(n * self.size + off, buf)
        # FAT asks for several sectors at once; the power goes between them too.
        for at in range(0, len(buf), 512):
            failed = self._change(n * 512 + at, memoryview(buf)[at : at + 512])
            if failed:
                return failed

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // self.size
        if op == 5:
            return self.size
        if op == 6 and self.size > 512:
            return self._change(arg * self.size, b"\xff" * self.size)
        return 0

    def _change(self, at, buf):
        if self.dead:
            return -EIO
        self.ops += 1
        n = len(buf)
        if self.cut is not None and self.ops >= self.cut:
            self.dead = True
            n = {"before": 0, "inside": n // 2, "after": n}[self.at]
        memoryview(self.data)[at : at + n] = memoryview(buf)[:n]
        return -EIO if self.dead else 0


class Disk:
    """One of MicroPython's file systems on Blocks, mounted at MOUNT."""

    def __init__(self, name):
        self.name = name
        self.vfs = getattr(os, name)
        self.size = 4096 if name == "VfsLfs2" else 512
        self.data = bytearray(48 * 4096)
        self.blocks = Blocks(self.size, self.data)
        self.vfs.mkfs(self.blocks)
        os.mount(self.vfs(self.blocks), MOUNT)

    def on(self):
        """The power is back, and nothing is left but the bytes."""
        self.off()
        self.blocks = Blocks(self.size, self.data)
        os.mount(self.vfs(self.blocks), MOUNT)

    def off(self):
        self.blocks.dead = self.blocks.over = True
        os.umount(MOUNT)

    def power(self):
        """Raise PowerCut where it is gone."""
        if self.blocks.dead:
            raise PowerCut


def put(path, data):
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(MOUNT + "/" + path[:at])
        except OSError:
            pass
        at = path.find("/", at + 1)
    with open(MOUNT + "/" + path, "wb") as f:
        f.write(data)


def release(tree, n):
    maker = Maker(archive(tree))
    maker.kind, maker.name, maker.layout, maker.version = 2, b"files", b"files", version(1, n, 0)
    return maker.bytes()


class Story:
    """A board that has OLD and is offered NEW; `healthy` says what NEW's health() answers."""

    def __init__(self, name, healthy=True):
        self.disk = Disk(name)
        self.plain = Plain(MOUNT, SETTINGS)
        self.healthy = healthy
        self.offer = release(OLD, 1)
        self.live(lambda tree: True)
        for path, data in STRANGERS.items():
            put(path, data)
        put("ota/1/config.json", OWN["config.json"])
        self.offer = release(NEW, 2)
        self.begin = bytes(self.disk.data)

    def seen(self):
        """The application that boot.py named: 1 for OLD, 2 for NEW; AssertionError for anything else."""
        assert shim.error is None, repr(shim.error)
        found = files_of(shim.folder)
        del found[".mpota"]
        if shim.folder.endswith("/1"):
            assert found.pop("own.txt") == STRANGERS["ota/1/own.txt"]
        for n, tree in ((1, OLD), (2, NEW)):
            wanted = dict(tree)
            wanted.update(OWN)
            if found == wanted:
                return n
        raise AssertionError("%s holds %s" % (shim.folder, sorted(found)))

    def live(self, judge):
        """Switch on, again and again, until there is nothing to do. What ran at each power-on."""
        ran = []
        why = "power"
        for _ in range(20):
            board = self.plain.power_on(why)
            self.disk.power()
            ran.append(judge(shim.folder))
            agent = Agent(board, [Ram(self.offer)], None, None if self.healthy or ran[-1] == 1 else lambda: False)
            why = self._turns(agent)
            if not why:
                return ran
        raise AssertionError("no rest: %s" % ran)

    def _turns(self, agent):
        for _ in range(200):
            try:
                state = agent.step()
            except Reset:
                return "reset"
            self.disk.power()
            if state == "reset":
                return "reset"
            code = getattr(agent.error, "code", None)
            if isinstance(agent.error, UpToDate) or code == "failed":
                return None
            agent.board.ms += 600001
        raise AssertionError("no reset and no rest: %r" % agent.error)

    def update(self, cut=None, at="before"):
        """One life from the beginning, cut there; then what comes after. The programs and erases until the cut."""
        disk = self.disk
        disk.data[:] = self.begin
        disk.on()
        disk.blocks.ops = 0
        disk.blocks.cut, disk.blocks.at = cut, at
        try:
            self.live(lambda folder: self.seen())
            ops = disk.blocks.ops
        except PowerCut:
            ops = cut
        disk.on()
        ran = self.live(lambda folder: self.seen())
        assert ran[-1] == (2 if self.healthy else 1), ran
        self._left(ran[-1])
        return ops

    def _left(self, n):
        files = files_of(MOUNT)
        for path, data in STRANGERS.items():
            assert files[path] == data, path
        if n == 2:
            gone = [path for path in files if path.startswith("ota/1/") and path[6:] in OLD]
            assert not gone, gone


def cuts(story, stride=1):
    """Cut everywhere, at every `stride`-th program or erase. The operations of the life, and the cuts tried."""
    ops = story.update()
    # FAT's tables do not survive a torn sector, LittleFS's do. A cut after an operation is one before the next.
    ats = ("before", "inside") if story.disk.size > 512 else ("before",)
    n = 0
    for cut in range(1, ops + 1, stride):
        for at in ats + ("after",) if cut == ops else ats:
            story.update(cut, at)
            n += 1
    return ops, n


def everywhere(stride=1):
    """Both file systems, an update that is kept and one that goes back: yields what was tried."""
    for name in ("VfsLfs2", "VfsFat"):
        for healthy in (True, False):
            story = Story(name, healthy)
            yield name, healthy, cuts(story, stride)
            story.disk.off()


if __name__ == "__main__":
    for name, healthy, (ops, n) in everywhere():
        print("%s, %s: %d cuts in %d operations, 0 bad" % (name, "kept" if healthy else "gone back", n, ops))
