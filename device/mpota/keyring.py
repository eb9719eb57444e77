"""The keys of a board with roots: those of the newest keys record that enough of its roots have signed, and no other.

keys/roots/NAME.pub are the roots. The setting `threshold` says how many of them must sign; without it all must. Both
change over a cable only. The record lies twice, in record.a and record.b beside the roots. The copy that is not in use
is written first and read back, so a cut leaves the old record or the new one. The highest serial seen is in the journal
too, so no lost file brings an older record back. A board without roots never imports this.
"""

import os
from struct import pack

from mpota.pipe.keyrecord import KeysRecord, reading
from mpota.pipe.trust import SIZE, key_id
from mpota.stream import fill
from mpota_boot.errors import FlashError, OtaError, Refused

COPIES = ".a", ".b"


class Keyring:
    """What Board.keys() gives where there are roots; `folder` has them. A record that was proven stays for the run."""

    def __init__(self, board, folder):
        self.board = board
        self.path = folder + "/record"
        self.folder = folder
        self.record = None
        # The copy that was proven: it is written last.
        self.used = COPIES[1]

    def roots(self):
        """The public keys of the roots, each once. One that cannot be read is an error: fewer roots are not enough."""
        found = set()
        for name in os.listdir(self.folder):
            if name[-4:].lower() == ".pub":
                with open(self.folder + "/" + name, "rb") as f:
                    found.add(f.read(SIZE))
        return found

    def threshold(self, roots):
        """How many of the roots must have signed a record."""
        return self.board.setting("threshold", max(len(roots), 1), 255)

    def seen(self):
        """The highest serial seen, 0 before the first record."""
        return int.from_bytes(self.board.journal.last("keys") or b"\0", "little")

    def proven(self):
        """The newest record that this board has and may trust, in steps; None where there is none."""
        if not self.record:
            found = []
            for name in COPIES:
                try:
                    found.append((KeysRecord(self._read(name)), name))
                except Refused:
                    pass
            for record, name in sorted(found, key=lambda one: -one[0].serial):
                try:
                    if record.serial >= self.seen():
                        yield from self._prove(record)
                        self.record, self.used = record, name
                        break
                except Refused:
                    pass
        return self.record

    def trusted(self):
        """The release keys of that record, in steps."""
        record = yield from self.proven()
        if not record:
            raise Refused("record", "this board has roots and no keys record that they have signed: send it one")
        return record.release

    def taking(self, data):
        """Keep a record, in steps, if it is newer than the one here. False: it is older than one that was seen."""
        old = yield from self.proven()
        new = KeysRecord(data)
        if new.serial < max(self.seen(), old.serial if old else 0):
            return False
        if old and new.serial == old.serial and new.digest != old.digest:
            raise Refused("serial", "another keys record with serial %d is here" % new.serial)
        # A copy that is torn has another end than the whole one.
        if old is None or old.serial != new.serial or self._read(COPIES[0]) != self._read(COPIES[1]):
            yield from self._prove(new)
            self._keep(bytes(data))
            self.record = new
        if self.seen() != new.serial:
            self.board.journal.put("keys", pack("<I", new.serial))
        return True

    def reading(self, src, buf):
        """taking() of a file of its own, through `buf` (4096 bytes). Refused where the record is older."""
        view = memoryview(buf)
        n = yield from fill(src, view[:16])
        view[n:16] = bytes(16 - n)
        data = yield from reading(src, view)
        if not (yield from self.taking(data)):
            raise Refused("serial", "keys record %d, %d was seen here" % (KeysRecord(data).serial, self.seen()))

    def _prove(self, record):
        """Refuse, in steps, what this board may not trust."""
        if record.product not in ("", self.board.product):
            raise Refused(
                "product", "the keys record is for product %r, this board is %r" % (record.product, self.board.product)
            )
        roots = self.roots()
        yield from record.proving(roots, self.threshold(roots))
        # Nobody asks for them again.
        record.signatures = None

    def _read(self, name):
        try:
            with open(self.path + name, "rb") as f:
                return f.read(4097)
        except OSError:
            return b""

    def _keep(self, data):
        """Write what differs, the copy in use last. A file system without room for that one costs the second copy."""
        last = self.used
        first = COPIES[last == COPIES[0]]
        self._write(first, data)
        self.used = first
        try:
            self._write(last, data)
        except FlashError:
            pass

    def _write(self, name, data):
        if self._read(name) == data:
            return
        try:
            with open(self.path + name, "wb") as f:
                f.write(data)
        except OSError as e:
            raise FlashError("keys", "%s was not written: %r" % (self.path + name, e))
        if self._read(name) != data:
            raise FlashError("keys", "%s does not hold what was written" % (self.path + name))


def rollout(board):
    """The keys that may sign offers, in steps; none without roots, or before the first record."""
    ring = board.keys()
    record = (yield from ring.proven()) if isinstance(ring, Keyring) else None
    return record.rollout if record else []


def from_file(board, path):
    """Take the record in a file that a cable brought, which goes; "", or the sentence that it is refused with."""
    from mpota.stream import finish

    try:
        with open(path, "rb") as f:
            finish(board.keys().reading(f, bytearray(4096)))
        return ""
    except OtaError as e:
        return str(e)
    finally:
        os.remove(path)


def facts(ring):
    """What status() tells of the roots and the record; writes nothing."""
    from mpota.stream import finish

    roots = ring.roots()
    record = finish(ring.proven())
    return {
        "roots": sorted([_id(key) for key in roots]),
        "threshold": ring.threshold(roots),
        "serial": record and record.serial,
        "seen": ring.seen(),
        "release": [_id(key) for key in record.release] if record else [],
        "rollout": [_id(key) for key in record.rollout] if record else [],
    }


def _id(key):
    return "".join(["%02x" % n for n in key_id(key)])
