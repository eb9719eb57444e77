"""A trigger for the update service: a message on one topic of an MQTT broker means that somebody wants it to look.

MQTT 3.1.1, QoS 0, over TCP, or TLS where there is a `ca`. An empty message or `check` asks the manifest. {"URL": "",
"Version": 2, "Digest": "", "Signature": ""} names an image, and is heard only where the service asks for signatures:
whoever may publish here shall not be able to say what runs. `step()` never waits for the broker nor for a name server;
a line that was lost is made anew after a while. Of a packet 512 bytes are kept, whatever length it claims.
"""

from json import loads

from mpota.layout.pic32.events import INITIATE, SUCCESS
from mpota.link.connection import Connection, forget
from mpota_boot.errors import LinkError, Refused

MOST = 512
KEEP_S = 60
RETRY_MS = 15000
# From the look-up to the last word of the greeting.
DIAL_MS = 30000
CONNACK, PUBLISH, SUBACK, PINGRESP = 2, 3, 9, 13


def text(data):
    """A string of the wire: its length in two bytes, then it."""
    data = data.encode()
    return bytes((len(data) >> 8, len(data) & 255)) + data


def packet(kind, body):
    """A whole packet. Ours have fewer than 16384 bytes."""
    n = len(body)
    size = bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7))
    return bytes((kind,)) + size + body


class Mqtt(Connection):
    """`service` is told what arrives on `topic`; `error` is the last thing that went wrong, `ready`: subscribed."""

    # With a CA it is MQTT over TLS.
    port = 1883
    # (user, password)
    login = None
    # Messages are rare.
    least = 0

    def __init__(self, board, service, host, topic):
        super().__init__()
        self.board = board
        self.service = service
        self.host = host
        self.topic = topic
        self.error = self.wanted = self.lost = None
        # The steps to a broker, while there are any, and what is still to be said to it.
        self.steps = None
        self.out = b""
        self.ready = False
        self.buf = bytearray(MOST)
        self.piece = bytearray(64)

    def ticks(self):
        return self.board.ticks_ms()

    def since(self, then):
        return self.board.since(then)

    def step(self):
        """One bounded step."""
        if self.wanted is not None and self._told(self.wanted):
            self.wanted = None
        try:
            if self.steps is None and self.sock is None:
                if self.lost is not None and self.since(self.lost) < RETRY_MS:
                    return
                self.steps = self._begin()
            if self.steps:
                next(self.steps)
            else:
                self._say()
                self._hear()
        except StopIteration:
            self.steps = None
        except Exception as e:
            # Whatever a broker or the settings of one bring: the line is made anew, and the board goes on.
            self.error = e
            self.lose()

    def lose(self):
        """No line until the next try."""
        self.lost = self.ticks()
        self.ready = False
        self.steps = None
        self.close()
        forget()

    def dial(self):
        """Steps to a connection: `sock`, whose readinto gives None while there is nothing."""
        return self.connect((bool(self.ca), self.host, self.port))

    def _begin(self):
        """Steps to a broker that has heard who we are and what we want to hear."""
        self.url = "mqtt://%s:%d" % (self.host, self.port)
        self.waited = 0
        self.most = DIAL_MS
        self.looked = self.ticks()
        yield from self.dial()
        yield from ()
        forget()
        self.kind = None
        self.heard = self.asked = self.ticks()
        # A session of its own each time; what was published meanwhile is not waited for.
        flags, names = 2, text("mpota-" + self.board.product)
        if self.login:
            flags |= 0xC0
            names += text(self.login[0]) + text(self.login[1])
        self.out = packet(0x10, text("MQTT") + bytes((4, flags, 0, KEEP_S)) + names)
        self.out += packet(0x82, b"\0\1" + text(self.topic) + b"\0")
        self.what = "room for a word to the broker"
        # TLS shakes hands first.
        while self._say():
            yield
        self.most = 0
        self.shaking = False

    def _say(self):
        """Say what the line takes of what is to be said; what is left."""
        while self.out:
            n = self.io(self.sock.write, self.out)
            if not n:
                break
            self.out = self.out[n:]
        return self.out

    def _hear(self):
        n = self.sock.readinto(self.piece)
        if n == 0:
            raise LinkError("link", self.host + " has hung up")
        if n:
            self.heard = self.ticks()
            for i in range(n):
                self._byte(self.piece[i])
        elif self.since(self.heard) > KEEP_S * 1500:
            raise LinkError("link", self.host + " says nothing any more")
        elif self.since(self.asked) > KEEP_S * 500:
            self.asked = self.ticks()
            self.out += b"\xc0\0"
            self._say()

    def _byte(self, c):
        if self.kind is None:
            self.kind, self.left, self.shift, self.n = c, 0, 0, -1
            return
        if self.n < 0:
            self.left |= (c & 127) << self.shift
            self.shift += 7
            if c & 128:
                if self.shift > 21:
                    raise LinkError("mqtt", self.host + " does not speak MQTT")
                return
            self.n = 0
        else:
            if self.n < MOST:
                self.buf[self.n] = c
            self.n += 1
        if self.n == self.left:
            kind, self.kind = self.kind, None
            self._packet(kind >> 4, kind & 15)

    def _packet(self, kind, flags):
        n, buf = self.n, self.buf
        if kind == CONNACK and n == 2:
            if buf[1]:
                raise LinkError("mqtt", "%s refuses, code %d" % (self.host, buf[1]))
        elif kind == SUBACK and n == 3:
            if buf[2]:
                raise LinkError("mqtt", "%s does not give %s" % (self.host, self.topic))
            self.ready = True
        elif kind == PUBLISH and not flags & 6:
            self._published(bytes(buf[: min(n, MOST)]))
        elif kind != PINGRESP:
            raise LinkError("mqtt", "%s sends a packet of type %d with %d bytes" % (self.host, kind, n))

    def _published(self, data):
        at = 2 + (data[0] << 8 | data[1] if len(data) > 1 else MOST)
        if self.n > MOST or at > len(data):
            self.error = Refused("message", "a message of %d bytes, %d are read" % (self.n, MOST))
        elif data[2:at] == self.topic.encode():
            # While the service is busy the last one counts.
            self.wanted = data[at:].strip()

    def _told(self, said):
        """Has the service taken it, or is it nothing to take?"""
        try:
            if said in (b"", b"check"):
                return self.service.look() == SUCCESS
            fields = loads(said)
            if not isinstance(fields, dict):
                raise ValueError("no object")
            if self.service.key is None:
                raise Refused("message", "a message names an image, and no key says which may run")
            if self.service.job or self.service.trial:
                return False
            self.service.offered(fields)
            self.service.control(INITIATE)
        except Exception as e:
            # Whoever may publish writes what he likes, and a broker keeps it: it is heard once and dropped.
            self.error = e
        return True
