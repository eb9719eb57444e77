"""EraseVer in a manifest: a row and its file go, and an image that runs is left for the next best of the store.

What no key signed, where the settings take such entries, touches neither what runs nor the last way back.
"""

from mpota.layout.pic32 import accept
from mpota.layout.pic32.events import ERASE_FAILED, ERASED
from mpota.layout.pic32.link.manifest import ERASES
from mpota.layout.pic32.store import database, files
from mpota.layout.pic32.store.control import DISABLED, DOWNLOADED, PAGE, VALID
from mpota_boot.errors import Refused


def withdrawn(service, entry):
    """Carry out an EraseVer, and tell each trouble with it once. Does it count, also for an offer of its number?"""
    known = service.erased
    if entry.mark in known:
        return known[entry.mark]
    counts = False
    try:
        signed = accept.prove(service, entry)
        counts = True
        if _erase(service, entry, signed or service.key is None):
            return True
    except Refused as e:
        service.fail(ERASE_FAILED, e)
    if len(known) >= ERASES:
        known.clear()
    known[entry.mark] = counts
    return counts


def _erase(service, entry, trusted):
    """True: what it says is so from now on. `trusted`: signed, or where the settings let anybody in."""
    layout = service.layout
    n = entry.number
    rows = layout.rows()
    gone = [row for row in rows if database.number(row.version) == n]
    if entry.proof and entry.digest:
        gone = [row for row in gone if row.digest == entry.digest]
    now = accept.number(service)
    if not gone:
        raise Refused("erase", "there is no image %d to erase" % n)
    if n == now:
        if not trusted:
            raise Refused("erase", "image %d runs, and no EntrySignature says that it is withdrawn" % n)
        layout.withdraw()
        service.done = True
        service.reset = service.auto_reset
    elif n > now and not [row for row in gone if row.status != DISABLED]:
        # The row stays, for it keeps the image out.
        return True
    elif not trusted and _last(layout, rows, gone):
        text = "image %d is the only one to go back to: an EraseVer with an EntrySignature erases it"
        raise Refused("erase", text % n)
    else:
        layout.save([row for row in rows if row not in gone])
        layout.tidy()
    service.tell(ERASED)
    return True


def _last(layout, rows, gone):
    """Would the store have no image but the one that runs?"""
    now = layout.port.row(rows)
    others = [row for row in rows if row is not now and row.status in (DOWNLOADED, VALID)]
    store = layout.port.files
    for row in others:
        if row not in gone and files.digest(store, row.name, bytearray(PAGE))[0] == row.digest:
            return False
    return any(row in gone for row in others)
