"""Name servers, connections and servers that take their time: no step of the link waits for one, and each wait ends.

The network is a stand-in in virtual time; a call that would block lets its time pass.
"""

import sys

import mpota_host
from mpota.link import tls
from mpota.link.http import Http
from mpota_boot.errors import LinkError
from tests.core.test_dns import answer, record
from tests.core.test_link_time import OK, Peer, drip, forever, listing
from tests.expect import raises

assert mpota_host
DATA = bytes(3000)
# What a getaddrinfo that nobody answers costs.
DNS_MS = 20000
OPENS = ("ask", "find", "later", "login", "reach", "tls", "url")


class Net:
    """Modules socket and select. `names`: name -> (IPv4, IPv6); `hosts`: address -> what its server says, or a word.

    "drops": no answer to a SYN. "refuses": at once; "late": as an ESP32 tells it, by the first write; "flags": by poll.
    """

    AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM = 2, 10, 1, 2

    def __init__(self, names=None, hosts=None):
        self.ms = self.turns = 0
        self.names = {"h": ("10.0.0.9", None)} if names is None else names
        self.hosts = hosts or {}
        self.connected = []
        self.asked = []
        self.open = 0
        self.lost = 0

    def getaddrinfo(self, *_):
        self.ms += DNS_MS
        raise OSError(-2)

    def socket(self, family=2, kind=1):
        self.open += 1
        return (Names if kind == 2 else Socket)(self)

    def poll(self):
        return Poll(self)


class Names:
    def __init__(self, net):
        self.net = net
        self.answers = []

    def setblocking(self, on):
        assert not on

    def sendto(self, data, to):
        net = self.net
        net.asked.append((to[0], data[-3], net.ms))
        if net.lost:
            net.lost -= 1
            return
        name = []
        at = 12
        while data[at]:
            name.append(data[at + 1 : at + 1 + data[at]].decode())
            at += data[at] + 1
        found = net.names.get(".".join(name), "hole")
        if found == "hole":
            return
        self.answers.append(b"noise")
        ip = found[data[-3] == 28]
        records = []
        if ip:
            records.append(record(data[-3], ip if isinstance(ip, bytes) else bytes(map(int, ip.split(".")))))
        self.answers.append(answer(data, *records))

    def ready(self):
        return 1 if self.answers else 0

    def recvfrom(self, n):
        return self.answers.pop(0), ("10.0.0.1", 53)

    def close(self):
        self.net.open -= 1


class Socket:
    def __init__(self, net):
        self.net = net
        self.peer = self.says = None

    def setblocking(self, on):
        assert not on

    def connect(self, at):
        net = self.net
        net.connected.append(at)
        self.says = net.hosts.get(at[0], "refuses")
        if self.says == "refuses":
            raise OSError(111, "ECONNREFUSED")
        if not isinstance(self.says, str):
            self.peer = Peer(net, self.says)
        raise OSError(115, "EINPROGRESS")

    def ready(self):
        if self.says == "drops":
            return 0
        return 4 | (28 if self.says == "flags" else 0)

    def write(self, data):
        if self.says == "late":
            raise OSError(111, "ECONNREFUSED")
        return len(data)

    def readinto(self, buf):
        return self.peer.readinto(buf)

    def close(self):
        self.net.open -= 1


class Poll:
    def __init__(self, net):
        self.net = net

    def register(self, sock, events):
        self.sock, self.events = sock, events

    modify = register

    def poll(self, ms):
        ready = self.sock.ready() & (self.events | 24)
        if not ready:
            self.net.ms += ms
        return [(self.sock, ready)] if ready else []


