"""What a boot does with an update that is open, how an image is judged, and what a person asks for.

The new image runs, or the loader never saw a header, or it saw one and would not have it. The first is on trial,
although nothing can go back: a verdict says why, and lets the next release in. The second is armed again.
"""

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.layout import NO_WAY_BACK
from mpota.store.flash import Region
from mpota.store.log import TLV
from mpota.store.writer import decode_progress, digest
from mpota.stream import FIRMWARE
from mpota_boot.errors import NotNow
from mpota_boot.journal import trial

BLANK = {"RF": "blank, not calibrated", "network": "blank, nothing is kept"}


class _Whole:
    """Stands for the component that a record is of."""

    kind = FIRMWARE
    name = "firmware"


def settle(layout, why):
    """After a reset through the loader, `why` in a word: finish what is open. True: the board must reset."""
    record = trial(layout.journal)
    if record is None:
        return False
    if layout.on_trial():
        layout.count_boot(record, why)
        return False
    whole = digest(layout.target(_Whole), record.size, bytearray(4096), layout.port.feed) == record.sha
    if whole and layout.front() != layout.journal.last("staged"):
        return _again(layout, record, why)
    if whole:
        layout.give_up(record, "the loader refused the package")
    unstage(layout)
    if not whole:
        # A cut in the middle of writing the header, or a bit that turned over: fetch it again, from the beginning.
        layout.journal.put("armed", b"")
    return False


def _again(layout, record, why):
    """The package is there and its header is not, or is torn."""
    if record.trials < 2:
        layout.give_up(record, why)
        return False
    record.trials -= 1
    layout.journal.put("armed", record.encode())
    layout.commit()
    return True


def unstage(layout):
    """Let the loader find nothing."""
    layout.journal.put("progress", b"")
    if layout.front() != b"\xff" * rbl.SIZE:
        flash = layout.port.download
        flash.erase(0, flash.erase_size)


def retreat(layout, why):
    """Note why this image is not wanted. It stays until another one is installed."""
    record = layout.on_trial()
    if record is None:
        raise NotNow("trial", "nothing is on trial")
    layout.give_up(record, why)


def rollback(layout, why):
    """By hand: drop an update that waits for its restart. There is no other way back."""
    record = trial(layout.journal)
    if record is None or layout.on_trial():
        raise NotNow("rollback", NO_WAY_BACK)
    unstage(layout)
    layout.give_up(record, why)


def heal(layout):
    """There is nothing that could name another image."""


def status(layout):
    """The facts, the version in the header of what runs, and the vendor's two problems."""
    facts = layout.facts("app", layout.ready)
    head = rbl.Header.decode(layout.header())
    facts["takes"] = "RBL packages, no files"
    facts["rbl"] = head and repr(head.version)[2:-1]
    facts["findings"] = findings(layout)
    return facts


def findings(layout):
    """Sentences: the vendor's two problems, each with what this board knows of it."""
    port = layout.port
    found = [layout.mismatch() or "partition tables: the loader's and the application's agree"]
    if port.radio:
        try:
            joined, signal = port.radio()
            words = "Wi-Fi: joined" if joined else "Wi-Fi: not joined"
            found.append(words if signal is None else "%s, %d dBm" % (words, signal))
        except OSError as e:
            found.append("Wi-Fi: the radio does not answer, %r" % e)
    for name, off in sorted(port.kept.items()):
        if off:
            blank = _blank(Region(port.flash, off, port.flash.erase_size))
            words = BLANK[name] if blank else "written"
            other = blank and name == "RF" and _calibration(port)
            if other:
                words = "TLV, the RF calibration of a Tuya module; 0x%x is blank" % off
            found.append("%s sector at 0x%x: %s" % (name, other or off, words))
    closed = layout.journal.closed()
    if closed:
        found.append("journal: " + closed)
    found.append("last download: " + _ended(layout))
    return found


def _calibration(port):
    """Where a calibration lies that is not where this board looks for it, 0 where there is none."""
    head = bytearray(len(TLV))
    for off in range(port.kept["RF"], port.flash.size, port.flash.erase_size):
        port.flash.read(off, head)
        # The SDK keeps the network's settings as TLV too.
        if head == TLV and off != port.kept["network"]:
            return off
    return 0


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
    key, _, length, at, _, _ = where
    for tag, words in (("failed", "given up: %s"), ("running", "installed"), ("armed", "complete, armed")):
        record = layout.record(tag)
        if record and record.id == key:
            if "%" in words:
                return words % layout.reason(key)
            return "installed, on trial" if tag == "armed" and layout.on_trial() else words
    if length:
        return "stopped, goes on at byte %d" % at if at else "stopped, begins again"
    return "complete, not armed"
