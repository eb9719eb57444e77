"""What the core may ask of a layout, and what all layouts share: every name of `board.layout` is here.

A layout decides what boots on one kind of chip. Each chip's class, in its layout.py, is a Layout: it overrides what
raises NotImplementedError here, and may refine the rest. The core (installer, agent, runner, shim, console) calls
these names and no others, in this order:

    NAME ready version firmware given_up floor target running admit check arm     an update
    settle woke on_trial keep                                           a boot with a trial open
    heal awake confirm retreat                                          the agent
    status confirm rollback forget                                      a person

Three rules hold for all of them. A cut at any moment leaves an image that was accepted: nothing before `arm` changes
what boots, and whatever `arm`, `confirm` or `retreat` has begun, the next boot or the next call finishes. A reset is
asked for only where it changes what boots. And every name may raise FlashError, where the flash or the journal fails.

A trial whose `slot` is the one to go back to has changed the application alone.
"""

from mpota.store.writer import digest
from mpota.stream import FILES
from mpota_boot.errors import FlashError, NotNow
from mpota_boot.journal import Record, tree, trial

# Causes of a start. The end of the one before it is a verdict, unless the network was being asked.
CAUSES = ("power", "watchdog", "reset", "unknown")
IMPORT = "%s; the import of the application did not return"
ASKED = "no-link (%s while the network was asked)"


