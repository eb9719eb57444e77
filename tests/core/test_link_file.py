"""The file link opens where it is told to, and offers nothing when there is no file."""

import os

from mpota.link.file import File
from mpota.stream import pull

PATH = "build_test_link_file.bin"


def with_file(check):
    """Run `check` while PATH holds 300 known bytes."""
    with open(PATH, "wb") as f:
        f.write(bytes(range(256)) + b"x" * 44)
    try:
        check(File(PATH))
    finally:
        os.remove(PATH)


def read_all(src):
    buf = bytearray(1000)
    n = pull(src, buf)
    src.close()
    return bytes(buf[:n])


def test_missing_file_offers_nothing():
    assert File("no/such/file.mpot").open() is None


def test_file_is_read_from_the_start():
    with_file(lambda link: _same(read_all(link.open()), bytes(range(256)) + b"x" * 44))


def test_file_is_read_from_the_offset():
    with_file(lambda link: _same(read_all(link.open(200)), bytes(range(200, 256)) + b"x" * 44))


def test_report_and_close_leave_the_link_usable():
    def check(link):
        link.report("done", "1.2.3")
        link.close()
        _same(read_all(link.open(299)), b"x")

    with_file(check)


def _same(got, want):
    assert got == want, (got, want)
