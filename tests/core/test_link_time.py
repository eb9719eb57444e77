"""Servers that take their time, in virtual time: what a wait may cost, and that it ends."""

import mpota_host
from mpota.agent import Agent
from mpota.link.frame import Frames, encode
from mpota.link.http import Http
from mpota.link.serial import Serial
from mpota.runner import Runner
from mpota.stream import pull
from mpota_boot.errors import LinkError
from mpota_host.chips.esp32.sim import soc
from tests.core.test_agent import AGAIN_MS, NEW, boot, chip, steps
from tests.expect import raises
from tests.packages import Maker

assert mpota_host
OK = b"HTTP/1.1 200 OK\r\n"
HOUR = 3600000


def drip(data, gap, ms=0):
    """Each byte `gap` ms after the one before, the first after `ms`."""
    for i in range(len(data)):
        yield (gap if i else ms), data[i : i + 1]


def forever(byte, gap, first=b""):
    """What was said first, then this byte again and again."""
    yield 0, first
    while True:
        yield gap, byte


class Peer:
    """A server's end: `says` gives (milliseconds after the piece before, bytes)."""

    def __init__(self, board, says):
        self.board = board
        self.says = iter(says)
        self.due, self.data = board.ms, b""
        self.next()

    def next(self):
        for gap, data in self.says:
            self.due += gap
            self.data = data
            return
        # It says nothing more and stays.
        self.due, self.data = None, b""

    def write(self, data):
        return len(data)

    def readinto(self, buf):
        while self.due is not None and self.due <= self.board.ms and not self.data:
            self.next()
        if self.due is None or self.due > self.board.ms:
            return None
        n = min(len(buf), len(self.data))
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        if not self.data:
            self.next()
        return n

    def modify(self, sock, events):
        pass

    def poll(self, ms):
        if self.due is not None and self.due <= self.board.ms + ms:
            self.board.ms = max(self.board.ms, self.due)
            return [self]
        self.board.ms += ms
        return []

    def close(self):
        pass


class Virtual(Http):
    """The link over servers in virtual time. `pages`: path to a call that gives what a server says."""

    def __init__(self, board, pages, product="demo"):
        super().__init__("http://h/m.json", product, "esp32", lambda: None)
        self.board = board
        self.pages = pages
        self.asked = []
        self.fed = 0

    def feed(self):
        self.fed += 1
        if self.board.ms > HOUR * 24:
            raise AssertionError("this waits for ever")

    def ticks(self):
        return self.board.ms

    def since(self, then):
        return self.board.ms - then

    def connect(self, to):
        self.asked.append(to[3])
        self.sock = self.poll = Peer(self.board, self.pages[to[3]]())
        return
        yield


def body(data, length=True):
    return OK + (b"Content-Length: %d\r\n" % len(data) if length else b"") + b"\r\n" + data


def turns(agent, ms=HOUR):
    """Step every 10 ms, as main.py does, until something else than "busy" comes of it; no step takes time."""
    end = agent.board.ms + ms
    while agent.board.ms < end:
        before = agent.board.ms
        state = agent.step()
        assert agent.board.ms == before, "a step of %d ms" % (agent.board.ms - before)
        if state != "busy":
            return state
        agent.board.ms += 10
    raise AssertionError("busy for ever")


ENTRY = '{"product":"demo","layout":"esp32","version":"%s","file":"p","size":%d}'


def listing(data):
    return body(('{"mpota":1,"packages":[%s]}' % (ENTRY % ("1.1.0", len(data)))).encode())


def at_once(data):
    return lambda: [(0, data)]


DATA = Maker(NEW).bytes()
GOOD = {"/m.json": at_once(listing(DATA)), "/p": at_once(body(DATA)), "/report": at_once(OK + b"\r\n")}


def link(board=None, **pages):
    found = dict(GOOD)
    for name in pages:
        found["/" + name.replace("_", ".")] = pages[name]
    return Virtual(board or boot(chip(), soc.PWRON), found)