class Layout:
    """`port` is the chip's own. `journal` is the board's; `trials` is how many boots an update may try.

    All layouts ask the port for `running`, the number of the image that runs; `feed()` for the watchdog; `root` and
    `protected`, store/trees.py has them; and, where the chip takes firmware, `current`, a Flash: the image that runs.
    """

    # The chip's folder; a package names it in its header.
    NAME = ""
    # Can an image that is not healthy be left for the one before it?
    CAN_RETREAT = True

    def __init__(self, port, journal, trials):
        self.port = port
        self.journal = journal
        self.trials = trials
        self._trees = self._version = None

    # Each chip overrides these. A `part` is a component of a package: kind, name, size in bytes, sha.

    def ready(self):
        """May an update begin? NotNow while one waits for its reset or its verdict; Refused where none can be taken.

        Drops what an earlier try has left, in memory or in files that nothing names; what boots stays as it is.
        """
        raise NotImplementedError

    def target(self, part):
        """The Flash that a component goes to; its `size` is the room there. Writes nothing.

        It is never what runs, nor what a retreat would need. Refused where this board has no place for that kind.
        """
        raise NotImplementedError

    def running(self, part):
        """The Flash that holds the base of a delta: what runs. Refused where there is none. Writes nothing."""
        raise NotImplementedError

    def admit(self, part, head):
        """Judge the first bytes of a component, at most 4096, before anything is erased for it.

        Refused where the loader would not take it, UpToDate where it runs already. Firmware writes nothing yet; a list
        of files makes room in the tree that does not run.
        """
        raise NotImplementedError

    def check(self, part):
        """Would the loader take what target(part) holds? It was read back already, and is what was signed.

        Refused, Corrupt or FlashError where it would not. Nothing that it writes boots.
        """
        raise NotImplementedError

    def arm(self, package):
        """Let what was written boot at the next reset: the last and the smallest write of an update.

        The record `armed` opens the trial, and is there before the loader can see the image. A FlashError says that
        the update is not armed.
        """
        raise NotImplementedError

    def settle(self, why):
        """At a boot with a trial open; `why` is the cause of the reset in a word. True: the board must reset now.

        Counts the boot of the image on trial, arms again what a cut left half armed, or gives the update up. Each reset
        that it asks for has used up one boot of the trial, or has changed what boots: so it comes to an end.
        """
        raise NotImplementedError

    def confirm(self):
        """The image that runs is good, a retreat leads to it from now on. Again, or without a trial, it does no harm.

        The loader's own mark comes first, `running` in the journal last. NotNow where another image waits for its
        reset.
        """
        raise NotImplementedError

    def retreat(self, why):
        """Leave the image on trial: keep `why`, a sentence, and let the image before it boot at the next reset.

        NotNow where nothing is on trial. A chip that cannot go back keeps the image; `failed` closes its trial.
        """
        raise NotImplementedError

    def rollback(self, why):
        """By hand: end a trial, drop an update that waits for its reset, or go back to the image before this one.

        Whoever calls it resets the board after it. NotNow where there is nothing to go back to; then nothing changed.
        """
        raise NotImplementedError

    def heal(self):
        """After a reset through the loader: put right what a cut or the loader has left, and no trial covers.

        Writes nothing where all is well.
        """
        raise NotImplementedError

    def status(self):
        """A dict for a person, ready for JSON: facts(), and what else the chip knows. Writes nothing."""
        raise NotImplementedError

    # All chips share these.

    def record(self, tag):
        """The Record that the journal has under `tag`, or None."""
        return Record.decode(self.journal.last(tag))

    def idle(self, on_trial=False):
        """NotNow while an update waits for its reset or its verdict. Drops what the last try left in memory."""
        self._trees = None
        if on_trial or trial(self.journal):
            raise NotNow("trial", "on trial or armed: `confirm` or `rollback`")

    def on_trial(self):
        """The Record of the image that runs, while it is on trial; else None. Reads the journal, writes nothing."""
        record = trial(self.journal)
        return record if record and record.slot == self.port.running else None

    def place(self):
        """The two trees of the application, one object from the first look at a package until it is armed."""
        if self._trees is None:
            from mpota.store.trees import Trees

            self._trees = Trees(tree(self.journal, self.on_trial), self.port.protected, self.port.root)
        return self._trees

    def new(self, key, sha, version, size, slot):
        """A Record that no other one of this board looks like, whether it closes a trial or opens one."""
        from mpota.layout import arming

        image = key, sha, version, size, slot
        return arming.new(self.journal, self.port.running, self.trials, image, self.on_trial)

    def fresh(self, package, slot):
        """The Record of a package that is to be armed: of its firmware, or of its files."""
        part = package.components[0]
        record = self.new(package.id, part.sha, package.version, part.size, slot)
        for part in package.components:
            if part.kind == FILES:
                record.tree = self.place().next | record.tree & 0xF0
        return record

    def digest(self, flash, size):
        """The SHA-256 of the first `size` bytes of a Flash."""
        return digest(flash, size, bytearray(4096), self.port.feed)

    def keep(self, tag, data):
        """Is it kept? A full journal must not hold up a retreat."""
        try:
            self.journal.put(tag, data)
            return True
        except FlashError:
            return False

    def reason(self, key):
        """Why the package `key` was given up, or None."""
        data = self.journal.last("reason")
        # The journal may have cut it inside a character.
        return repr(data[8:])[2:-1] if data and data[:8] == key else None

    def given_up(self, sha, version):
        """The sentence that a release is refused with because it was given up here; None where it may be tried."""
        if not (self.journal.last("failed") or self.journal.last("given")):
            return None
        from mpota.layout import given

        return given.refusal(self, sha, version)

    def awake(self, n=1):
        """`n` times six minutes awake, or a wake: after some of them what had no verdict is tried again.

        And one package may be begun over another again.
        """
        left = self.journal.last("begun")
        if left:
            self.journal.put("begun", left[n:])
        if self.record("failed"):
            from mpota.layout import given

            given.awake(self.journal, n)

    def failure(self):
        """(Record, reason as text) of the update that was given up last, or None."""
        record = self.record("failed")
        return (record, self.reason(record.id) or "unknown") if record else None

    def note(self, record, why):
        """Keep why an image is given up. Only the first reason counts: later ones follow from it."""
        if self.reason(record.id) is None:
            # A journal in files has 498 bytes for all records at their longest.
            self.keep("reason", record.id + self._doing(why).encode()[:64])

    def _doing(self, why):
        """The cause of a start ended the one before: in the middle of what?"""
        doing = self.journal.last("doing")
        if doing and why in CAUSES:
            return (IMPORT if doing == b"import" else ASKED) % why
        return why

    def count_boot(self, record, why):
        """One more boot of the image on trial; where none is left it is given up for `why`."""
        if not self.spend(record):
            self.give_up(record, why)

    def spend(self, record):
        """Take one boot off a trial. False where none is left, or the journal does not keep it: the trial must end."""
        if not record.trials:
            return False
        record.trials -= 1
        return self.keep("armed", record.encode())

    def give_up(self, record, why):
        """End a trial that failed, or leave a confirmed image: `failed` and the reason go into the journal."""
        self.note(record, why)
        self.journal.put("failed", record.encode())
        self._rested()

    def woke(self, most):
        """The image on trial woke from deep sleep; wake number `most` ends the trial. True: the board must reset."""
        record = self.on_trial()
        if record is None:
            return False
        spent = self.journal.last("wakes") or b"\0"
        n = spent[0] + 1
        if n < most and self.keep("wakes", bytes((n,)) + spent[1:]):
            return False
        self.retreat("no verdict after %d wakes from deep sleep" % n)
        # Where files alone were on trial, the tree before them is chosen after this.
        return record.slot != record.back or self.on_trial() is not None

    def _rested(self):
        """The trial is over: its wakes, its time and what it was doing are forgotten."""
        for tag in ("wakes", "doing"):
            if self.journal.last(tag):
                self.keep(tag, b"")

    def version(self):
        """The 8 bytes of the version that runs, None where it is not known: after a USB flash or a change by hand."""
        if self._version is None:
            record = self.on_trial() or self.record("running")
            if record is None or record.slot != self.port.running:
                return None
            flash = self.port.current if record.slot != record.back else self.place().old
            try:
                if self.digest(flash, record.size) == record.sha:
                    self._version = record.version
            except FlashError:
                pass  # a file of the application is gone
        return self._version

    def firmware(self):
        """The 8 bytes of the version that brought the firmware which runs; None where it is not known."""
        from mpota.layout.origin import firmware

        return firmware(self)

    def floor(self):
        """The lowest version that may be installed, 8 bytes: the tag `floor`, or the confirmed version if higher."""
        low = self.journal.last("floor") or b""
        if len(low) != 8:
            low = bytes(8)
        running = self.record("running")
        return max(low, running.version) if running else low

    def kept(self, record):
        """Confirm the image on trial in the journal, raise the floor, and remove the application before it."""
        low = self.floor()
        if record.version < low:
            self.journal.put("floor", low)
        if self.journal.last("failed"):
            from mpota.layout import given

            data = given.settled(self.journal, record.version)
            if data:
                self.keep("given", data)
        before = self.record("running")
        if record.slot == record.back and before and before.slot != before.back:
            # This record will not know which firmware its files run on.
            self.keep("firmware", before.version)
        self.journal.put("running", record.encode())
        self._rested()
        self._version = self._trees = None
        if record.tree & 15 != record.tree >> 4:
            self.place().free()

    def facts(self, running, check):
        """What every status() has: facts.py says what. `running` is the name of the image that runs.

        `check()` gives or raises the sentence that an update would be refused with now, and writes nothing.
        """
        from mpota.layout.facts import facts

        return facts(self, running, check)

    def forget(self):
        """Let a package that was given up be tried again. NotNow while a trial is open."""
        self.idle()
        for tag in ("armed", "failed", "reason", "given", "begun"):
            self.journal.put(tag, b"")