class Link(Http):
    """The link in the time of a Net; `turn_ms` is the application's turn between two steps."""

    def __init__(self, net, url="http://h/m.json", turn_ms=10):
        super().__init__(url, "demo", "esp32", lambda: None)
        self.net = net
        self.turn_ms = turn_ms
        self.longest = self.steps = 0

    def name_server(self):
        return "10.0.0.1"

    def ticks(self):
        return self.net.ms

    def since(self, then):
        return self.net.ms - then

    def run(self, steps=None):
        """Go through the steps of open(), with the application's turn between two."""
        real = {name: sys.modules.get(name) for name in ("socket", "select")}
        steps = steps or self.opening()
        try:
            sys.modules["socket"] = sys.modules["select"] = self.net
            while True:
                before = self.net.ms
                try:
                    next(steps)
                except StopIteration as e:
                    return e.value
                finally:
                    self.longest = max(self.longest, self.net.ms - before)
                self.steps += 1
                self.net.ms += self.turn_ms
                assert self.net.ms < 3600000, "this has no end"
        finally:
            for name in real:
                if real[name]:
                    sys.modules[name] = real[name]
                else:
                    del sys.modules[name]


def test_a_server_is_found_by_its_name_and_asked():
    net = Net(hosts={"10.0.0.9": [(0, listing(DATA))]})
    link = Link(net, "http://h/m.json")
    assert link.run() is link and link.offer[1] == 3000
    assert net.connected == [("10.0.0.9", 80)] * 2, "for the manifest and for the package"
    assert net.asked[0][:2] == ("10.0.0.1", 1) and link.longest == 0


def test_what_opens_a_link_is_forgotten_whatever_comes_of_it():
    for says in ([(0, listing(DATA))], [(0, b"HTTP/1.1 404 No\r\n\r\n")], "refuses"):
        link = Link(Net(hosts={"10.0.0.9": says}), "http://h/m.json")
        try:
            assert link.run() is link
        except LinkError:
            assert says != [(0, listing(DATA))]
        assert link.asked()[:9] == "http://h/"
        left = [name for name in sys.modules if name[:11] == "mpota.link." and name[11:] in OPENS]
        assert left == [], left