def test_a_server_that_answers_at_once_needs_no_time():
    board = boot(chip(), soc.PWRON)
    agent = Agent(board, [link(board)], None)
    assert steps(agent) == "reset" and board.ms == 0


def test_a_header_has_thirty_seconds_whatever_comes_in_them():
    slow = (
        lambda: forever(b"x", 900),
        lambda: forever(b"x", 900, OK + b"X: "),
        lambda: forever(b"X: 1\r\n", 5000, OK),
        lambda: drip(body(DATA), 2000),
    )
    for i, says in enumerate(slow):
        one = link(m_json=says)
        raises(LinkError, "slow", one.open)
        assert one.board.ms <= 31000, (i, one.board.ms)


def test_a_deadline_says_what_was_seen_and_what_is_wanted():
    e = raises(LinkError, "slow", link(m_json=lambda: forever(b"x", 900)).open)
    assert "at most 30000" in str(e) and "http://h/m.json" in str(e)


def test_redirects_have_the_thirty_seconds_together():
    def go(i):
        return lambda: [(9000, b"HTTP/1.1 302 Go\r\nLocation: /%d\r\n\r\n" % (i + 1))]

    one = link(m_json=go(0))
    for i in range(1, 9):
        one.pages["/%d" % i] = go(i)
    raises(LinkError, "slow", one.open)
    assert one.board.ms <= 31000


def test_a_manifest_has_a_minute_from_its_request():
    for gap in (900, 9000):
        one = link(m_json=lambda gap=gap: forever(b" ", gap, OK + b"\r\n"))
        raises(LinkError, "slow", one.open)
        assert one.board.ms <= 61000
    rest = listing(DATA)[len(OK) :]
    late = link(m_json=lambda: [(9000, OK[:5]), (9000, OK[5:9]), (9000, OK[9:])] + list(drip(rest, 200)))
    raises(LinkError, "slow", late.open)
    assert late.board.ms <= 61000


def test_a_slow_manifest_that_comes_within_its_time_is_read():
    one = link(m_json=lambda: drip(listing(DATA), 150))
    assert one.open() and one.board.ms > 20000


def test_a_body_below_the_least_speed_ends_and_what_came_is_kept():
    start = body(DATA)[:9000]
    board = boot(chip(), soc.PWRON)
    one = link(board, p=lambda: forever(b"x", 900, start))
    agent = Agent(board, [one], None)
    assert turns(agent) == "idle" and agent.error.code == "slow", repr(agent.error)
    assert "at least 256" in str(agent.error) and board.ms <= 31000
    fetched = board.layout.journal.last("progress")
    assert fetched, "the chunks that were whole are noted"
    one.pages["/p"] = lambda: [
        (0, b"HTTP/1.1 206 Partial\r\nContent-Range: bytes %d-\r\n\r\n" % at[-1] + DATA[at[-1] :])
    ]
    at = [0]
    real = one.asking

    def asking(url, off=0, size=None, post=b""):
        at.append(off)
        return real(url, off, size, post)

    one.asking = asking
    board.ms += AGAIN_MS
    assert turns(agent) == "reset" and max(at) > 4096


def test_a_body_at_the_least_speed_is_read_to_its_end():
    data = DATA[:6000]
    one = link(p=lambda: [(0, OK + b"\r\n")] + [(1000, data[i : i + 300]) for i in range(0, 6000, 300)])
    one.pages["/m.json"] = at_once(listing(data))
    one.open()
    assert pull(one, bytearray(6000)) == 6000 and one.board.ms >= 19000


def test_the_least_speed_is_a_setting_of_the_link():
    data = DATA[:6000]
    for least, ends in ((100, True), (256, False)):
        one = link(p=lambda: [(0, OK + b"\r\n")] + [(1000, data[i : i + 200]) for i in range(0, 6000, 200)])
        one.pages["/m.json"] = at_once(listing(data))
        one.least = least
        one.open()
        if ends:
            assert pull(one, bytearray(6000)) == 6000
        else:
            raises(LinkError, "slow", pull, one, bytearray(6000))


