"""Explains BK7238 files: an RBL package, a loader's partition table, an application with CRCs between its bytes."""

from __future__ import annotations

from datetime import UTC, datetime

from device.layout.bk7238 import coded, rbl, table
from host.report import Report, Table
from host.rom import Rom
from host.vendor.bk7238 import verdict


def explain(data: bytes) -> Report | None:
    """What the bytes are, if they are anything of a BK7238's."""
    if data.startswith(rbl.MAGIC):
        return _package(data)
    return _loader(data) or _code(data)


def _package(data: bytes) -> Report:
    facts = verdict.facts(data)
    if not facts:
        return Report("RBL package", "a broken RBL package: its header's CRC-32 is wrong", {}, ok=False)
    found = verdict.checks_for(data)
    names = ("part", "version", "compress", "crypt", "raw", "body", "hash", "crc")
    lines = [(name, str(facts[name])) for name in names]
    when = datetime.fromtimestamp(int(str(facts["time"])), UTC)
    lines.append(("time", f"{when:%Y-%m-%d %H:%M:%S} UTC"))
    checked = [(name, wrong or "right") for name, wrong in found]
    text = f"an RBL package: {facts['part']} {facts['version']}, {facts['compress']}, {facts['crypt']}"
    missing = rbl.SIZE + int(str(facts["body"])) - len(data)
    if missing > 0:
        text += f", and its last {missing:,} bytes are missing"
    tables = [
        Table("package", ("what", "value"), lines),
        Table("what a loader with the vendor's table and key says", ("check", "result"), checked),
    ]
    return Report("RBL package", text, {**facts, "checks": checked}, tables, missing <= 0)


def _loader(data: bytes) -> Report | None:
    """A loader's image, with or without CRCs, by the table that stands in it."""
    if b"01PE" not in data or len(data) > 0x20000:
        return None
    rows = table.find(Rom(data, 0, len(data)), bytearray(1024)) or table.find(_decoded(data), bytearray(1024))
    if not rows:
        return None
    lines = [
        (name.decode("latin-1"), row.flash.decode("latin-1"), f"0x{row.offset:06x}", f"0x{row.size:06x}")
        for name, row in rows.items()
    ]
    facts: dict[str, object] = {"rows": [{"name": a, "flash": b, "offset": c, "size": d} for a, b, c, d in lines]}
    shown = Table("partition table", ("name", "flash", "offset", "size"), lines)
    return Report("BK72xx loader", f"a BK72xx loader with a table of {len(rows)} partitions", facts, [shown])


def _decoded(data: bytes) -> Rom:
    blocks = [data[i : i + 32] for i in range(0, len(data), 34)]
    plain = b"".join(blocks)
    return Rom(plain, 0, len(plain))


def _code(data: bytes) -> Report | None:
    """Code as it lies in flash: CRCs after every 32 bytes."""
    blocks = len(data) // 34
    if blocks < 4 or coded.gather(coded.TABLE, data, bytearray(blocks * 32), blocks):
        return None
    if not data.strip(b"\xff"):
        return None
    n = blocks * 32
    text = f"code of a BK72xx as it lies in flash, CRCs between: {n:,} bytes without them; an RBL is made of those"
    return Report("BK72xx code", text, {"bytes": n})
