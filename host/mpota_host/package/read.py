"""What a file is: packages here, images and tables in the vendors' inspectors.

`explain` tells what can be read without a key; `content` decodes a component with the very code of the board. Whether a
board would take a package is for verify.py to say.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from mpota.pipe import lzma, trust
from mpota.pipe.package import Chunks, Component, Package
from mpota.version import text
from mpota_boot.errors import Corrupt, LinkError, OtaError, Refused
from mpota_host.package import format as fmt
from mpota_host.package import record
from mpota_host.package.content import app
from mpota_host.package.encode import encrypt, lzma_chunk
from mpota_host.package.report import Report, Table
from mpota_host.registry import having, part_of

KINDS = {fmt.FIRMWARE: "firmware", fmt.FILES: "files", fmt.RESOURCE: "resource"}
HEADER = 4096  # the board's buffer
NEEDS = {"version": fmt.RUNS, "firmware": fmt.RUNS_FIRMWARE}
ROOM = 4096  # what a board has whose settings say nothing


def explain(data: bytes) -> Report:
    """What the bytes are; Refused where nobody knows them."""
    size = len(data)
    front, data = record.split(data)
    if front and not data:
        return record.explain(front)
    if data[:4] == fmt.MAGIC:
        return _behind(front, size, _explain_package(data))
    report = _vendor(data)
    stranger = "" if report else _stranger(data)
    if not report and not stranger:
        report = _guess(data)
    if report:
        return report
    unknown = f"no kind of file that mpota knows ({len(data):,} bytes, first {data[:8].hex(' ')})"
    raise Refused("format", f"this is {stranger or unknown}")


def explain_folder(path: Path) -> Report:
    """What a folder is, an image store for example; Refused where nobody knows it."""
    for chip in having("inspector"):
        look = getattr(part_of(chip, "inspector"), "store", None)
        report: Report | None = look(path) if look else None
        if report:
            return report
    raise Refused("format", f"{path} is a folder of no kind that mpota knows: name a file in it")


def chip_of(data: bytes) -> str:
    """The chip whose inspector knows these bytes, "" for none and for a package of mpota's."""
    return "" if data[:4] in (fmt.MAGIC, record.MAGIC) else _seen(data)[0]


def _behind(front: bytes, size: int, report: Report) -> Report:
    """What is told of a package in a file of `size` bytes, with the keys record in front of it."""
    if front:
        report.facts["keys_record"] = record.facts(front)
        report.facts["size"] = size
        report.text += f", behind {record.words(front)[0]}"
        report.tables.insert(1, record.table(front))
    return report


def _vendor(data: bytes) -> Report | None:
    return _seen(data)[1]


def _seen(data: bytes) -> tuple[str, Report | None]:
    for chip in having("inspector"):
        report: Report | None = part_of(chip, "inspector").explain(data)
        if report:
            return chip, report
    return "", None


def _guess(data: bytes) -> Report | None:
    """What little of the bytes speaks for, where nothing else is known of them: a chip's guess(data), if it has one."""
    for chip in having("inspector"):
        guess = getattr(part_of(chip, "inspector"), "guess", None)
        report: Report | None = guess(data) if guess else None
        if report:
            return report
    return None


def _stranger(data: bytes) -> str:
    """What a file that is nothing of mpota's or a vendor's looks like, "" where nobody knows."""
    start = data[:512]
    if not start:
        return "an empty file"
    if start.startswith(b"-----BEGIN"):
        return "a key or a certificate in PEM"
    if encrypt.is_key(start):
        return "a device key, as `keygen --device` writes it: keep it secret"
    if len(data) == trust.SIZE:
        return "a public key, as `keygen` writes it"
    if start.lstrip()[:1] == b"<":
        return "a web page"
    # The last character may be cut in two.
    words = start.decode("utf-8", "ignore")
    if min(start) > 8 and len(words.encode()) > len(start) - 4:
        return "a text file"
    return ""


