"""What boots on a BK7238: one application, which the loader overwrites with what it finds in `download`.

There is no way back, so the way there is looked at twice: everything the loader will check is checked before the
restart, and until then the 96 bytes that make a package one are held back in the journal. Writing them is what arms.
The image that runs is known by its header, which the loader leaves behind it.
"""

from mpota.layout import contract
from mpota.layout.bk7238 import checks, rbl
from mpota.layout.bk7238.store import foreign
from mpota.store.flash import Region
from mpota.store.log import MOST
from mpota.stream import FIRMWARE
from mpota_boot.errors import Corrupt, FlashError, NotNow, Refused, UpToDate
from mpota_boot.journal import trial

NO_WAY_BACK = "the loader keeps no image before this one: pack that one as a newer version"


class StagedPackage(Region):
    """`download` as a whole package: its first 96 bytes are in the journal under `staged`, not in the flash."""

    def __init__(self, flash, journal):
        super().__init__(flash, 0, flash.size)
        self.journal = journal

    def read(self, off, buf):
        super().read(off, buf)
        if off < rbl.SIZE:
            held = (self.journal.last("staged") or b"\xff" * rbl.SIZE)[off : off + len(buf)]
            memoryview(buf)[: len(held)] = held

    def prog(self, off, buf):
        if not off:
            self.journal.put("staged", bytes(buf[: rbl.SIZE]))
            off = rbl.SIZE
            buf = memoryview(buf)[off:]
        super().prog(off, buf)


