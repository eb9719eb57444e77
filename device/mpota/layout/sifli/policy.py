"""Who lets an upgrade in: a control packet is judged here, in the vendor's order, before anything is written.

A result is a number of the protocol. Stricter than the vendor's code, rule by rule in FORMAT.md: the manager is not
replaced, no image comes twice, and an encrypted user program needs a flash table that can take its key.
"""

from binascii import crc32
from struct import unpack

from mpota.layout.sifli.link.codes import (
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
from mpota.layout.sifli.pipe import wire
from mpota.layout.sifli.store import control, packets, progress, table
from mpota_boot.errors import Refused

RESULTS = {"control-hash": GENERAL, "control-signature": CONTROL_INVALID, "control-fields": CONTROL_INVALID}
# A chip that does not know its SDK's version says so, and takes any.
ANY_SDK = 0xFFFFFFFF


class Policy:
    """What this program lets in: `accept(control)` (None: nobody is there to ask), `admits(firmware version)`.

    `again(firmware version)`: may a restart (FORCE_INIT) bring it although `admits` refuses it? Anybody can send one,
    so this is for the board's owner to say.
    """

    def __init__(self, accept, admits=None, sdk=ANY_SDK, again=None):
        self.accept = accept
        self.admits = admits
        self.sdk = sdk
        self.again = again
        self.restart = False

    def asked(self, restart):
        """This policy, asked by a restart or not."""
        if not restart:
            return self
        policy = Policy(self.accept, self.admits, self.sdk, self.again)
        policy.restart = True
        return policy


def newer(chip, floor):
    """An `admits`: only firmware that is newer than `floor()`, the 8 bytes of the version that was confirmed.

    A manager that cannot start the user program takes that version again: nothing is lost by it, and it may be all
    that there is.
    """

    def admits(fw):
        seen, low = control.version(fw), floor()
        return seen > low or (seen == low and forced(chip))

    return admits


def forced(chip):
    """Does the manager stay because something is half written, or there is no program to start?"""
    now = progress.load(chip)
    return bool(now.force or now.state == progress.FORCE_UPDATE)


def _old(chip, policy, found):
    """Is a package refused for its version? For one without a program the journal has the version of the last."""
    if policy.admits is None or (policy.restart and policy.again and policy.again(found.fw)):
        return False
    if not policy.admits(found.fw):
        return True
    last = chip.journal.last("brought")
    if found.image(control.HCPU) or not last or forced(chip):
        return False
    return found.fw <= unpack("<I", last)[0]


def judge(chip, policy, packet, state, ongoing):
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
    result = _permit(chip, policy, found, ongoing) or _room(chip, found)
    if not result and not policy.accept(found) and not _begun(chip, found):
        result = USER_REJECT
    return result, found


def _begun(chip, found):
    """Is it the package that keeps the manager until it is whole? It was let in when it was begun."""
    return forced(chip) and progress.load(chip).same == found.same()


def _permit(chip, policy, found, ongoing):
    if found.dfu > control.MANAGER:
        return GENERAL
    # The manager starts the chip and has one place, so replacing it cannot survive a cut.
    if policy.accept is None or found.dfu == control.MANAGER:
        return USER_REJECT
    if found.sdk > policy.sdk:
        return SDK_VER
    if _old(chip, policy, found):
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


def erasable(chip, slot):
    """Is the page of a staging area blank, or one that this board wrote?"""
    head, content = packets.content(chip, slot)
    if head[0] == packets.MAGIC or (content and crc32(content) == head[3]):
        return True
    # A page that was about to be written when the power went.
    if chip.journal.last("page") == bytes((slot,)):
        return True
    flash = chip.pages[slot]
    buf = bytearray(64)
    for off in range(0, flash.size, len(buf)):
        flash.read(off, buf)
        if buf != b"\xff" * len(buf):
            return False
    return True
