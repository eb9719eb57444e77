"""What the vendor's page asks when an update did not come: do the tables agree, is the download whole, the RF there?

Each is answered in a sentence of what is in flash: by a board's `status`, and by `mpota inspect` of a dump on a PC.
"""

from mpota.layout.bk7238.store import foreign
from mpota.store.flash import Region
from mpota.store.writer import decode_progress

BLANK = {foreign.RF: "blank, not calibrated", foreign.NETWORK: "blank, nothing is kept"}


def findings(layout):
    """Sentences: the vendor's two problems, each with what this board knows of it."""
    port = layout.port
    found = [layout.mismatch() or "partition tables: the loader's and the application's agree"]
    if port.radio:
        found.append(_radio(port))
    there = _there(port)
    for name in (foreign.RF, foreign.NETWORK):
        found += _kept(port, name, [off for off, seen in there if seen == name])
    found += _download(port, there)
    closed = layout.journal.closed()
    if closed:
        found.append("journal: " + closed)
    found.append("last download: " + _ended(layout))
    return found


def _radio(port):
    try:
        joined, signal = port.radio()
    except OSError as e:
        return "Wi-Fi: the radio does not answer, %r" % e
    words = "Wi-Fi: joined" if joined else "Wi-Fi: not joined"
    return words if signal is None else "%s, %d dBm" % (words, signal)


def _there(port):
    """[(offset, kind)] of what other owners have, code left out. TLV without a known item is RF, as is most of it."""
    found = []
    for off, seen in foreign.find(port.flash, 0, port.flash.size, port.rows.values()):
        if seen == foreign.SOME:
            seen = foreign.NETWORK if off == port.kept["network"] else foreign.RF
        found.append((off, seen))
    return found


def _kept(port, name, at):
    """Where the calibration or the network's settings lie: found by their TLV, else where the wiring says."""
    off = port.kept[name]
    blank = off and _blank(Region(port.flash, off, port.flash.erase_size))
    if off and (not at or off in at):
        yield "%s sector at 0x%x: %s" % (name, off, BLANK[name] if blank else "written")
    for other in at:
        if other != off:
            here = "; 0x%x %s" % (off, "is blank" if blank else "is written too") if off else ""
            yield "%s sector at 0x%x: %s%s" % (name, other, foreign.words(name, other), here)


def _download(port, there):
    """What lies inside `download` and is never erased, and packages where the loader does not look."""
    row = port.theirs().get(b"download") or port.rows[b"download"]
    mine = port.rows[b"download"]
    for off, seen in there:
        if seen == foreign.PACKAGE:
            if off != row.offset:
                yield "download: an RBL package lies at 0x%x, the loader looks at 0x%x" % (off, row.offset)
        elif mine.offset <= off < mine.offset + mine.size:
            yield "download: 0x%x holds %s" % (off, foreign.words(seen, off))


def _blank(flash):
    buf = bytearray(256)
    for off in range(0, flash.size, 256):
        flash.read(off, buf)
        if buf != b"\xff" * 256:
            return False
    return True


def _ended(layout):
    """How the last download ended."""
    wrong = layout.journal.last("ended")
    if wrong:
        # The journal may have cut it inside a character.
        return "refused before the restart: " + repr(wrong)[2:-1]
    where = decode_progress(layout.journal.last("progress"))
    if not where:
        return "none is known"
    key, _, length, _, _, at, _ = where
    for tag, words in (("failed", "given up: %s"), ("running", "installed"), ("armed", "complete, armed")):
        record = layout.record(tag)
        if record and record.id == key:
            if "%" in words:
                return words % layout.reason(key)
            return "installed, on trial" if tag == "armed" and layout.on_trial() else words
    if length:
        return "stopped, goes on at byte %d" % at if at else "stopped, begins again"
    return "complete, not armed"
