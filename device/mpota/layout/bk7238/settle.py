"""What a boot does with an update that is open, how an image is judged, and what a person asks for.

The new image runs, or the loader never saw a header, or it saw one and would not have it. The first is on trial,
although nothing can go back: a verdict says why, and lets the next release in. The second is armed again.
"""

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.layout import NO_WAY_BACK
from mpota.store.writer import digest
from mpota.stream import FIRMWARE
from mpota_boot.errors import NotNow
from mpota_boot.journal import trial


class _Whole:
    """Stands for the component that a record is of."""

    kind = FIRMWARE
    name = "firmware"


def settle(layout, why):
    """After a reset through the loader, `why` in a word: finish what is open. True: the board must reset."""
    record = trial(layout.journal)
    if record is None:
        return False
    if layout.on_trial():
        layout.count_boot(record, why)
        return False
    whole = digest(layout.target(_Whole), record.size, bytearray(4096), layout.port.feed) == record.sha
    if whole and layout.front() != layout.journal.last("staged"):
        return _again(layout, record, why)
    if whole:
        layout.give_up(record, "the loader refused the package")
    unstage(layout)
    if not whole:
        # A cut in the middle of writing the header, or a bit that turned over: fetch it again, from the beginning.
        layout.journal.put("armed", b"")
    return False


def _again(layout, record, why):
    """The package is there and its header is not, or is torn."""
    if record.trials < 2:
        layout.give_up(record, why)
        return False
    record.trials -= 1
    layout.journal.put("armed", record.encode())
    layout.commit()
    return True


def unstage(layout):
    """Let the loader find nothing."""
    layout.journal.put("progress", b"")
    if layout.front() != b"\xff" * rbl.SIZE:
        flash = layout.port.download
        flash.erase(0, flash.erase_size)


def retreat(layout, why):
    """Note why this image is not wanted. It stays until another one is installed."""
    record = layout.on_trial()
    if record is None:
        raise NotNow("trial", "nothing is on trial")
    layout.give_up(record, why)


def rollback(layout, why):
    """By hand: drop an update that waits for its restart. There is no other way back."""
    record = trial(layout.journal)
    if record is None or layout.on_trial():
        raise NotNow("rollback", NO_WAY_BACK)
    unstage(layout)
    layout.give_up(record, why)


def heal(layout):
    """There is nothing that could name another image."""


def status(layout):
    """The facts, the version in the header of what runs, and the vendor's two problems."""
    from mpota.layout.bk7238.findings import findings

    facts = layout.facts("app", layout.ready)
    head = rbl.Header.decode(layout.header())
    facts["takes"] = "RBL packages, no files"
    facts["rbl"] = head and repr(head.version)[2:-1]
    facts["findings"] = findings(layout)
    return facts
