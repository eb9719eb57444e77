"""The public maps of ltchiptool's Beken boards, and chips with what such a map's owners keep. Both interpreters."""

import json

from mpota.layout.bk7238.store import table
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.sim.flash import SimFlash

# Read when a test asks: a copy of the tests without vectors can still be imported.
FILE = __file__.replace("\\", "/").rsplit("/", 3)[0] + "/vectors/bk72xx_maps.json"
OURS = ("bootloader", "app", "download")
# Where the guide puts the journal on boards with the vendor's loader: in the map's `userdata`, behind `download`.
JOURNALS = {
    "beken-72xx": 0x1E3000,
    "beken-7231t-tuya": 0x1E3000,
    "beken-7231n-tuya": 0x1E3000,
    "beken-7238-tuya": 0x1EC000,
}


_read = {}


def recorded(what):
    """ltchiptool's "maps" or "boards", by name."""
    if not _read:
        with open(FILE) as f:
            _read.update(json.load(f))
    return _read[what]


def tlv(*types):
    """Data as Beken's SDK keeps it: items of 8 bytes."""
    items = b"".join([t.to_bytes(4, "little") + b"\x08\0\0\0" + bytes(range(8)) for t in types])
    return b"TLV\0" + len(items).to_bytes(4, "little") + items


RF, NETWORK = tlv(0x11111100, 0x22222200), tlv(0x11111111, 0x44444444)
FLASHDB = b"\x3f\x3f\xff\xffFDB0" + b"\xff" * 8
DATA = {
    "calibration": RF,
    "ble_bonding": b"\x01\x02bonds",
    "kvs": FLASHDB,
    "userdata": b"littlefs",
    "tuya": b"\x98\x76\x54\x32",
    "diff2ya": b"\xba\xdc\xcd\xab",
}


def size_of(name):
    return 0x400000 if recorded("maps")[name]["calibration"][0] >= 0x200000 else 0x200000


def chip(settings, name, journal=None, rows=None):
    """A chip with the vendor's loader and table, or with `rows` in both; its journal at `journal`."""
    size = size_of(name)
    rows = rows or table.entries(size)
    it = sim.Chip(settings, None, SimFlash(size, prog_size=1), rows, journal or table.RADIO[size] + 0x2000)
    it.flash.flash.trace = None
    it.kept = {"RF": table.RADIO[size], "network": table.RADIO[size] + 0x1000}
    it.write_loader()
    return it


def own(it, name, but=(), inside=()):
    """Put what the map's owners keep at the front of each of their sectors, `but` for the sectors that are left free.

    Sectors of `download` stay as they are, unless their owner is one of `inside`. {offset: bytes}
    """
    there = {}
    row = it.rows[b"download"]
    for what in sorted(recorded("maps")[name]):
        start, size = recorded("maps")[name][what]
        if what in OURS:
            continue
        for off in range(start, start + size, sim.SECTOR):
            mine = off < row.offset + row.size and what not in inside
            if off in but or off in there or mine:
                continue
            there[off] = DATA[what] + bytes((off >> 12 & 0xFF,)) * 24
            it.flash.prog(off, there[off])
    return there


def kept(it, there):
    for off in there:
        buf = bytearray(len(there[off]))
        it.flash.read(off, buf)
        assert buf == there[off], "0x%x holds %r" % (off, bytes(buf[:8]))


def erased(it):
    """Sectors that were erased since the trace began."""
    return [off // sim.SECTOR * sim.SECTOR for op, off, _ in it.flash.flash.trace if op == "erase"]
