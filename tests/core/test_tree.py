"""A tree of files as a Flash, and the two trees: what is written, read back, refused, freed and taken along."""

import os

from mpota.store import listing, tree
from mpota.store import trees as trees_module
from mpota.store.listing import entry, judge
from mpota.store.tree import Tree
from mpota.store.trees import Trees
from mpota.store.writer import digest, put
from mpota_boot.errors import FlashError, OtaError, Refused
from tests.expect import raises
from tests.scratch import Scratch
from tests.trees import APP, Part, archive, files_of, write

BUF = 4096


def fill(target, data, off=0, piece=BUF):
    """Write as the installer does: in pieces of at most `piece` bytes."""
    while off < len(data):
        n = min(piece - off % piece, len(data) - off)
        put(target, off, bytearray(data[off : off + n]), n)
        off += n


def filled(root, data):
    """A tree with all the files of `data`."""
    t = Tree(root + "/1")
    t.begin(data)
    fill(t, data)
    t.check()
    return t


def test_what_is_written_is_read_back_and_lies_in_files():
    data = archive(APP)
    for piece in (4096, 1000, 97, 15):
        with Scratch() as root:
            t = Trees(0, (), root + "/ota").target(Part(data))
            t.begin(data[:piece])
            fill(t, data, 0, piece)
            t.check()
            seen = files_of(root + "/ota/1")
            assert seen.pop(".mpota") == data[: len(data) - sum(len(v) for v in APP.values())]
            assert seen == APP
            whole = bytearray(len(data))
            t.read(0, whole)
            assert whole == data
            for off in range(0, len(data) - 7, 61):
                some = bytearray(7)
                t.read(off, some)
                assert some == data[off : off + 7], off


def test_writing_goes_on_at_any_offset_with_nothing_remembered():
    data = archive(APP)
    for stop in range(14, len(data), 83):
        with Scratch() as root:
            t = Tree(root + "/1")
            t.begin(data[:stop])
            fill(t, data[:stop])
            again = Tree(root + "/1")
            fill(again, data, stop)
            again.check()
            assert digest(Tree(root + "/1"), len(data), bytearray(512), lambda: None) == Part(data).sha


def test_a_byte_behind_the_last_file_is_an_error():
    data = archive(APP)
    with Scratch() as root:
        t = Tree(root + "/1")
        t.begin(data[:500])
        raises(FlashError, "tree", fill, t, data + b"x")
        raises(FlashError, "tree", Tree(root + "/1").read, len(data), bytearray(1))


def test_paths_that_leave_the_tree_or_hide_the_board_are_refused():
    long = "x" * 65
    outside = ["", "/", "/etc", "..", "../a", "../", "a/../b", "a//b", "a//", "./a", "a/.", "a/./"]
    unknown = ["a\\b", "c:x", "a\nb", "a*", "a.", "a ", long]
    hiding = [
        "mpota/",
        "main.x/",
        "mpota.py",
        "Mpota.mpy",
        "mpota_boot/x.py",
        "wiring.py",
        "boot.py",
        "main.py",
        "main.mpy",
        "mpota.json",
        "keys/",
        "keys/release.pub",
        "lib/mpota.py",
        "lib/mpota/x.py",
        "lib/Mpota_boot/shim.mpy",
        "lib/wiring.py",
        ".mpota",
    ]
    for path in outside + unknown + hiding:
        raises(Refused, "path", judge, path, "")
    for path in (
        "app.py",
        "data/",
        "a/b/",
        "lib/main.py",
        "lib/keys/x.py",
        "keys.py",
        "mpota/x.py",
        "mpota/link/http.mpy",
        "a.b.c",
        "mpotas.py",
        "x" * 64,
        "lib/other/x.py",
        "\u00e9.txt",
    ):
        judge(path, "")


def test_a_list_out_of_order_or_with_one_name_twice_is_refused():
    for names in (("b", "a"), ("a", "a"), ("A", "a"), ("lib/A.py", "lib/a.py")):
        with Scratch() as root:
            data = archive(None, [entry(name, 1) for name in names], b"12")
            t = Tree(root + "/1")
            t.begin(data)
            raises(Refused, "path", fill, t, data)


def test_a_protected_path_is_refused_and_stays():
    for own in ("config.json", "CONFIG.json", "lib", "lib/"):
        with Scratch() as root:
            data = archive({"app.py": b"x", "config.json": b"new", "lib/a.py": b"y"})
            t = Tree(root + "/1", (own,))
            t.begin(data)
            raises(Refused, "protected", fill, t, data)


def test_an_empty_file_in_place_of_the_boards_own_is_refused():
    with Scratch() as root:
        data = archive({"app.py": b"x", "config.json": b""})
        t = Tree(root + "/1", ("config.json",))
        t.begin(data)
        raises(Refused, "protected", fill, t, data)


