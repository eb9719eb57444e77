"""The journal in two files: whole or as it was, whatever a cut leaves of the one that is written."""

import os
from io import BytesIO

from mpota.store import pair
from mpota.store.pair import SIZE, FileJournal, decode, encode
from mpota_boot.errors import FlashError
from tests.expect import raises
from tests.scratch import Scratch


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_a_put_is_what_last_gives_and_the_next_run_finds_it():
    with Scratch() as root:
        j = FileJournal(root + "/new/folder/j")
        assert j.last("armed") is None
        for n in range(5):
            j.put("armed", b"%d" % n)
            j.put("reason", b"r" * 300)
            for again in (j, FileJournal(root + "/new/folder/j")):
                assert again.last("armed") == b"%d" % n and len(again.last("reason")) == 128
        j.put("armed", b"")
        j.put("armed", b"")
        assert FileJournal(root + "/new/folder/j").last("armed") is None


def test_a_torn_file_leaves_the_record_before():
    with Scratch() as root:
        path = root + "/j"
        j = FileJournal(path)
        j.put("armed", b"old")
        j.put("armed", b"new")
        newest = path + "ab"[j.number & 1]
        whole = read(newest)
        used = len(whole.rstrip(b"\0"))
        for n in range(SIZE):
            for torn in (whole[:n], whole[:n] + bytes(SIZE - n), whole[:n] + b"\xff" * (SIZE - n)):
                write(newest, torn)
                seen = FileJournal(path).last("armed")
                assert seen == (b"new" if torn[:used] == whole[:used] and len(torn) == SIZE else b"old"), (n, seen)


def test_every_flipped_bit_of_a_file_is_seen():
    data = encode(7, {"armed": b"abc", "floor": bytes(8)})
    assert decode(data) == (7, {"armed": b"abc", "floor": bytes(8)})
    used = len(data.rstrip(b"\0")) + 8
    for at in range(used * 8):
        bad = bytearray(data)
        bad[at >> 3] ^= 1 << (at & 7)
        found = decode(bytes(bad))
        # What only fills the sector up says nothing.
        assert found is None or at >> 3 >= 14 + 10 + 15, (at, found)


def test_blank_and_empty_files_are_none():
    for data in (b"", bytes(SIZE), b"\xff" * SIZE, b"x" * SIZE):
        assert decode(data) is None


def test_a_put_after_a_torn_one_goes_to_the_torn_file():
    with Scratch() as root:
        path = root + "/j"
        j = FileJournal(path)
        j.put("armed", b"old")
        j.put("armed", b"new")
        write(path + "ab"[j.number & 1], b"torn")
        j = FileJournal(path)
        j.put("floor", b"12345678")
        j = FileJournal(path)
        assert (j.last("armed"), j.last("floor")) == (b"old", b"12345678")


def test_a_file_keeps_its_place_and_its_length():
    with Scratch() as root:
        j = FileJournal(root + "/j")
        for n in range(6):
            j.put("armed", b"x" * (n * 20))
        assert [os.stat(root + "/j" + name)[6] for name in "ab"] == [SIZE, SIZE]


def test_too_much_is_refused_and_changes_nothing():
    with Scratch() as root:
        j = FileJournal(root + "/j")
        for tag in "abc":
            j.put(tag, bytes(128))
        raises(FlashError, "journal", j.put, "d", bytes(128))
        assert j.last("d") is None and FileJournal(root + "/j").last("c") == bytes(128)


def test_a_folder_that_cannot_be_written_is_told():
    with Scratch() as root:
        write(root + "/file", b"")
        raises(FlashError, "journal", FileJournal(root + "/file/j").put, "a", b"1")


def test_what_was_not_kept_is_told():
    with Scratch() as root:
        j = FileJournal(root + "/j")
        j._write = lambda name, image: None
        raises(FlashError, "journal", j.put, "a", b"1")
        assert j.last("a") is None


class Once:
    """The module's open(): the first read of each of these files fails, or brings other bytes."""

    def __init__(self, paths, data):
        self.paths, self.data = list(paths), data

    def __call__(self, path, mode="r"):
        if path in self.paths and "r" in mode:
            self.paths.remove(path)
            if self.data is None:
                raise OSError(5)
            return BytesIO(self.data)
        return open(path, mode)

    def __enter__(self):
        pair.open = self

    def __exit__(self, *args):
        del pair.open


def test_one_wrong_read_of_either_file_or_of_both_is_not_believed():
    for names in ("a", "b", "ab"):
        for data in (None, b"", b"\xee" * SIZE):
            with Scratch() as root:
                j = FileJournal(root + "/j")
                for n in range(3):
                    j.put("floor", b"%d" % n)
                once = Once([root + "/j" + name for name in names], data)
                with once:
                    again = FileJournal(root + "/j")
                assert not once.paths and again.records == j.records and again.number == j.number


class Nth(Once):
    """The n-th read of any file goes wrong."""

    def __init__(self, n, data):
        self.n, self.data = n, data

    def __call__(self, path, mode="r"):
        self.n -= mode == "rb"
        self.paths = [path] if mode == "rb" and self.n == 0 else []
        return Once.__call__(self, path, mode)


def test_one_wrong_read_of_a_put_is_read_again_whichever_it_is():
    for data in (None, b"\xee" * SIZE):
        n, reads = 1, True
        while reads:
            with Scratch() as root:
                j = FileJournal(root + "/j")
                j.put("floor", b"1")
                j.put("floor", b"2")
                nth = Nth(n, data)
                with nth:
                    j.put("floor", b"3")
                assert j.last("floor") == FileJournal(root + "/j").last("floor") == b"3"
                reads = nth.n <= 0
            n += 1
        assert n > 4


def test_a_file_that_reads_well_again_is_not_written_over_with_older_records():
    for data in (None, b"\xee" * SIZE):
        with Scratch() as root:
            j = FileJournal(root + "/j")
            for n in range(3):
                j.put("floor", b"%d" % n)
            newest = root + "/j" + "ab"[j.number & 1]
            with Once([newest, newest], data):
                again = FileJournal(root + "/j")
            assert again.last("floor") == b"1", "two wrong reads are believed"
            again.put("boots", b"x")
            for found in (again, FileJournal(root + "/j")):
                assert found.last("floor") == b"2" and found.last("boots") == b"x"
