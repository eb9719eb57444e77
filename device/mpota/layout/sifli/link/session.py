"""The chip's end of an upgrade by phone, without input or output: messages go in by `feed`, come out by `take`.

The user program and the manager run the same session: the first one only agrees to an upgrade and asks for a reset, the
second one takes the images. `clock` has ticks_ms() and since(), as a Board has. After each feed or tick, look at
`closing` (drop the link once all was sent), `leave` (then reset) and `job` (call work(), which may take seconds).

A lost, repeated or swapped packet costs a question to the phone, never the upgrade; a packet that is not what its
record says ends it. Whatever comes, nothing is written outside the image that was started, in order.
"""

from mpota.layout.sifli.link import codes as g
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.link.transfer import Transfer
from mpota.layout.sifli.policy import judge
from mpota.layout.sifli.store import progress as p
from mpota_boot.errors import Corrupt, OtaError
from mpota_boot.journal import trial

REBOOT_MS = 6000  # the user program resets, though nobody said that the agreement arrived
WAIT_MS = 30000  # the manager waits for the first image


class Session(Transfer):
    """One link's worth of messages; a link that is lost is told by `lost`."""

    def __init__(self, chip, gate, clock, manager, why=""):
        super().__init__(chip, clock, manager)
        self.gate = gate
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
        result, found = judge(self.chip, self.gate.asked(id == m.FORCE_INIT), packet, state, id == m.INIT and begun)
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

    CALLS = {
        m.START: Transfer._start,
        m.END: Transfer._end,
        m.PACKET: Transfer._packet,
        m.FINISH: Transfer._finish,
        m.RETRY: Transfer._retry,
        m.LINK_CHECK_RSP: Transfer._there,
    }
    for _id in (m.INIT, m.RESUME, m.FORCE_INIT, m.INIT_EXT):
        CALLS[_id] = _init
    for _id in (m.INIT_DONE, m.RESUME_DONE, m.INIT_EXT_DONE):
        CALLS[_id] = _done