def want_package(data: bytes) -> None:
    """Refused where the bytes are no package at all, with what they are instead."""
    front, data = record.split(data)
    if front and not data:
        raise Refused("format", "this is a keys record and no package: `pack --keys-record` puts it in front of one")
    if data[:4] == fmt.MAGIC:
        return
    seen = _vendor(data)
    if seen:
        article = "an" if seen.kind[0] in "aeiouR" else "a"
        advice = "`pack` it first" if seen.kind in ("application", "merged image") else "`pack` makes one of a firmware"
        raise Refused("format", f"this is no package but {article} {seen.kind}: {advice}")
    name = _stranger(data)
    what = f"but {name}" if name else f"of mpota's ({len(data):,} bytes, first {data[:8].hex(' ')})"
    raise Refused("format", f"this is no package {what}; `pack` makes one of a firmware: pack it first")


def want_whole(data: bytes) -> None:
    """Refused where the bytes are no package, Corrupt where its end is missing; none of it is proven."""
    want_package(data)
    data = record.split(data)[1]
    try:
        package = read_package(data)
    except LinkError as e:
        raise Corrupt("short", f"{e}; copy the file again") from e
    missing = start_of(package, len(package.components)) - len(data)
    if missing > 0:
        raise Corrupt("short", f"the package's last {missing:,} bytes are missing; copy the file again")


def room_note(room: int) -> str:
    """What to know about a room for chunks that not every board has."""
    if room <= ROOM:
        return ""
    size = f"chunks of {room // 1024} KiB"
    return f"{size}: a board takes {ROOM // 1024} KiB unless `room` in its mpota.json says {room} or more"


def read_package(data: bytes, keys: list[bytes] | None = None) -> Package:
    """The header of a package, proven by `keys`, or merely read where they are None.

    Its LZMA is decoded by the standard library: the device's code is slow here. A keys record in front is passed over;
    what else reads bytes of a package wants them without it.
    """
    data = record.split(data)[1]
    package = Package.read(BytesIO(data), keys, bytearray(HEADER))
    for part in package.components:
        part.makers = [lzma_chunk.stage if make is lzma.stage else make for make in part.makers]
    return package


def start_of(package: Package, i: int) -> int:
    """Where component `i` begins in the package; one past the last component: where the package ends."""
    return int(package.end + sum(part.stored for part in package.components[:i]))


def _stages(part: Component) -> list[str]:
    return [fmt.STAGES[code] for code in part.stages]


def recipients(data: bytes, package: Package) -> list[str]:
    """The ids of the device keys that a package is encrypted for, as its header names them."""
    at = package.locks
    return [data[off : off + 8].hex() for off in range(at, at + package.recipients * 48, 48)]


def links(package: Package, i: int, data: bytes) -> list[tuple[int, int, int]]:
    """(offset, bytes, bytes decoded) of each stored chunk of component `i`, as its chain says; nothing is proven.

    It ends where the data do.
    """
    part = package.components[i]
    at, out, found = start_of(package, i), 0, []
    _, length, sectors = part.first
    while length and sectors and out < part.size and at + fmt.LINK_SIZE <= len(data):
        found.append((at, length, min(sectors * fmt.SECTOR, part.size - out)))
        out += sectors * fmt.SECTOR
        where, at = at, at + length
        _, length, sectors = struct.unpack_from(fmt.LINK, data, where)
    return found


def needs(package: Package) -> dict[str, str]:
    """What a board must have first, in words by name."""
    fields = package.fields or {}
    found = {name: text(fields[key]) for name, key in NEEDS.items() if key in fields}
    boot = fields.get(fmt.RUNS_BOOT)
    return found | ({"mpota_boot": str(int.from_bytes(boot, "little"))} if boot else {})


def package_facts(data: bytes) -> dict[str, object]:
    """Facts of a package's header, none of them proven; `size` counts a keys record in front."""
    size = len(data)
    data = record.split(data)[1]
    package = read_package(data)
    signed = data[5] != 0
    return {
        "product": package.product,
        "version": text(package.version),
        "layout": package.layout,
        "id": package.id.hex(),
        "key": data[8:16].hex() if signed else None,
        "encrypted_for": recipients(data, package),
        "channel": package.channel,
        "needs": needs(package),
        "room": package.room,
        "size": size,
        "header": package.end,
        "components": [_component_facts(package, i, data) for i in range(len(package.components))],
    }


def _component_facts(package: Package, i: int, data: bytes) -> dict[str, object]:
    part = package.components[i]
    return {
        "kind": KINDS.get(part.kind, str(part.kind)),
        "name": part.name,
        "size": part.size,
        "stored": part.stored,
        "stages": _stages(part),
        "chunks": len(links(package, i, data)),
        "sha256": part.sha.hex(),
        "base": {"size": part.base_size, "sha256": part.base_sha.hex()} if part.base_size else None,
    }