def test_a_file_where_the_boards_own_has_its_folder_is_refused():
    with Scratch() as root:
        data = archive({"app.py": b"x", "cert": b"no folder"})
        t = Tree(root + "/1", ("Cert/key.pem",))
        t.begin(data)
        raises(Refused, "protected", fill, t, data)


def test_a_size_that_no_slice_of_32_bits_takes_is_only_room():
    with Scratch() as root:
        data = archive(None, [listing.entry("app.py", 0xFFFFFFFF)], b"x")
        write(root + "/.mpota", data[:-1])
        t = Tree(root)
        path, at, n = t.find(len(data) - 1)
        assert (path, at, n) == (root + "/app.py", 0, 1 << 30)


def test_a_list_that_rotted_since_it_came_is_the_flashs_fault_and_not_the_packages():
    with Scratch() as root:
        data = archive(APP)
        end = len(data) - sum([len(v) for v in APP.values()])
        t = Tree(root + "/1")
        t.begin(data)
        fill(t, data[:end])
        write(root + "/1/.mpota", data[:20] + b"/" + data[21:end])
        again = Tree(root + "/1")
        raises(FlashError, "tree", fill, again, data, end)
        again.begin(data)
        fill(again, data)
        again.check()


def test_a_list_that_lies_about_itself_is_refused():
    data = bytearray(archive(APP))
    for head in (b"", b"MPFL", b"MPFX" + bytes(10), bytes(14)):
        raises(Refused, "files", Tree("/nowhere").begin, head)
    for at in (4, 6):
        for step in (1, -1):
            with Scratch() as root:
                bad = bytearray(data)
                bad[at] += step
                t = Tree(root + "/1")
                t.begin(bad)
                raises(OtaError, None, lambda t=t, bad=bad: (fill(t, bad), t.check()))


def test_names_that_are_no_text_are_refused():
    with Scratch() as root:
        data = archive(None, [listing.pack(listing.ENTRY, 1, 0, 2) + b"\xff\xfe"], b"x")
        t = Tree(root + "/1")
        t.begin(data)
        raises(Refused, "path", fill, t, data)


def test_more_than_there_is_room_for_is_refused_before_the_first_write():
    with Scratch() as root:
        real = tree.room_of
        tree.room_of = lambda path: (4096, 20000)
        try:
            for size, fits in ((3000, True), (19975, True), (19976, False), (20000, False)):
                head = listing.pack(listing.HEAD, listing.MAGIC, 1, 25, size)
                if fits:
                    Tree(root + "/1").begin(head)
                else:
                    raises(Refused, "size", Tree(root + "/1").begin, head)
        finally:
            tree.room_of = real
        assert files_of(root) == {}


def blocks(root, files, ignores_case=False):
    """The room in blocks of 4 KiB that the list of these files asks for, by the largest that is refused."""
    data = archive(files)
    end = listing.HEAD_SIZE + sum([6 + len(name) for name in files])
    real, case = tree.room_of, tree.exists
    tree.exists = lambda path: ignores_case
    room = [1 << 30]

    def asked(n):
        room[0] = n * 4096
        t = Tree(root + "/1")
        room[0] = 1 << 30
        t.begin(data)
        room[0] = n * 4096
        try:
            t.prog(0, data[:end])
        except Refused as e:
            assert e.code == "size"
            assert files_of(root) == {}
            return False
        t.free()
        return True

    try:
        tree.room_of = lambda path: (4096, room[0])
        return next(n for n in range(999) if asked(n))
    finally:
        tree.room_of, tree.exists = real, case


def test_room_is_counted_as_the_file_system_counts_it():
    with Scratch() as root:
        # littlefs keeps a small file in its folder; FAT gives it a block.
        assert blocks(root, {"a": b"x" * 128}) == 0
        assert blocks(root, {"a": b"x" * 129}) == 1
        assert blocks(root, {"a": b"x"}, True) == 1
        assert blocks(root, {"a": b"", "b/": b""}, True) == 1
        assert blocks(root, {"a": bytes(4087)}) == 1
        assert blocks(root, {"a": bytes(4088)}) == 2
        assert blocks(root, {"a": bytes(40960)}) == 11
        # A folder is a pair of blocks, however many files it has.
        assert blocks(root, {"f/g/a": bytes(200), "f/g/b": bytes(200), "f/h": bytes(200), "f.x": bytes(200)}) == 4 + 4
        # More entries than half a block holds take another pair.
        small = {"data/%03d" % i: bytes(100) for i in range(40)}
        assert blocks(root, small) == 2 + 4
        assert blocks(root, small, True) == 40 + 1


