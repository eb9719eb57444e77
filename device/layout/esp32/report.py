"""What a person asks an ESP32 board: what runs, what boots, what is on trial, what failed and why."""

from device.errors import OtaError
from device.layout.esp32 import otadata
from device.store.journal import trial
from device.version import text


def status(layout):
    """A dict of facts, ready for JSON; versions as text, None where unknown."""
    port = layout.port
    slot, entry = layout.boots()
    version = layout.version()
    failure = layout.failure()
    record = trial(layout.journal)
    runs = record is not None and record.slot == port.running
    try:
        layout.ready()
        layout.free()
        refusal = None
    except OtaError as e:
        refusal = str(e)
    return {
        "layout": layout.NAME,
        "slots": [{"label": flash.label, "size": flash.size} for flash in port.slots],
        "running": port.current.label,
        "version": version and text(version),
        "boots": port.slots[slot].label if entry else None,
        "state": entry and (otadata.STATES[entry.state] if entry.state < 5 else "undefined"),
        "floor": text(layout.floor()),
        "trial": record
        # A loader that goes back by itself had this boot counted when the image was armed.
        and {"version": text(record.version), "trials": record.trials - (runs and layout.pending()), "runs": runs},
        "failed": failure and {"version": text(failure[0].version), "reason": failure[1]},
        "updates": refusal,
    }
