"""The bootloader: it starts the slot that the journal names, or else the other one. It writes nothing."""

from mpota.layout.toy import image, port
from mpota.store.log import Log


def boot(flash):
    """The number of the slot that starts; None where neither has a whole image."""
    named = Log(port.journal(flash)).last("slot")
    first = named[0] & 1 if named else 0
    slots = port.slots(flash)
    for n in (first, 1 - first):
        if image.whole(slots[n], _nothing):
            return n
    return None


def _nothing():
    """The loader has no watchdog."""
