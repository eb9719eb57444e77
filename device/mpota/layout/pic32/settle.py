"""What a boot does with a trial that is open, and how an image is left.

The bootloader counts the boots of an image that is not confirmed and goes down its ranking; what is here sees to it
that journal, database and control page say the same after a cut. A reset is asked for only where it changes what
boots, and each time costs the update one of its trials.
"""

from mpota.layout.pic32.port import ident
from mpota.layout.pic32.store import control, database, files
from mpota.layout.pic32.store.control import DISABLED, DOWNLOADED, FACTORY, PAGE, VALID
from mpota.layout.pic32.store.files import FACTORY_DIGEST, FACTORY_FILE, SIGN, SIGNATURE_SIZE
from mpota.version import encode, numbers
from mpota_boot.errors import FlashError, NotNow, Refused
from mpota_boot.journal import trial


def settle(layout, why):
    """After a reset through the loader, `why` in a word: finish what is open. True: the board must reset."""
    record = trial(layout.journal)
    if record is None:
        return False
    runs = layout.on_trial() is not None
    if record.slot == record.back:
        if not runs:
            return _forget(layout)
        # An application on trial: the tree before it is chosen after this.
        layout.count_boot(record, why)
        return False
    if not runs:
        return _again(layout, record, why)
    if control.read(layout.port.flash).status == VALID:
        # Cut while it was confirmed: row and page have it, the journal comes last.
        layout.kept(record)
    return False


def _forget(layout):
    layout.journal.put("armed", b"")
    return False


def _row(layout, rows, record):
    for row in rows:
        if row.digest == record.sha and ident(row.version) == record.slot:
            return row
    return None


def _again(layout, record, why):
    """Another image runs: the update was cut short, the loader refused it, or it used up its boots."""
    rows = layout.rows()
    row = _row(layout, rows, record)
    gone = _row(layout, database.told(layout.port.files), record)
    if gone or (row and row.status not in (DOWNLOADED, VALID)):
        layout.give_up(record, why)
        return False
    if not record.trials:
        if row:
            row.mark(DISABLED)
            layout.save(rows)
        layout.give_up(record, "the loader did not start the image")
        return False
    record.trials -= 1
    layout.journal.put("armed", record.encode())
    if row is None:
        name = _file(layout, record)
        if name is None:
            layout.journal.put("progress", b"")
            return _forget(layout)
        layout.stage(record, number(layout, record), name)
    control.disable(layout.port.flash)
    return True


def number(layout, record):
    """The number that goes with the record: the one that was the next, and so it is again, unless a vendor gave one."""
    if record.id == record.sha[:8]:
        return numbers(record.version)[3]
    n = layout.following()
    while n <= 999 and ident(database.coded(n)) != record.slot:
        n += 1
    return n


def _file(layout, record):
    """The name of the file that holds the image of the record."""
    store = layout.port.files
    buf = bytearray(4096)
    for name in store.names():
        if files.fold(name).endswith(".bin") and files.digest(store, name, buf)[0] == record.sha:
            return name
    return None


def retreat(layout, why):
    """Note why, leave the image no row and no page: the next boot starts another one."""
    record = layout.on_trial()
    if record is None:
        raise NotNow("trial", "nothing is on trial")
    if record.slot == record.back:
        return layout.give_up(record, why)
    layout.note(record, why)
    leave(layout)


def leave(layout):
    """The image that runs is disabled, in its row and then in its page."""
    rows = layout.rows()
    row = layout.port.row(rows)
    if row:
        row.mark(DISABLED)
        layout.save(rows)
    control.disable(layout.port.flash)


def rollback(layout, why):
    """By hand: end a trial, drop an update that waits for its restart, or leave the running image for the next best."""
    record = trial(layout.journal)
    if record:
        if layout.on_trial():
            return retreat(layout, why)
        rows = layout.rows()
        row = _row(layout, rows, record)
        if row:
            row.mark(DISABLED)
            layout.save(rows)
        return layout.give_up(record, why)
    layout.ready()
    if not layout.port.running:
        raise NotNow("rollback", "the factory image runs, nothing is behind it")
    now = _running(layout)
    leave(layout)
    if now:
        layout.give_up(now, why)


def _running(layout):
    """The Record of what runs; a new one for an image that the journal does not know. None where no row has it."""
    now = layout.record("running")
    if now and now.slot == layout.port.running:
        return now
    row = layout.port.row(layout.rows())
    if row is None:
        return None
    version = encode([0, 0, 0, database.number(row.version)])
    size = layout.port.files.size(row.name) or 0
    record = layout.new(row.digest[:8], row.digest, version, size, layout.port.running)
    record.back = -1  # else it were an application's
    return record


