"""The second copy of what a lost NVS must not undo: what runs, a trial, the lowest version, what was given up.

It is a journal in two files. It is read while nothing of mpota is in the NVS, and the first put takes it over.
"""

import os

from mpota_boot.errors import FlashError

COPIED = ("running", "floor", "given", "armed", "failed")


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


def begin(board, nvs):
    """The first put of a run. `board`: the NVS has nothing yet, and may take the copy of that board; else None."""
    for tag in COPIED if board else ():
        data = last(board, tag)
        try:
            # Where a cut took a part of the NVS, the rest may be newer.
            nvs.get_blob(tag, bytearray(128))
        except OSError:
            if data:
                nvs.set_blob(tag, data)
    # A cut may have left cells half programmed behind the last entry, where ESP-IDF looks at one word only. A record
    # reaches three entries far: three numbers that nobody misses take those cells.
    for key in "abc":
        try:
            n = nvs.get_i32(key)
        except OSError:
            n = 0
        nvs.set_i32(key, n ^ 1)
