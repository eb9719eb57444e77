"""A chip by its memory map and its eFuses: which part of the flash is what, and what an upgrade is held to.

The map is a dict, as memory_map.json has it: `flash`, the address where the flash begins; then [address, size] of
`table`, `manager`, `user`, `state` (four sectors: a journal, and a control packet for each staging area), of `upgrade`
(a list of one or two areas), and, where there are any, of `res`, `font`, `ex`, `tiny_font`, `res_upgrade`.

    eFuses: 0 UID 16 | 16 signature hash 8 | 24 A5 where secure boot is on | 96 root key 32
"""

from struct import pack, unpack

from cryptolib import aes

from mpota.layout.sifli.store import control, table
from mpota.store.flash import Region
from mpota.store.log import Log
from mpota_boot.errors import Refused
from mpota_boot.journal import Record

EFUSE_SIZE = 128
SECURE = 0xA5
# A retreat needs a second area.
AREAS = 2


def wanted(journal):
    """The Record of the firmware that was confirmed last, or None."""
    record = Record.decode(journal.last("running"))
    # slot == back: that update brought the application's files alone.
    return record if record and record.slot != record.back else Record.decode(journal.last("image"))


def known(chip):
    """If the journal no longer names the confirmed image, record the running one as the way back before arming."""
    user = chip.installed()
    if user and user.slot >= 0 and wanted(chip.journal) is None:
        old = Record(user.sha[:8], user.sha, bytes(8), user.stored, 0, user.slot, -1, 0, 0)
        chip.journal.put("image", old.encode())


def moved(record):
    """slot == back marks a files-only update. Firmware in its own old slot would look like one, so set back to -1."""
    if record.slot == record.back:
        record.back = -1
    return record


class User:
    """What the user program's place holds, whole: from which area, its bytes there, its bytes here.

    0 area i8 | 1 flags u8 | 4 stored bytes u32 | 8 their SHA-256 32 | 40 installed bytes u32 | 44 their SHA-256 32
    """

    FMT = "<bBxxI32sI32s"
    SIZE = 76

    def __init__(self, *fields):
        self.slot, self.flags, self.stored, self.sha, self.size, self.digest = fields

    @classmethod
    def decode(cls, data):
        """None where the bytes are none."""
        return cls(*unpack(cls.FMT, data)) if data and len(data) == cls.SIZE else None

    def encode(self):
        return pack(self.FMT, self.slot, self.flags, self.stored, self.sha, self.size, self.digest)


class Chip:
    """`flash` is the whole flash, `efuse` 128 bytes, `feed()` the watchdog's. `ready`: may an upgrade begin?"""

    ready = True
    # Which phones the wiring lets in, in words, for `status`.
    phones = ""
    # Where the application lies, as a Board has it.
    root = "/ota"
    protected = ()

    def __init__(self, flash, places, efuse, feed):
        self.places = places
        self.flash = flash
        self.base = places["flash"]
        self.efuse = efuse
        self.feed = feed
        self.table = self._region(places["table"])
        self.user = self._region(places["user"])
        self.slots = [self._region(place) for place in places["upgrade"][:AREAS]]
        for name in places:
            # A place that leaves the flash is said now, not to the first phone.
            if name in control.NAMES:
                self._region(places[name])
        state = self._region(places["state"])
        n = flash.erase_size
        self.journal = Log(Region(state, 0, 2 * n))
        self.pages = [Region(state, (2 + i) * n, n) for i in range(len(self.slots))]

    def _region(self, place):
        return Region(self.flash, place[0] - self.base, place[1])

    @property
    def nonce(self):
        """The eight bytes that begin every counter block."""
        return self.efuse[16:24]

    @property
    def root_key(self):
        return self.efuse[96:128]

    def public(self):
        """The key that upgrades are signed by: the table's, if the eFuses vouch for it, and secure boot is on."""
        from mpota.layout.sifli.pipe import signed

        der = table.public_key(self.table)
        if self.efuse[24] != SECURE:
            raise Refused("control-signature", "the eFuses do not say that secure boot is on")
        if signed.key_hash(der) != self.nonce:
            raise Refused("control-signature", "the key in the flash table is not the one that the eFuses name")
        return der

    def place(self, id):
        """Where an image goes in the end: a Region, None where this chip has none, 0 for an id that it knows not."""
        if id == control.HCPU:
            return self.user
        if id >= len(control.NAMES) or id in (control.LCPU, control.PATCH, control.OTA_MANAGER):
            return 0
        place = self.places.get(control.NAMES[id])
        return place and self._region(place)

    def installed(self):
        """The User that is whole, or None."""
        return User.decode(self.journal.last("user"))

    @property
    def running(self):
        """The staging area that the user program came from, -1 where that is not known."""
        user = self.installed()
        return user.slot if user else -1

    def free(self):
        """The staging area that an upgrade may overwrite: not the one that a retreat would need."""
        record = wanted(self.journal)
        slot = record.slot if record else self.running
        return 1 - slot if len(self.slots) > 1 and slot >= 0 else 0

    def wrap(self, key):
        """An image key as it is kept: encrypted with the root key, by this chip's UID."""
        return bytes(aes(self.root_key, 2, self.efuse[:16]).encrypt(key))

    def unwrap(self, key):
        """The image key that was kept."""
        return bytes(aes(self.root_key, 2, self.efuse[:16]).decrypt(key))
