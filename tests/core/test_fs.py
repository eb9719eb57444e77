"""The models of file systems: the same answers as MicroPython's own VfsLfs2 and VfsFat, and what a cut leaves."""

import os

from mpota_host.sim.flash import PowerCut
from mpota_host.sim.fs import SHAPES, Fat, LittleFs
from tests.expect import raises


class RamBlocks:
    """A block device in RAM."""

    def __init__(self, size, count):
        self.size = size
        self.data = bytearray(size * count)

    def readblocks(self, n, buf, off=0):
        at = n * self.size + off
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, n, buf, off=0):
        at = n * self.size + off
        memoryview(self.data)[at : at + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // self.size
        if op == 5:
            return self.size
        return 0


def pairs():
    """(model, the real one or None) of both; CPython has none."""
    for model, name, size in ((LittleFs, "VfsLfs2", 4096), (Fat, "VfsFat", 512)):
        real = None
        vfs = getattr(os, name, None)
        if vfs:
            blocks = RamBlocks(size, 400)
            vfs.mkfs(blocks)
            real = vfs(blocks)
        yield model(), real


def put(disk, path, data, mode="wb"):
    with disk.open(path, mode) as f:
        f.write(data)


def get(disk, path):
    with disk.open(path, "rb") as f:
        return f.read()


def spoken(call, *args):
    """What a call answers, or the number of its error."""
    try:
        found = call(*args)
    except OSError as e:
        return e.args[0]
    return found


def names(disk, path):
    return sorted([(row[0], row[1]) for row in disk.ilistdir(path)])


def patch(disk, path, at, data):
    """Write in the middle; what is there then."""
    with disk.open(path, "r+b") as f:
        f.seek(at)
        f.write(data)
    return get(disk, path)


# What is done, one after the other, to model and original alike: the answers have to be the same.
STEPS = [
    (put, "/a.txt", b"one"),
    (get, "/a.txt"),
    (put, "/no/a.txt", b"x"),
    ("mkdir", "/lib"),
    ("mkdir", "/lib"),
    ("mkdir", "/no/lib"),
    (put, "/lib/b.bin", bytes(range(256)) * 9),
    (patch, "/lib/b.bin", 511, b"xyz"),
    (patch, "/lib/b.bin", 2303, b"longer than it was"),
    (patch, "/missing", 0, b"x"),
    (get, "/lib"),
    (get, "/missing"),
    (get, "/lib/B.bin"),
    ("rmdir", "/missing"),
    ("remove", "/missing"),
    ("mkdir", "/lib/deep"),
    ("rmdir", "/lib/deep"),
    (put, "/a.txt", b"two"),
    (put, "/a.txt", b"and three", "ab"),
    (get, "/a.txt"),
    (put, "/a.txt", b""),
    (get, "/a.txt"),
    ("rename", "/a.txt", "/c.txt"),
    ("rename", "/a.txt", "/c.txt"),
    ("rename", "/lib", "/lob"),
    (get, "/lob/b.bin"),
    (names, "/"),
    (names, "/lob"),
    ("remove", "/c.txt"),
    ("remove", "/lob/b.bin"),
    ("rmdir", "/lob"),
    (names, "/"),
]


def test_a_model_answers_as_the_file_system_does():
    for disk, real in pairs():
        for what, *args in STEPS:
            if isinstance(what, str):
                seen = [spoken(getattr(one, what), *args) for one in (disk.os, real) if one]
            else:
                seen = [spoken(what, one, *args) for one in (disk, real) if one]
            assert seen[0] == seen[-1], (disk.NAME, what, args, seen)


def test_renaming_over_a_file_replaces_it():
    for disk, real in pairs():
        for one in (disk, real):
            if one:
                put(one, "/a", b"a")
                put(one, "/b", b"b")
                rename = (one.os if one is disk else one).rename
                seen = spoken(rename, "/a", "/b"), get(one, "/b"), names(one, "/")
                assert seen == (None, b"a", [("b", 0x8000)]), seen


def test_fat_refuses_names_that_it_cannot_keep_and_knows_a_name_in_any_case():
    for disk, real in pairs():
        for one in (disk, real):
            if one and disk.NAME == "FAT":
                raises(OSError, None, put, one, "/a*b", b"")
                put(one, "/Name.Txt", b"1")
                put(one, "/NAME.TXT", b"2")
                assert names(one, "/") == [("Name.Txt", 0x8000)] and get(one, "/name.txt") == b"2"
            elif one:
                put(one, "/Name.Txt", b"1")
                put(one, "/NAME.TXT", b"2")
                assert len(names(one, "/")) == 2


def test_a_full_disk_says_so():
    for model in (LittleFs, Fat):
        disk = model(4, 4096)
        put(disk, "/a", bytes(4096 * 3))
        raises(OSError, None, put, disk, "/b", bytes(4097))
        disk.os.remove("/a")
        put(disk, "/b", bytes(4097))
        assert disk.os.statvfs("/")[:4] == (4096, 4096, 4, 2)
        # A new content of LittleFS needs its room beside the old one.
        again = spoken(put, disk, "/b", bytes(4096 * 3))
        assert again == (28 if model is LittleFs else None), again


def left(disk, call):
    """[(operation, shape, state)] of every cut in `call`, which is done then."""
    seen = []

    def watch(op, path, shapes):
        for shape, change in shapes:
            seen.append((op, shape, dict(disk.left(change)[0])))

    disk.watch = watch
    call()
    disk.watch = None
    return seen


def test_littlefs_shows_a_file_when_it_is_closed():
    disk = LittleFs()
    put(disk, "/a", b"old")
    seen = left(disk, lambda: put(disk, "/a", b"n" * 2000))
    assert [(op, state["/a"]) for op, _, state in seen] == [("write", b"old"), ("close", b"n" * 2000)]
    seen = left(disk, lambda: put(disk, "/b", b"new"))
    assert [(op, state["/b"]) for op, _, state in seen] == [("create", b""), ("write", b""), ("close", b"new")]


def test_fat_truncates_at_once_and_shows_the_length_at_the_end():
    disk = Fat()
    put(disk, "/a", b"o" * 1000)
    seen = left(disk, lambda: put(disk, "/a", b"n" * 1000))
    ends = [(op, state["/a"]) for op, shape, state in seen if shape == "after"]
    assert ends == [("truncate", b"")] + [("sector", b"")] * 2 + [("length", b"n" * 1000)]
    # A medium that has its own order keeps the truncation for the end.
    front, back = b"n" * 512 + b"o" * 488, b"o" * 512 + b"n" * 488
    others = [(op, shape, state["/a"]) for op, shape, state in seen if shape != "after"]
    assert others == [
        ("sector", "alone", front),
        ("sector", "alone", back),
        ("length", "bare", b"o" * 1000),
        ("length", "holes", back),
    ]


def test_fat_tears_a_sector_that_is_written_in_place():
    disk = Fat()
    put(disk, "/a", b"o" * 1000)
    seen = left(disk, lambda: patch(disk, "/a", 500, b"n" * 24))
    states = {(i, shape): state["/a"] for i, (op, shape, state) in enumerate(seen)}
    whole = b"o" * 500 + b"n" * 24 + b"o" * 476
    assert sorted({shape for _, shape in states}) == sorted(["after"] + SHAPES["sector"] + SHAPES["length"])
    assert states[0, "after"] == b"o" * 500 + b"n" * 12 + b"o" * 488
    assert states[1, "half"] == b"o" * 1000 and states[2, "back"] == states[0, "after"]
    assert states[3, "blank"] == b"\xff" * 512 + b"o" * 488
    assert states[4, "after"] == states[9, "after"] == whole and get(disk, "/a") == whole
    assert states[8, "alone"] == states[11, "holes"] == b"o" * 512 + b"n" * 12 + b"o" * 476
    assert states[10, "bare"] == b"o" * 1000


def test_fat_has_both_names_in_the_middle_of_a_rename():
    disk = Fat()
    put(disk, "/a", b"x")
    seen = left(disk, lambda: disk.os.rename("/a", "/b"))
    assert seen == [("rename-fat", "after", {"/b": b"x"}), ("rename-fat", "both", {"/a": b"x", "/b": b"x"})]
    put(disk, "/a", b"y")
    seen = left(disk, lambda: disk.os.rename("/a", "/b"))
    assert seen[0] == ("remove", "after", {"/a": b"y"}), "for a moment there is no file of that name"
    whole = LittleFs()
    put(whole, "/a", b"x")
    put(whole, "/b", b"y")
    assert [shape for _, shape, _ in left(whole, lambda: whole.os.rename("/a", "/b"))] == ["after"]


def test_what_a_cut_leaves_is_what_was_shown_of_it_and_nothing_works_without_power():
    for model in (LittleFs, Fat):
        disk = model()
        put(disk, "/a", b"o" * 1000)
        begin = disk.state()

        def story(disk=disk):
            put(disk, "/a", b"n" * 1100)
            disk.os.mkdir("/lib")
            disk.os.rename("/a", "/lib/a")
            patch(disk, "/lib/a", 3, b"x")
            disk.os.remove("/lib/a")
            disk.os.rmdir("/lib")

        shown = left(disk, story)
        number = 0
        for op, shape, state in shown:
            number += shape == "after"
            disk.load(begin)
            disk.cut, disk.cut_at = number, shape
            raises(PowerCut, None, story)
            for call, *args in ((disk.open, "/a", "rb"), (disk.os.mkdir, "/x"), (disk.os.stat, "/")):
                raises(PowerCut, None, call, *args)
            disk.power_on()
            assert dict(disk.state()[0]) == state, (op, shape)
        disk.load(begin)
        disk.cut = 1
        raises(PowerCut, None, story)
        assert disk.state() == begin


def test_a_file_that_was_open_does_not_outlive_the_power():
    for model in (LittleFs, Fat):
        disk = model()
        f = disk.open("/a", "wb")
        f.write(b"x" * 600)
        disk.power_on()
        for call, *args in ((f.write, b"y"), (f.close,), (f.flush,), (f.seek, 0)):
            raises(PowerCut, None, call, *args)
        assert disk.state()[0] == (("/a", b""),)


def test_text_and_places_as_peers_of_the_updater_use_them():
    for model in (LittleFs, Fat):
        disk = model()
        with disk.open("notes", "w") as f:
            f.write("one\ntwo\n")
        with disk.open("notes") as f:
            assert list(f) == ["one\n", "two\n"] and f.tell() == 8 and f.seek(-4, 2) == 4 and f.read(3) == "two"
            raises(OSError, None, f.write, "x")
        disk.os.mkdir("lib")
        disk.os.chdir("lib")
        put(disk, "a", b"")
        assert disk.os.listdir() == ["a"] and disk.os.getcwd() == "/lib" and disk.os.listdir("/") == ["notes", "lib"]
        raises(OSError, None, disk.os.chdir, "/nowhere")
