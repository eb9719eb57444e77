"""Who lets an upgrade in: a control packet is judged here, in the vendor's order, before anything is written.

A result is a number of the protocol. Stricter than the vendor's code, rule by rule in FORMAT.md: the manager is not
replaced, no image comes twice, and an encrypted user program needs a flash table that can take its key.
"""

from device.errors import Refused
from device.layout.sifli import control, progress, table, wire
from device.layout.sifli.codes import (
    CONTROL_INVALID,
    FW_VER,
    GENERAL,
    NO_SPACE,
    NOT_READY,
    OK,
    ONGOING,
    PARAMETER,
    SDK_VER,
    UNEXPECTED,
    USER_REJECT,
)

RESULTS = {"control-hash": GENERAL, "control-signature": CONTROL_INVALID, "control-fields": CONTROL_INVALID}
# A chip that does not know its SDK's version says so, and takes any.
ANY_SDK = 0xFFFFFFFF


class Gate:
    """What this program lets in: `accept(control)` (None: nobody is there to ask), `admits(firmware version)`."""

    def __init__(self, accept, admits=None, sdk=ANY_SDK):
        self.accept = accept
        self.admits = admits
        self.sdk = sdk


def judge(chip, gate, packet, state, ongoing):
    """(result, Control) of a control packet, in the vendor's order. `ongoing`: does an upgrade under way forbid it?"""
    if not chip.ready or chip.journal.closed():
        return NOT_READY, None
    try:
        found = control.content(packet, chip.root_key, chip.nonce)
        found = control.read(packet, chip.root_key, chip.nonce, chip.public())
    except Refused as e:
        return RESULTS[e.code], None
    if state not in (progress.IDLE, progress.FORCE_UPDATE):
        return UNEXPECTED, None
    result = _permit(gate, found, ongoing) or _room(chip, found)
    if not result and not gate.accept(found):
        result = USER_REJECT
    return result, found


def _permit(gate, found, ongoing):
    if found.dfu > control.MANAGER:
        return GENERAL
    # The manager is what starts the chip, and there is one place for it: no way to change it survives a cut.
    if gate.accept is None or found.dfu == control.MANAGER:
        return USER_REJECT
    if found.sdk > gate.sdk:
        return SDK_VER
    if gate.admits and not gate.admits(found.fw):
        return FW_VER
    return ONGOING if ongoing else OK


def _room(chip, found):
    """Does every image have a place, and fit in it?"""
    seen = []
    for image in found.images:
        place = chip.place(image.id)
        if place == 0 or image.id in seen:
            return PARAMETER
        # A packet's number has two bytes.
        if place is None or image.length > place.size or wire.count(image.length, found.block) > 0xFFFF:
            return NO_SPACE
        if found.block % chip.flash.prog_size:
            return PARAMETER
        # The loader decrypts by the key in the flash table, so the table has to take it.
        if image.id == control.HCPU and image.flags & control.ENC and not table.writable(chip.table, table.IMG_HCPU2):
            return USER_REJECT
        seen.append(image.id)
    slot = chip.free()
    if found.staging(None, chip.flash.erase_size) > chip.slots[slot].size:
        return NO_SPACE
    return OK if seen else PARAMETER