def test_a_file_system_that_is_full_gets_its_room_back():
    with Scratch() as root:
        data = archive({"a": bytes(100), "b": bytes(9000)})
        t = Tree(root + "/1")
        t.begin(data)
        real = open

        class Full:
            def __init__(self, *args):
                self.f = real(*args)

            def __enter__(self):
                return self

            def __exit__(self, *args):
                self.f.close()

            def seek(self, at):
                self.f.seek(at)

            def write(self, data):
                raise OSError(28)

        tree.open = lambda path, mode="r": Full(path, mode) if path[-2:] == "/b" and mode != "rb" else real(path, mode)
        try:
            raises(FlashError, "tree", fill, t, data)
        finally:
            del tree.open
        assert files_of(root) == {}


def test_empty_folders_come_and_go_with_their_tree():
    with Scratch() as root:
        data = archive({"app.py": b"x", "data/": b"", "a/b/c/": b"", "a/d.txt": b"y"})
        t = filled(root, data)
        for name in ("data", "a/b/c"):
            assert os.stat(root + "/1/" + name)[0] & 0x4000, name
        assert set(files_of(root + "/1")) == {".mpota", "app.py", "a/d.txt"}
        t.check()
        os.rmdir(root + "/1/data")
        write(root + "/1/data", b"")
        raises(FlashError, "tree", t.check)
        t.free()
        assert os.listdir(root + "/1") == ["data"]


def test_a_folder_of_a_list_that_has_bytes_is_refused():
    with Scratch() as root:
        for size, apart in ((1, False), (0, True)):
            data = archive(None, [entry("app.py", 1), entry("data/", size, apart)], b"xy")
            t = Tree(root + "/1")
            t.begin(data)
            raises(Refused, "files", fill, t, data)


def test_room_for_the_boards_own_is_asked_for_before_the_first_write():
    with Scratch() as root:
        write(root + "/config.json", bytes(5000))
        os.mkdir(root + "/cert")
        write(root + "/cert/ca.pem", bytes(3000))
        head = listing.pack(listing.HEAD, listing.MAGIC, 1, 25, 1000)
        trees = Trees(0, ("config.json", "cert", "none"), root + "/ota")
        # The file and the list; then the blocks of each copy.
        need = 1000 + 25 + 2 * 4096 + 4096
        real = tree.room_of
        try:
            for copied, room in ((False, need), (False, need - 1), (True, need - 8192), (True, need - 8193)):
                if copied:
                    tree.folders(root + "/ota/1/config.json")
                    write(root + "/ota/1/config.json", bytes(4097))
                tree.room_of = trees_module.room_of = lambda path, room=room: (4096, room)
                if room in (need, need - 8192):
                    trees.admit(Part(head), head)
                else:
                    raises(Refused, "size", trees.admit, Part(head), head)
        finally:
            tree.room_of = trees_module.room_of = real


def test_freeing_removes_what_the_list_names_and_nothing_else():
    with Scratch() as root:
        data = archive(APP)
        t = filled(root, data)
        write(root + "/1/own.txt", b"mine")
        write(root + "/1/lib/own.txt", b"mine too")
        t.free()
        assert files_of(root + "/1") == {"own.txt": b"mine", "lib/own.txt": b"mine too"}
        t.free()


def test_a_tree_that_is_half_freed_is_freed_to_the_end():
    with Scratch() as root:
        data = archive(APP)
        t = filled(root, data)
        assert t.there() == len(data)
        real = tree.os.remove
        calls = []

        def dies(path):
            calls.append(path)
            if len(calls) == 3:
                raise KeyboardInterrupt
            real(path)

        class Os:
            remove = staticmethod(dies)
            rmdir, mkdir, stat, statvfs = tree.os.rmdir, tree.os.mkdir, tree.os.stat, tree.os.statvfs

        tree.os, kept = Os, tree.os
        try:
            raises(KeyboardInterrupt, None, t.free)
        finally:
            tree.os = kept
        again = Tree(root + "/1")
        assert again.there() == len(data), "the list is whole until the last file is gone"
        again.free()
        assert files_of(root + "/1") == {}


def test_a_list_that_cannot_be_read_does_not_stand_in_the_way():
    with Scratch() as root:
        os.mkdir(root + "/1")
        write(root + "/1/.mpota", listing.pack(listing.HEAD, listing.MAGIC, 3, 99, 5) + b"\xff" * 40)
        t = Tree(root + "/1")
        assert t.there() == 0
        data = archive(APP)
        t.begin(data)
        fill(t, data)
        t.check()