def _explain_package(data: bytes) -> Report:
    try:
        facts = package_facts(data)
    except OtaError as e:
        return Report("package", f"a broken mpota package: {e}", {"error": str(e), "code": e.code}, ok=False)
    package = read_package(data)
    lines = [(name, str(facts[name])) for name in ("product", "version", "layout", "id", "room")]
    lines += [("channel", package.channel)] * bool(package.channel)
    lines += [(f"needs {what}", words) for what, words in needs(package).items()]
    lines.append(("signed by key", str(facts["key"] or "nobody")))
    if package.recipients:
        lines.append(("encrypted for", ", ".join(recipients(data, package))))
    lines.append(("bytes", f"{len(data):,} with a header of {facts['header']}"))
    delta = any(part.base_size for part in package.components)
    kind = "a delta, an mpota package" if delta else "an mpota package"
    what = f"{kind}: {facts['product']} {facts['version']} for {facts['layout']}"
    missing = start_of(package, len(package.components)) - len(data)
    if missing > 0:
        what += f", and its last {missing:,} bytes are missing"
    tables = [Table("package", ("what", "value"), lines), _components_table(package, data)]
    found = [] if missing > 0 else listed(package, data)
    if found:
        facts["files"] = [row.__dict__ for row in found]
        facts["updater"] = bool(app.updaters(found))
        lines += [("brings mpota itself", f"{len(app.updaters(found))} modules")] * bool(facts["updater"])
        tables.append(files_table(found))
    return Report("package", what, facts, tables, missing <= 0)


def _components_table(package: Package, data: bytes) -> Table:
    columns = ("component", "kind", "bytes", "stored", "stages", "chunks", "SHA-256 begins", "stands on")
    parts = [
        (
            part.name,
            KINDS.get(part.kind, str(part.kind)),
            f"{part.size:,}",
            f"{part.stored:,} ({part.stored / part.size:.1%})",
            " ".join(_stages(part)) or "raw",
            str(len(links(package, i, data))),
            part.sha.hex()[:16],
            f"{part.base_size:,}, {part.base_sha.hex()[:16]}" if part.base_size else "",
        )
        for i, part in enumerate(package.components)
    ]
    return Table("", columns, parts)


def listed(package: Package, data: bytes) -> list[app.Row]:
    """The files that a package brings; none where nobody can read them without a key or a base."""
    for i, part in enumerate(package.components):
        if part.kind == fmt.FILES and not part.base_size and not package.recipients:
            try:
                return app.rows(decode(package, i, data))
            except OtaError:
                return []  # `verify` says what is wrong
    return []


def files_table(found: Sequence[app.Row]) -> Table:
    """Paths and sizes."""
    rows = [(row.path, f"{row.size:,}", "resource" if row.apart else "") for row in found]
    return Table("files", ("path", "bytes", ""), rows)


def content(package: Package, i: int, data: bytes) -> bytes:
    """The bytes of component `i`, which are those that were signed."""
    found = decode(package, i, data)
    part = package.components[i]
    if sha256(found).digest() != part.sha:
        raise Refused("readback", f"{part.name} decodes to other bytes than were signed")
    return found


def proven(package: Package, i: int, data: bytes) -> None:
    """Raise unless every stored chunk of component `i` is the one that was promised."""
    chunks = Chunks(package, i, _at(package, i, data), bytearray(4096))
    while chunks.out < package.components[i].size:
        chunks.load()


def _at(package: Package, i: int, data: bytes) -> BytesIO:
    """The package, standing where component `i` begins."""
    src = BytesIO(data)
    src.seek(start_of(package, i))
    return src


def decode(package: Package, i: int, data: bytes) -> bytes:
    """All bytes of component `i`, chunk by chunk as a board decodes them."""
    chunks = Chunks(package, i, _at(package, i, data), bytearray(4096))
    out = bytearray()
    piece = bytearray(4096)
    while len(out) < package.components[i].size:
        left = chunks.load()
        while left:
            n = chunks.readinto(piece)
            out += piece[:n]
            left -= n
    return bytes(out)