class Layout(contract.Layout):
    """Decides what boots. `port` is a port.Port, or has what it has."""

    NAME = "bk7238"
    CAN_RETREAT = False

    # For an update.

    def ready(self):
        """NotNow while an update waits; Refused without a journal, or where the loader would not find `download`."""
        self.idle()
        for code, wrong in (("table", self.misplaced), ("foreign", self.journal.closed), ("table", self.mismatch)):
            text = wrong()
            if text:
                raise Refused(code, text)

    def misplaced(self):
        """Where the journal's sectors lie in a partition, or in the radio's, a sentence; "" where they are free."""
        off = 0
        flash = self.journal.flash
        while hasattr(flash, "start"):
            off += flash.start
            flash = flash.flash
        unit = flash.erase_size
        taken = [(row.name.decode(), row.ends) for row in self.port.rows.values()]
        taken += [(name, (at, at + unit)) for name, at in sorted(self.port.kept.items()) if at]
        for name, (low, high) in taken:
            if off < high and off + 2 * unit > low:
                words = "the journal at 0x%x lies in %s, 0x%x to 0x%x: give JOURNAL two sectors outside"
                return words % (off, name, low, high)
        return ""

    def mismatch(self):
        """How the loader's partition table differs from the application's, a sentence; "" if they agree."""
        theirs = self.port.theirs()
        if not theirs:
            return "the loader has no partition table: it is none that takes RBL packages, flash the vendor's"
        for name in (b"download", b"app"):
            mine = self.port.rows[name]
            row = theirs.get(name)
            if row is None or row != mine:
                seen = "0x%x+0x%x" % (row.offset, row.size) if row else "none"
                words = "%s: the loader has %s, the application 0x%x+0x%x%s; flash a loader with this table"
                crc = ", only one of them with CRCs between" if row and row.flash != mine.flash else ""
                return words % (name.decode(), seen, mine.offset, mine.size, crc)
        return ""

    def target(self, part):
        """The Flash that a component goes to."""
        if part.kind != FIRMWARE:
            raise Refused("kind", "this board takes firmware, no files: %r" % part.name)
        return StagedPackage(self.port.download, self.journal)

    def running(self, part):
        """Refused: a delta has no base here, for the image that runs is not the package that brought it."""
        raise Refused("base", "this board keeps no package that a delta could stand on")

    def header(self):
        """The 96 bytes behind the application."""
        app = self.port.current
        data = bytearray(rbl.SIZE)
        app.read(app.size - rbl.SIZE, data)
        return bytes(data)

    def where(self):
        """The Place that a package has to fit."""
        app = self.port.current
        return checks.Place(self.port.download.size, app.start, app.size, self.port.secret, self.header())

    def admit(self, part, head):
        """Judge the header, which the first bytes of a component are, before anything is erased."""
        for name, wrong in checks.early(bytes(head[: rbl.SIZE]), self.where()):
            if wrong and name == "new":
                raise UpToDate("current", wrong)
            if wrong:
                raise self.refused(Refused, "rbl", name, wrong)
        size = rbl.SIZE + rbl.Header.decode(head[: rbl.SIZE]).body
        if size != part.size:
            wrong = "an RBL of %d bytes in a component of %d" % (size, part.size)
            raise self.refused(Refused, "rbl", "sizes", wrong)
        wrong = self.occupied(size)
        if wrong:
            raise self.refused(Refused, "foreign", "download", wrong)
        if self.journal.last("ended"):
            self.journal.put("ended", b"")

    def occupied(self, size):
        """What of other owners an update of `size` bytes would erase, "" if nothing. Up to `staged` mpota wrote it."""
        flash = self.port.download
        unit = flash.erase_size
        head = rbl.Header.decode(self.journal.last("staged") or bytes(rbl.SIZE))
        done = (rbl.SIZE + head.body + unit - 1) // unit * unit if head else 0
        for off, seen in foreign.find(flash, done, size):
            if seen in foreign.WORDS:
                off += flash.start
                text = "0x%x holds %s and is never erased: give loader and wiring a `download` that ends there"
                return text % (off, foreign.words(seen, off))
        return ""

    def refused(self, cls, code, name, wrong):
        """The error that says so; `status` tells it after a restart too."""
        text = "%s: %s" % (name, wrong)
        if self.journal.last("ended") != text.encode()[:MOST]:
            self.keep("ended", text.encode()[:MOST])
        return cls(code, text)

    def check(self, part):
        """The dry run: would the loader install what is in the target, to the last byte?"""
        flash = self.target(part)
        data = bytearray(rbl.SIZE)
        flash.read(0, data)
        self.admit(part, data)
        for name, wrong in checks.late(flash, rbl.Header.decode(data), self.where(), self.port.feed):
            if wrong:
                raise self.refused(Corrupt, "image", name, wrong)

    def arm(self, package):
        """Make the loader believe; the last and the smallest write of an update."""
        self.journal.put("armed", self.fresh(package, 1).encode())
        self.commit()

    def commit(self):
        """Write the header that the journal holds to the front of `download`."""
        flash = self.port.download
        head = self.journal.last("staged")
        try:
            seen = self.front()
            if seen != head:
                if seen != b"\xff" * rbl.SIZE:
                    self._clear(flash)
                flash.prog(0, head)
        finally:
            if self.front() != head:
                # Not armed: the next try goes on from the header that is there now.
                self.journal.put("armed", b"")
        if self.front() != head:
            raise FlashError("arm", "download does not begin with the header that was written")

    def front(self):
        """The first 96 bytes of `download`, as they lie there."""
        data = bytearray(rbl.SIZE)
        self.port.download.read(0, data)
        return bytes(data)

    def _clear(self, flash):
        """Make room for a header where a torn one lies: the sector's other bytes are written again."""
        data = bytearray(flash.erase_size)
        flash.read(0, data)
        flash.erase(0, flash.erase_size)
        flash.prog(rbl.SIZE, memoryview(data)[rbl.SIZE :])

    # About the image that runs.

    def on_trial(self):
        """The Record of the image that runs, while it is on trial: the loader has left its header."""
        record = trial(self.journal)
        return record if record and self.header() == self.journal.last("staged") else None

    def version(self):
        """The 8 bytes of the version that runs, None where it is not known: after a flash by wire."""
        record = self.on_trial()
        if record is None:
            record = self.record("running")
            if record and self.journal.last("header") != self.header() + record.id:
                return None
        return record and record.version

    def confirm(self):
        """The image that runs is good."""
        record = self.on_trial()
        if record:
            # With the id: a cut before the next line leaves no version to an image that is given up after all.
            self.journal.put("header", self.header() + record.id)
            self.kept(record)
        elif trial(self.journal):
            raise NotNow("staged", "an update waits for its restart, or `rollback`")

    # Few boots need these, so they lie in settle.py.

    def settle(self, why):
        from mpota.layout.bk7238 import settle

        return settle.settle(self, why)

    def heal(self):
        from mpota.layout.bk7238 import settle

        return settle.heal(self)

    def retreat(self, why):
        from mpota.layout.bk7238 import settle

        return settle.retreat(self, why)

    def rollback(self, why):
        from mpota.layout.bk7238 import settle

        return settle.rollback(self, why)

    def status(self):
        from mpota.layout.bk7238 import settle

        return settle.status(self)
