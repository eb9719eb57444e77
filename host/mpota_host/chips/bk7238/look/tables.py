"""Which partition table a package is held against: the vendor's, a board's by its name, that in a loader's image."""

from __future__ import annotations

from pathlib import Path

from mpota.layout.bk7238.store import coded, scramble, table
from mpota_boot.errors import Refused
from mpota_host.package.rom import Rom

Rows = dict[bytes, table.Entry]
LOADER = 0x11000
# LibreTiny's download ends where its key-values begin; the rest is the vendor's table.
LIBRETINY = 0xA6000
# Boards of ltchiptool by the chip on them. RBL packages are for the first row; the second has Tuya's loader.
BOARDS = ("generic-bk7238", "xh-wb3s")
TUYA = ("generic-bk7238-tuya", "t1-2s", "t1-3s", "t1-m", "t1-u")
OTHERS = {
    "BK7231N": "cb1s cb2l cb2s cb3l cb3s cb3se cblc5 cbu generic-bk7231n-qfn32-tuya generic-bk7231n-qfn32 lsc-lma35"
    " wb2l-m1",
    "BK7231T": "generic-bk7231t-qfn32-tuya lsc-lma35-t wb1s wb2l wb2s wb3l wb3s wblc5",
    "BK7231Q": "wa2",
    "BK7251": "generic-bk7252",
}
# Coefficients that most of Tuya's modules have in their eFuses.
COEFFICIENTS = (0x510FB093, 0xA3CBEADC, 0x5993A17E, 0xC7ADEB03)


def of(name: str) -> Rows:
    """The table that a person means by a loader's file or a board's name; Refused where there is none."""
    path = Path(name)
    if path.is_file():
        return _of_file(path)
    board = name.lower()
    if board in BOARDS:
        rows: Rows = table.entries(0x200000)
        old = rows[b"download"]
        rows[b"download"] = table.Entry(old.name, old.flash, old.offset, LIBRETINY)
        return rows
    if board in TUYA:
        raise Refused("table", f"{name} has Tuya's loader, which takes diff2ya files and no RBL: flash the vendor's")
    for chip, boards in OTHERS.items():
        if board in boards.split():
            raise Refused("table", f"{name} has a {chip}, this is for a BK7238")
    raise Refused("table", f"{name} is neither a loader's file nor a board: {', '.join(BOARDS + TUYA)}")


def _of_file(path: Path) -> Rows:
    rows = rows_in(path.read_bytes()[:LOADER])
    missing = [row.decode() for row in (b"app", b"download") if row not in rows]
    if missing:
        words = f"{path} has no partition table with {' and '.join(missing)}"
        raise Refused("table", f"{words}: wanted a BK72xx loader, as a file or at the front of a dump")
    return rows


def rows_in(data: bytes) -> Rows:
    """The table in a loader's image, with or without CRCs between its bytes, scrambled as Tuya's are or not."""
    found: Rows = table.find(Rom(data, 0, len(data)), bytearray(1024)) if b"01PE" in data else {}
    if not found and (b"01PE" in data or _has_code(data)):
        plain = decoded(data)
        found = table.find(plain, bytearray(1024)) or table.find(_unscrambled(plain), bytearray(1024))
    return found


def _has_code(data: bytes) -> bool:
    """Does it begin with code as it lies in flash?"""
    return len(data) >= 34 and not coded.gather(coded.TABLE, data[:34], bytearray(32), 1)


def decoded(data: bytes) -> Rom:
    """Code without its CRCs."""
    plain = b"".join([data[i : i + 32] for i in range(0, len(data), 34)])
    return Rom(plain, 0, len(plain))


def _unscrambled(rom: Rom) -> Rom:
    plain = bytearray(rom.size // 4 * 4)
    rom.read(0, plain)
    scramble.scramble(plain, 0, COEFFICIENTS)
    return Rom(bytes(plain), 0, len(plain))
