"""Explains ESP32 files: an application or bootloader image, a merged image, a partition table, otadata, a flash dump.

Each `explain_*` looks at bytes and returns a Report, or None where the bytes are of another kind. It only reads and
judges with the codecs that a board runs, so it says of an image what a board would say.
"""

from __future__ import annotations

from typing import Any

from mpota.layout.esp32 import image, loader, otadata, table
from mpota.layout.esp32.loader import verify
from mpota_boot.errors import OtaError
from mpota_host.chips.esp32.prepare import BASES
from mpota_host.package.report import Report, Table
from mpota_host.package.rom import Rom

TYPES = {table.APP: "app", table.DATA: "data", 2: "bootloader", 3: "partition table"}
# esp_partition_subtype_t of data partitions.
DATA_KINDS = {
    **{0: "ota", 1: "phy", 2: "nvs", 3: "coredump", 4: "nvs_keys", 5: "efuse", 6: "undefined"},
    **{0x80: "esphttpd", 0x81: "fat", 0x82: "spiffs", 0x83: "littlefs", 0x90: "tee_ota"},
}


def explain(data: bytes) -> Report | None:
    """What the bytes are, if they are anything of an ESP32's."""
    for look in (_explain_flash, _explain_table, _explain_image, _explain_otadata):
        report = look(data)
        if report:
            return report
    return None


def _kind(row: Any) -> str:
    if row.type == table.APP:
        return table.name(row)
    return DATA_KINDS.get(row.subtype, f"0x{row.subtype:02x}") if row.type == table.DATA else f"0x{row.subtype:02x}"


def _rows(rows: list[Any]) -> Table:
    lines = [
        (row.label, TYPES.get(row.type, f"0x{row.type:02x}"), _kind(row), f"0x{row.offset:06x}", f"{row.size:,}")
        for row in rows
    ]
    return Table("partition table", ("label", "type", "subtype", "offset", "bytes"), lines)


def _row_facts(rows: list[Any]) -> list[dict[str, object]]:
    return [{"label": r.label, "type": r.type, "subtype": r.subtype, "offset": r.offset, "size": r.size} for r in rows]


def _updates(rows: list[Any]) -> str:
    """Can a board with this table take a firmware update, in a sentence?"""
    n = len(table.slots(rows))
    has = table.find(rows, table.DATA, table.OTADATA) is not None
    if has and n >= 2:
        return f"a board with this table takes firmware updates: {n} OTA slots and otadata"
    return (
        f"a board with this table takes no firmware update: {n} OTA slots and {'an' if has else 'no'} otadata, "
        "2 slots and otadata are needed; flash the OTA variant of its MicroPython firmware"
    )


def _explain_table(data: bytes) -> Report | None:
    if data[:2] != b"\xaa\x50" or len(data) > 0x1000:
        return None
    try:
        rows = table.decode(Rom(data, table.OFFSET))
    except OtaError as e:
        return Report("partition table", f"a broken ESP32 partition table: {e}", {"error": str(e)}, ok=False)
    facts = {"rows": _row_facts(rows), "slots": len(table.slots(rows)), "updates": _updates(rows)}
    return Report("partition table", f"an ESP32 partition table; {_updates(rows)}", facts, [_rows(rows)])


def _image_facts(rom: Any) -> tuple[dict[str, object], Table]:
    """Facts of the image at the start of `rom`, with the bootloader's verdict."""
    buf = bytearray(image.HEAD)
    rom.read(0, buf)
    head = verify.head(buf)
    facts: dict[str, object] = {
        "chip": image.chip_name(head.chip),
        "segments": head.segments,
        "entry": f"0x{head.entry:08x}",
        "flash_mb": head.flash_mb,
        "sha256_appended": head.hashed,
    }
    try:
        desc = verify.desc(rom)
        facts |= {"idf": desc.idf, "built": f"{desc.date} {desc.time}", "elf_sha256": desc.elf_sha256.hex()}
        facts |= {"secure_version": desc.secure_version}
    except OtaError:
        facts["application"] = False
    try:
        facts |= {"bytes": verify.verify(rom), "verdict": "the bootloader takes it"}
    except OtaError as e:
        facts["verdict"] = f"the bootloader refuses it: {e}"
    return facts, Table("image", ("what", "value"), [(k.replace("_", " "), str(v)) for k, v in facts.items()])