SERVERS = {
    "silent": [],
    "one byte of the status line": list(drip(OK, 900)),
    "a header that drips": lambda: forever(b"y", 900, OK + b"X: "),
    "a header without an end": lambda: forever(b"X: 1\r\n", 0, OK),
    "a line without an end": lambda: forever(b"y", 0, OK + b"X: "),
    "a manifest that drips": lambda: forever(b" ", 900, OK + b"\r\n"),
    "a manifest without an end": lambda: forever(b" ", 0, OK + b"\r\n"),
    "chunks that drip": lambda: forever(b"1\r\n \r\n", 900, OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    "1xx without an end": lambda: forever(b"HTTP/1.1 103 Wait\r\n\r\n", 10),
    "drops": "drops",
    "refuses": "refuses",
    "late": "late",
    "flags": "flags",
}


def test_no_step_waits_for_a_server_whatever_it_does_and_each_comes_to_an_end():
    for name in SERVERS:
        for turn_ms in (10, 700):
            says = SERVERS[name]
            net = Net(hosts={"10.0.0.9": says() if callable(says) else says})
            link = Link(net, turn_ms=turn_ms)
            e = raises(LinkError, None, link.run)
            assert link.longest == 0, (name, link.longest)
            assert e.code in ("link", "slow", "http", "short", "manifest"), (name, e.code, str(e))
            assert net.ms <= 62000, (name, net.ms)
            assert net.open == 0, (name, "a socket stays open")


def test_no_step_waits_for_a_name_server_that_says_nothing():
    net = Net(names={})
    link = Link(net)
    e = raises(LinkError, "link", link.run)
    assert link.longest == 0 and net.ms <= 31000 and net.connected == [] and net.open == 0
    assert "name server 10.0.0.1" in str(e) and " h " in str(e), str(e)
    times = [ms for _, kind, ms in net.asked if kind == 1]
    assert 4 <= len(times) <= 6 and min(times[i] - times[i - 1] for i in range(1, len(times))) >= 1900, times


def test_a_question_or_an_answer_that_is_lost_is_asked_again():
    net = Net(hosts={"10.0.0.9": "late"})
    net.lost = 2
    link = Link(net)
    raises(LinkError, "link", link.run)
    assert len(net.connected) == 1 and 4000 <= net.ms <= 5000 and len(net.asked) == 3


def test_a_name_without_an_address_is_told_as_that():
    net = Net(names={"h": (None, None)})
    e = raises(LinkError, "link", Link(net).run)
    assert "name h has no address" in str(e) and "CA" not in str(e), str(e)


def test_a_server_with_an_ipv6_address_alone_is_reached():
    v6 = b"\xfd" + bytes(14) + b"\x09"
    for ip in (None, "10.0.0.8"):
        net = Net(names={"h": (ip, v6)}, hosts={"fd00:0:0:0:0:0:0:9": "late", "10.0.0.8": "drops"})
        raises(LinkError, "link", Link(net).run)
        assert net.connected[-1] == ("fd00:0:0:0:0:0:0:9", 80), "after an IPv4 address that nobody answers, too"
        assert len(net.connected) == (2 if ip else 1)


def test_numbers_are_asked_of_no_name_server():
    for url, at in (
        ("http://192.0.2.1:81/m.json", ("192.0.2.1", 81)),
        ("https://[2001:db8::1]/m.json", ("2001:db8::1", 443)),
        ("http://[::ffff:192.0.2.1]/m.json", ("::ffff:192.0.2.1", 80)),
    ):
        net = Net()
        raises(LinkError, "link", Link(net, url).run)
        assert net.connected == [at] and net.asked == [] and net.ms <= 20


def test_a_name_of_the_neighbourhood_is_asked_of_everybody():
    net = Net(names={"shelf.local": ("10.0.0.9", None)}, hosts={"10.0.0.9": "late"})
    raises(LinkError, "link", Link(net, "http://shelf.local/m.json").run)
    assert net.asked[0][0] == "224.0.0.251" and net.connected == [("10.0.0.9", 80)]


def test_refused_is_told_as_refused_however_the_port_tells_it():
    for says in ("refuses", "late", "flags"):
        for scheme in ("http", "https"):
            net = Net(hosts={"10.0.0.9": says})
            link = Link(net, scheme + "://h/m.json")
            link.ca = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
            if (says, scheme) == ("late", "https"):
                # The TLS library needs a real socket.
                continue
            e = raises(LinkError, "link", link.run)
            assert "111" in str(e) or "refused" in str(e), str(e)
            assert "certificate" not in str(e) and "clock" not in str(e)


def test_what_comes_is_read_whatever_time_the_application_takes():
    pieces = [(200, DATA[:0] + one) for one in (OK, b"Content-Length: 3000\r\n\r\n", DATA[:100], DATA[100:])]
    for turn_ms in (10, 900, 20000):
        net = Net(hosts={"10.0.0.9": pieces})
        link = Link(net, turn_ms=turn_ms)
        link.run(link.asking("http://h/x"))
        buf, n = bytearray(4000), 0
        while n < 3000:
            got = link.readinto(memoryview(buf)[n:])
            n += got or 0
            net.ms += turn_ms
        assert bytes(buf[:3000]) == DATA and link.longest == 0


def test_a_certificate_is_not_blamed_by_a_board_whose_clock_was_never_set():
    said = OSError(-0x2700, "X509 - Certificate verification failed")
    for year in (1970, 2000, 2021, 2025):
        code, words = tls.refused(said, (year, 1, 1, 0, 0, 0, 5, 1))
        assert code == "clock" and "%d-01-01" % year in words and "CA" not in words, words
    code, words = tls.refused(said, (2026, 12, 31, 0, 0, 0, 5, 1))
    assert code == "tls" and "2026-12-31" in words and "another CA" in words and "clock" not in words
