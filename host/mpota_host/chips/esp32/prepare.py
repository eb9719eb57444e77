"""What goes into an OTA slot: the application image, alone, checked as the bootloader checks it.

People have `firmware.bin`, which is a merged image: bootloader, partition table and application. The table inside says
where the application is, so no offset is typed in.
"""

from __future__ import annotations

import re

from mpota.layout.esp32 import image, table
from mpota.layout.esp32.loader import verify
from mpota.store.flash import Region
from mpota_boot.errors import OtaError, Refused
from mpota_host.package.rom import Rom

# Where the ROM of a chip expects the bootloader, and so where a merged image begins in the flash: ESP32 and S2 at
# 0x1000, C5 and P4 at 0x2000, the others at 0.
BASES = (0x1000, 0, 0x2000)
# What mpota needs: before it, a port loads no .mpy of version 6.3, and mpota's would not start (py/persistentcode.h).
LEAST = (1, 23)
# MICROPY_BANNER_NAME_AND_VERSION (py/mpconfig.h), which every interpreter prints: "MicroPython v1.28.0 on 2026-04-05".
BANNER = re.compile(rb"MicroPython v(\d+)\.(\d+)[^\0\r\n]{0,80} on \d{4}-\d\d-\d\d")


def prepare(firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The application image in `firmware`, notes on what was done, and its facts. Raises Refused or Corrupt."""
    notes = []
    found = application(firmware)
    if found:
        label, off, firmware = found
        notes.append(
            f"a merged image: took the application of {len(firmware):,} bytes out of {label}, file offset 0x{off:x}"
        )
    if len(firmware) >= image.HEAD:
        image.judge(firmware[:4096], image.chip_of(firmware), len(firmware))
    else:
        image.judge(firmware, 0, len(firmware))
    rom = Rom(firmware, 0, len(firmware))
    size = verify.verify(rom)
    desc = verify.desc(rom)
    if size != len(firmware):
        notes.append(f"left out {len(firmware) - size:,} bytes behind the end of the image")
    facts: dict[str, object] = {"chip": image.chip_name(image.chip_of(firmware)), "idf": desc.idf}
    return firmware[:size], notes, facts


def interpreter(image: bytes) -> tuple[int, int] | None:
    """The MicroPython in an image by its banner, as (1, 28); None where there is no banner."""
    found = BANNER.search(image)
    return (int(found[1]), int(found[2])) if found else None


def goes_on(image: bytes) -> None:
    """Refused where the interpreter in an image is too old for mpota: a board that booted it would take no update."""
    version = interpreter(image)
    if version and version < LEAST:
        raise Refused(
            "micropython",
            f"the firmware has MicroPython {version[0]}.{version[1]}, and mpota runs on {LEAST[0]}.{LEAST[1]} or newer:"
            " no board could go on from it. Give a newer firmware, or --payload for one that boots without mpota",
        )


def application(firmware: bytes) -> tuple[str, int, bytes] | None:
    """(label, file offset, bytes) of the application in a merged image; None where `firmware` is none."""
    for base in BASES:
        rom = Rom(firmware, base)
        try:
            rows = table.decode(rom)
        except OtaError:
            continue
        for row in rows:
            off = row.offset - base
            if row.type == table.APP and firmware[off : off + 1] == b"\xe9":
                size = image.walk(Region(rom, row.offset, row.size))
                if off + size > len(firmware):
                    raise Refused(
                        "tiny",
                        f"the application in {row.label} ends {off + size - len(firmware):,} bytes behind the file",
                    )
                return row.label, off, firmware[off : off + size]
    return None
