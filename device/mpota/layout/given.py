"""The last four releases that this board gave up, and when one that nobody could judge is tried again.

A release is its image and its version: a delta and the whole image are one. What crashed or was unhealthy stays given
up. A trial that ended without an answer of the network is no verdict, and is repeated after 1 h, 4 h, then each day.
A board may have no clock, so it counts: six minutes awake are one, and so is a wake or a reset.

The tag `given`: count u16, then for each release, the latest first: CRC-32 of its SHA-256 and version u32,
times armed u16 (its record's), the count when it was given up u16, trials in a row without a verdict u8, 0: judged
"""

from binascii import crc32
from struct import pack, unpack

from micropython import const

from mpota_boot.journal import Record

ROW = "<IHHB"
ROW_SIZE = 9
MOST = const(4)
# By how many trials had no verdict.
WAITS = (10, 40, 240)


def _key(sha, version):
    return crc32(version, crc32(sha))


def _unjudged(journal, key):
    """Was the package `key` given up without a verdict?"""
    data = journal.last("reason") or b""
    return data[:8] == key and (data[8:15] == b"no-link" or data[8:18] == b"no verdict")


def known(journal):
    """(count, rows) of the journal, with the release in the record `failed`."""
    data = journal.last("given") or b"\0\0"
    count = unpack("<H", (data + b"\0")[:2])[0]
    rows = [unpack(ROW, data[at : at + ROW_SIZE]) for at in range(2, len(data) - ROW_SIZE + 1, ROW_SIZE)]
    record = Record.decode(journal.last("failed"))
    if record:
        key = _key(record.sha, record.version)
        others = [row for row in rows if row[0] != key]
        mine = [row for row in rows if row[0] == key]
        if not mine or mine[0][1] != record.count:
            times = 0
            if _unjudged(journal, record.id):
                times = min(mine[0][3] if mine else 0, 200) + 1
            rows = [(key, record.count, count, times)] + others[: MOST - 1]
    return count, rows


def encode(count, rows):
    """The value of the tag."""
    return pack("<H", count) + b"".join([pack(ROW, *row) for row in rows])


def _wait(row):
    return WAITS[min(row[3], len(WAITS)) - 1]


def _left(count, row):
    """Counts until a release may be tried again; None for never."""
    return max(_wait(row) - (count - row[2] & 0xFFFF), 0) if row[3] else None


def file(journal):
    """Write the release in `failed` to the tag `given`, before another update replaces that record."""
    data = encode(*known(journal))
    if len(data) > 2 and data != journal.last("given"):
        journal.put("given", data)


def awake(journal, n):
    """`n` times six minutes are over, or a wake: count it, if a release waits for its next trial."""
    count, rows = known(journal)
    if [row for row in rows if _left(count, row)]:
        journal.put("given", encode(count + n & 0xFFFF, rows))


def settled(journal, version):
    """The value of the tag once a version is confirmed, None where it stays: older releases wait for no trial."""
    record = Record.decode(journal.last("failed"))
    count, rows = known(journal)
    if not [row for row in rows if row[3]] or (record and record.version > version):
        return None
    return encode(count, [row[:3] + (0,) for row in rows])


def refusal(layout, sha, version):
    """The sentence that a release which was given up is refused with, or None where it may be tried."""
    count, rows = known(layout.journal)
    for row in rows:
        if row[0] == _key(sha, version):
            record, why = layout.failure() or (None, "")
            if not record or record.count != row[1]:
                why = "no verdict" if row[3] else "earlier"
            if not row[3]:
                return "given up here (%s): pack a newer one, or `rollback --forget`" % why
            if _left(count, row):
                words = "given up here (%s): tried again after %d h awake, or `rollback --forget`"
                return words % (why, _wait(row) // 10)
    return None
