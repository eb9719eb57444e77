"""Explains SiFli files: a flash table, an offline package, a compressed image, an image as it travels.

A control packet is encrypted from its first byte on and looks like noise; its length alone says what it may be.
"""

from __future__ import annotations

import struct
from hashlib import sha256

from mpota.layout.sifli.pipe import com, offline, signed, wire
from mpota.layout.sifli.store import control, table
from mpota_boot.errors import OtaError
from mpota_host.package.report import Report, Table
from mpota_host.package.rom import Rom

# More than any table and its chip's calibration.
DUMP = 1 << 17


def explain(data: bytes) -> Report | None:
    """What the bytes are, if they are anything of a SiFli chip's."""
    for look in (_offline, _table, _wire, _com, _control):
        report = look(data)
        if report:
            return report
    return None


def _table(data: bytes) -> Report | None:
    if len(data) < table.SIZE or data[:4] != struct.pack("<I", table.MAGIC):
        return None
    rom = Rom(data, 0, len(data))
    rows = []
    for id in range(table.PLACES):
        place = table.place(rom, id)
        if place.base not in (0xFFFFFFFF, 0):
            rows.append((str(id), f"0x{place.base:08x}", f"{place.size:,}", f"0x{place.xip:08x}"))
    heads = []
    for id in range(2, 2 + table.HEADERS):
        head = table.header(rom, id)
        if head:
            heads.append((str(id), f"{head.length:,}", str(head.block), f"0x{head.flags:04x}"))
    der = table.public_key(rom)
    key = signed.key_hash(der).hex() if signed.modulus(der) else None
    can = "is rewritten by an upgrade" if table.writable(rom, table.IMG_HCPU2) else "shares its sector, so it stays"
    kind, what = ("flash dump", "the flash of a SiFli chip") if len(data) >= DUMP else ("flash table", "a flash table")
    facts: dict[str, object] = {"kind": kind, "key": key, "places": len(rows), "headers": len(heads)}
    return Report(
        kind,
        f"{what}; upgrades signed by key {key or 'none'}; the user program's header {can}",
        facts,
        [
            Table("places", ("flash id", "at", "bytes", "runs at"), rows),
            Table("headers", ("flash id", "bytes", "block", "flags"), heads),
        ],
        key is not None,
    )


def _offline(data: bytes) -> Report | None:
    if data[:4] != struct.pack("<I", offline.MAGIC):
        return None
    try:
        package = offline.Package(Rom(data, 0, len(data)))
        if package.version:
            package.prove(bytearray(4096), lambda: None)
    except OtaError as e:
        # A flash table begins with the same four bytes.
        if len(data) >= table.SIZE and signed.modulus(data[table.KEY_AT : table.KEY_AT + signed.KEY_SIZE]):
            return None
        return Report("offline package", f"a broken offline package: {e}", {"error": str(e)}, ok=False)
    rows = [(str(e.id), str(e.flags or ""), f"{e.length:,}", str(e.off)) for e in package.entries]
    sealed = "a right checksum, and no signature" if package.version else "a signed control packet"
    return Report(
        "offline package",
        f"a SiFli offline package, version {package.version}: {len(rows)} parts, {sealed}",
        {"version": package.version, "parts": len(rows), "size": package.size},
        [Table("parts", ("id", "flags", "bytes", "at"), rows)],
    )


def _com(data: bytes) -> Report | None:
    if len(data) < 16:
        return None
    total, chunk = struct.unpack_from(com.HEAD, data)
    if not 0 < chunk <= com.CHUNK or not 0 < total < 1 << 28:
        return None
    found = com.Com(com.Stored(Rom(data, 0, len(data)), len(data)))
    buf = bytearray(4096)
    done = 0
    try:
        n = found.readinto(buf)
        while n:
            done += n
            n = found.readinto(buf)
    except OtaError as e:
        if not done:
            return None
        words = f"a compressed SiFli image that breaks after {done:,} of {total:,} bytes: {e}"
        return Report("compressed image", words, {"error": str(e)}, ok=False)
    words = f"a compressed SiFli image: {len(data):,} bytes for {total:,}, chunks of {chunk:,}"
    return Report("compressed image", words, {"size": len(data), "total": total, "chunk": chunk})


def _wire(data: bytes) -> Report | None:
    for block in (512, 2048, 256, 1024):
        size = block + wire.HEAD_SIZE
        starts = [struct.unpack_from("<I", data, at + 32)[0] for at in range(0, len(data) - 36, size)]
        if starts and starts == [i * block for i in range(len(starts))] and (len(starts) > 1 or len(data) <= size):
            plain = sha256(data[36:size]).digest() == data[:32]
            n = len(data) - 36 * len(starts)
            words = f"a SiFli image as it travels: {len(starts)} records, {n:,} bytes"
            facts: dict[str, object] = {"records": len(starts), "block": block, "image": n, "encrypted": not plain}
            return Report("wire image", words + ("" if plain else ", encrypted"), facts)
    return None


def _control(data: bytes) -> Report | None:
    n, odd = divmod(len(data) - 32 - control.HEAD_SIZE - signed.SIZE, control.IMAGE_SIZE)
    if odd or not 0 < n <= control.MOST or len(set(data[:256])) < 120:
        return None
    words = f"perhaps a SiFli control packet of {n} images: it is encrypted, so only its length says so"
    return Report("control packet", words, {"images": n})
