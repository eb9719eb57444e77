"""What a person asks an ESP32 board: what runs, what boots, what is on trial, what failed and why."""

from device.errors import OtaError
from device.layout.esp32 import otadata
from device.store.journal import floor, trial
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
