"""Intel HEX of a PIC32MZW1: the slot's bytes out of it, as the vendor's hex2bin takes them, and two files made one.

Addresses are physical. hex2bin knows records 00, 01 and 04 only, fills gaps with FF, ends at the highest byte that is
used and drops what lies outside the slot.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from intelhex import IntelHex, IntelHexError

from mpota.layout.pic32.store import control
from mpota_boot.errors import Refused
from mpota_host.chips.pic32.binfile import LAYOUTS

# 0xBFC55E88 and up, where the configuration words are, and the rest of that page.
FUSES = range(0x1FC55E80, 0x1FC56000)
# Virtual addresses of kseg1 above physical ones.
KSEG1 = 0xA0000000
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


def load(text: bytes, name: str = "the file") -> IntelHex:
    """The bytes in a HEX file; Refused where it is none, or has records that hex2bin does not know."""
    lines = text.splitlines()
    for n, line in enumerate(lines, 1):
        kind = line[7:9]
        if kind == b"01" and n < len(lines):
            raise Refused(
                "hex", f"{name}, line {n}: its end record, and {len(lines) - n} more lines: two files in one?"
            )
        if line[:1] != b":" or kind not in (b"00", b"01", b"04"):
            seen = f"a record of type {kind.decode(errors='replace')}" if line[:1] == b":" else "no record"
            raise Refused("hex", f"{name}, line {n}: {seen}; hex2bin takes 00, 01 and 04")
    found = IntelHex()
    try:
        found.loadhex(io.StringIO(text.decode("ascii")))
    except (IntelHexError, UnicodeDecodeError) as e:
        raise Refused("hex", f"{name}: {e}") from e
    if not lines or lines[-1][7:9] != b"01":
        raise Refused("hex", f"{name} was cut: it has no end record in its last line")
    return found


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
    if page is None or page.boot != slot.address or len(data) <= control.PAGE:
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
