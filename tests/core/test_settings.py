"""The settings of a board: what is read, and that a file which cannot be read is an error with a name."""

import mpota_host
from mpota_boot import board as module
from mpota_boot.board import Board
from tests.scratch import Scratch

assert mpota_host


class Read(Board):
    """A Board without a journal and a chip."""

    def __init__(self):
        self._settings = None


def read(data, folder=False):
    """(settings, unread) of a board whose /mpota.json has these bytes; None: there is no such file."""
    real = module.SETTINGS
    with Scratch() as root:
        module.SETTINGS = root if folder else root + "/mpota.json"
        try:
            if data is not None:
                with open(module.SETTINGS, "wb") as f:
                    f.write(data)
            one = Read()
            return one.settings, one.unread
        finally:
            module.SETTINGS = real


def test_settings_are_a_json_object_with_or_without_a_byte_order_mark():
    for head in (b"", b"\xef\xbb\xbf"):
        for end in (b"", b"\n", b"\r\n"):
            assert read(head + b'{"product": "l\xc3\xa4mp",\r\n "poll_ms": 5}' + end) == (
                {"product": "l\u00e4mp", "poll_ms": 5},
                None,
            )


def test_no_file_is_no_settings_and_no_error():
    assert read(None) == ({}, None)
    assert read(b"{}") == ({}, None)


def test_what_cannot_be_read_is_told():
    for data in (
        b"",
        b"{",
        b'{"product": lamp}',
        b"\xef\xbb{}",
        b"[]",
        b"[1]",
        b"null",
        b"5",
        b'"text"',
    ):
        settings, unread = read(data)
        assert settings == {} and unread, (data, unread)
    settings, unread = read(None, folder=True)
    assert settings == {} and unread
