"""What goes into the image store: a .bin, as it is or taken out of an Intel HEX file, for one of the vendor's slots."""

from __future__ import annotations

import base64

from mpota.layout.pic32.layout import SIGNATURE
from mpota.layout.pic32.port import judge
from mpota.layout.pic32.store import control
from mpota.layout.pic32.store.files import SIGNATURE_SIZE
from mpota_boot.errors import Refused
from mpota_host.chips.pic32 import hexfile
from mpota_host.chips.pic32.binfile import LAYOUTS, PAGE


def prepare(firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The .bin in `firmware`, notes on what was done, and its facts. Raises Refused."""
    notes = []
    if firmware[:1] == b":":
        release, firmware = _from_hex(firmware)
        notes.append(f"an Intel HEX file: took the slot of release {release}, {len(firmware):,} bytes")
    page = control.Control.decode(firmware[: control.HEAD].ljust(control.HEAD, b"\0"))
    releases = [r for r in LAYOUTS if page and hexfile.fold(page.boot) == hexfile.fold(hexfile.slot_of(r).address)]
    slot = hexfile.slot_of(releases[0] if releases else "3.7")
    judge(firmware[:PAGE], len(firmware), slot.address)
    if len(firmware) > slot.size:
        raise Refused("size", f"an image of {len(firmware):,} bytes, a slot has {slot.size:,}")
    return firmware, notes, {"address": f"0x{slot.address:x}", "release": releases[0]}


def _from_hex(text: bytes) -> tuple[str, bytes]:
    found = hexfile.load(text)
    for release in LAYOUTS:
        slot = hexfile.slot_of(release)
        if hexfile.has(found, slot.start):
            data = hexfile.binary(found, slot)
            page = control.Control.decode(data[: control.HEAD].ljust(control.HEAD, b"\0"))
            if page and hexfile.fold(page.boot) == hexfile.fold(slot.address):
                hexfile.fits(found, slot)
                return release, data
    starts = " or ".join(f"0x{start:08x}" for start, _ in LAYOUTS.values())
    raise Refused("slot", f"no control page at {starts}: is it the application's HEX?")


def bare(name: str, data: bytes) -> bool:
    """Is this resource the image's signature, which goes beside the image and not into an application?"""
    if name != SIGNATURE:
        return False
    try:
        raw = base64.b64decode(data.strip(), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 64 or len(data) > SIGNATURE_SIZE:
        text = "the resource %s is no signature: give the NAME_sign.txt that `mpota pic32 pack --key` makes"
        raise Refused("resource", text % SIGNATURE)
    return True
