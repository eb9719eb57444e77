"""A board's memory map out of the project that its programs are built from: a header of C, or ptab.json.

The project's file is the one source: the addresses that a linker used are those that the manager writes to. What goes
on the board is memory_map.json (device/mpota/layout/sifli/port.py has its names).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpota.layout.sifli.port import AREAS
from mpota_boot.errors import Refused
from mpota_host.chips.sifli.cheader import Header

Place = tuple[int, int]
# What a place of the map is called in the vendor's projects; the first one that is there counts. A second upgrade area
# is this project's own, so the vendor has no name for it.
NAMES: dict[str, tuple[str, ...]] = {
    "table": ("FLASH_TABLE",),
    "manager": ("DFU_FLASH_CODE",),
    "user": ("HCPU_FLASH_CODE",),
    "upgrade": ("DFU_RES_FLASH_CODE", "DFU_DOWNLOAD_REGION"),
    "upgrade2": ("MPOTA_UPGRADE2",),
    "state": ("KVDB_DFU_REGION",),
    "lcpu": ("LCPU_FLASH_CODE",),
    "patch": ("LCPU_PATCH_FLASH",),
    "res": ("HCPU_FLASH2_IMG", "HCPU_FLASH_IMG"),
    "font": ("HCPU_FLASH2_FONT", "HCPU_FLASH_FONT"),
    "ex": ("HCPU_FS_ROOT",),
    "tiny_font": ("HCPU_FLASH2_TINY_FONT",),
    "res_upgrade": ("HCPU_FLASH2_IMG_UPGRADE",),
}
NEEDED = ("table", "manager", "user", "upgrade", "state")
# Sectors of `state`: a journal has two, each staging area one.
JOURNAL = 2
# Where the flash table of a NAND board lies.
NAND = 0x62000000
NAND_WORDS = (
    "the flash is NAND, which mpota does not write: it has erase units of 128 KiB, packet numbers of four bytes,"
    " and two program slots that the flash table switches"
)
# The address space of one flash, by the windows of the chips' controllers.
WINDOW = 0x2000000


@dataclass
class Map:
    """`places` as memory_map.json has them; `notes` for a person."""

    places: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The file."""
        return json.dumps(self.places, indent=1) + "\n"


def read(
    *paths: Path, defines: dict[str, str] | None = None, names: dict[str, str] | None = None, sector: int = 4096
) -> Map:
    """The map of a project's ptab.json, or of its headers, read one after the other.

    Refused where it is none, or would lose something. `defines` are given to a header as a compiler gets them;
    `names`: place -> what it is called here, "" for one to leave out.
    """
    wanted = _wanted(names or {})
    for path in paths:
        if path.suffix in (".yaml", ".yml"):
            raise Refused("map", f"{path.name} is a table of the third version: give the ptab.h that its build makes")
        if path.suffix == ".json" and len(paths) > 1:
            raise Refused("map", f"{path.name} is a whole table: give it alone")
    found = _ptab(_json(paths[0]), wanted) if paths[0].suffix == ".json" else _header(paths, defines or {}, wanted)
    return _map(found, sector)


@dataclass
class Found:
    """What a file says. `others` are areas that no image goes to; `base` the flash's address where the file says it."""

    places: dict[str, Place]
    others: dict[str, Place] = field(default_factory=dict)
    base: int | None = None
    names: dict[str, str] = field(default_factory=dict)


def _wanted(names: dict[str, str]) -> dict[str, tuple[str, ...]]:
    for name in names:
        if name not in NAMES:
            raise Refused("map", f"{name} is no place of a map: there are {', '.join(NAMES)}")
    return {**NAMES, **{name: (given,) if given else () for name, given in names.items()}}


def _header(paths: tuple[Path, ...], defines: dict[str, str], wanted: dict[str, tuple[str, ...]]) -> Found:
    header = Header(defines, [path.parent for path in paths])
    for path in paths:
        header.read(path)
    found = Found({})
    for name, stems in wanted.items():
        for stem in stems:
            at, size = header.number(f"{stem}_START_ADDR"), header.number(f"{stem}_SIZE")
            if at is not None and size is not None:
                found.places[name], found.names[name] = (at, size), stem
                break
    if not found.places:
        more = f"; {', '.join(header.missing)} is not beside it" if header.missing else ""
        words = "none of the vendor's areas, such as HCPU_FLASH_CODE_START_ADDR"
        raise Refused("map", f"{paths[-1].name} has {words}{more}")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeError) as e:
        raise Refused("map", f"{path.name} is no JSON: {e}") from None


