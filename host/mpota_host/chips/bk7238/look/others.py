"""Files that lie beside the RBL in a release, or that a build makes on the way to it: the name, and what to give.

A release of OpenBeken or LibreTiny has one firmware in many forms: for tools that flash by wire, for Tuya's updater,
for the linker. The loader takes one of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store import coded, table
from mpota_host.chips.bk7238.look import tables
from mpota_host.package import format as fmt

GIVE = "give the .rbl of the same release"
MAKE = "`mpota bk7238 pack -f` makes an RBL of it"
UF2, UG, DIFF2YA, MANAGED = b"UF2\nWQ\x5d\x9e", b"\x55\xaa\x55\xaa", b"MMM\0", b"\xba\xdc\xcd\xab"
# Families of UF2 files, as ltchiptool's families.json has them.
FAMILIES = {
    0xAFE81D49: "BK7231Q",
    0x675A40B0: "BK7231T",
    0x7B3EF230: "BK7231N",
    0x159AC324: "BK7238",
    0x6A82CC42: "BK7251",
}
# The first instructions of a Beken application: a branch, and the first of a row of loads from a table of addresses.
VECTORS = bytes.fromhex("0e0000ea14f09fe5")
# The same as Tuya's BK7231 modules have them in flash, scrambled.
SCRAMBLED = bytes.fromhex("2f07b59435ff2a9b")
# Where an application is linked to, and what the largest partition for it holds.
LINKED = 0x10000
LARGEST = table.entries(0x400000)[b"app"].size
# Where the application begins in flash, behind the loader and its CRCs.
APP_AT = 0x11000
PLAIN = "an application as it was linked"


@dataclass(frozen=True)
class Other:
    """`kind` is a stable word; `text` says what the file is, and what to give instead."""

    kind: str
    text: str


def of_release(data: bytes) -> Other | None:
    """A file of a Beken release that is no RBL."""
    for look in (_ug, _uf2, _diff2ya, _qio):
        found = look(data)
        if found:
            return found
    return _application(data) if data.startswith(VECTORS) else None


def guessed(data: bytes) -> Other | None:
    """An application by the loader's own test alone: the word at 32 is an address inside it."""
    if not rbl.LEAST_RAW <= len(data) <= LARGEST:
        return None
    word = int.from_bytes(data[32:36], "little")
    return _application(data) if LINKED <= word < LINKED + len(data) else None


def named(data: bytes) -> Other | None:
    """Any file that is given in place of an RBL or of an application, as far as it is known."""
    return of_release(data) or _of_a_build(data) or guessed(data)


def _ug(data: bytes) -> Other | None:
    if not data.startswith(UG) or data[28:32] != UG[::-1]:
        return None
    version = data[4:16].rstrip(b"\0").decode("latin-1")
    inside = "; the RBL inside begins at byte 32" if data[32:36] == rbl.MAGIC else ""
    return Other("UG", f"a UG file {version!r}, for Tuya's own updater (tuya-cloudcutter): {GIVE}{inside}")


def _uf2(data: bytes) -> Other | None:
    if not data.startswith(UF2) or len(data) < 32:
        return None
    family = struct.unpack("<I", data[28:32])[0]
    if family not in FAMILIES:
        return None
    give = GIVE if FAMILIES[family] == "BK7238" else "give the .rbl of a release for BK7238"
    return Other("UF2", f"a UF2 file for {FAMILIES[family]}, which ltchiptool and LibreTiny's updater take: {give}")


def _diff2ya(data: bytes) -> Other | None:
    if data.startswith(DIFF2YA):
        words = "a diff2ya file, which the loader 2.0.0-t1 of Tuya's T1 modules takes and the vendor's 1.0.14 does not"
        return Other("diff2ya", f"{words}: {GIVE}, for a board with the vendor's loader")
    if data.startswith(MANAGED) and len(data) <= 4096:
        return Other("diff2ya info", f"the diff2ya sector that tells Tuya's T1 loader of an update: {GIVE}")
    return None


def _qio(data: bytes) -> Other | None:
    """A loader, and behind it an application with CRCs. A file that is nothing but code has no beginning there."""
    if not has_application(data):
        return None
    if not data[APP_AT:].startswith((VECTORS, SCRAMBLED)) and _checked(data) and not tables.rows_in(data[:APP_AT]):
        return None
    return Other("QIO", f"a QIO file or a dump, loader and application as they lie in flash, for a wire: {GIVE}")


def has_application(data: bytes) -> bool:
    """Does code with its CRCs begin where the application does?"""
    return _checked(data[APP_AT : APP_AT + 34]) and _checked(data[APP_AT + 34 : APP_AT + 68])


def _checked(data: bytes) -> bool:
    """Does a block of code with its CRC-16 begin here?"""
    block = data[:34]
    return len(block) == 34 and block != b"\xff" * 34 and not coded.gather(coded.TABLE, block, bytearray(32), 1)


def _application(data: bytes) -> Other:
    return Other("application", f"{PLAIN}, {len(data):,} bytes, no RBL: {MAKE}")


def _of_a_build(data: bytes) -> Other | None:
    """What no loader takes and every build has."""
    if data.startswith(b"\x7fELF"):
        return Other(
            "ELF",
            "an ELF file: `objcopy -O binary` makes the application of it, `mpota bk7238 pack -f` the RBL of that",
        )
    if _is_hex(data):
        return Other("Intel HEX", "an Intel HEX file: `objcopy -I ihex -O binary` makes the application of it")
    if data[:2] in (b"S0", b"S1", b"S2", b"S3") and data[2:16].isalnum():
        return Other("S-record", "an S-record file: `objcopy -I srec -O binary` makes the application of it")
    if data.startswith(UF2[:4]):
        return Other("UF2", f"a UF2 file of another chip: {GIVE}")
    for start, kind in ((b"\x1f\x8b", "gzip"), (b"PK\3\4", "zip"), (b"\xfd7zXZ\0", "xz")):
        if data.startswith(start):
            return Other(kind, f"a {kind} file: unpack it")
    if data.startswith(rbl.MAGIC):
        return Other("RBL package", "an RBL package: it is ready for the loader")
    if data.startswith(fmt.MAGIC):
        return Other("package", "a signed package of mpota's: it is ready for a board")
    return None


def _is_hex(data: bytes) -> bool:
    """Is the first line a record of Intel HEX, its sum right?"""
    line = data.lstrip()[:600].split(b"\n")[0].strip()
    if not line.startswith(b":"):
        return False
    try:
        record = bytes.fromhex(line[1:].decode("ascii"))
    except ValueError:
        return False
    return len(record) >= 5 and len(record) == record[0] + 5 and not sum(record) & 0xFF
