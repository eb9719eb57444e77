"""Explains the vendor's files: a .bin or a control page, the image database, a manifest, a HEX file, a whole store."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from mpota.layout.pic32.link import manifest
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.control import DOWNLOADED, VALID
from mpota.layout.pic32.store.files import fold
from mpota_boot.errors import OtaError
from mpota_host.chips.pic32 import fatimage, hexfile
from mpota_host.chips.pic32.binfile import LAYOUTS, PAGE
from mpota_host.chips.pic32.packer import VENDOR_LIMIT, room
from mpota_host.chips.pic32.sim import machine
from mpota_host.chips.pic32.sim.chip import PROGRAM
from mpota_host.package.report import Report, Table

TYPES = {0: "flash programmer", 1: "production", 2: "debug", 3: "factory"}
WHOLE = "whole"
# Each of these is in an image store alone.
OF_A_STORE = (database.NAME, database.NEW, golden.FACTORY_FILE, golden.FACTORY_DIGEST)
COLUMNS = ("image", "status", "number", "file")


def explain(data: bytes) -> Report | None:
    """What the bytes are, None where they are nothing of this vendor's."""
    for look in (_hex, _dump, _binary, _fat, _manifest, _signature, _database):
        report = look(data)
        if report:
            return report
    return None


def _page(data: bytes) -> tuple[list[tuple[str, str]], dict[str, object]]:
    page = control.Control.decode(data)
    assert page
    release = next(
        (r for r in LAYOUTS if hexfile.fold(hexfile.slot_of(r).address) == hexfile.fold(page.boot)), "unknown"
    )
    facts: dict[str, object] = {
        "status": f"{page.status:02x}",
        "type": TYPES.get(page.kind, f"{page.kind:02x}"),
        "version": page.version,
        "boot": f"0x{page.boot:x}",
        "release": release,
    }
    rows = [
        ("status", f"{page.status:02X} {control.NAMES.get(page.status, 'cut short')}"),
        ("type", str(facts["type"])),
        ("version", f"{page.version} in the page, image {database.number(page.version)}"),
        ("starts at", f"{facts['boot']}, the slot of release {release}"),
    ]
    return rows, facts


def _binary(data: bytes) -> Report | None:
    if len(data) < control.HEAD or data[3] > control.FACTORY:
        return None
    page = control.Control.decode(data[: control.HEAD])
    if page is None or page.boot >> 20 not in (0x900, 0xB00) or page.boot % PAGE:
        return None
    rows, facts = _page(data[: control.HEAD])
    sha = sha256(data).hexdigest()
    facts |= {"size": len(data), "digest": sha, "code": max(len(data) - PAGE, 0)}
    rows += [("code", f"{facts['code']:,} bytes"), ("Digest", sha)]
    whole = page.status == VALID and page.kind == control.FACTORY
    kind = "control page" if len(data) <= PAGE else "factory image" if whole else "application"
    return Report(kind, f"a PIC32MZW1's {kind}", facts, [Table("", ("what", "value"), rows)])


def _dump(data: bytes) -> Report | None:
    """Program flash, alone or with the rest of a virtual board behind it."""
    if len(data) not in (PROGRAM, machine.SIZE):
        return None
    for release in LAYOUTS:
        slot = hexfile.slot_of(release)
        at = slot.start & (PROGRAM - 1)
        page = control.Control.decode(data[at : at + control.HEAD])
        if page and hexfile.fold(page.boot) == hexfile.fold(slot.address):
            rows, facts = _page(data[at : at + control.HEAD])
            rows += [("code", _code(data[at : at + slot.size], page))]
            return Report("flash dump", "a PIC32MZW1's flash", facts, [Table("", ("what", "value"), rows)])
    if len(data) == PROGRAM:
        return None
    # A programming was cut.
    return Report("flash dump", "a PIC32MZW1's flash without a control page: its bootloader programs next", {}, [])