def _explain_image(data: bytes) -> Report | None:
    if data[:1] != b"\xe9" or len(data) < image.NEEDS:
        return None
    try:
        facts, lines = _image_facts(Rom(data, 0, len(data)))
    except OtaError as e:
        return Report("image", f"a broken ESP32 image: {e}", {"error": str(e)}, ok=False)
    app = facts.get("application") is not False
    kind = "application" if app else "bootloader"
    good = "bytes" in facts
    what = (
        f"an {facts['chip']} application, what `pack` takes"
        if app
        else f"an {facts['chip']} bootloader, not what `pack` takes"
    )
    return Report(kind, what if good else f"{what}; {facts['verdict']}", facts, [lines], ok=good)


def _explain_flash(data: bytes) -> Report | None:
    """A merged image, or the whole flash of a board: whatever has a partition table where a chip looks for it."""
    for base in BASES:
        rom = Rom(data, base, max(base + len(data), 1 << 20))
        try:
            rows = table.decode(Rom(data, base))
        except OtaError:
            continue
        whole = base == 0 and len(data) >= max(r.offset + r.size for r in rows)
        facts: dict[str, object] = {"flash_offset": base, "rows": _row_facts(rows), "updates": _updates(rows)}
        tables = [_rows(rows), _images(rows, rom, data, base, facts)]
        row = table.find(rows, table.DATA, table.OTADATA)
        if row and row.offset - base + 2 * otadata.SECTOR <= len(data):
            tables.append(_entries(data[row.offset - base :][: 2 * otadata.SECTOR], len(table.slots(rows)), facts))
        kind = "flash dump" if whole else "merged image"
        what = "the whole flash of an ESP32" if whole else f"a merged ESP32 image for flash offset 0x{base:x}"
        use = "" if whole else "; `pack` takes the application out of it"
        tables.append(Table("", ("what", "value"), [("updates", _updates(rows))]))
        return Report(kind, what + use, facts, tables)
    return None


def _images(rows: list[Any], rom: Rom, data: bytes, base: int, facts: dict[str, object]) -> Table:
    lines, found = [], []
    for row in rows:
        start = row.offset - base
        if row.type != table.APP or start >= len(data):
            continue
        if data[start : start + 1] != b"\xe9":
            lines.append((row.label, "empty" if data[start : start + 1] == b"\xff" else "no image", "", ""))
            continue
        window = Rom(data[start : start + row.size], 0, min(row.size, len(data) - start))
        one: dict[str, object] = {"label": row.label}
        try:
            one |= _image_facts(window)[0]
        except OtaError as e:
            one["verdict"] = f"the bootloader refuses it: {e}"
        found.append(one)
        size = one.get("bytes")
        lines.append(
            (row.label, str(one["verdict"]), f"{size:,}" if isinstance(size, int) else "", str(one.get("idf", "")))
        )
    facts["images"] = found
    return Table("images", ("label", "verdict", "bytes", "ESP-IDF"), lines)


def _entries(area: bytes, n: int, facts: dict[str, object]) -> Table:
    """The two entries of otadata, and which one is in force."""
    pair = otadata.read(Rom(area, 0, len(area)))
    force = otadata.active(*pair)
    lines: list[tuple[str, ...]] = []
    found: list[dict[str, object] | None] = []
    for i, entry in enumerate(pair):
        if loader.blank(entry):
            lines.append((str(i), "blank", "", "", ""))
            found.append(None)
            continue
        state = loader.STATES.get(entry.state, f"0x{entry.state:08x}")
        slot = f"ota_{entry.slot(n)}" if n else "?"
        seal = "good" if loader.sealed(entry) else "bad"
        lines.append((str(i) + (" *" if i == force else ""), str(entry.seq), slot, state, seal))
        found.append({"seq": entry.seq, "slot": entry.slot(n) if n else None, "state": state, "crc": seal})
    facts["otadata"] = found
    facts["active"] = force if force >= 0 else None
    return Table("otadata (* is in force)", ("entry", "seq", "slot", "state", "crc"), lines)


def _explain_otadata(data: bytes) -> Report | None:
    if len(data) != 2 * otadata.SECTOR:
        return None
    blank = b"\xff" * (otadata.SECTOR - otadata.SIZE)
    if data[otadata.SIZE : otadata.SECTOR] != blank or data[otadata.SECTOR + otadata.SIZE :] != blank:
        return None
    facts: dict[str, object] = {}
    lines = _entries(data, 2, facts)
    what = (
        "blank otadata: the first slot boots"
        if facts["otadata"] == [None, None]
        else "otadata of an ESP32, read for two slots"
    )
    return Report("otadata", what, facts, [lines])
