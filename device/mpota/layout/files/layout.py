"""What runs on a board whose firmware is not ours to change: one of two trees of files, named by the journal.

Arming is one record and nothing else, and so is confirming. There is no loader that could go back: the boots of a trial
are counted here, before the application runs, and after the last one the tree before it runs again. Any MicroPython
port with a file system will do.
"""

from mpota.layout import contract
from mpota.stream import FIRMWARE
from mpota_boot.errors import NotNow, Refused
from mpota_boot.journal import tree, trial


class Layout(contract.Layout):
    """`port` is the Board: root, protected, feed(). There is one slot, 0, which is the board itself."""

    NAME = "files"
    # Was the update armed in this run? Then it does not run yet.
    staged = False

    def ready(self):
        """NotNow while an update waits for its reset or its verdict."""
        self.idle()

    def target(self, part):
        """The tree that does not run."""
        if part.kind == FIRMWARE:
            raise Refused("kind", "this board takes application files, no firmware")
        return self.place().target(part)

    def running(self, part):
        """The Flash that holds the base of a delta."""
        return self.place().running(part)

    def admit(self, part, head):
        """Judge the first bytes of a component before anything is written."""
        self.place().admit(part, head)

    def check(self, part):
        """Are all files there?"""
        self.place().check(part)

    def arm(self, package):
        """The last and the smallest write of an update."""
        self.journal.put("armed", self.fresh(package, 0).encode())
        self.staged = True

    def settle(self, why):
        """At a boot: count it, or give the tree up. Never asks for a reset, since the tree is chosen after it."""
        record = trial(self.journal)
        if record:
            self.count_boot(record, why)
        return False

    def confirm(self):
        """The tree that runs is good."""
        record = trial(self.journal)
        if record:
            if self.staged:
                raise NotNow("staged", "armed: restart, or `rollback`")
            self.kept(record)
            self.journal.put("progress", b"")

    def retreat(self, why):
        """From the next boot on the tree before this one runs."""
        record = trial(self.journal)
        if record is None:
            raise NotNow("trial", "nothing is on trial")
        self.give_up(record, why)

    def rollback(self, why):
        """By hand: end a trial. After a confirm there is no tree to go back to."""
        if trial(self.journal) is None:
            raise NotNow("rollback", "the application before this one is gone: install it")
        self.retreat(why)

    def heal(self):
        """Where a cut stopped a confirm, the application before goes now."""
        record = self.record("running")
        if record and (self.journal.last("progress") or b"")[:8] == record.id:
            self.place().free()
            self.journal.put("progress", b"")

    def status(self):
        """The facts."""
        number = tree(self.journal, lambda: True)
        return self.facts("tree %d" % number if number else "no tree", self.ready)