def _code(slot: bytes, page: control.Control) -> str:
    if not page.sealed or page.size > len(slot):
        return "nobody noted its digest"
    whole = sha256(slot[PAGE : page.size]).digest() == page.code
    return f"{page.size - PAGE:,} bytes, {'whole' if whole else 'not what was programmed'}"


def _hex(data: bytes) -> Report | None:
    if data[:1] != b":":
        return None
    try:
        found = hexfile.load(data)
    except OtaError as e:
        return Report("Intel HEX", f"a broken Intel HEX file: {e}", {"error": str(e)}, ok=False)
    rows = [(f"0x{low:08x}", f"{high - low:,}", _where(low)) for low, high in found.segments()]
    facts: dict[str, object] = {"segments": [[low, high] for low, high in found.segments()]}
    return Report("Intel HEX", "an Intel HEX file", facts, [Table("", ("from", "bytes", "what"), rows)])


def _where(address: int) -> str:
    if address in hexfile.FUSES:
        return "configuration words"
    if address >> 24 == 0x1F:
        return "boot flash"
    slot = hexfile.slot_of("3.7")
    return "slot of 3.7" if slot.start <= address < slot.start + slot.size else ""


def _manifest(data: bytes) -> Report | None:
    if data.lstrip()[:1] != b"{" or b'"ota"' not in data.lower():
        return None
    try:
        found = manifest.parse(data)
    except OtaError as e:
        return Report("manifest", f"a broken manifest: {e}", {"error": str(e)}, ok=False)
    rows = [("bytes", _room(len(data)))] + [("offers", _offer(one)) for one in found.offers]
    rows += [("withdraws", _withdrawal(one)) for one in found.erase] + [("left out", text) for text in found.wrong]
    facts: dict[str, object] = {
        "takes": found.offer and found.offer.number,
        "erases": [entry.number for entry in found.erase],
        "wrong": found.wrong,
        "bytes": len(data),
        "fits": len(data) <= manifest.MOST,
    }
    text = "a manifest of the vendor's"
    if not facts["fits"]:
        text += f" that no board reads: {len(data):,} bytes, and they read {manifest.MOST:,}"
    table = Table("", ("what", "value"), rows or [("offers", "nothing")])
    return Report("manifest", text, facts, [table], not found.wrong and bool(facts["fits"]))


def _room(n: int) -> str:
    vendor = room(VENDOR_LIMIT)
    return f"{n:,}" + (f"; the vendor's own service reads {vendor:,}" if vendor < n <= manifest.MOST else "")


def _offer(entry: manifest.Entry) -> str:
    return f"image {entry.number}{_signed(entry)}, {entry.url}"


def _withdrawal(entry: manifest.Entry) -> str:
    return f"image {entry.number}{_signed(entry)}"


def _signed(entry: manifest.Entry) -> str:
    whose = f" of {entry.product}" if entry.product else ""
    how = "number and image" if entry.proof else "image" if entry.signature else ""
    return f"{whose}, {how} signed" if how else whose


def _signature(data: bytes) -> Report | None:
    text = data.strip()
    try:
        raw = base64.b64decode(text, validate=True) if len(text) == 88 else b""
    except ValueError:
        return None
    if len(raw) != 64:
        return None
    return Report("signature", "a signature of P-256, as a PIC32MZW1's store has one beside an image", {"size": 64})


