"""What boots on an ESP32: two or more OTA slots, and otadata, whose newest entry names one.

The rule that makes it right: a trial is open from `arm` until it is confirmed or given up, whatever otadata says, and
the boots that it may still use are written before the reset that uses one. otadata itself is written by ESP-IDF's
own functions only, handed in by the board, and never for the slot that boots already.
"""

from device.errors import Corrupt, FlashError, NotNow, Refused
from device.layout.esp32 import image, otadata
from device.store.journal import Record, floor, trial
from device.store.writer import digest

TRIALS = 3
FACTORY = -1
FIRMWARE = 1  # the component's kind, pipe/FORMAT.md
STAGED = "slot %d boots next and slot %d runs: restart, or `rollback`"


class Layout:
    """Decides what boots. `port` is the board's hardware:

    slots (a Flash each, with `label`), otadata (Flash or None), running (slot number, FACTORY), current (the Flash
    that runs), set_boot(slot), mark_valid(), feed() for the watchdog.
    """

    NAME = "esp32"

    def __init__(self, port, journal, trials=TRIALS):
        self.port = port
        self.journal = journal
        self.trials = trials
        self._version = None

    def boots(self):
        """(slot, Entry) that otadata names, (FACTORY, None) where it names none."""
        if self.port.otadata is None or not self.port.slots:
            return FACTORY, None
        entries = otadata.read(self.port.otadata)
        i = otadata.active(*entries)
        if i < 0:
            return FACTORY, None
        return entries[i].slot(len(self.port.slots)), entries[i]

    def pending(self):
        """Will the loader itself go back, should this image not be confirmed?"""
        slot, entry = self.boots()
        return entry is not None and slot == self.port.running and entry.state == otadata.PENDING

    # What an update needs.

    def ready(self):
        """Refused where this board has no second slot; NotNow while an update waits for its reset or its verdict."""
        port = self.port
        n = len(port.slots)
        if port.otadata is None or n < (1 if port.running == FACTORY else 2):
            words = "%d OTA slots, %s otadata: flash the OTA variant of MicroPython, which has 2"
            raise Refused("slots", words % (n, "an" if port.otadata else "no"))
        slot, entry = self.boots()
        if trial(self.journal) or self.pending():
            raise NotNow("trial", "on trial or armed: `confirm` or `rollback`")
        if entry and slot != port.running:
            raise NotNow("staged", STAGED % (slot, port.running))

    def free(self):
        """The slot after the one that runs."""
        n = len(self.port.slots)
        return (self.port.running + 1) % n

    def target(self, part):
        """The Flash that the next image goes to: the slot after the one that runs."""
        if part.kind != FIRMWARE:
            raise Refused("kind", "this board takes one component, a firmware")
        return self.port.slots[self.free()]

    def running(self, part):
        """The Flash that a delta of the image stands on."""
        return self.port.current

    def admit(self, part, head):
        """Judge the first bytes of an image before anything is erased for it."""
        mine = bytearray(image.HEAD)
        self.port.current.read(0, mine)
        image.judge(head, image.chip_of(mine), part.size)

    def check(self, part):
        """Would the loader find a whole image in the target?"""
        n = image.walk(self.target(part))
        if n > part.size:
            raise Corrupt("image", "the image says %d bytes, the package brought %d" % (n, part.size))

    def arm(self, package):
        """Make the target boot; the last and the smallest write of an update."""
        part = package.components[0]
        self.journal.put("reason", b"")
        self.put_armed(self.new(package.id, part.sha, package.version, part.size, self.free()))

    def new(self, key, sha, version, size, slot):
        """A Record that no other one of this board looks like, whether it closes a trial or opens one."""
        count = max([r.count for r in map(self.record, ("armed", "running", "failed")) if r] + [0]) + 1
        return Record(key, sha, version, size, count & 0xFFFF, slot, self.port.running, self.trials)

    def record(self, tag):
        """The Record that the journal has under `tag`, or None."""
        return Record.decode(self.journal.last(tag))

    def put_armed(self, record):
        """One record, then ESP-IDF's set_boot, then a look at what otadata says."""
        self.journal.put("armed", record.encode())
        try:
            self.port.set_boot(record.slot)
        except FlashError as e:
            # ESP-IDF says no to this image today and tomorrow.
            self.journal.put("reason", record.id + str(e).encode())
            self.journal.put("failed", record.encode())
            raise
        slot, entry = self.boots()
        if slot != record.slot or entry.state not in (otadata.NEW, otadata.UNDEFINED):
            raise FlashError("arm", "otadata names slot %d after set_boot, wanted %d" % (slot, record.slot))

    def reason(self, key):
        """Why the package `key` was given up, or None."""
        data = self.journal.last("reason")
        return "".join(chr(c) for c in data[8:] if c < 128) if data and data[:8] == key else None

    def failure(self):
        """(Record, reason) of the update that was given up last, or None."""
        record = self.record("failed")
        return (record, self.reason(record.id) or "unknown") if record else None

    def on_trial(self):
        """The Record of the image that runs, while it is on trial."""
        record = trial(self.journal)
        return record if record and record.slot == self.port.running else None

    def confirm(self):
        """The image that runs is good: the loader's mark first, for without it the record would be a lie."""
        slot, entry = self.boots()
        if entry is None or slot != self.port.running:
            raise NotNow("staged", STAGED % (slot, self.port.running))
        if entry.state != otadata.VALID:
            self.port.mark_valid()
        record = self.on_trial()
        if record is None:
            return
        low = floor(self.journal)
        if record.version < low:
            self.journal.put("floor", low)
        self.journal.put("running", record.encode())
        self._version = None

    def __getattr__(self, name):
        """settle, heal, retreat, rollback, forget and status: what few boots need lies in settle.py."""
        from device.layout.esp32 import settle

        call = getattr(settle, name)
        return lambda *args: call(self, *args)

    def floor(self):
        """The 8 bytes of the oldest version that may be installed."""
        return floor(self.journal)

    def version(self):
        """The 8 bytes of the version that runs, None where it is not known: after a USB flash, say."""
        if self._version is None:
            record = self.on_trial() or self.record("running")
            if record is None or record.slot != self.port.running:
                return None
            if digest(self.port.current, record.size, bytearray(4096), self.port.feed) == record.sha:
                self._version = record.version
        return self._version
