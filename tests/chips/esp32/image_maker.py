"""Small ESP32 images, flashes with a table and an otadata of choice, and the real firmwares, for the tests.

An image is built here from the format's description alone, so that the code under test is not its own judge.
"""

import os
import struct
from hashlib import sha256

from mpota.layout.esp32 import table
from mpota.store.flash import Region
from mpota_host.sim.flash import SimFlash

ROOT = __file__.rsplit("/", 4)[0] if __file__[0] == "/" else "."
WHEEL = "/site-packages/thonnycontrib/thonny_etboard_firmware/etboard/firmware/etboard_firmware_micropython_custom_"
APP_IN_MERGED = 0xF000  # these files start at 0x1000 of the flash, the application at 0x10000

NVS = table.Row(table.DATA, table.NVS, 0x9000, 0x4000, "nvs", 0)
OTADATA = table.Row(table.DATA, table.OTADATA, 0xD000, 0x2000, "otadata", 0)
OTA_0 = table.Row(table.APP, 0x10, 0x10000, 0x10000, "ota_0", 0)
OTA_1 = table.Row(table.APP, 0x11, 0x20000, 0x10000, "ota_1", 0)
FACTORY = table.Row(table.APP, 0x00, 0x30000, 0x10000, "factory", 0)
SIZE = 0x60000


def image(chip=0, body=b"\x5a" * 64, hashed=1, secure_version=0, segments=None):
    """An application image: its description, then `body`; `segments` (address, data) after them."""
    desc = struct.pack("<IIQ", 0xABCD5432, secure_version, 0) + b"\0" * 240 + bytes(body)
    out = bytes((0xE9, 1 + len(segments or ()), 2, 0x20)) + struct.pack("<I", 0x40080000) + b"\xee\0\0\0"
    out += struct.pack("<HBHH", chip, 0, 0, 0xFFFF) + b"\0" * 4 + bytes((hashed,))
    xor = 0xEF
    for address, data in [(0x3FFB0000, desc)] + list(segments or ()):
        out += struct.pack("<II", address, len(data)) + data
        for c in data:
            xor ^= c
    out += b"\0" * (15 - len(out) % 16) + bytes((xor,))
    return out + sha256(out).digest() if hashed else out


def put(flash, off, data):
    """Program bytes of any length at `off`, padded to whole units."""
    flash.prog(off, bytes(data) + b"\xff" * (-len(data) % 4))


def board(rows=(NVS, OTADATA, OTA_0, OTA_1), images=(), size=SIZE):
    """A flash with this table and (row, image) pairs in it; nvs may be programmed again, as NVS does."""
    windows = [(row.offset, row.size) for row in rows if row.subtype == table.NVS and row.type == table.DATA]
    flash = SimFlash(size, overwrite=windows)
    put(flash, table.OFFSET, table.encode(rows))
    for row, data in images:
        put(flash, row.offset, data)
    flash.trace = []
    return flash


def both(rows=(NVS, OTADATA, OTA_0, OTA_1)):
    """A flash with two good images."""
    return board(rows, [(row, image(body=bytes((row.subtype,)) * 64)) for row in rows if row.type == table.APP])


def otadata_of(flash):
    """The 32 bytes at the start of either sector of otadata."""
    found = []
    for off in (0, 4096):
        buf = bytearray(32)
        Region(flash, OTADATA.offset, OTADATA.size).read(off, buf)
        found.append(bytes(buf))
    return found


def firmware(name):
    """The bytes of a real merged firmware: "0608" or "0831"."""
    lib = ROOT + "/.venv/lib"
    for folder in os.listdir(lib):
        path = lib + "/" + folder + WHEEL + name + "_last.bin"
        try:
            with open(path, "rb") as f:
                return f.read()
        except OSError:
            continue
    raise OSError("the real firmwares are not in .venv; `make test` installs them")
