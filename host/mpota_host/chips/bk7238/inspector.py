"""Explains BK7238 files: an RBL package, a loader's partition table, an application with CRCs between its bytes."""

from __future__ import annotations

from datetime import UTC, datetime

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store import coded, table
from mpota_host.chips.bk7238 import opened, verdict
from mpota_host.package.report import Report, Table
from mpota_host.package.rom import Rom


def explain(data: bytes) -> Report | None:
    """What the bytes are, if they are anything of a BK7238's."""
    if data.startswith(rbl.MAGIC):
        return _package(data)
    return _dump(data) or _loader(data) or _code(data)


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
    image = opened.told(data, rbl.Header.decode(data[: rbl.SIZE]), verdict.SECRET)
    lines.append(("image", image))
    missing = rbl.SIZE + int(str(facts["body"])) - len(data)
    if missing > 0:
        text += f", and its last {missing:,} bytes are missing"
    tables = [
        Table("package", ("what", "value"), lines),
        Table("what a loader with the vendor's table and key says", ("check", "result"), checked),
    ]
    return Report("RBL package", text, {**facts, "image": image, "checks": checked}, tables, missing <= 0)


def _dump(data: bytes) -> Report | None:
    """The whole flash, a virtual board's too: what the loader's table says, and the packages in it."""
    rows = _rows(data[:0x11000]) if len(data) >= min(table.SIZES) else {}
    if not {b"app", b"download"} <= set(rows):
        return None
    app, download = rows[b"app"], rows[b"download"]
    end = (app.offset + app.size) * 34 // 32
    # A table may name places that the flash has not: no header is there.
    header = _decoded(data[max(end - 3 * 34, 0) : end]).data[: rbl.SIZE]
    found: list[tuple[str, bytes]] = [("app", header), ("download", data[download.offset :][: rbl.SIZE])]
    lines = []
    for place, head in found:
        facts = verdict.facts(head)
        said = f"{facts['part']} {facts['version']}, {facts['compress']}, {facts['crypt']}" if facts else "none"
        lines.append((place, said))
    shown = [_listed(rows), Table("RBL headers", ("behind or in", "package"), lines)]
    text = f"the whole flash of a BK7238, {len(data):,} bytes; app: {lines[0][1]}"
    return Report("flash dump", text, {"bytes": len(data), "headers": dict(lines)}, shown)


def _loader(data: bytes) -> Report | None:
    """A loader's image, with or without CRCs, by the table that stands in it."""
    if b"01PE" not in data or len(data) > 0x20000:
        return None
    rows = _rows(data)
    if not rows:
        return None
    shown = _listed(rows)
    facts: dict[str, object] = {"rows": [dict(zip(shown.columns, line, strict=True)) for line in shown.rows]}
    return Report("BK72xx loader", f"a BK72xx loader with a table of {len(rows)} partitions", facts, [shown])


def _rows(data: bytes) -> dict[bytes, table.Entry]:
    """The table in a loader's image, with or without CRCs between its bytes."""
    found: dict[bytes, table.Entry] = {}
    if b"01PE" in data:
        found = table.find(Rom(data, 0, len(data)), bytearray(1024)) or table.find(_decoded(data), bytearray(1024))
    return found


def _listed(rows: dict[bytes, table.Entry]) -> Table:
    lines = [
        (name.decode("latin-1"), row.flash.decode("latin-1"), f"0x{row.offset:06x}", f"0x{row.size:06x}")
        for name, row in rows.items()
    ]
    return Table("partition table", ("name", "flash", "offset", "size"), lines)


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
