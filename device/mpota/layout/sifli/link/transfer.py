"""The part of a chip's session that takes images: started, filled packet by packet, ended, and installed.

A packet is taken in order or not at all; whoever sends another one is told where this chip is, and has to answer before
it is heard again. A response stands for what is stored, and only then.
"""

from mpota.layout.sifli import upgrade as u
from mpota.layout.sifli.link import codes as g
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.store import progress as p
from mpota_boot.errors import OtaError

QUIET_MS = 6000  # no packet: ask; no answer: give up


class Transfer:
    """See session.py; `clock` has ticks_ms() and since()."""

    def __init__(self, chip, clock, manager):
        self.chip = chip
        self.clock = clock
        self.manager = manager
        self.up = u.Upgrade(chip)
        self.out = []
        self.closing = self.leave = self.job = self.checking = False
        self.timer = None
        self.good = self.since = self.retries = self.seen = self.total = 0
        self.answered = False
        self.asked = None
        self.state = p.IDLE

    def _arm(self, kind, ms):
        self.timer = kind, self.clock.ticks_ms(), ms

    def _watch(self):
        self.seen = self.good
        self._arm("quiet", QUIET_MS)

    def _send(self, id, *fields):
        self.out.append(m.encode(id, *fields))

    def _start(self, id, fields, tail):
        length, total, every, image = fields
        skip = 0
        try:
            if not self.manager or self.state not in (p.PREPARE_START, p.TRAN_START) or self.up.image:
                result = g.UNEXPECTED
                # The same question once more: the answer was lost.
                if self.up.image and not self.good and fields == self.asked:
                    result = g.OK
            else:
                result, skip = self.up.start(image, length, total, every)
        except (OtaError, OSError):
            result = g.FLASH
        if not result:
            self.state = p.TRAN_START
            self.asked = fields
            self.total = total
            self.good = self.up.now.packets
            self.since = self.retries = 0
            self.answered = self.checking = False
            self._watch()
        self._send(m.START_RSP, result, 1, skip)

    def _packet(self, id, fields, record):
        image, index, n = fields
        if self.state != p.TRAN_START or self.up.image is None:
            return self._send(m.PACKET_RSP, g.UNEXPECTED)
        if self.checking:
            return
        if image & 255 != self.up.image.id or n != len(record):
            result = g.PARAMETER
        elif index != self.good + 1:
            return self._ask()
        else:
            result = self.up.write(index, record)
        if not result:
            self.good = index
            self.since += 1
            if self.since < self.up.now.every and index < self.total:
                return
            result = self._stored()
        self._send(m.PACKET_RSP, result)
        if result:
            self._error(result)

    def _stored(self):
        """A response is due: what came since the last one counts from now on."""
        try:
            self.up.keep(p.TRAN_START)
        except (OtaError, OSError):
            return g.FLASH
        self.since = self.retries = 0
        self.answered = True
        return g.OK

    def _ask(self):
        """Is the phone there, and does it know where this chip is?"""
        self._send(m.LINK_CHECK, g.OK, self.up.now.every, self.good)
        self.checking = True
        self._arm("check", QUIET_MS)

    def _there(self, id, fields, tail):
        if self.checking:
            self.checking = False
            self.since = 0
            self._watch()

    def _retry(self, id, fields, tail):
        """The phone misses a response. Where that goes on, responses come more often."""
        now = self.up.now
        if self.state != p.TRAN_START:
            return self._send(m.RETRY_RSP, g.UNEXPECTED, now.every, self.good)
        self.retries += 1
        if not self.answered or self.retries > 2:
            now.every = 1 if now.every & 1 else now.every // 2
        self.since = 0
        self.checking = False
        self._watch()
        self._send(m.RETRY_RSP, g.OK, now.every, self.good)

    def _end(self, id, fields, tail):
        try:
            result = self.up.end(fields[0]) if self.state == p.TRAN_START else g.UNEXPECTED
        except (OtaError, OSError):
            result = g.FLASH
        if self.up.image is None:
            self.good = 0
        if self.state == p.TRAN_START:
            self._watch()
        self._send(m.END_RSP, result)

    def _finish(self, id, fields, tail):
        if self.state == p.INSTALL:
            return
        begun = self.state in (p.TRAN_START, p.PREPARE_START) and self.manager
        if not begun or self.up.where()[0] != p.NO_IMAGE:
            result = g.MISS_PACKET if begun else g.UNEXPECTED
            return self._send(m.FINISH_IND, result)
        self.timer = None
        self.state = p.INSTALL
        self.job = True

    def work(self):
        """Install what came. The answer says how it went; then the user program starts."""
        from mpota.layout.sifli.loader.finish import complete

        self.job = False
        result = complete(self.chip)
        self._send(m.FINISH_IND, result)
        if result:
            self.up = u.Upgrade(self.chip)
            return self._over()
        self.closing = self.leave = True

    def _error(self, reason):
        self._send(m.ABORT, reason)
        self.closing = True
        self._over()

    def _over(self):
        """A download that ends before its end: back to the user program, if that is whole."""
        self.timer = None
        self.checking = False
        self.state = p.IDLE
        if self.manager:
            try:
                stays = self.up.fail()
            except (OtaError, OSError):
                stays = True
            self.state = p.FORCE_UPDATE
            self.leave = not stays
            self.closing = True
