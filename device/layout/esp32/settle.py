"""What a boot does with a trial that is open, and how an image is left.

Either image may find it: the new one counts its boots where the loader does not, the old one arms again or gives up.
No path comes back to itself through a reset: a reset is asked for only where it changes what boots.
"""

from device.errors import FlashError, NotNow
from device.layout.esp32 import otadata
from device.store.journal import trial
from device.store.writer import digest


def settle(layout, cause):
    """Finish what a cut or a failed trial left; the Layout's contract."""
    record = trial(layout.journal)
    if not 0 <= record.slot < len(layout.port.slots):
        # No record of ours: left alone it would hold up every update to come.
        layout.journal.put("armed", b"")
        return False
    if layout.port.running == record.slot:
        return _count(layout, record, cause)
    return _again(layout, record, cause)


def _count(layout, record, cause):
    """The image on trial runs. Where the loader would not go back by itself, its boots are counted here."""
    if not record.trials:
        _note(layout, record, cause)
        if _leave(layout, record):
            return True
        _stay(layout)
        layout.journal.put("failed", record.encode())
    elif not layout.pending():
        record.trials -= 1
        layout.journal.put("armed", record.encode())
    return False


def _leave(layout, record):
    """Make the old image boot. False where a reset would only come back here: the old one is no longer whole."""
    if layout.pending():
        return True
    if record.back == layout.port.running or layout.boots()[0] == record.back:
        return False
    try:
        layout.port.set_boot(record.back)
    except FlashError:
        return False
    return layout.boots()[0] == record.back


def _stay(layout):
    """Make the image that runs the one that boots."""
    if layout.boots()[0] != layout.port.running:
        layout.port.set_boot(layout.port.running)
    layout.port.mark_valid()


def _again(layout, record, cause):
    """The old image runs: its update failed a trial, was cut short, or was refused by the loader."""
    if layout.pending():
        # A set_boot brought it back, so the loader holds it for new; it was confirmed long ago.
        layout.port.mark_valid()
    slot, entry = layout.boots()
    if slot == record.slot:
        again = entry.state == otadata.PENDING
        if not again:
            _stay(layout)
        _give_up(layout, record, "the loader refused the image")
        return again
    if record.trials < 2:
        _give_up(layout, record, cause)
        return False
    flash = layout.port.slots[record.slot]
    if digest(flash, record.size, bytearray(4096), layout.port.feed) != record.sha:
        layout.journal.put("progress", b"")
        layout.journal.put("armed", b"")
        return False
    record.trials -= 1
    layout.put_armed(record)
    return True


def _note(layout, record, why):
    """Keep the first reason why an image is given up: what came later followed from it."""
    if layout.reason(record.id) is None:
        layout.journal.put("reason", record.id + why.encode())


def _give_up(layout, record, why):
    _note(layout, record, why)
    layout.journal.put("failed", record.encode())


def retreat(layout, reason):
    """Note why, leave the image no trial, make the old one boot."""
    record = layout.on_trial()
    if record is None:
        raise NotNow("trial", "nothing is on trial")
    layout.journal.put("reason", record.id + reason.encode())
    record.trials = 0
    layout.journal.put("armed", record.encode())
    _leave(layout, record)
