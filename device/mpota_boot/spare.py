"""The second copy of what a lost NVS must not undo: what runs, a trial, floor and given-up releases, the keys' serial.

It is a journal in two files. It is read while nothing of mpota is in the NVS, and the first put takes it over.
"""

import os

from mpota_boot.errors import FlashError

COPIED = ("keys", "running", "floor", "firmware", "given", "armed", "failed")


def _copy(board):
    from mpota.store.pair import FileJournal

    return FileJournal(board.root + "/spare")


def _there(board):
    for name in "ab":
        try:
            os.stat(board.root + "/spare" + name)
            return True
        except OSError:
            pass
    return False


def last(board, tag):
    """The value of a tag in the copy, or None."""
    return _copy(board).last(tag) if tag in COPIED and _there(board) else None


def put(board, tag, data):
    """After the NVS has it. A file system that is full, or none, costs the copy."""
    if tag in COPIED:
        try:
            _copy(board).put(tag, data)
        except (FlashError, MemoryError):
            pass


def restore(board, nvs):
    """Put the copy into an NVS that has nothing yet."""
    for tag in COPIED:
        data = last(board, tag)
        try:
            # Where a cut took a part of the NVS, the rest may be newer.
            nvs.get_blob(tag, bytearray(128))
        except OSError:
            if data:
                nvs.set_blob(tag, data)
