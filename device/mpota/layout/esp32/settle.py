"""What a boot does with a trial that is open, how an image is left, and what a person asks for.

Either image may find it: the new one counts its boots where the loader does not, the old one arms again or gives up.
No path comes back to itself through a reset: a reset is asked for only where it changes what boots. Going back never
waits for a journal that keeps nothing.
"""

from mpota.layout.esp32 import otadata
from mpota_boot.errors import FlashError, NotNow, OtaError
from mpota_boot.journal import trial

_NO_ROLLBACK = "bootloader: without rollback (before MicroPython 1.21); an image that dies before boot.py stays"


def settle(layout, why):
    """After a reset through the loader, `why` in a word: finish what is open. True: the board must reset."""
    record = trial(layout.journal)
    if record is None:
        return False
    runs = layout.port.running == record.slot
    if not runs if record.slot == record.back else not 0 <= record.slot < len(layout.port.slots):
        # Not a record that this layout writes: it would block every later update.
        layout.journal.put("armed", b"")
        return False
    if runs:
        return _count(layout, record, why)
    return _again(layout, record, why)


def _count(layout, record, why):
    """The image on trial runs. Where the loader would not go back by itself, its boots are counted here."""
    pending = layout.pending()
    _judge_loader(layout, record, pending)
    if (record.trials and pending) or layout.spend(record):
        return False
    layout.note(record, why)
    if _leave(layout, record):
        return True
    if record.slot != record.back:
        stay(layout)
    layout.keep("failed", record.encode())
    return False


def _judge_loader(layout, record, pending):
    """A loader that starts a new image and does not put it on trial never goes back by itself: `status` says so."""
    known = layout.journal.last("loader")
    if record.slot != record.back and pending == (known is not None):
        layout.keep("loader", b"" if pending else b"0")


def _leave(layout, record):
    """Make the old image boot. False where a reset would only come back here: the old one is no longer whole."""
    if layout.pending():
        return True
    if record.back == layout.port.running or layout.boots()[0] == record.back:
        return False
    # Twice, for a failure that passes: the way back is not given up for one.
    for _ in range(2):
        try:
            layout.port.set_boot(record.back)
            break
        except FlashError:
            pass
    return layout.boots()[0] == record.back


def stay(layout):
    """Make the image that runs the one that boots."""
    if layout.boots()[0] != layout.port.running:
        layout.port.set_boot(layout.port.running)
    layout.port.mark_valid()


def _again(layout, record, why):
    """The old image runs: its update failed a trial, was cut short, or was refused by the loader."""
    port = layout.port
    if layout.pending():
        # A set_boot brought it back, so the loader holds it for new; it was confirmed long ago.
        port.mark_valid()
    slot, entry = layout.boots()
    if slot == record.slot:
        again = entry.state == otadata.PENDING
        if not again:
            stay(layout)
        layout.give_up(record, "the loader refused the image")
        return again
    if record.trials < 2:
        layout.give_up(record, why)
        return False
    if layout.digest(port.slots[record.slot], record.size) != record.sha:
        layout.journal.put("progress", b"")
        layout.journal.put("armed", b"")
        return False
    record.trials -= 1
    layout.put_armed(record)
    return True


def retreat(layout, why):
    """Note why, leave the image no trial, make the old one boot."""
    record = layout.on_trial()
    if record is None:
        raise NotNow("trial", "nothing is on trial")
    layout.note(record, why)
    record.trials = 0
    layout.keep("armed", record.encode())
    _leave(layout, record)


def rollback(layout, why):
    """By hand: end a trial, drop an update that waits for its restart, or put the image before on trial."""
    port = layout.port
    record = trial(layout.journal)
    if record:
        if record.slot == port.running:
            return retreat(layout, why)
        stay(layout)
        return layout.give_up(record, why)
    slot, entry = layout.boots()
    if entry and slot != port.running:
        return stay(layout)
    layout.ready()
    now = layout.record("running")
    done = layout.journal.last("progress")
    if done and done[:8] != (now and now.id):
        raise NotNow("rollback", "the image before is gone: install it")
    known = now and now.slot == port.running
    if known and now.tree & 15 != now.tree >> 4:
        raise NotNow("rollback", "the application before this one is gone: install it")
    back = now.back if known else layout.free()
    if back < 0:
        # No trial: the factory image has no entry, and nothing is behind it.
        return port.set_boot(back)
    _arm_back(layout, back)
    if known:
        layout.give_up(now, why)


def _arm_back(layout, slot):
    from mpota.layout.esp32.image import walk

    flash = layout.port.slots[slot]
    try:
        size = walk(flash)
    except OtaError as e:
        raise NotNow("rollback", "no image in %s: %s" % (flash.label, e))
    sha = layout.digest(flash, size)
    failed = layout.record("failed")
    if failed and failed.sha == sha:
        raise NotNow("rollback", "%s holds what was given up" % flash.label)
    record = layout.new(b"rollback", sha, bytes(8), size, slot)
    try:
        layout.put_armed(record)
    except FlashError as e:
        # The person who asked reads the error: nothing tries again by itself.
        layout.give_up(record, str(e))
        raise


def heal(layout):
    """The loader did not start the slot that otadata names: make it name the one that runs, so that updates go on."""
    slot, entry = layout.boots()
    if entry and slot != layout.port.running and trial(layout.journal) is None:
        stay(layout)


def status(layout):
    """The facts, and where they stand in otadata."""
    port = layout.port
    slot, entry = layout.boots()
    facts = layout.facts(port.current.label, lambda: _refusal(layout))
    facts["slots"] = [{"label": flash.label, "size": flash.size} for flash in port.slots]
    facts["boots"] = port.slots[slot].label if entry else None
    facts["state"] = entry and (otadata.STATES[entry.state] if entry.state < 5 else "undefined")
    facts["findings"] = [_NO_ROLLBACK] if layout.journal.last("loader") else []
    if layout.pending() and facts["trial"] and facts["trial"]["runs"]:
        # A loader that goes back by itself had this boot counted when the image was armed.
        facts["trial"]["trials"] -= 1
    return facts


def _refusal(layout):
    waits = layout.unarmed()
    layout.ready()
    layout.free()
    return waits and "not armed (%s): tried again at the next poll" % layout.reason(waits.id)
