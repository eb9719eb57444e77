"""Frames of a line, and where links meet a session: noise, damage, a phone that comes in another's place."""

from mpota.layout.sifli.link import framing, line, server
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.link.session import Session
from mpota.layout.sifli.policy import Policy
from tests.chips.sifli import sifli_maker as maker

VALUE = bytes(range(200))


def fed(data, frames=None, step=None):
    """The values in `data`, as they come to a line that gives at most `step` bytes at once."""
    frames = frames or line.Frames(bytearray(line.MTU + line.EXTRA))
    out = []
    while data:
        room = frames.room()
        n = min(len(room), len(data), step or len(room))
        room[:n] = data[:n]
        data = data[n:]
        value = frames.took(n)
        if value is not None:
            out.append(bytes(value))
    return out


def test_values_come_whole_in_whatever_pieces():
    data = line.encode(VALUE) + line.encode(b"") + line.encode(bytes(line.MTU))
    for step in (1, 2, 3, 5, 7, 1000):
        assert fed(data, step=step) == [VALUE, b"", bytes(line.MTU)]


def test_the_checksum_is_that_of_the_vendors_frames():
    # CRC-16 with the polynomial 1021 from FFFF has 29B1 for the digits 1 to 9.
    assert line._crc(b"123456789", 9) == 0x29B1


def test_each_bit_of_a_frame_counts():
    data = line.encode(b"0123456789")
    for i in range(8 * len(data)):
        bent = bytearray(data)
        bent[i // 8] ^= 1 << i % 8
        assert fed(bytes(bent)) == [], i


def test_noise_in_front_costs_nothing_and_a_frame_that_was_torn_only_itself():
    good = line.encode(VALUE)
    for noise in (b"\r\x03", b"\xaa", b"\xaa\xaa", b"\xaa\x55\xff\xff", b"raw REPL; CTRL-B to exit\r\n>", b"\0" * 99):
        assert fed(noise + good) == [VALUE], noise
    frames = line.Frames(bytearray(line.MTU + line.EXTRA))
    assert fed(line.encode(bytes(500))[:300], frames) == []
    assert fed(bytes(line.MTU + line.EXTRA) + good, frames)[-1] == VALUE


def test_a_length_that_does_not_fit_is_no_frame():
    frames = line.Frames(bytearray(64))
    assert fed(line.encode(bytes(80)) + line.encode(b"ok"), frames) == [b"ok"] and frames.bad


class Streams:
    """Sockets of a phone that goes, reads nothing, or breaks."""

    def __init__(self, takes=None, breaks=False):
        self.takes, self.breaks, self.closed = takes, breaks, False

    def write(self, data):
        if self.breaks:
            raise OSError(104)
        return self.takes

    def close(self):
        self.closed = True


class Bare(line.Line):
    def open(self, rx, tx=None):
        self.rx, self.tx = rx, tx or rx


def test_a_phone_that_does_not_read_or_breaks_is_lost_and_holds_up_nobody():
    for streams in (Streams(None), Streams(0), Streams(breaks=True)):
        link = Bare(streams)
        link.up = True
        assert link.write(b"value") and not link.up


class Phone:
    """A link whose other end is this test."""

    mtu = 100
    deaf = False

    def __init__(self):
        self.came, self.up, self.room = 0, False, 100
        self.inbox, self.sent, self.dropped = [], [], 0

    def come(self, *messages):
        self.came += 1
        self.up = True
        self.send(*messages)

    def send(self, *messages):
        for message in messages:
            self.inbox += framing.encode(message, self.mtu)

    def read(self):
        return self.inbox.pop(0) if self.inbox else None

    def write(self, value):
        if len(self.sent) >= self.room:
            return False
        self.sent.append(value)
        return True

    def drop(self):
        self.dropped += 1
        self.up = False

    def heard(self):
        parts = framing.Parts(bytearray(4000))
        found = []
        for value in self.sent:
            message = parts.feed(value)
            if message is not None:
                found.append(m.decode(bytes(message))[0])
        self.sent = []
        return found


class Board(maker.Clock):
    def feed(self):
        pass

    def pause(self):
        self.ms += 10


CODE = maker.Package([(0, 16, maker.payload(9000, 2))], 1002000)


def made(links=1, manager=False):
    chip = maker.chip()
    maker.provision(chip, maker.payload(9000, 1))
    board = Board()
    session = Session(chip, Policy(lambda found: True), board, manager, "force" if manager else "")
    phones = [Phone() for _ in range(links)]
    return server.Server(session, phones, board), phones, board


def turns(at, n=40):
    for _ in range(n):
        at.turn()


def test_a_user_program_answers_lingers_drops_the_link_and_leaves():
    at, (phone,), board = made()
    phone.come(m.encode(m.INIT, tail=CODE.packet), m.encode(m.INIT_DONE, 1))
    assert at.stay()
    assert phone.heard() == [m.INIT_RSP] and phone.dropped == 1 and phone.deaf
    assert board.ms >= 2 * server.LINGER_MS


def test_one_phone_at_a_time_and_the_next_one_when_it_has_gone():
    at, (first, second), _board = made(2)
    first.come(m.encode(m.INIT, tail=CODE.packet))
    second.come(m.encode(m.INIT, tail=CODE.packet))
    turns(at)
    assert first.heard() == [m.INIT_RSP] and second.heard() == []
    first.up = False
    turns(at)
    assert second.heard() == [m.INIT_RSP]


def test_a_phone_that_comes_anew_in_a_download_sends_the_manager_back():
    at, (phone,), _board = made(manager=True)
    n = len(CODE.records[0])
    start = m.encode(m.START, sum([len(r) for r in CODE.records[0]]), n, 4, 0)
    phone.come(m.encode(m.FORCE_INIT, tail=CODE.packet), m.encode(m.INIT_DONE, 1), start)
    turns(at)
    assert phone.heard() == [m.INIT_RSP, m.START_RSP]
    phone.come()
    turns(at)
    assert at.session.leave and phone.dropped == 1


def test_what_a_full_link_does_not_take_goes_later_and_in_order():
    at, (phone,), _board = made(manager=True)
    phone.mtu = 23
    phone.room = 0
    phone.come(m.encode(m.RETRY), m.encode(m.RETRY))
    turns(at)
    assert phone.sent == [] and at.values
    phone.room = 100
    turns(at)
    assert phone.heard() == [m.RETRY_RSP, m.RETRY_RSP]


def test_a_message_that_was_begun_dies_with_its_link():
    at, (phone,), _board = made(manager=True)
    half = framing.encode(m.encode(m.FORCE_INIT, tail=CODE.packet), phone.mtu)[:2]
    phone.come()
    phone.inbox += half
    turns(at)
    phone.come(m.encode(m.RETRY))
    at.turn()
    turns(at)
    assert at.parts.bad == 0 and phone.heard() == [m.RETRY_RSP]


def test_nobody_waits_for_ever_for_a_phone():
    at, _, board = made()
    assert not at.stay(lambda: board.ms > 10000)


def test_a_frame_is_waited_for_from_its_first_byte_on_and_not_before():
    frames = line.Frames(bytearray(line.MTU + line.EXTRA))
    for typed in b"\r\x03\x03\r\x01":
        assert len(frames.room()) == 1
        frames.room()[:1] = bytes((typed,))
        assert frames.took(1) is None
    frames.room()[:1] = line.MARK[:1]
    assert frames.took(1) is None and len(frames.room()) == 3