def test_a_file_that_is_missing_or_cut_short_is_found():
    with Scratch() as root:
        data = archive(APP)
        t = Tree(root + "/1")
        t.begin(data)
        fill(t, data)
        write(root + "/1/lib/big.bin", APP["lib/big.bin"][:-1])
        raises(FlashError, "tree", t.check)
        os.remove(root + "/1/lib/big.bin")
        raises(OSError, None, t.check)
        raises(FlashError, "tree", digest, Tree(root + "/1"), len(data), bytearray(512), lambda: None)


def test_resources_come_apart_and_only_if_the_list_has_them():
    with Scratch() as root:
        font = bytes(range(256)) * 40
        data = archive(None, [entry("app.py", 4), entry("font", len(font), True)], b"code")
        trees = Trees(1, (), root + "/ota")
        files, part = Part(data), Part(font, 3, "font")
        trees.admit(files, data)
        fill(trees.target(files), data)
        raises(Refused, "files", trees.admit, Part(font, 3, "other"), font)
        raises(Refused, "files", trees.admit, Part(font[1:], 3, "font"), font)
        trees.admit(part, font[:100])
        fill(trees.target(part), font)
        trees.check(part)
        trees.check(files)
        assert files_of(root + "/ota/2")["font"] == font
        assert digest(trees.target(part), len(font), bytearray(4096), lambda: None) == part.sha


def test_the_base_of_a_delta_is_the_tree_that_runs():
    with Scratch() as root:
        data = archive(None, [entry("app.py", 4), entry("font", 3, True)], b"code")
        first = Trees(0, (), root + "/ota")
        first.admit(Part(data), data)
        fill(first.target(Part(data)), data)
        fill(first.target(Part(b"abc", 3, "font")), b"abc")
        assert first.running(Part(data)).size == 0
        now = Trees(1, (), root + "/ota")
        base = now.running(Part(data))
        whole = bytearray(base.size)
        base.read(0, whole)
        assert whole == data
        assert now.running(Part(b"abc", 3, "font")).size == 3 and now.running(Part(b"abc", 3, "no")).size == 0
        now.free()
        assert now.old.there() == len(data), "the tree that runs is not freed"


def test_the_boards_own_files_are_taken_along():
    with Scratch() as root:
        data = archive({"app.py": b"new"})
        write(root + "/ota-1-is-not-made-yet", b"")
        first = Trees(0, (), root + "/ota")
        first.admit(Part(data), data)
        fill(first.target(Part(data)), data)
        os.mkdir(root + "/ota/1/cert")
        write(root + "/ota/1/config.json", b"own")
        write(root + "/ota/1/cert/ca.pem", b"ca")
        now = Trees(1, ("config.json", "cert", "missing"), root + "/ota")
        now.admit(Part(data), data)
        fill(now.target(Part(data)), data)
        now.check(Part(data))
        seen = files_of(root + "/ota/2")
        assert (seen["config.json"], seen["cert/ca.pem"], seen["app.py"]) == (b"own", b"ca", b"new")


def test_the_boards_own_files_are_taken_along_from_where_its_owner_put_them():
    with Scratch() as root:
        data = archive({"app.py": b"new"})
        write(root + "/config.json", b"own")
        first = Trees(0, ("config.json",), root + "/ota")
        first.admit(Part(data), data)
        fill(first.target(Part(data)), data)
        first.check(Part(data))
        assert files_of(root + "/ota/1")["config.json"] == b"own"


def test_the_room_counts_what_a_resource_of_an_older_update_takes():
    with Scratch() as root:
        rows = entry("app.py", 4) + entry("font", 9000, True)
        head = listing.pack(listing.HEAD, listing.MAGIC, 2, listing.HEAD_SIZE + len(rows), 4 + 9000)
        data = head + rows + b"code"
        trees = Trees(1, (), root + "/ota")
        trees.admit(Part(data), data)
        fill(trees.target(Part(data)), data)
        free = tree.room_of(root)[1]
        real, tree_room = trees_module.room_of, lambda path: (4096, free)
        trees_module.room_of = tree_room
        try:
            assert trees.target(Part(data)).size == free + len(data) + 9000
        finally:
            trees_module.room_of = real


def test_the_room_counts_what_an_older_update_left_there():
    with Scratch() as root:
        data = archive(APP)
        t = Trees(0, (), root + "/ota")
        before = tree.room_of(root)[1]
        t.admit(Part(data), data)
        fill(t.target(Part(data)), data)
        assert abs(t.target(Part(data)).size - before) < 1 << 20


def test_folders_above_one_that_a_cut_has_removed_go_too():
    with Scratch() as root:
        data = archive({"a/b/c/x.py": b"1", "d.py": b"2"})
        t = Tree(root + "/1")
        t.begin(data)
        fill(t, data)
        os.remove(root + "/1/a/b/c/x.py")
        os.rmdir(root + "/1/a/b/c")
        Tree(root + "/1").free()
        assert os.listdir(root + "/1") == []
