"""The ESP32 partition table: rows of 32 bytes at 0x8000, sealed by an MD5 row.

    0 AA 50    2 type    3 subtype    4 offset u32    8 size u32    12 label[16]    28 flags u32
    0 EB EB    2 FF * 14                              16 MD5 of every row before it
    0 FF * 32                                         the end

The application needs the MD5 row and stops there; the bootloader takes a table without one, but reads on to the
end row and refuses what is neither. Nothing here writes flash.
"""

import struct
from collections import namedtuple
from hashlib import md5

from mpota_boot.errors import Refused

FMT = "<HBBII16sI"
SIZE = 32
OFFSET = 0x8000  # CONFIG_PARTITION_TABLE_OFFSET
AREA = 0xC00  # ESP_PARTITION_TABLE_MAX_LEN
MAGIC = 0x50AA
MAGIC_MD5 = 0xEBEB

APP, DATA = 0, 1
FACTORY, OTA_0, TEST = 0x00, 0x10, 0x20  # subtypes of APP
OTADATA, NVS = 0x00, 0x02  # subtypes of DATA

Row = namedtuple("Row", ("type", "subtype", "offset", "size", "label", "flags"))


def _row(buf, i, chip_size):
    """Row `i` from its 32 bytes; refuse one that leaves the flash chip."""
    _, kind, subtype, off, size, label, flags = struct.unpack(FMT, buf)
    if off > chip_size or size > chip_size - off:
        raise Refused("table", "partition row %d ends at 0x%x, the flash at 0x%x" % (i, off + size, chip_size))
    label = label.split(b"\0")[0]
    try:
        return Row(kind, subtype, off, size, label.decode(), flags)
    except UnicodeError:
        raise Refused("table", "partition row %d has a label that is not text: %r" % (i, label))


def decode(flash, off=OFFSET, as_bootloader=False):
    """The rows of the table at `off` of the whole flash; raises Refused("table") on one that its reader refuses."""
    buf = bytearray(SIZE)
    rows = []
    sealed = False
    proof = md5()
    for i in range(AREA // SIZE):
        flash.read(off + i * SIZE, buf)
        magic = buf[0] | buf[1] << 8
        if magic == MAGIC and not (sealed and not as_bootloader):
            rows.append(_row(buf, i, flash.size))
        elif magic == MAGIC_MD5 and not sealed:
            if proof.digest() != bytes(buf[16:]):
                raise Refused("table", "the MD5 of the partition table is not that of its %d rows" % i)
            sealed = True
            continue  # the digest is final: MicroPython takes no update after it
        elif magic == 0xFFFF and buf[2] == buf[3] == 0xFF and (rows or not as_bootloader):
            break
        elif as_bootloader:
            raise Refused("table", "partition row %d starts with %04x, wanted %04x" % (i, magic, MAGIC))
        else:
            break
        if not sealed:
            proof.update(buf)
    else:
        if as_bootloader:
            raise Refused("table", "no end in %d rows of the partition table" % (AREA // SIZE))
    if not rows or not (sealed or as_bootloader):
        raise Refused("table", "%d partition rows at 0x%x and no MD5 row, wanted both" % (len(rows), off))
    return rows


def encode(rows):
    """The 0xC00 bytes of a table with these rows, their MD5 and the end."""
    out = bytearray(b"\xff" * AREA)
    if len(rows) + 2 > AREA // SIZE:
        raise Refused("table", "%d partition rows, at most %d fit" % (len(rows), AREA // SIZE - 2))
    n = 0
    for row in rows:
        label = row[4].encode()
        if len(label) > 16:
            raise Refused("table", "the label %s has %d bytes, at most 16 fit" % (row[4], len(label)))
        struct.pack_into(FMT, out, n, MAGIC, row[0], row[1], row[2], row[3], label, row[5])
        n += SIZE
    out[n] = out[n + 1] = MAGIC_MD5 & 0xFF
    out[n + 16 : n + 32] = md5(memoryview(out)[:n]).digest()
    return bytes(out)


def find(rows, kind, subtype):
    """The first row of this type and subtype, or None."""
    for row in rows:
        if row.type == kind and row.subtype == subtype:
            return row
    return None


def slots(rows):
    """The OTA slots as the application counts them: ota_0, ota_1, ... up to the first gap."""
    found = []
    while len(found) < 16:
        row = find(rows, APP, OTA_0 + len(found))
        if row is None:
            break
        found.append(row)
    return found


def app_count(rows):
    """The OTA slots as the bootloader counts them: every row, so that a gap puts the last one out of reach."""
    return sum(1 for row in rows if row.type == APP and row.subtype & 0xF0 == OTA_0)


def name(row):
    """The name of an application's place by its subtype, since labels differ from board to board."""
    if row.subtype == FACTORY:
        return "factory"
    if row.subtype == TEST:
        return "test"
    return "ota_%d" % (row.subtype & 0xF)
