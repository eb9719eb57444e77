"""What every status() tells, on whatever chip: a dict, ready for JSON. Imported when somebody asks.

layout     the layout's name                      running    the name of the image that runs
version    of it, as text; None: unknown          floor      the lowest version that may be installed, as text
trial      None, or version, trials (boots left) and runs (False: it waits for its reset)
failed     None, or version and reason of what was given up last
updates    None, or the sentence that an update would be refused with now
retreats   can this chip go back to the image before?

A chip adds `slots`, `boots` and `state` where it has slots, `takes` where it has none, and `findings` for a person.
"""

from mpota.version import text
from mpota_boot.errors import OtaError
from mpota_boot.journal import trial


def facts(layout, running, check):
    """See the module, and Layout.facts."""
    record = trial(layout.journal)
    failure = layout.failure()
    version = layout.version()
    try:
        refusal = check()
    except OtaError as e:
        refusal = str(e)
    runs = layout.on_trial() is not None
    return {
        "layout": layout.NAME,
        "running": running,
        "version": version and text(version),
        "floor": text(layout.floor()),
        "trial": record and {"version": text(record.version), "trials": record.trials, "runs": runs},
        "failed": failure and {"version": text(failure[0].version), "reason": failure[1]},
        "updates": refusal,
        "retreats": layout.CAN_RETREAT,
    }
