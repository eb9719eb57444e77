"""An upgrade that was agreed on: how far it is, what it brings, where that lies. What an install needs of it.

Apart from upgrade.py, which writes it, because a manager that only installs has no memory for the other half.
"""

from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.store import packets, progress
from mpota.store.flash import Region
from mpota.store.writer import digest

# Where a Record points that was written in place: no area of the two.
IN_PLACE = -2


class Begun:
    """One upgrade under way: `now` is its Progress, `control` what it brings."""

    def __init__(self, chip):
        self.chip = chip
        self.now = progress.load(chip)
        self.control = packets.load(chip, self.now.slot) if self.now.fw and self.now.slot < len(chip.slots) else None
        if self.control is None or self.control.same() != self.now.same:
            self.control = None

    def keep(self, state):
        """Store the progress, with this state."""
        self.now.state = state
        progress.save(self.chip, self.now)

    def target(self, image):
        """The Flash that an image's stored bytes go to."""
        if not image.staged():
            return self.chip.place(image.id)
        area = self.chip.slots[self.now.slot]
        at = self.control.staging(image.id, self.chip.flash.erase_size)
        return Region(area, at, area.size - at)


def sound(chip, image, flash, buf):
    """The SHA-256 of an image if `flash` begins with it as it was signed, else None; read again before it is denied."""
    for _turn in (0, 1):
        sha = digest(flash, image.length, buf, chip.feed)
        if signed.verify(chip.public(), image.sig, sha):
            return sha
    return None
