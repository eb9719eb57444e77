"""The Record of an update that is to be armed, for every layout, and for a manager that has no memory for a Layout."""

from mpota_boot.journal import Record, tree


def new(journal, running, trials, image, on_trial):
    """A Record that no other one of this board looks like, whether it closes a trial or opens one.

    `image` is package id, SHA-256, version, size and slot; `running` the slot to go back to; `on_trial()`: does an
    image on trial run?
    """
    key, sha, version, size, slot = image
    if journal.last("failed"):
        from mpota.layout import given

        given.file(journal)
    for tag in ("wakes", "soft", "doing", "begun"):
        # Of another trial, or download.
        if journal.last(tag):
            journal.put(tag, b"")
    if (journal.last("reason") or b"")[:8] == key:
        # Of another trial too. That of another package stays: `failed` may be that one.
        journal.put("reason", b"")
    count = 1
    for tag in ("running", "failed"):
        record = Record.decode(journal.last(tag))
        if record and record.count >= count:
            count = record.count + 1
    now = tree(journal, on_trial)
    return Record(key, sha, version, size, count & 0xFFFF, slot, running, now * 17, trials)
