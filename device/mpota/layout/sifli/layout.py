"""A SiFli chip: one place for the user program, and staging areas whose compressed image a manager installs at a reset.

The rule that makes it right: arming is one record and nothing else. The manager compares what the journal wants with
what it last installed, and installs until they are the same; going back is the same step with the record before. So an
update is staged in the area that the program that runs did not come from, and where there is one area only, nothing
can be gone back to and the board waits in its manager instead.
"""

from mpota.layout import contract
from mpota.layout.sifli.loader.install import WORN, staged, survey
from mpota.layout.sifli.pipe.com import CHUNK, Stored
from mpota.layout.sifli.port import known, moved, wanted
from mpota.store.writer import digest
from mpota.stream import FIRMWARE
from mpota_boot.errors import Corrupt, FlashError, NotNow, Refused
from mpota_boot.journal import trial


def _label(slot):
    return "area %d" % slot if slot >= 0 else "in place"


class Layout(contract.Layout):
    """`port` is the board's Chip (chip.py), with root, protected and feed() of the board."""

    NAME = "sifli"

    def __init__(self, port, journal, trials):
        super().__init__(port, journal, trials)
        # The program before lies in the other staging area.
        self.CAN_RETREAT = len(port.slots) > 1

    def ready(self):
        """NotNow while an update waits for its reset or its verdict; Refused without a journal."""
        self.idle()
        closed = self.journal.closed()
        if closed:
            raise Refused("foreign", closed)
        failure = self.record("failed")
        reason = failure and self.journal.last("reason")
        if reason and reason[8:] == WORN:
            raise FlashError("flash", "the program does not stay as it is written: `rollback --forget` tries again")

    def target(self, part):
        """The staging area that nothing needs, or the application's other tree."""
        return self.port.slots[self.port.free()] if part.kind == FIRMWARE else self.place().target(part)

    def running(self, part):
        """The Flash that holds the base of a delta: the compressed image of the program that runs."""
        if part.kind != FIRMWARE:
            return self.place().running(part)
        if self.port.running < 0:
            raise Refused("base", "nothing is known of the program that runs: a delta has nothing to stand on")
        return self.port.slots[self.port.running]

    def admit(self, part, head):
        """Judge the first bytes of a component before anything is erased for it."""
        if part.kind != FIRMWARE:
            return self.place().admit(part, head)
        total, chunk = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:8], "little")
        if len(head) < 16 or not 0 < chunk <= CHUNK or not total:
            raise Refused("com", "no compressed image: it says %d bytes in chunks of %d" % (total, chunk))
        if total > self.port.user.size:
            raise Refused("size", "the program has %d bytes, its place %d" % (total, self.port.user.size))

    def check(self, part):
        """Would the manager install what is in the target? All of it is decoded, since nothing may go wrong later."""
        if part.kind != FIRMWARE:
            return self.place().check(part)
        chip = self.port
        survey(chip, Stored(self.target(part), part.size), chip.user, bytearray(chip.flash.erase_size))

    def arm(self, package):
        """Make the manager install the target; the last and the smallest write of an update."""
        firmware = package.components[0].kind == FIRMWARE
        record = self.fresh(package, self.port.free() if firmware else self.port.running)
        known(self.port)
        self.journal.put("armed", (moved(record) if firmware else record).encode())

    def settle(self, why):
        """After a reset, `why` in a word: the manager counts the boots of a firmware; those of files count here."""
        record = trial(self.journal)
        if record is None:
            return False
        if record.slot != record.back:
            if record.slot != self.port.running:
                self.give_up(record, "the manager did not install it")
            return False
        self.count_boot(record, why)
        return False

    def confirm(self):
        """The program that runs is good: from now on the manager goes back to it."""
        record = self.on_trial()
        now = wanted(self.journal)
        if record:
            if now:
                # `running` is one record for both, and it may be about to be the files'.
                self.journal.put("image" if record.slot == record.back else "before", now.encode())
            self.kept(record)

    def retreat(self, why):
        """Note why; the manager installs the program before this one at the reset that follows."""
        record = self.on_trial()
        if record is None:
            raise NotNow("trial", "nothing is on trial")
        self.give_up(record, why)

    def rollback(self, why):
        """By hand: end a trial, drop an update that waits for its restart, or put the program before on trial."""
        record = trial(self.journal)
        if record:
            return self.give_up(record, why)
        now = wanted(self.journal)
        slot = self.port.free()
        old = self.record("before")
        if now is None or old is None or slot == now.slot or old.slot != slot:
            raise NotNow("rollback", "the program before this one is gone: install it")
        try:
            staged(self.port, slot, old.size, old.sha, bytearray(self.port.flash.erase_size))
        except Corrupt as e:
            raise NotNow("rollback", "the program before this one is no longer whole: %s" % e)
        self.journal.put("armed", moved(self.new(b"rollback", old.sha, old.version, old.size, slot)).encode())
        self.give_up(now, why)

    def heal(self):
        """Nothing to do: the manager has settled everything before this program started."""

    def version(self):
        """The 8 bytes of the version that runs, None where it is not known."""
        record = self.on_trial() or self.record("running")
        user = self.port.installed()
        if record is None or user is None or record.slot != self.port.running:
            return None
        if record.slot == record.back:
            return super().version()
        if self._version is None and user.sha == record.sha:
            seen = digest(self.port.user, user.size, bytearray(4096), self.port.feed)
            self._version = record.version if seen == user.digest else None
        return self._version

    def status(self):
        """The facts, the staging areas, and which of them the manager installs from at the next reset."""
        record = trial(self.journal)
        goes = record if record and record.slot != record.back else wanted(self.journal)
        facts = self.facts(_label(self.port.running), self.ready)
        facts["slots"] = [{"label": "area %d" % i, "size": area.size} for i, area in enumerate(self.port.slots)]
        facts["boots"] = _label(goes.slot if goes else self.port.running)
        facts["state"] = "armed or on trial" if record else "confirmed" if goes else "as it came"
        facts["updates"] = facts["updates"] or self.journal.closed() or None
        facts["findings"] = ["phones: " + self.port.phones] if self.port.phones else []
        return facts
