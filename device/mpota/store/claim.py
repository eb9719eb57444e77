"""Whose is a sector that does not begin with the journal's magic? Only a blank or a proven one may be erased.

Proof is, beside the magic, what log.py wrote before it erased or while it began: see FORMAT.md. Most power-ons never
ask: the sector that they begin over was left whole.
"""

from binascii import crc32
from struct import unpack

from mpota.store.log import HEAD_SIZE, MAGIC, TLV, decode

_BLANK = b"\xff" * 8


def strange(log, i):
    """Why the sector `i` of a Log is never erased: it holds other data than the journal's; "" where it may be."""
    if _ours(log, i):
        return ""
    at = n = i * log.size
    seen = log._get(n, 8)
    while seen == _BLANK:
        n += 8
        seen = log._get(n, 8)
    flash = log.flash
    while hasattr(flash, "start"):
        at, n, flash = at + flash.start, n + flash.start, flash.flash
    words = " ".join(["%02x" % c for c in seen])
    if seen[:4] == TLV:
        words += ", TLV: the RF calibration of a Tuya module"
    text = "the journal's sector at 0x%x holds another's data (at 0x%x: %s) and is not erased: move JOURNAL"
    return text % (at, n, words)


def _ours(log, i):
    start = i * log.size
    head = log._get(start, HEAD_SIZE)
    # The magic itself may have rotted.
    if crc32(MAGIC + head[4:8]) == unpack("<I", head[8:])[0]:
        return True
    return log.unused(i) or _claimed(log, 1 - i) or _written(log, log._get(start, log.size))


def _written(log, data):
    """Is a record in a sector that was left, or begun, by this journal?"""
    for at in range(log._up(HEAD_SIZE), log.size, log.unit):
        for number in (log.number + 1, log.number and log.number - 1):
            if decode(data, at, number):
                return True
    return False


def _claimed(log, i):
    """Does the sector `i` say that the other one was looked at before its erase?"""
    if log.full if log.number and i == log.number % 2 else not log.unused(i):
        return False
    marks = log._marks(i)
    # Where every mark was torn, the look before the last erase could not be noted.
    spent = [mark for mark in marks if log.torn(mark) and mark != b"\xff" * len(mark)]
    return log.mark in marks or len(spent) == len(marks)
