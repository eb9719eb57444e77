"""What boots on an ESP32: two or more OTA slots, and otadata, whose newest entry names one.

The rule that makes it right: a trial is open from `arm` until it is confirmed or given up, whatever otadata says, and
the boots that it may still use are written before the reset that uses one. otadata itself is written by ESP-IDF's
own functions only, handed in by the board, and never for the slot that boots already.
"""

from micropython import const

from mpota.layout import contract
from mpota.layout.esp32 import otadata
from mpota.stream import FIRMWARE
from mpota_boot.errors import FlashError, NotNow, Refused
from mpota_boot.journal import trial

_FACTORY = const(-1)


class Layout(contract.Layout):
    """Decides what boots. `port` is the board's hardware:

    slots (a Flash each, with `label`), otadata (Flash or None), running (slot, -1: factory), current (the Flash that
    runs), set_boot(slot), mark_valid(), feed() for the watchdog, root and protected for the application's trees.
    """

    NAME = "esp32"

    def boots(self):
        """(slot, Entry) that otadata names, (_FACTORY, None) where it names none."""
        port = self.port
        if port.otadata is not None and port.slots:
            entries = otadata.read(port.otadata)
            i = otadata.active(*entries)
            if i >= 0:
                return entries[i].slot(len(port.slots)), entries[i]
        return _FACTORY, None

    def pending(self):
        """Will the loader itself go back, should this image not be confirmed?"""
        slot, entry = self.boots()
        return entry is not None and slot == self.port.running and entry.state == otadata.PENDING

    def _stands(self, slot):
        """NotNow unless `slot`, which boots next, is the one that runs."""
        if slot != self.port.running:
            words = "slot %s boots next and slot %d runs: restart, or `rollback`"
            raise NotNow("staged", words % (slot, self.port.running))

    # For an update.

    def unarmed(self):
        """The Record of an update that is written and that set_boot did not take: its next try is due. Else None."""
        record = trial(self.journal)
        waits = record and record.slot not in (self.port.running, self.boots()[0]) and not self.pending()
        return record if waits else None

    def ready(self):
        """NotNow while an update waits for its reset or its verdict."""
        self._trees = None
        if not self.unarmed():
            self.idle(self.pending())
        slot, entry = self.boots()
        if entry:
            self._stands(slot)

    def free(self):
        """The slot after the one that runs; Refused where this board has no second one."""
        port = self.port
        n = len(port.slots)
        if port.otadata is None or n < (1 if port.running == _FACTORY else 2):
            words = "%d OTA slots, %s otadata: flash the OTA variant of MicroPython, which has 2"
            raise Refused("slots", words % (n, "an" if port.otadata else "no"))
        return (port.running + 1) % n

    def target(self, part):
        """The Flash that a component goes to: the slot after the one that runs, or the application's other tree."""
        return self.port.slots[self.free()] if part.kind == FIRMWARE else self.place().target(part)

    def running(self, part):
        """The Flash that holds the base of a delta."""
        return self.port.current if part.kind == FIRMWARE else self.place().running(part)

    def admit(self, part, head):
        """Judge the first bytes of a component before anything is erased for it."""
        if part.kind != FIRMWARE:
            return self.place().admit(part, head)
        from mpota.layout.esp32 import image

        mine = bytearray(image.COMPARES)
        self.port.current.read(0, mine)
        image.judge(head, image.chip_of(mine), part.size)
        image.follows(head, mine)
        if self.port.encrypted():
            raise Refused("encrypted", "flash encryption is on, which mpota was not tried with")

    def check(self, part):
        """Would the loader find a whole image in the target? Are all files there?"""
        if part.kind != FIRMWARE:
            return self.place().check(part)
        from mpota.layout.esp32.image import walk

        walk(self.target(part), part.size)

    def arm(self, package):
        """Make the target boot; the last and the smallest write of an update."""
        slot = self.free() if package.components[0].kind == FIRMWARE else self.port.running
        record = self.fresh(package, slot)
        before = self.unarmed()
        if before and (before.sha, before.version) == (record.sha, record.version):
            record.trials = max(before.trials - 1, 1)
        self.put_armed(record)

    def put_armed(self, record):
        """One record, then ESP-IDF's set_boot, then a look at what otadata says.

        A failure costs one trial, for it may pass: the next poll or boot tries again. The last trial gives it up.
        """
        self.journal.put("armed", record.encode())
        if record.slot == record.back:
            return
        try:
            self.port.set_boot(record.slot)
            slot, entry = self.boots()
            if slot != record.slot or entry.state not in (otadata.NEW, otadata.UNDEFINED):
                raise FlashError("arm", "otadata names slot %d after set_boot, wanted %d" % (slot, record.slot))
        except FlashError as e:
            self.note(record, str(e))
            if record.trials < 2:
                self.give_up(record, str(e))
            raise

    def confirm(self):
        """The image that runs is good. The loader's mark comes first: without it the loader would still go back."""
        record = self.on_trial()
        if record is None or record.slot != record.back:
            slot, entry = self.boots()
            self._stands(entry and slot)
            if entry.state != otadata.VALID:
                self.port.mark_valid()
        if record:
            self.kept(record)

    # Few boots need these, so they lie in settle.py.

    def settle(self, why):
        from mpota.layout.esp32 import settle

        return settle.settle(self, why)

    def heal(self):
        from mpota.layout.esp32 import settle

        return settle.heal(self)

    def retreat(self, why):
        from mpota.layout.esp32 import settle

        return settle.retreat(self, why)

    def rollback(self, why):
        from mpota.layout.esp32 import settle

        return settle.rollback(self, why)

    def status(self):
        from mpota.layout.esp32 import settle

        return settle.status(self)
