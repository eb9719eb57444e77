"""What boots on a toy chip: the slot that the tag `slot` of the journal names.

The loader counts nothing and goes back only where no whole image lies. So the boots of a trial are counted here, and a
retreat takes the trial's boots away before it names the slot before: whichever image runs after a cut can finish it.
"""

from mpota.layout import contract
from mpota.layout.toy import image
from mpota.stream import FIRMWARE
from mpota_boot.errors import Corrupt, FlashError, NotNow, Refused
from mpota_boot.journal import trial


class Layout(contract.Layout):
    """`port` is a port.Port."""

    NAME = "toy"

    def chosen(self):
        """The slot that the loader tries first."""
        data = self.journal.last("slot")
        return data[0] if data else 0

    def choose(self, slot):
        """Let the loader try this slot first: one record of the journal."""
        if self.chosen() != slot:
            self.journal.put("slot", bytes((slot,)))

    def ready(self):
        """NotNow while an update waits for its reset or its verdict."""
        self.idle()

    def target(self, part):
        """The slot that does not run."""
        if part.kind != FIRMWARE:
            raise Refused("kind", "this board takes firmware, no files: %r" % part.name)
        return self.port.slots[1 - self.port.running]

    def running(self, part):
        """The slot that runs."""
        return self.port.current

    def admit(self, part, head):
        """Judge the header before anything is erased."""
        n = image.length(head)
        if n != part.size:
            words = "an image of %d bytes by its header, in a component of %d" % (n, part.size)
            raise Refused("image", words if n else "no header of an image for this chip: pack one that is")

    def check(self, part):
        """Would the loader start what was written?"""
        if not image.whole(self.target(part), self.port.feed):
            raise Corrupt("image", "the program's CRC-32 is not that of its header: make the image again")

    def arm(self, package):
        """The last and the smallest write of an update."""
        record = self.fresh(package, 1 - self.port.running)
        self.journal.put("armed", record.encode())
        try:
            self.choose(record.slot)
        except FlashError:
            self.keep("armed", b"")
            raise

    def settle(self, why):
        """At a boot with a trial open. True: the board must reset."""
        record = trial(self.journal)
        if record is None:
            return False
        if record.slot == self.port.running:
            return self._count(record, why)
        if not record.trials:
            self.give_up(record, why)
        elif self.chosen() == record.slot:
            self.give_up(record, "the loader refused the image")
        else:
            # The power went before the loader could see it. It lies there whole: the next poll arms it again.
            self.journal.put("armed", b"")
        return False

    def _count(self, record, why):
        if self.spend(record):
            return False
        if self.chosen() == record.back:
            # The loader passed the way back over, and a reset would only come back here.
            self.give_up(record, why)
            return False
        self._leave(record, why)
        return True

    def _leave(self, record, why):
        """No more boots for what is on trial, then the slot before it."""
        self.note(record, why)
        record.trials = 0
        self.keep("armed", record.encode())
        self.choose(record.back)

    def confirm(self):
        """The image that runs is good."""
        record = self.on_trial()
        if record:
            self.choose(record.slot)
            self.kept(record)
        elif trial(self.journal):
            raise NotNow("staged", "an update waits for its restart: restart, or `rollback`")

    def retreat(self, why):
        """The image before boots at the next reset, which closes the trial."""
        record = self.on_trial()
        if record is None:
            raise NotNow("trial", "nothing is on trial")
        self._leave(record, why)

    def rollback(self, why):
        """By hand: end a trial, or drop an update that waits for its reset."""
        record = trial(self.journal)
        if record is None:
            raise NotNow("rollback", "nothing is on trial: pack the image before as a newer version")
        self._leave(record, why)

    def heal(self):
        """The loader passed over the slot that was named: name the one that runs."""
        if trial(self.journal) is None:
            self.choose(self.port.running)

    def status(self):
        """The facts."""
        facts = self.facts("slot %d" % self.port.running, self.ready)
        facts["takes"] = "images of this chip, no files"
        return facts
