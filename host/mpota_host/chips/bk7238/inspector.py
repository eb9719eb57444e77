"""Explains BK7238 files: an RBL package, a loader's partition table, an application with CRCs between its bytes."""

from __future__ import annotations

from datetime import UTC, datetime

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store import coded, table
from mpota_host.chips.bk7238 import opened, verdict
from mpota_host.chips.bk7238.look import dump, others, tables
from mpota_host.package.report import Report, Table


def explain(data: bytes) -> Report | None:
    """What the bytes are, if they are anything of a BK7238's."""
    if data.startswith(rbl.MAGIC):
        return _package(data)
    return _dump(data) or _other(others.of_release(data), data) or _loader(data) or _code(data)


def guess(data: bytes) -> Report | None:
    """The same of bytes that are nothing else that is known."""
    return _other(others.guessed(data), b"")


def _other(found: others.Other | None, data: bytes) -> Report | None:
    """A file of a release that no loader takes; the loader that begins it has a table."""
    if found is None:
        return None
    rows = tables.rows_in(data[: tables.LOADER]) if found.kind == "QIO" else {}
    return Report(found.kind, found.text, {}, [_listed(rows)] if rows else [])


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
    if len(data) < min(table.SIZES):
        return None
    rows = tables.rows_in(data[: tables.LOADER])
    if not {b"app", b"download"} <= set(rows):
        return _foreign_loader(data)
    app, download = rows[b"app"], rows[b"download"]
    end = (app.offset + app.size) * 34 // 32
    # A table may name places that the flash has not: no header is there.
    header = tables.decoded(data[max(end - 3 * 34, 0) : end]).data[: rbl.SIZE]
    found: list[tuple[str, bytes]] = [("app", header), ("download", data[download.offset :][: rbl.SIZE])]
    lines = []
    for place, head in found:
        facts = verdict.facts(head)
        said = f"{facts['part']} {facts['version']}, {facts['compress']}, {facts['crypt']}" if facts else "none"
        lines.append((place, said))
    answers = dump.answers(data, rows)
    shown = [
        _listed(rows),
        Table("RBL headers", ("behind or in", "package"), lines),
        Table("an update that did not come: what the vendor's page asks", ("what", "answer"), answers),
    ]
    text = f"the whole flash of a BK7238, {len(data):,} bytes; app: {lines[0][1]}"
    facts = {"bytes": len(data), "headers": dict(lines), "findings": [": ".join(line) for line in answers]}
    return Report("flash dump", text, facts, shown)


def _foreign_loader(data: bytes) -> Report | None:
    """A whole flash whose loader has no table, as Tuya's of a T1 module."""
    if not others.has_application(data) or _code(data):
        return None
    answers = dump.answers(data, {})
    shown = Table("an update that did not come: what the vendor's page asks", ("what", "answer"), answers)
    text = (
        f"the whole flash of a BK72xx, {len(data):,} bytes; its loader has no partition table that takes RBL packages"
    )
    facts: dict[str, object] = {"bytes": len(data), "findings": [": ".join(line) for line in answers]}
    return Report("flash dump", text, facts, [shown])


def _loader(data: bytes) -> Report | None:
    """A loader's image, with or without CRCs, by the table that stands in it."""
    if len(data) > 0x20000:
        return None
    rows = tables.rows_in(data)
    if not rows:
        return None
    shown = _listed(rows)
    facts: dict[str, object] = {"rows": [dict(zip(shown.columns, line, strict=True)) for line in shown.rows]}
    return Report("BK72xx loader", f"a BK72xx loader with a table of {len(rows)} partitions", facts, [shown])


def _listed(rows: dict[bytes, table.Entry]) -> Table:
    lines = [
        (name.decode("latin-1"), row.flash.decode("latin-1"), f"0x{row.offset:06x}", f"0x{row.size:06x}")
        for name, row in rows.items()
    ]
    return Table("partition table", ("name", "flash", "offset", "size"), lines)


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