def _ptab(data: Any, wanted: dict[str, tuple[str, ...]]) -> Found:
    """A partition table of the vendor's first or second version."""
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise Refused("map", "no partition table: a list of memories is wanted")
    tagged: dict[str, tuple[Place, int]] = {}
    rest: list[tuple[str, Place, int]] = []
    for memory in (one for one in data if "regions" in one):
        base = _integer(memory.get("base"), f"the base of {memory.get('mem')}")
        for region in memory["regions"]:
            offset = _integer(region.get("offset"), f"an offset in {memory.get('mem')}")
            place = base + offset, _integer(region.get("max_size"), f"a size in {memory.get('mem')}")
            tags = region.get("tags") or []
            for tag in tags:
                tagged.setdefault(tag, (place, base))
            rest.append((tags[0] if tags else region.get("img") or region.get("name") or "area", place, base))
    found = Found({})
    for name, stems in wanted.items():
        stem = next((stem for stem in stems if stem in tagged), None)
        if stem:
            found.places[name], found.names[name] = tagged[stem][0], stem
    if "table" in found.places:
        found.base = tagged[found.names["table"]][1]
    taken = list(found.places.values())
    found.others = {n.lower(): place for n, place, base in rest if base == found.base and place not in taken}
    return found


def _integer(value: Any, what: str) -> int:
    try:
        n = int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError):
        raise Refused("map", f"{what} is {value!r}, wanted a number such as 0x20000") from None
    if not 0 <= n < 1 << 32:
        raise Refused("map", f"{what} is {n:#x}, wanted 0 to 0xffffffff")
    return n


def _map(found: Found, sector: int) -> Map:
    for name in NEEDED:
        if name not in found.places:
            words = " or ".join(f"{stem}_START_ADDR and {stem}_SIZE" for stem in NAMES[name])
            raise Refused("map", f"{name} is missing: the project has no {words}")
    base = found.places["table"][0] if found.base is None else found.base
    if found.places["table"][0] & 0xFF000000 == NAND:
        raise Refused("map", NAND_WORDS)
    notes = []
    for name in [n for n in found.places if not base <= found.places[n][0] < base + WINDOW]:
        at = found.places.pop(name)[0]
        words = f"{name} ({found.names[name]}) lies at {at:#010x}, outside the flash of the table at {base:#010x}"
        if name in NEEDED:
            raise Refused("map", f"{words}: mpota writes one flash")
        notes.append(f"{words}: left out, so no phone can bring it")
    places: dict[str, Any] = {"flash": base}
    areas = [found.places.pop(name) for name in ("upgrade", "upgrade2") if name in found.places]
    if len(areas) < AREAS:
        notes.append("one upgrade area: a program that fails has nothing to go back to; a second one is MPOTA_UPGRADE2")
    places |= {name: list(place) for name, place in found.places.items()}
    places["upgrade"] = [list(place) for place in areas]
    places |= {name: list(place) for name, place in found.others.items() if name not in places}
    check(places, sector)
    return Map(places, notes)


def rows(places: dict[str, Any]) -> list[tuple[int, int, str]]:
    """(address, bytes, name) of every place, by address."""
    found = [(*place, name) for name, place in places.items() if name not in ("flash", "upgrade")]
    found += [(*place, f"upgrade {i}" if i else "upgrade") for i, place in enumerate(places["upgrade"])]
    return sorted((int(at), int(n), name) for at, n, name in found)


def check(places: dict[str, Any], sector: int = 4096) -> None:
    """Refused where two places share bytes, one is no whole number of sectors, or `state` has too few of them."""
    end, last = 0, ""
    for at, n, name in rows(places):
        if at < end:
            raise Refused("map", f"{last} and {name} overlap: {name} begins at {at:#010x}, {last} ends at {end:#010x}")
        if not n or (name not in ("table", "manager") and ((at - places["flash"]) % sector or n % sector)):
            raise Refused("map", f"{name} has {n:#x} bytes at {at:#010x}, wanted whole sectors of {sector:,}")
        end, last = at + n, name
    want = (JOURNAL + len(places["upgrade"])) * sector
    if places["state"][1] < want:
        words = f"wanted {want:,}: a journal and a page for each area"
        raise Refused("map", f"state has {places['state'][1]:,} bytes, {words}")


def lines(places: dict[str, Any]) -> list[str]:
    """A line for each place, by address."""
    return [f"{at:#010x}  {n:>10,} bytes  {name}" for at, n, name in rows(places)]


def is_map(data: bytes) -> bool:
    """Are these the bytes of a memory_map.json?"""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and all(name in found for name in ("flash", *NEEDED))


def want_same(places: dict[str, Any], path: Path) -> None:
    """Refused where a board's map is not the project's."""
    text = same(places, _json(path))
    if text:
        raise Refused("map", f"{path} is not the project's map: {text}; make it anew with -o {path}")


def same(places: dict[str, Any], other: Any) -> str:
    """What of a board's map differs from this one, "" where nothing does."""
    if not isinstance(other, dict):
        return "it is no map"
    want, seen = json.loads(json.dumps(places)), json.loads(json.dumps(other))
    for name in sorted({*want, *seen}):
        if want.get(name) != seen.get(name):
            return f"{name} is {_words(seen.get(name))}, wanted {_words(want.get(name))}"
    return ""


def _words(place: Any) -> str:
    if isinstance(place, list):
        return "[" + ", ".join(map(_words, place)) + "]"
    return f"{place:#x}" if isinstance(place, int) else "missing"