def excuse(layout, why):
    """The image given up last, if it was for `why` and brought no application, is not to blame: its verdict goes."""
    record, said = layout.failure() or (None, "")
    if record is None or record.tree & 15 != record.tree >> 4 or said != repr(why.encode()[:64])[2:-1]:
        return
    layout.save([row for row in layout.rows() if row.digest != record.sha])
    for tag in ("armed", "failed", "reason"):
        layout.journal.put(tag, b"")


def withdraw(layout):
    """The owner takes back what runs: the next best image starts at the next reset. Refused where there is none."""
    rows = layout.rows()
    if not others(layout, rows):
        n = database.number(layout.port.version)
        raise Refused("erase", "image %d is withdrawn, and the store has no other that would start" % n)
    rollback(layout, "withdrawn by the manifest")


def others(layout, rows):
    """The files that the loader would start in place of what runs."""
    store = layout.port.files
    buf = bytearray(PAGE)
    now = layout.port.row(rows)
    ready = [row for row in rows if row is not now and row.status in (DOWNLOADED, VALID)]
    found = [row.name for row in ready if files.digest(store, row.name, buf)[0] == row.digest]
    return found + [FACTORY_FILE] * golden(layout)


def golden(layout):
    """Would the loader start the factory image?"""
    store = layout.port.files
    page = control.Control.decode(store.get(FACTORY_FILE, control.HEAD) or b"")
    if not page or (page.kind, page.status) != (FACTORY, VALID):
        return False
    sha, size = files.digest(store, FACTORY_FILE, bytearray(PAGE))
    if size != layout.port.flash.size or (store.get(FACTORY_DIGEST, 32) or sha) != sha:
        return False
    key = layout.port.boot_key
    if key is None:
        return True
    from mpota.layout.pic32.pipe import p256

    return p256.verify_text(key, store.get(SIGN, SIGNATURE_SIZE) or b"", sha)


def renumber(layout):
    """Count the images from 1 again, in their order: after a number so high that none comes above it."""
    layout.ready()
    rows = layout.rows()
    row = layout.port.row(rows)
    if row is None or not layout.port.running:
        raise NotNow("rollback", "the factory image runs, which has no number")
    now = layout.record("running")
    known = now and now.slot == layout.port.running
    before = sorted({one.version for one in rows})
    # The page first: its number may be another row's after this.
    control.disable(layout.port.flash)
    for one in rows:
        one.renumber(before.index(one.version) + 1)
    layout.save(rows)
    if known:
        # A record of files alone goes back to the image that it runs on.
        now.back = ident(row.version) if now.slot == now.back else -1
        now.slot = ident(row.version)
        if now.id == now.sha[:8]:
            now.version = encode([0, 0, 0, database.number(row.version)])
        layout.journal.put("running", now.encode())


def factory_reset(layout):
    """The next boot starts the factory image; every downloaded image is removed."""
    layout.idle()
    if not layout.port.running:
        raise NotNow("rollback", "the factory image runs")
    database.drop(layout.port.files)
    control.disable(layout.port.flash)


def heal(layout):
    """The factory image runs although the store has a better one: the loader could not read it then, and may now."""
    page = control.read(layout.port.flash)
    if trial(layout.journal) is None and page and (page.kind, page.status) == (FACTORY, VALID):
        try:
            rows = layout.rows()
        except FlashError:
            # What cannot be read is no better.
            return
        for row in rows:
            if (
                row.status in (DOWNLOADED, VALID)
                and files.digest(layout.port.files, row.name, bytearray(1024))[0] == row.digest
            ):
                return control.disable(layout.port.flash)


def status(layout):
    """The facts, what the page and the rows say, and a line for a person of each image."""
    port = layout.port
    page = control.read(port.flash)
    name = "image %d" % database.number(page.version) if page and port.running else "factory image"
    facts = layout.facts(name, layout.waits)
    failure = layout.failure()
    images = [_told(row, failure) for row in layout.rows() or database.told(port.files)]
    facts["page"] = page and control.NAMES.get(page.status, "%02x" % page.status)
    facts["takes"] = "an image of %d bytes; keeps %d and the factory image" % (port.flash.size, port.images)
    facts["images"] = images
    facts["findings"] = ["%s: image %d, %s" % (i["name"], i["number"], i["why"] or i["status"]) for i in images]
    return facts


def _told(row, failure):
    state = control.NAMES.get(row.status, "%02x" % row.status)
    given_up = failure and row.status == DISABLED and failure[0].sha == row.digest
    why = (given_up and "%s: %s" % (state, failure[1])) or None
    return {"name": row.name, "number": database.number(row.version), "status": state, "why": why}
