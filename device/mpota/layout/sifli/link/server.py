"""Where links and a session meet: one phone at a time, on whichever link it came.

`turn` is short and never waits, so a user program calls it between other things; a manager does nothing else (`stay`).
A value is a piece of a message on every link alike (framing.py).
"""

from mpota.layout.sifli.link import framing
from mpota.layout.sifli.link.messages import HEAD_SIZE
from mpota.layout.sifli.store import control

# The last words leave before the link is dropped, and that before the reset.
LINGER_MS = 100
# The largest message: a control packet; a record of the largest block is less.
_ROOM = control.SIZE + HEAD_SIZE


class Server:
    """`session` is the program's; `links` have read(), write(value), drop(), up, came, mtu."""

    def __init__(self, session, links, board):
        self.session = session
        self.links = links
        self.board = board
        self.parts = framing.Parts(bytearray(_ROOM))
        self.link = None
        self.seen = 0
        self.values = []
        self.ended = None
        self.heard = board.ticks_ms()

    def turn(self):
        """Do what can be done without waiting. True while there is more to do at once."""
        link = self._phone()
        value = None
        if link and (not link.up or link.came != self.seen):
            # Another phone, or the same one anew; it has to come again where this one's going ends the program.
            self._over()
            if self.session.leave:
                link.drop()
        elif link:
            value = link.read()
        busy = value is not None
        if busy:
            self.heard = self.board.ticks_ms()
            message = self.parts.feed(value)
            if message is not None:
                self.session.feed(message)
        self._send()
        if self.session.job:
            self.session.work()
            busy = True
        self.session.tick()
        self._send()
        return busy

    def _phone(self):
        """The link of the phone that is here, or of one that has just come."""
        if self.link is None:
            for link in self.links:
                if not link.up:
                    link.read()
                if link.up:
                    self.link, self.seen = link, link.came
                    self.parts.size = 0
                    self.heard = self.board.ticks_ms()
                    break
        return self.link

    def _send(self):
        session, link = self.session, self.link
        while link and not (self.values and not self._write()):
            message = session.take()
            if message is None:
                break
            self.values = framing.encode(message, link.mtu)
        if session.closing and not session.out and not self.values:
            self._close(link)

    def _close(self, link):
        """Everything was said; a radio may still be at it."""
        if self.ended is None:
            self.ended = self.board.ticks_ms()
        if link is None or self.board.since(self.ended) >= LINGER_MS:
            if link:
                link.drop()
            self._over()

    def _write(self):
        """Are all values of a message on their way? A link that is full takes them at a later turn."""
        while self.values and self.link.write(self.values[0]):
            self.values.pop(0)
        return not self.values

    def _over(self):
        self.link = self.ended = None
        self.values = []
        self.session.lost()

    def stay(self, until=lambda: False):
        """Serve until the program has to reset (True), or until `until()`."""
        board, session = self.board, self.session
        while not until():
            if not self.turn():
                board.pause()
            board.feed()
            if session.leave and self.link is None:
                self._leave()
                return True
        return False

    def _leave(self):
        """What is still under way from a phone that has gone must not reach the program that starts next."""
        board = self.board
        began = board.ticks_ms()
        while board.since(began) < LINGER_MS:
            for link in self.links:
                link.deaf = True
                link.read()
            board.pause()
