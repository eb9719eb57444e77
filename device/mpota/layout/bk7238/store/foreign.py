"""Data of other owners in flash, known by how its sector begins. mpota erases no such sector, wherever it lies.

Beken's SDK keeps calibration and network as TLV: "TLV\\0" | length u32 | items, each type u32 | length u32 | data.
The calibration's first item is one of 0x11111100, 0x22222200, 0x33333300, 0x44444400 (bk7011_cal_pub.h); the types of
the network's repeat one byte, 0x11111111 and so on (cfg_info_pub.h). LibreTiny keeps keys and values in FlashDB,
whose sectors have "FDB0" at 4, 8 or 24 (fdb_kvdb.c, by the write granularity).
"""

from binascii import crc32
from struct import unpack

from mpota.store.log import TLV

# SOME: TLV whose first item is none of these.
RF, NETWORK, SOME, KEYS, PACKAGE = "RF", "network", "TLV", "keys", "package"
WORDS = {
    RF: "TLV, the RF calibration",
    SOME: "TLV, the RF calibration",
    NETWORK: "TLV, the network's settings",
    KEYS: "FDB0, key-values of FlashDB (LibreTiny's kvs)",
}
# Where ltchiptool's maps have the calibration of Tuya's BK7231N and T1 modules.
TUYA = (0x1D0000, 0x1E3000)
# The largest that `kind` looks at: an RBL header.
HEAD = 96
_CALIBRATION = (0x11111100, 0x22222200, 0x33333300, 0x44444400)


def kind(head):
    """RF, NETWORK, SOME, KEYS or PACKAGE (an RBL) of a sector that begins with these 96 bytes, "" for any other."""
    if head[:4] == TLV:
        first = unpack("<I", head[8:12])[0]
        low = first & 0xFF
        if first in _CALIBRATION:
            return RF
        # OpenBeken adds types such as 0x2CCCCCCC.
        return NETWORK if 0 < low < 0xFF and first & 0xFFFFFF == low * 0x10101 else SOME
    if head[:4] == b"RBL\0" and crc32(head[:92]) == unpack("<I", head[92:HEAD])[0]:
        return PACKAGE
    return KEYS if b"FDB0" in (head[4:8], head[8:12], head[24:28]) else ""


def words(seen, off):
    """What the sector at `off` holds, for a sentence."""
    return WORDS[seen] + (" of a Tuya module" if seen in (RF, SOME) and off in TUYA else "")


def find(flash, start, end, rows=()):
    """Yield (offset, kind) of each sector from `start` up to `end`; code, by the table.Entry of `rows`, is left out."""
    code = [row.ends for row in rows if row.code]
    head = bytearray(HEAD)
    for off in range(start, end, flash.erase_size):
        if True in [low <= off < high for low, high in code]:
            continue
        flash.read(off, head)
        seen = kind(bytes(head))
        if seen:
            yield off, seen