def test_the_time_between_two_reads_is_not_the_servers():
    one = link()
    one.open()
    buf = bytearray(100)
    for _ in range(50):
        # A flash that is erased, an application that takes its turns.
        one.board.ms += 20000
        assert one.readinto(buf) == 100


def test_chunks_that_bring_nothing_end_too():
    one = link(p=lambda: forever(b"1;" + b"x" * 20 + b"\r\ny\r\n", 2000, OK + b"Transfer-Encoding: chunked\r\n\r\n"))
    one.open()
    raises(LinkError, "slow", pull, one, bytearray(4096))
    assert one.board.ms <= 31000
    one = link(p=lambda: forever(b"x", 900, OK + b"Transfer-Encoding: chunked\r\n\r\n"))
    one.open()
    raises(LinkError, "slow", pull, one, bytearray(4096))
    assert one.board.ms <= 31000


def test_what_lies_before_the_offset_is_held_to_the_least_speed_too():
    one = link()
    one.open()
    one.pages["/p"] = lambda: forever(b"x", 900, OK + b"\r\n")
    raises(LinkError, "slow", one.open, 20000)


def test_a_report_ends_whatever_the_server_does():
    for says in (lambda: forever(b"x", 900), lambda: forever(b"X: 1\r\n", 900, OK), list):
        one = link(report=says)
        one.report_url = "http://h/report"
        one.report("armed", "words")
        assert one.board.ms <= 31000 and "/report" in one.asked


def trial(pages, trial_ms=None, health=None):
    """The agent of a new image on trial whose server is `pages`."""
    c = chip()
    if trial_ms:
        c.settings["trial_ms"] = trial_ms
    board = boot(c, soc.PWRON)
    agent = Agent(board, [link(board)], None)
    assert steps(agent) == "reset"
    board = boot(c)
    found = dict(GOOD)
    found.update(pages)
    return c, Agent(board, [Virtual(board, found)], None, health)


SLOW = (
    {"/m.json": lambda: forever(b"x", 900)},
    {"/m.json": lambda: forever(b" ", 900, OK + b"\r\n")},
    {"/p": lambda: forever(b"x", 900)},
    {"/m.json": list},
)


def test_a_trial_ends_in_its_time_though_its_server_drips():
    for trial_ms in (3000, 20000, 100000):
        for pages in SLOW:
            c, agent = trial(pages, trial_ms)
            board = agent.board
            n = 0
            while agent.step() == "trial":
                assert board.ms < trial_ms + 200, board.ms
                board.ms += 50
                n += 1
            assert trial_ms <= board.ms <= trial_ms + 1000, (trial_ms, board.ms)
            assert boot(c).layout.failure()[1] == "no-link"


def test_a_trial_without_time_left_asks_once_and_waits_for_no_answer():
    _, agent = trial({}, 3000)
    agent.board.ms = 3000
    assert agent.step() == "reset" and len(agent.links[0].asked) <= 1
    assert agent.board.ms == 3000


def test_after_a_confirm_no_deadline_of_the_trial_is_left():
    _, agent = trial({}, 3000)
    for _ in range(9):
        agent.step()
    assert agent.step() == "idle" and agent.trial is None
    agent.board.ms = 10000
    agent.links[0].report_url = "http://h/report"
    agent.links[0].report("confirmed", "words")
    assert agent.links[0].asked[-1] == "/report"


def window(pages, settings=None):
    """A board that is confirmed is switched on: when its application was started."""
    c = chip()
    c.settings.update(settings or {})
    board = boot(c, soc.PWRON)

    def pause():
        board.ms += 10

    board.pause = pause
    found = dict(GOOD)
    found.update(pages)
    started = []
    one = Virtual(board, found)
    run = Runner(board, Agent(board, [one], None), lambda: started.append(board.ms))
    assert len(started) == 1
    return started[0], run, one


