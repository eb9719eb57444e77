"""What a person asks an ESP32 board: what runs, what boots, what is on trial, what failed and why; and `rollback`."""

from device.errors import NotNow, OtaError
from device.layout.esp32 import image, otadata
from device.store.journal import Record, floor, trial
from device.store.writer import digest
from device.version import text


def status(layout):
    """A dict of facts, ready for JSON; versions as text, None where unknown."""
    port = layout.port
    slot, entry = layout.boots()
    version = layout.version()
    failure = layout.failure()
    try:
        refusal = layout.ready()
    except OtaError as e:
        refusal = str(e)
    return {
        "layout": layout.NAME,
        "slots": [{"label": flash.label, "size": flash.size} for flash in port.slots],
        "running": port.current.label,
        "version": version and text(version),
        "boots": port.slots[slot].label if entry else None,
        "state": entry and otadata.STATES.get(entry.state, "unknown"),
        "floor": text(floor(layout.journal)),
        "trial": _trial(layout),
        "failed": failure and {"version": text(failure[0].version), "reason": failure[1]},
        "updates": refusal,
    }


def _trial(layout):
    record = trial(layout.journal)
    if record is None:
        return None
    runs = record.slot == layout.port.running
    # A loader that goes back by itself had this boot counted when the image was armed.
    return {"version": text(record.version), "trials": record.trials - (runs and layout.pending()), "runs": runs}


def rollback(layout, why):
    """Go back to the other image by hand: end a trial, or put the image before on trial. The caller resets."""
    port = layout.port
    if layout.on_trial():
        layout.retreat(why)
        return
    slot, entry = layout.boots()
    if entry and slot != port.running:
        port.set_boot(port.running)
        port.mark_valid()
        return
    layout.ready()
    back = layout.target(1)
    try:
        size = image.walk(back)
    except OtaError as e:
        raise NotNow("rollback", "there is no image to go back to in %s: %s" % (back.label, e))
    record = Record.decode(layout.journal.last("running"))
    if record and record.slot == port.running:
        layout.journal.put("reason", record.id + why.encode())
        layout.journal.put("failed", record.encode())
    sha = digest(back, size, bytearray(4096), port.feed)
    layout.try_image(b"rollback", sha, bytes(8), size)
