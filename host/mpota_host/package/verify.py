"""Whether a board would take a package, checked in the order in which a board looks.

It is held to a key, every chunk is decoded with the very code of the board, and the image and the list of files inside
are judged as the board's layout judges them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from mpota.pipe import decrypt
from mpota.pipe.package import Component, Package
from mpota.version import text
from mpota_boot.errors import Corrupt, LinkError, OtaError, Refused
from mpota_host.package import format as fmt
from mpota_host.package import record
from mpota_host.package.content import app
from mpota_host.package.read import (
    HEADER,
    content,
    files_table,
    links,
    proven,
    read_package,
    recipients,
    room_note,
    start_of,
    want_package,
)
from mpota_host.package.report import Report, Table
from mpota_host.package.rom import Rom
from mpota_host.registry import bare, prepare

Place = tuple[int, str]
Line = tuple[str, str]
# Errors that no board has.
OURS = ("extra", "sealed", "other-base")
UNDECODED = "not decoded"


@dataclass
class BoardFacts:
    """What a board has: public keys that it trusts, its product (None: any), device keys, what runs (None: unknown)."""

    keys: list[bytes]
    product: str | None = None
    device_keys: Sequence[bytes] = ()
    bases: Sequence[Mapping[Place, bytes]] | None = None
    # Root keys, and how many of them must sign a keys record; 0: all.
    roots: Sequence[bytes] = ()
    threshold: int = 0


def judge(data: bytes, held: BoardFacts) -> Report:
    """Whether the signature, every chunk and the image inside are right, in the order in which a board looks.

    Without device keys an encrypted package is not looked into; without bases the chunks of a delta are not decoded.
    """
    front, data = record.split(data)
    if data or not front:
        want_package(data)
    lines: list[Line] = []
    facts: dict[str, object] = {"checks": lines}
    tables = [Table("", ("check", "result"), lines)]
    try:
        for line in _all(front, data, held, tables):
            lines.append(line)
        facts["note"] = room_note(read_package(data).room) if data else ""
    except OtaError as e:
        # A link that ends in the middle may go on; a file that does has lost its end.
        kind = Corrupt if isinstance(e, LinkError) else type(e)
        lines.append((e.code, f"no: {e}"))
        facts |= {"ok": False, "code": e.code, "class": kind.__name__, "error": str(e)}
        said = str(e) if e.code in OURS else f"a board says: {e}"
        return Report("verdict", said, facts, tables, ok=False)
    facts["ok"] = True
    said = "a board that trusts this key takes it" if data else "a board with these roots takes this keys record"
    if any(word == UNDECODED for word, _ in lines):
        said += ", if it runs what the delta stands on; --base OLD looks into it"
    return Report("verdict", said, facts, tables)


def _all(front: bytes, data: bytes, held: BoardFacts, tables: list[Table]) -> Iterator[Line]:
    """The checks of a keys record, and of the package behind it."""
    yield from _record(front, held)
    if data:
        yield from _checks(data, _with(front, held), tables)


def _record(front: bytes, held: BoardFacts) -> Iterator[Line]:
    """The check of a keys record."""
    if not front:
        return
    if not held.roots:
        yield "keys record", f"{record.fields(front).serial}, which a board without roots passes over"
        return
    found = record.prove(front, held.roots, held.threshold, held.product)
    yield "keys record", f"{found.serial}, signed by enough of these roots"


def _with(front: bytes, held: BoardFacts) -> BoardFacts:
    """What the board trusts once it has the record."""
    return replace(held, keys=record.fields(front).release) if front and held.roots else held


def _checks(data: bytes, held: BoardFacts, tables: list[Table]) -> Iterator[Line]:
    package = read_package(data, held.keys)
    yield "signature", f"right, by key {data[8:16].hex()}"
    if package.recipients:
        _unlock(data, package, held.device_keys)
        yield "encryption", f"one of {package.recipients} device keys is here"
    if held.product is not None and package.product != held.product:
        raise Refused("product", f"the package is for product {package.product!r}, this board is {held.product!r}")
    yield "for", f"{package.product} {text(package.version)}, layout {package.layout}"
    rows: list[app.Row] = []
    for i, part in enumerate(package.components):
        if part.base_size:
            part.base = base_of(part, held.bases)
            yield "base", f"of {part.name} has {part.base_size:,} bytes, SHA-256 {part.base_sha.hex()[:16]}"
        yield from _part(package, i, data, rows)
    if rows:
        tables.append(files_table(rows))
    extra = len(data) - start_of(package, len(package.components))
    if extra > 0:
        unread = "a board never reads them, but nobody signed them: copy the file again"
        raise Corrupt("extra", f"{extra:,} bytes follow the last chunk; {unread}")


def _part(package: Package, i: int, data: bytes, rows: list[app.Row]) -> Iterator[Line]:
    """The checks of one component; the list of files goes to `rows`."""
    part = package.components[i]
    n = len(links(package, i, data))
    if part.base_size and part.base is None:
        proven(package, i, data)
        yield UNDECODED, f"{n} chunks of {part.name} are right; what they make of their base is not looked at"
        return
    found = content(package, i, data)
    yield "chunks", f"{n} of {part.name} are right, {part.size:,} bytes"
    yield "SHA-256", f"of {part.name} is right"
    if part.kind == fmt.FIRMWARE:
        yield "image", _image(package, part, found)
    elif part.kind == fmt.FILES:
        rows += app.rows(found)
        yield "files", f"{len(rows)} {'path' if len(rows) == 1 else 'paths'} that a board takes"
    elif bare(package.layout, part.name, found):
        yield "signature", f"of the image, {part.name}, for the bootloader"
    elif rows and app.Row(part.name, part.size, True) not in rows:
        raise Refused("files", f"the list of files has no {part.name!r} of {part.size} bytes")


def _image(package: Package, part: Component, found: bytes) -> str:
    image, notes, seen = prepare(package.layout, found)
    if len(image) != len(found):
        raise Refused("image", f"{part.name} has {len(found):,} bytes and the image inside {len(image):,}")
    return f"{'; '.join(notes) or 'the bootloader takes it'}: {', '.join(f'{k} {v}' for k, v in seen.items())}"


def base_of(part: Component, bases: Sequence[Mapping[Place, bytes]] | None) -> Rom | None:
    """What a delta stands on, out of what is at hand; None where nothing is."""
    if bases is None:
        return None
    place = part.kind, part.name if part.kind == fmt.RESOURCE else ""
    for one in bases:
        old = one.get(place, b"")[: part.base_size]
        if len(old) == part.base_size and sha256(old).digest() == part.base_sha:
            return Rom(old)
    wanted = f"{part.base_size:,} bytes, SHA-256 {part.base_sha.hex()[:16]}"
    raise Refused("other-base", f"the {part.name} is a delta to other bytes than --base has: it wants {wanted}")


def _unlock(data: bytes, package: Package, device_keys: Sequence[bytes]) -> None:
    if not device_keys:
        ids = recipients(data, package)
        names = " or ".join(ids[:4]) + (f" or {len(ids) - 4} more" if len(ids) > 4 else "")
        raise Refused("sealed", f"the package is encrypted for device key {names}; --device-key FILE looks into it")
    decrypt.unlock(package, list(device_keys), bytearray(data[:HEADER]))