def test_the_window_ends_though_a_server_drips():
    for pages in SLOW + ({"/p": lambda: forever(b"x", 900, body(DATA)[:9000])},):
        at, _, one = window(pages)
        assert 1000 <= at <= 1020, at
        assert one.asked, "it was asked for news"


def test_the_window_is_what_the_settings_say_where_nothing_holds_it_up():
    for ms in (100, 1000, 5000):
        at = window({"/m.json": at_once(b"HTTP/1.1 404 No\r\n\r\n")}, {"window_ms": ms})[0]
        assert ms <= at <= ms + 20


def test_an_update_that_has_begun_goes_on_after_the_start_of_the_application():
    slow = body(DATA)
    pages = {"/p": lambda: [(300, slow[i : i + 500]) for i in range(0, len(slow), 500)]}
    at, run, one = window(pages)
    assert 1000 <= at <= 1020, at
    assert turns(run.agent) == "reset" and one.asked == ["/m.json", "/p"], "over one connection"


def test_refused_offers_of_a_manifest_that_grows_do_not_hold_the_window():
    other = Maker(NEW, product=b"neighbour").bytes()
    n = []

    def grows():
        n.append(1)
        rows = [ENTRY % ("9.0.0", len(other) + len(n) + i) for i in (0, 1)]
        yield 0, body(('{"mpota":1,"packages":[%s,%s]}' % (rows[0], rows[1])).encode())

    at, run, _ = window({"/m.json": grows, "/p": at_once(OK + b"\r\n" + other)})
    assert at <= 1100 and len(n) <= 40, (at, len(n))
    for _ in range(1000):
        run.agent.step()
    assert len(n) <= 40, "until the next poll"


class Line:
    """A line whose host sends frames that bring nothing, for ever; and select.poll over it."""

    said = b""

    def __init__(self, board):
        self.board = board

    def write(self, data):
        return len(data)

    def poll(self, ms):
        return [self]

    def readinto(self, buf):
        self.board.ms += 100
        self.said = self.said or encode(5, self.link.run, 0, (1000).to_bytes(4, "little"))
        n = min(len(buf), len(self.said))
        buf[:n] = self.said[:n]
        self.said = self.said[n:]
        return n


class Chatty(Serial):
    """The board's end of such a line."""

    def start(self):
        self.frames = self.frames or Frames(bytearray(self.room))
        self.poll, self.rx.link = self.rx, self


class Says(Line):
    """A line whose host says the next frame of these again and again; each read takes 1 ms."""

    def __init__(self, board, *says):
        super().__init__(board)
        self.says = says
        self.heard = []

    def write(self, data):
        self.heard.append(data[2])
        return len(data)

    def readinto(self, buf):
        self.board.ms += 1
        if self.board.ms > HOUR:
            raise AssertionError("this waits for ever")
        if not self.said:
            kind, off, data = self.says[0]
            self.says = self.says[1:] + self.says[:1]
            self.said = encode(kind, self.link.run, off, data)
        n = min(len(buf), len(self.said))
        buf[:n] = self.said[:n]
        self.said = self.said[n:]
        return n


SIZE = (1000).to_bytes(4, "little")
# No data, data from elsewhere, an offer that was not asked for, an answer to nothing, a question, an unknown kind.
USELESS = (
    (7, 0, b""),
    (7, 500, b"x" * 9),
    (7, 5, b"x"),
    (5, 0, SIZE),
    (10, 9, b""),
    (8, 0, b""),
    (8, 9, b""),
    (99, 0, b""),
)


def useless(*says):
    """A board's end, and what it hears from such a host."""
    rx = Says(boot(chip(), soc.PWRON), *says)
    return Chatty(rx, size=2048, ahead=242), rx


