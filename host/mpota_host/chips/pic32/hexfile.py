"""Intel HEX of a PIC32MZW1: the slot's bytes out of it, as the vendor's hex2bin takes them, and two files made one.

Addresses are physical. Those of the two virtual windows, KSEG0 (0x80000000) and KSEG1 (0xA0000000), are folded, so one
place has one address. hex2bin knows records 00, 01 and 04 only, fills gaps with FF, ends at the highest byte that is
used and drops what lies outside the slot.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from intelhex import IntelHex

from mpota.layout.pic32.store import control
from mpota_boot.errors import Refused
from mpota_host.chips.pic32.binfile import LAYOUTS

# 0xBFC55E88 and up, where the configuration words are, and the rest of that page.
FUSES = range(0x1FC55E80, 0x1FC56000)
# Virtual addresses of KSEG1 above physical ones. Those of KSEG0 and KSEG1, and the bits of them that are physical.
KSEG1 = 0xA0000000
VIRTUAL = range(0x80000000, 0xC0000000)
PHYSICAL = 0x1FFFFFFF
# Text behind it counts for nothing: DOS ended its files so.
CTRL_Z = b"\x1a"
SHOWN = 5


@dataclass(frozen=True)
class Slot:
    """Where an application lies: physical start and size."""

    start: int
    size: int

    @property
    def address(self) -> int:
        """Where the processor starts it."""
        return self.start + KSEG1 + control.PAGE


def slot_of(release: str) -> Slot:
    """The slot of a vendor's release."""
    return Slot(*LAYOUTS[release])


def fold(address: int) -> int:
    """The physical address of one that may be virtual."""
    return address & PHYSICAL if address in VIRTUAL else address


def load(text: bytes, name: str = "the file") -> IntelHex:
    """The bytes in a HEX file; Refused where it is none, or has records that hex2bin does not know."""
    found, base, end = IntelHex(), 0, 0
    for n, line in enumerate(text.partition(CTRL_Z)[0].splitlines(), 1):
        if not line.strip():
            continue
        if end:
            raise Refused(
                "hex", f"{name}, line {n}: more records behind the end record in line {end}: two files in one?"
            )
        kind, at, data = _record(line.rstrip(), f"{name}, line {n}")
        if kind == 4:
            base = int.from_bytes(data, "big") << 16
        elif kind == 1:
            end = n
        else:
            _put(found, fold(base + at), data, f"{name}, line {n}")
    if not end:
        raise Refused("hex", f"{name} was cut: it has no end record in its last line")
    return found


def _record(line: bytes, where: str) -> tuple[int, int, bytes]:
    """Type, offset and data of one line."""
    try:
        raw = bytes.fromhex(line[1:].decode("ascii")) if line[:1] == b":" else b""
    except ValueError:
        raw = b""
    if len(raw) < 5:
        raise Refused("hex", f"{where}: no record; Intel HEX has a colon and pairs of hex digits")
    kind, data = raw[3], raw[4:-1]
    if kind not in (0, 1, 4):
        raise Refused("hex", f"{where}: a record of type {kind:02x}; hex2bin takes 00, 01 and 04")
    if raw[0] != len(data) or (kind == 4 and len(data) != 2) or (kind == 1 and data):
        wanted = {1: 0, 4: 2}.get(kind, raw[0])
        raise Refused("hex", f"{where}: {len(data)} bytes of data in a record of type {kind:02x}, wanted {wanted}")
    if sum(raw) & 0xFF:
        good = -sum(raw[:-1]) & 0xFF
        raise Refused("hex", f"{where}: its checksum is {raw[-1]:02X}, wanted {good:02X}: the line was changed or cut")
    return kind, int.from_bytes(raw[1:3], "big"), data


def _put(found: IntelHex, address: int, data: bytes, where: str) -> None:
    """Bytes at an address; the same byte twice is one, and another one is a conflict."""
    cells: dict[int, int] = found._buf
    for i, byte in enumerate(data):
        if cells.setdefault(address + i, byte) != byte:
            there = cells[address + i]
            raise Refused("conflict", f"{where}: 0x{address + i:08x} gets {byte:02x} and has {there:02x}")


def has(found: IntelHex, address: int) -> bool:
    """Is there a byte? (`in` would look through all addresses there are.)"""
    return any(low <= address < high for low, high in found.segments())


def binary(found: IntelHex, slot: Slot) -> bytes:
    """The .bin: from the slot's start to the highest byte in it."""
    if not has(found, slot.start):
        raise Refused("slot", f"nothing lies at 0x{slot.start:08x}: another --release, --start or --size?")
    ends = [min(high, slot.start + slot.size) for low, high in found.segments() if low < slot.start + slot.size]
    end = max(ends)
    found.padding = 0xFF
    return bytes(found.tobinarray(start=slot.start, size=end - slot.start))


def fits(found: IntelHex, slot: Slot) -> None:
    """Refused where the slot's bytes are no image of its own: hex2bin makes a .bin of them that no board can start."""
    data = binary(found, slot)
    page = control.Control.decode(data[: control.HEAD].ljust(control.HEAD, b"\0"))
    if page is None or fold(page.boot) != fold(slot.address) or len(data) <= control.PAGE:
        seen = "no control page" if page is None else f"an image of {len(data):,} bytes for 0x{page.boot:x}"
        raise Refused("slot", f"at 0x{slot.start:08x} lies {seen}, wanted a page and code for 0x{slot.address:x}")
    end = slot.start + slot.size
    if any(low < end < high for low, high in found.segments()):
        raise Refused("size", f"the image goes on behind 0x{end:08x}, where its slot ends")


def factory(found: IntelHex, slot: Slot) -> bytes:
    """What the bootloader makes of the same at its first boot: the whole slot, status F8."""
    data = binary(found, slot)
    return bytes((control.VALID,)) + data[1:] + b"\xff" * (slot.size - len(data))


def conflicts(boot: IntelHex, app: IntelHex) -> tuple[list[int], list[int]]:
    """Addresses where both have bytes that differ: those of configuration words, and others."""
    one, two = boot.todict(), app.todict()
    differ = sorted(a for a in two if isinstance(a, int) and a in one and one[a] != two[a])
    return [a for a in differ if a in FUSES], [a for a in differ if a not in FUSES]


def unify(boot: IntelHex, app: IntelHex, keep_fuses: bool = False) -> IntelHex:
    """One HEX for a programmer. Refused where bytes conflict, by address; `keep_fuses`: the bootloader's words win."""
    fuses, others = conflicts(boot, app)
    if others:
        raise Refused("conflict", f"bootloader and application differ at {_listed(others, boot, app)}")
    if fuses and not keep_fuses:
        said = _listed(fuses, boot, app)
        raise Refused(
            "fuses", f"configuration words differ at {said}: make them equal, or say --keep-fuses, the bootloader's"
        )
    both = IntelHex()
    both.merge(app, overlap="replace")
    both.merge(boot, overlap="replace")
    both.start_addr = None
    return both


def _listed(where: list[int], boot: IntelHex, app: IntelHex) -> str:
    shown = ", ".join(f"0x{a:08x} ({boot[a]:02x} and {app[a]:02x})" for a in where[:SHOWN])
    return shown + (f" and {len(where) - SHOWN} more" if len(where) > SHOWN else "")


def text(found: IntelHex) -> bytes:
    """The file."""
    out = io.StringIO()
    found.write_hex_file(out)
    return out.getvalue().encode()
