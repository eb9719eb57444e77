"""The chip's end of an upgrade by phone, without input or output: messages go in by `feed`, come out by `take`.

The user program and the manager run the same session: the first one only agrees to an upgrade and asks for a reset, the
second one takes the images. `clock` has ticks_ms() and since(), as a Board has. After each feed or tick, look at
`closing` (drop the link once all was sent), `leave` (then reset) and `job` (call work(), which may take seconds).

A packet is taken in order or not at all; whoever sends another one is told where this chip is, and has to answer before
it is heard again. A response stands for what is stored, and only then. So a lost, repeated or swapped packet costs a
question to the phone, never the upgrade; a packet that is not what its record says ends it.
"""

from mpota.layout.sifli import upgrade as u
from mpota.layout.sifli.link import codes as g
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.policy import judge
from mpota.layout.sifli.store import progress as p
from mpota_boot.errors import Corrupt, OtaError
from mpota_boot.journal import trial

QUIET_MS = 6000  # no packet: ask; no answer: give up
REBOOT_MS = 6000  # the user program resets, though nobody said that the agreement arrived
WAIT_MS = 30000  # the manager waits for the first image


class Session:
    """One link's worth of messages; a link that is lost is told by `lost`."""

    def __init__(self, chip, policy, clock, manager, why=""):
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
        self.policy = policy
        self.found = None
        self.fresh = True
        if manager:
            self.state = p.PREPARE_START if self.up.now.state == p.PREPARE_START else p.FORCE_UPDATE
            if why != "force":
                self._arm("start", WAIT_MS)

    def feed(self, message):
        """Take one whole message; what is none is passed over."""
        try:
            id, fields, tail = m.decode(message)
        except Corrupt:
            return
        call = self.CALLS.get(id)
        if call and not self.closing:
            call(self, id, fields, tail)

    def take(self):
        """The next message to send, or None."""
        return self.out.pop(0) if self.out else None

    def lost(self):
        """The link is gone."""
        self.out = []
        self.closing = False
        if not self.manager:
            self.state = p.IDLE
            self.timer = None
        elif self.state == p.TRAN_START:
            self._over()
        elif self.state == p.NEG:
            self.state = p.FORCE_UPDATE

    def tick(self):
        """Look at the clock."""
        if self.timer is None or self.clock.since(self.timer[1]) < self.timer[2]:
            return
        kind = self.timer[0]
        self.timer = None
        if kind == "reboot":
            self._agree(self.fresh)
        elif kind == "quiet" and self.seen == self.good:
            self._ask()
        elif kind == "quiet":
            self._watch()
        elif kind == "check":
            self._error(g.MISS_PACKET)
        else:
            self._over()

    def _init(self, id, fields, packet):
        """Any of the four ways to begin; the answer has the shape of the question."""
        now = self.up.now
        begun = now.fw >= p.DOWNLOADING
        state = self.state
        if not self.manager and trial(self.chip.journal):
            state = p.UPDATING
        result, found = judge(self.chip, self.policy.asked(id == m.FORCE_INIT), packet, state, id == m.INIT and begun)
        again = not result and begun and self.up.matches(found)
        if not result and id == m.RESUME and not again:
            result = g.PARAMETER if begun else g.GENERAL
        self.fresh = not (again and id in (m.RESUME, m.INIT_EXT))
        image, packets = (p.NO_IMAGE, 0) if self.fresh else self.up.where()
        boot = not self.manager
        over = now.fw > p.DOWNLOADING or p.FAILED in list(now.images)
        if id == m.RESUME:
            self._send(m.RESUME_RSP, result, boot, over, packets, image, now.started)
        elif id == m.INIT_EXT:
            self._send(m.INIT_EXT_RSP, result, not self.fresh, over, packets, image, now.started, boot, 1)
        else:
            self._send(m.INIT_RSP, result, boot)
        if result:
            self.closing = result == g.UNEXPECTED
            if self.closing and self.manager and state == p.PREPARE_START:
                # A phone that does not know of its own agreement begins anew, and need not wait for its end.
                self._over()
            return
        self.found = found
        self.state = p.NEG
        self._arm(*(("start", WAIT_MS) if self.manager else ("reboot", REBOOT_MS)))

    def _done(self, id, fields, tail):
        """The phone has the answer, and says whether it goes on."""
        if self.state != p.NEG:
            return
        if id == m.INIT_EXT_DONE:
            self._agree(self.fresh or not fields[0])
        elif fields[0]:
            self._agree(self.fresh)
        elif self.manager:
            # Its wait goes on: the program that it was to go back to is still there.
            self.state = p.FORCE_UPDATE
        else:
            self.timer = None
            self.state = p.IDLE

    def _agree(self, fresh):
        """Keep what was agreed on; the user program makes way for the manager."""
        if not self.manager and trial(self.chip.journal):
            # Another update was armed since INIT, and waits in the area that this one would overwrite.
            return self._error(g.UNEXPECTED)
        try:
            self.up.begin(self.found, fresh)
        except (OtaError, OSError):
            return self._error(g.FLASH)
        self.timer = None
        self.state = p.PREPARE_START
        if self.manager:
            self._arm("start", WAIT_MS)
        else:
            self.closing = self.leave = True

    # Images: started, filled packet by packet, ended, and installed.

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

    CALLS = {
        m.START: _start,
        m.END: _end,
        m.PACKET: _packet,
        m.FINISH: _finish,
        m.RETRY: _retry,
        m.LINK_CHECK_RSP: _there,
    }
    for _id in (m.INIT, m.RESUME, m.FORCE_INIT, m.INIT_EXT):
        CALLS[_id] = _init
    for _id in (m.INIT_DONE, m.RESUME_DONE, m.INIT_EXT_DONE):
        CALLS[_id] = _done