def test_frames_that_bring_nothing_end_a_wait_whatever_they_are():
    for says in USELESS:
        for more in ((), USELESS):
            link, rx = useless(says, *more)
            link.start()
            link.at, link.size = 100, 1000
            e = raises(LinkError, "link", link.readinto, bytearray(10))
            assert "no frame from the host with byte 100, asked 10 times" in str(e), e
            assert rx.board.ms < HOUR // 6 and rx.heard.count(1) >= 9


def test_a_host_that_talks_and_brings_nothing_does_not_outlast_a_trial():
    for says in ((99, 0, b""), (8, 0, b""), (7, 0, b"")):
        board = trial({}, 3000)[1].board
        agent = Agent(board, [Chatty(Says(board, says), size=2048, ahead=242)], None)
        longest = 0
        state = ""
        while state != "reset":
            before = board.ms
            state = agent.step()
            longest = max(longest, board.ms - before)
            board.ms += 10
            assert board.ms <= 4000, (says, state)
        assert longest <= 250, (says, longest)


def test_a_question_is_not_answered_by_frames_that_bring_nothing():
    for says in USELESS:
        if says[0] != 5:
            link, rx = useless(says)
            raises(LinkError, "link", link.open)
        link, rx = useless(says)
        link.report("code", "words")
        link.bye()
        assert rx.heard.count(3) == 3 and rx.heard.count(11) == 3 and link.frames is None


def test_data_that_comes_among_useless_frames_is_taken():
    link = useless(*(USELESS * 9 + ((7, 100, b"abcdef"),)))[0]
    link.start()
    link.at, link.size = 100, 1000
    buf = bytearray(4)
    assert link.readinto(buf) == 4 and buf == b"abcd"
    assert link.readinto(buf) == 2 and buf[:2] == b"ef", "kept"
    assert link.at == 106


def test_between_its_works_a_board_takes_what_came_and_asks_for_no_more_than_fits():
    link, rx = useless((5, 0, SIZE))
    link.open()
    heard = len(rx.heard)
    link.asked = False
    for i in range(3):
        rx.said = encode(7, link.run, 100 * i, b"%d" % i * 100)
        link.between()
        assert link.at == 100 * (i + 1) and rx.heard[heard:] == [2] * (i + 1)
    assert link.frames.kept() == 300
    link.room = 500
    rx.said = encode(7, link.run, 300, b"x" * 100)
    link.between()
    assert link.at == 300, "a frame of 242 bytes may come, 200 are free"
    link.room = 2064
    rx.said = encode(9, link.run, 0)
    raises(LinkError, "aborted", link.between)
    rx.poll = lambda ms: []
    link.between()
    buf = bytearray(300)
    assert link.readinto(buf) == 300 and buf[99:101] == b"01"


class Mute(Line):
    """A line whose host says this, a byte each millisecond, and then nothing."""

    def __init__(self, board, said=b""):
        super().__init__(board)
        self.said = said
        self.heard = []

    def write(self, data):
        self.heard.append(data[2])
        return len(data)

    def poll(self, ms):
        if self.said:
            return [self]
        self.board.ms += ms
        return []

    def readinto(self, buf):
        self.board.ms += 1
        buf[:1] = self.said[:1]
        self.said = self.said[1:]
        return 1


class Noisy(Mute):
    """One whose host says what is no frame, without an end."""

    def poll(self, ms):
        self.said = b"x"
        return [self]


def longest(board, steps):
    """The longest step in ms; the application has its turn between two."""
    most = 0
    for _ in range(100000):
        before = board.ms
        try:
            next(steps)
        except StopIteration:
            return most
        finally:
            most = max(most, board.ms - before)
        board.ms += 10
    raise AssertionError("this has no end")


def until_idle(agent):
    while agent.step() == "busy":
        yield