def _database(data: bytes) -> Report | None:
    try:
        rows = database.parse(data.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if not any(row.whole for row in rows):
        return None
    return _told(rows, "an image database", {})


def _told(rows: list[database.Row], what: str, files: dict[str, str], more: Sequence[tuple[str, ...]] = ()) -> Report:
    lines: list[tuple[str, ...]] = []
    facts = []
    for row in rows:
        if not row.whole:
            lines.append((",".join(row.fields)[:40], "not whole", "", ""))
            continue
        state = control.NAMES.get(row.status, f"{row.status:02x}")
        lines.append((row.name, state, str(database.number(row.version)), files.get(row.name, "")))
        facts.append({"name": row.name, "status": f"{row.status:02x}", "number": database.number(row.version)})
    ok = all(row.whole for row in rows)
    return Report("image database", what, {"images": facts}, [Table("", COLUMNS, [*lines, *more])], ok)


def _fat(data: bytes) -> Report | None:
    """A dump of the external flash, or of a card, whose FAT has an image store in one of its folders."""
    fat = fatimage.mounted(data)
    for path, files in fatimage.folders(fat) if fat else ():
        held = Held([(file.name, file.short, file.read) for file in files])
        if held.is_store():
            report = _store(held)
            assert fat
            report.text = f"FAT{fat.bits}, {len(data):,} bytes, with {report.text} in {path}"
            report.facts |= {"fat": fat.bits, "folder": path}
            return report
    return None


class Held:
    """The files of a store, found as FAT finds them: in any case, without dots at the end, by their short names."""

    def __init__(self, files: Iterable[tuple[str, str, Callable[[], bytes]]]) -> None:
        self.files = list(files)

    def get(self, name: str) -> bytes | None:
        """A file's bytes, None where there is none of that name."""
        for here in (0, 1):
            for file in self.files:
                if fold(str(file[here])) == fold(name):
                    return file[2]()
        return None

    def is_store(self) -> bool:
        """Has it a file that only a store has?"""
        return any(self.get(name) is not None for name in OF_A_STORE)


def store(folder: Path) -> Report | None:
    """Rows, files and the factory image of a store, and the image that comes first; None where it is no store."""
    held = Held((path.name, "", path.read_bytes) for path in sorted(folder.iterdir()) if path.is_file())
    return _store(held) if held.is_store() else None


def _store(held: Held) -> Report:
    rows = _rows(held)
    seen = {row.name: _file(held, row) for row in rows if row.whole}
    best = None
    for row in rows:
        # What its bootloader passes over or marks does not come first.
        fit = row.whole and row.status in (DOWNLOADED, VALID) and seen[row.name] == WHOLE
        if fit and row.version > (best.version if best else 0):
            best = row
    golden_one = _golden(held)
    whole = golden_one == WHOLE
    first = f"{best.name} comes first" if best else "the factory image comes first" if whole else "nothing would start"
    more = [(golden.FACTORY_FILE, "factory image", "", golden_one)]
    report = _told(rows, f"an image store: {first}", seen, more)
    report.kind = "image store"
    report.facts |= {"first": best.name if best else None, "factory": whole}
    report.ok = report.ok and (best is not None or whole)
    return report


def _rows(held: Held) -> list[database.Row]:
    """As device/layout/pic32/database.load() reads them, and nothing is written."""
    new = (held.get(database.NEW) or b"")[: database.MOST]
    whole = bool(new) and new[:9] == b"%08x\n" % crc32(new[9:])
    data = new[9:] if whole else (held.get(database.NAME) or b"")[: database.MOST]
    return database.parse(data.decode("latin1"))


def _golden(held: Held) -> str:
    """What its bootloader will think of the factory image; its size is that of one of the vendor's slots."""
    data = held.get(golden.FACTORY_FILE)
    if data is None:
        return "missing"
    page = control.Control.decode(data[: control.HEAD].ljust(control.HEAD, b"\xff"))
    if page is None or (page.status, page.kind) != (VALID, control.FACTORY):
        return "not a factory image"
    noted = held.get(golden.FACTORY_DIGEST) or b""
    if len(noted) == 32 and noted != sha256(data).digest():
        return "not what its digest says"
    return WHOLE if len(data) in [size for _, size in LAYOUTS.values()] else f"{len(data):,} bytes, no slot has that"


def _file(held: Held, row: database.Row) -> str:
    data = held.get(row.name)
    if data is None:
        return "missing"
    return WHOLE if sha256(data).digest() == row.digest else "not what its row says"