def test_no_step_waits_for_a_host_that_says_nothing_or_only_noise():
    for host in (Mute, Noisy):
        board = boot(chip(), soc.PWRON)
        line = host(board)
        link = Chatty(line, size=2048, ahead=242)
        agent = Agent(board, [link], None)
        most = longest(board, until_idle(agent))
        assert most <= 250, (host, most)
        assert agent.error.code == "link" and "asked 10 times" in str(agent.error), repr(agent.error)
        assert longest(board, link.reporting("code", "words")) <= 250 and line.heard.count(3) == 3
    for says in USELESS:
        board = boot(chip(), soc.PWRON)
        link = Chatty(Says(board, says), size=2048, ahead=242)
        assert longest(board, until_idle(Agent(board, [link], None))) <= 250, says
        assert longest(board, link.reporting("code", "words")) <= 250, says


def test_no_step_waits_for_a_host_that_dies_in_the_middle_of_a_package():
    for whole in (True, False):
        board = boot(chip(), soc.PWRON)
        line = Mute(board)
        link = Chatty(line, size=2048, ahead=242)
        steps = link.opening()
        next(steps)
        line.said = encode(5, link.run, 0, len(DATA).to_bytes(4, "little"))
        while True:
            try:
                next(steps)
            except StopIteration as e:
                assert e.value is link
                break
        line.said = encode(7, link.run, 0, DATA[:200])[: None if whole else 100]
        buf = bytearray(400)
        n = most = 0
        try:
            while True:
                before = board.ms
                try:
                    n += link.readinto(memoryview(buf)[n:]) or 0
                finally:
                    most = max(most, board.ms - before)
        except LinkError as e:
            assert e.code == "link" and most <= 270, (str(e), most)
        assert n == (200 if whole else 0) and buf[:n] == DATA[:n]


def test_between_its_works_a_board_waits_for_no_host_that_died_in_a_frame():
    board = boot(chip(), soc.PWRON)
    line = Mute(board)
    link = Chatty(line, size=2048, ahead=242)
    link.start()
    link.asked, link.size = False, 1000
    line.said = encode(7, link.run, 0, DATA[:100])[:50]
    link.between()
    assert board.ms <= 110 and link.at == 0
    line.said = encode(7, link.run, 0, DATA[:100])[50:]
    link.between()
    assert link.at == 100


def test_an_open_that_waits_makes_its_source_wait():
    link, rx = useless((5, 0, SIZE))
    rx.says = ((5, 0, SIZE), (7, 0, b"abc"))
    link.open()
    assert link.readinto(bytearray(9)) == 3
    link.waits = False
    steps = link.opening()
    rx.says = ((5, 0, SIZE),)
    for _ in steps:
        pass
    assert not link.waits and link.readinto(bytearray(9)) is None


class Owner:
    """A Board as far as its line goes."""

    def __init__(self, console, room=16384):
        self.settings = {} if console is None else {"console": console}
        self.room = room


class Port:
    """Module sys of another port."""

    def __init__(self, platform):
        self.platform = platform


def test_the_line_fits_the_port_unless_the_settings_say_how_it_is():
    from mpota import console

    real = console.sys
    try:
        for platform, room, pair in (
            ("esp32", 8192, (2048, 242)),
            ("esp32", 16384, (4096, 242)),
            ("pyboard", 8192, (2048, 242)),
            ("rp2", 16384, (4096, 4112)),
            ("linux", 16384, (4096, 4112)),
        ):
            console.sys = Port(platform)
            assert console.line(Owner(None, room)) == pair
            assert list(console.line(Owner([512, 1000], room))) == [512, 1000]
            for nonsense in (
                [],
                [192],
                [192, 1],
                [0, 242],
                [2048, "242"],
                [2048, 242, 1],
                [4113, 242],
                [2048, 31],
                "uart",
                {},
                5,
            ):
                assert console.line(Owner(nonsense, room)) == pair, nonsense
    finally:
        console.sys = real
