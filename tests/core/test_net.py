"""The board's network: joined again and again, in steps that wait for nobody; Ethernet by its settings; the clock.

`network` and `machine` are stand-ins in virtual time; the datagrams are those of test_connection.py.
"""

import sys
import time
from struct import pack

import mpota_host
from mpota.link.connection import YEAR, Connection
from mpota.link.tls import refused
from mpota.network import net as under_test
from mpota.network import sntp
from mpota.network.net import Net
from mpota_boot.errors import LinkError
from mpota_host.sim.ports.table import ETHERNET
from tests.expect import raises

assert mpota_host
JOIN_MS = 15000
# 2026-07-01, and a clock that was never set.
NOW, Y2000 = 1782864000, 946684800


class Board:
    def __init__(self, networks=(), **settings):
        self.ms = 0
        self.settings = settings
        self.stored = {}
        for place, pair in zip(("", "2", "3", "4"), networks):
            self.stored["ssid" + place] = pair[0]
            self.stored["psk" + place] = pair[1] or None

    def memory(self, name):
        assert name == "wifi"
        return self

    def last(self, tag):
        return self.stored.get(tag)

    def ticks_ms(self):
        return self.ms

    def since(self, then):
        return self.ms - then


class Air:
    """Modules network and machine. `here`: the names in the air. `fails`: what the radio raises when it is made."""

    STA_IF = 0
    PHY_LAN8720 = 7

    def __init__(self, board, here=(b"one",)):
        self.board = board
        self.here = here
        self.fails = None
        self.joins = []
        self.lans = []
        self.scans = 0
        self.on = self.refuses = False
        self.asked = None
        self.address = ("10.0.0.2", "255.0.0.0", "10.0.0.1", "10.0.0.1")

    def WLAN(self, interface):
        if self.fails:
            raise self.fails
        return self

    def LAN(self, **words):
        self.lans.append(words)
        return self

    def SPI(self, n, **words):
        return "SPI", n, words

    class Pin:
        OUT = 3

        def __init__(self, n):
            self.n = n

        def __eq__(self, other):
            return self.n == other.n

    def RTC(self):
        return self

    def datetime(self, date):
        self.date = date
        Clock.now = NOW if date[0] == 2026 else Y2000

    def active(self, on=None):
        assert on is None or on != self.on, "switched on twice"
        self.on = self.on if on is None else on
        return self.on

    def connect(self, *pair):
        self.joins.append((self.board.ms, pair))
        self.asked = pair[0] if pair[0] in self.here else None
        if self.refuses:
            raise OSError("Wifi Internal State Error")

    def disconnect(self):
        self.asked = None

    def isconnected(self):
        return self.asked in self.here

    def scan(self):
        self.scans += 1
        return [(name, b"", 1, -50, 3, False) for name in self.here]

    def ifconfig(self):
        return self.address


class Clock:
    """Module time, where the clock shows `now`; `sets`: it can be set."""

    now = Y2000

    def localtime(self):
        return time.gmtime(Clock.now)

    def gmtime(self, s=None):
        return time.gmtime(Clock.now if s is None else s)


class World:
    """with World(board, ...) as air: the modules are there."""

    def __init__(self, board, here=(b"one",), now=NOW):
        self.air = Air(board, here)
        self.now = now

    def __enter__(self):
        Clock.now = self.now
        self.real = {name: sys.modules.get(name) for name in ("network", "machine", "time", "mpota.network.sntp")}
        sys.modules["network"] = sys.modules["machine"] = self.air
        under_test.time = sys.modules["time"] = Clock()
        # It is loaded when it is needed, and then takes its time from here.
        sys.modules.pop("mpota.network.sntp", None)
        return self.air

    def __exit__(self, *_):
        under_test.time = time
        for name in self.real:
            if self.real[name]:
                sys.modules[name] = self.real[name]
            else:
                del sys.modules[name]


def live(net, ms):
    """Let so much time pass, with a step every 100 ms; when the network came up."""
    came = []
    for _ in range(ms // 100):
        if net.step():
            came.append(net.board.ms)
        net.board.ms += 100
    return came


def test_nothing_is_touched_where_no_network_is_stored():
    board = Board()
    with World(board) as air:
        air.fails = OSError("WiFi Out of Memory")
        net = Net(board)
        net.look()
        assert live(net, 60000) == [] and net.error is None and not net.coming()
        assert list(net.ready(False)) == [], "the application may have a network of its own"


def test_a_stored_network_is_joined_and_joined_again_when_it_was_lost():
    board = Board([(b"one", b"secret")])
    with World(board) as air:
        net = Net(board)
        assert live(net, 1000) == [100] and air.joins == [(0, (b"one", b"secret"))] and net.error is None
        assert live(net, 60000) == [] and len(air.joins) == 1
        air.here = ()
        board.ms += 1000
        assert live(net, 3600000) == []
        assert "one" in net.error and "secret" not in net.error
        times = [ms for ms, _ in air.joins[1:]]
        gaps = [times[i] - times[i - 1] for i in range(1, len(times))]
        assert gaps[:4] == [JOIN_MS, 2 * JOIN_MS, 4 * JOIN_MS, 8 * JOIN_MS] and set(gaps[3:]) == {120000}
        air.here = (b"one",)
        assert len(live(net, 121000)) == 1 and net.up and net.error is None


def test_the_stored_networks_are_tried_in_their_order():
    board = Board([(b"one", b"secret"), (b"two", None), (b"three", b"12345678")])
    with World(board, here=(b"three",)) as air:
        net = Net(board)
        live(net, 40000)
        assert net.up and air.scans == 0
        assert [pair for _, pair in air.joins] == [(b"one", b"secret"), (b"two",), (b"three", b"12345678")]


def test_a_scan_puts_first_what_is_here_and_says_whether_to_wait():
    pairs = [(b"one", None), (b"two", None), (b"three", None)]
    for here, order in (
        ((b"three", b"two"), [b"two", b"three", b"one"]),
        ((b"other",), [b"one", b"two", b"three"]),
    ):
        board = Board(pairs)
        with World(board, here=here) as air:
            net = Net(board)
            net.look()
            assert air.scans == 1 and [pair[0] for pair in net.names] == order
            assert not net.coming(), "nothing was begun"
            air.here = ()
            net.step()
            assert net.coming() == (b"two" in here)
            live(net, JOIN_MS + 100)
            assert not net.coming(), "15 s are enough"


def test_a_network_that_is_up_is_waited_for_no_longer():
    board = Board([(b"one", None)])
    with World(board):
        net = Net(board)
        net.look()
        net.step()
        assert net.coming()
        net.step()
        assert net.up and not net.coming()


def test_a_radio_that_fails_raises_nothing_and_is_tried_again():
    board = Board([(b"one", None)])
    with World(board) as air:
        air.fails = OSError("WiFi Out of Memory")
        net = Net(board)
        net.look()
        assert live(net, 5000) == [] and "WiFi Out of Memory" in net.error
        e = raises(LinkError, "network", lambda: list(net.ready(False)))
        assert "WiFi Out of Memory" in str(e), "at once: there is nothing to wait for"
        air.fails = None
        assert live(net, 20000) and net.error is None


def test_a_port_without_the_module_says_so():
    board = Board([(b"one", None)])
    with World(board):
        sys.modules["network"] = Board()
        net = Net(board)
        live(net, 1000)
        assert "WLAN" in net.error or "STA_IF" in net.error, net.error


def test_a_radio_that_still_joins_from_before_is_waited_for():
    board = Board([(b"one", None)])
    with World(board) as air:
        air.refuses = True
        net = Net(board)
        assert live(net, 1000) == [100]


def test_a_radio_that_the_application_switched_off_stays_off():
    board = Board([(b"one", None)])
    with World(board) as air:
        net = Net(board)
        live(net, 1000)
        air.active(False)
        air.asked = None
        live(net, 60000)
        assert not air.on and len(air.joins) == 1 and "switched" in net.error


def test_a_link_waits_in_steps_and_its_asking_is_a_reason_to_join():
    board = Board([(b"one", None)])
    with World(board, here=()) as air:
        net = Net(board)
        live(net, 600000)
        tries = len(air.joins)
        steps = net.ready(False)
        began = board.ms
        try:
            for _ in steps:
                board.ms += 100
        except LinkError as e:
            assert e.code == "network" and "one" in str(e)
        assert JOIN_MS <= board.ms - began <= JOIN_MS + 200 and len(air.joins) > tries
        board.ms += JOIN_MS
        steps = net.ready(False)
        next(steps)
        air.here = (b"one",)
        air.asked = b"one"
        assert list(steps) == [] and net.up


def test_a_wire_is_brought_up_by_the_arguments_of_the_settings():
    given = {"mdc": 23, "mdio": 18, "power": None, "phy_type": "PHY_LAN8720", "phy_addr": 0, "ref_clk_mode": "OUT"}
    board = Board([(b"one", None)], lan=given)
    with World(board) as air:
        net = Net(board)
        net.look()
        net.step()
        assert net.coming(), "a cable may be in"
        words = air.lans[0]
        assert [words[name].n for name in ("mdc", "mdio")] == [23, 18]
        assert {name: words[name] for name in ("power", "phy_type", "phy_addr", "ref_clk_mode")} == {
            "power": None,
            "phy_type": 7,
            "phy_addr": 0,
            "ref_clk_mode": 3,
        }
        assert air.on and len(air.lans) == 1 and not air.scans and not air.joins
        live(net, 60000)
        assert not net.coming() and not net.up and len(air.lans) == 1 and "address" in net.error
        air.asked = b"one"
        assert live(net, 1000) and net.name_server() == "10.0.0.1"


def test_a_wire_of_the_board_takes_no_arguments():
    board = Board(lan=True)
    with World(board) as air:
        Net(board).step()
        assert air.lans == [{}]


class Port:
    """Modules network and machine of a port, by the simulated tables: as much Ethernet as its firmware has."""

    def __init__(self, air, name):
        classes, own, constants = ETHERNET[name]
        self.Pin, self.SPI, self.RTC = air.Pin, air.SPI, air.RTC
        self.made = []
        for word in constants:
            setattr(self, word, constants[word])
        for one in classes:
            setattr(self, one, Driver(self, air, one, own))


class Driver:
    """A class of module network; what it makes is the network `air`."""

    def __init__(self, port, air, name, constants):
        self.port, self.air, self.name = port, air, name
        for word in constants:
            setattr(self, word, constants[word])

    def __call__(self, *places, **words):
        self.port.made.append((self.name, places if self.name == "WIZNET5K" else words))
        return self.air


def ethernet(name, given):
    """(what a board of this port makes of the setting `lan`, the network's error)"""
    board = Board(lan=given)
    with World(board) as air:
        port = sys.modules["network"] = sys.modules["machine"] = Port(air, name)
        net = Net(board)
        live(net, 1000)
        return port.made, net.error


def spi(n, **pins):
    return "SPI", n, {name: Air.Pin(pins[name]) for name in pins}


EVB = {"spi": {"id": 0, "sck": 18, "mosi": 19, "miso": 16}, "cs": 17, "reset": 20}


def test_a_wiznet_chip_is_brought_up_where_the_port_has_one():
    bus = spi(0, sck=18, mosi=19, miso=16)
    for name in ("rp2", "stm32-wiznet"):
        made, error = ethernet(name, EVB)
        assert made == [("WIZNET5K", (bus, Air.Pin(17), Air.Pin(20)))], (made, error)
        assert ethernet(name, dict(EVB, int=None))[0] == made
        made, _ = ethernet(name, dict(EVB, int=21, spi=1))
        assert made == [("WIZNET5K", (("SPI", 1, {}), Air.Pin(17), Air.Pin(20), Air.Pin(21)))]
        made, _ = ethernet(name, dict(EVB, spi={"id": 0, "baudrate": 20000000}))
        assert made[0][1][0] == ("SPI", 0, {"baudrate": 20000000})
    # A W5500-EVB-Pico knows its own wires.
    assert ethernet("rp2", True)[0] == [("WIZNET5K", ())]


def test_a_phy_on_spi_is_an_argument_of_an_esp32s_lan():
    for phy, number in (("PHY_W5500", 102), ("PHY_DM9051", 101), ("PHY_KSZ8851SNL", 100)):
        given = {
            "phy_type": phy,
            "phy_addr": 0,
            "spi": {"id": 1, "sck": 13, "mosi": 11, "miso": 12},
            "cs": 14,
            "int": 10,
        }
        made, error = ethernet("esp32", given)
        words = {"phy_type": number, "phy_addr": 0, "cs": Air.Pin(14), "int": Air.Pin(10)}
        words["spi"] = spi(1, sck=13, mosi=11, miso=12)
        assert made == [("LAN", words)], (made, error)


def test_a_chip_and_its_phy_stay_the_ports_lan():
    for name in ("stm32", "mimxrt"):
        assert ethernet(name, True)[0] == [("LAN", {})]
    made, _ = ethernet("mimxrt", {"phy_type": "PHY_LAN8720", "phy_addr": 1, "ref_clk_mode": "OUT"})
    assert made == [("LAN", {"phy_type": 3, "phy_addr": 1, "ref_clk_mode": 1})]


def test_ethernet_that_a_port_has_not_is_refused_with_a_sentence():
    for name, given, words in (
        ("samd", True, ("network.LAN", "network.WIZNET5K")),
        ("samd", EVB, ("network.LAN", "network.WIZNET5K")),
        ("rp2", {"phy_type": "PHY_W5500"}, ("PHY_W5500", "does not know")),
        ("rp2", {"mdc": 23, "mdio": 18}, ("mdc", "spi, cs and reset")),
        ("rp2", {"spi": 0, "cs": 17}, ("spi, cs and reset",)),
        ("rp2", {"spi": 0, "cs": None, "reset": 20}, ("spi, cs and reset",)),
        ("rp2", {"cs": 17, "reset": 20, "int": 21}, ("spi, cs and reset",)),
        ("rp2", dict(EVB, power=3), ("power", "spi, cs and reset")),
        ("rp2", dict(EVB, spi="0"), ("has spi", '"id"')),
        ("rp2", dict(EVB, spi={"sck": 18}), ("has spi {", '"id"')),
        ("samd", {"phy_type": "PHY_W5500"}, ("network.LAN", "network.WIZNET5K")),
        ("mimxrt", {"phy_type": "PHY_W5500", "spi": 0}, ("PHY_W5500", "does not know")),
    ):
        made, error = ethernet(name, given)
        assert made == [] and "lan" in error, (name, given, made, error)
        for word in words:
            assert word in error, (name, given, error)


def test_a_wire_that_the_port_does_not_know_is_named():
    for given, word in (("yes", "yes"), ({"phy_type": "PHY_NONE"}, "PHY_NONE"), ([23, 18], "23"), (7, "7")):
        board = Board(lan=given)
        with World(board) as air:
            net = Net(board)
            live(net, 1000)
            assert air.lans == [] and word in net.error and "lan" in net.error, net.error


def test_the_name_server_is_none_where_the_port_tells_none():
    board = Board()
    with World(board) as air:
        net = Net(board)
        assert net.name_server() == "10.0.0.1", "of the application's own Wi-Fi"
        air.address = ("0.0.0.0",) * 4
        assert net.name_server() == ""
        air.fails = OSError("WiFi Out of Memory")
        assert net.name_server() == ""


# --- the clock ------------------------------------------------------------------------------------------------------


def said(query, s=NOW, first=0x24, stratum=2):
    """A server's answer."""
    head = bytes((first, stratum)) + bytes(22) + query[40:48] + bytes(8)
    return head + pack(">I", s + 2208988800 & 0xFFFFFFFF) + bytes(4)


class Socket:
    """Modules socket and select: a time server that gives these answers."""

    AF_INET, AF_INET6, SOCK_DGRAM = 2, 10, 2

    def __init__(self, *answers):
        self.answers = list(answers)
        self.to = []
        self.have = []
        self.open = 0

    def socket(self, *_):
        self.open += 1
        return self

    def poll(self, ms=None):
        return self if ms is None else self.have

    def register(self, *_):
        pass

    def setblocking(self, on):
        assert not on

    def sendto(self, query, to):
        self.to.append(to)
        if self.answers:
            answer = self.answers.pop(0)
            self.have += [b"noise", answer(query) if callable(answer) else answer]

    def recvfrom(self, n):
        return self.have.pop(0), None

    def close(self):
        self.open -= 1


class Ticking:
    """`with Ticking(socket, board)`: sockets are these, and a Connection's time is the board's."""

    def __init__(self, socket, board):
        self.socket = socket
        self.board = board

    def __enter__(self):
        self.real = {name: sys.modules.get(name) for name in ("socket", "select")}
        sys.modules["socket"] = sys.modules["select"] = self.socket
        board = self.board

        class Line(Connection):
            def ticks(self):
                return board.ms

            def since(self, then):
                return board.ms - then

        under_test.Connection = Line

    def __exit__(self, *_):
        under_test.Connection = Connection
        for name in self.real:
            if self.real[name]:
                sys.modules[name] = self.real[name]
            else:
                del sys.modules[name]


def timed(*answers, ms=30000, now=Y2000, **settings):
    """(the net, its sockets, the air) after so much time with a time server that says this."""
    board = Board([(b"one", None)], **settings)
    server = Socket(*answers)
    with World(board, now=now) as air, Ticking(server, board):
        net = Net(board)
        live(net, ms)
        if server.open:
            # The end fell into the middle of a question.
            live(net, 10000)
    assert server.open == 0, "a socket stays open"
    return net, server, air


def test_the_clock_is_set_once_when_the_network_is_there():
    net, server, air = timed(said, ntp="10.0.0.7")
    assert server.to == [("10.0.0.7", 123)] and net.untimed is None
    assert air.date == (2026, 7, 1, 3, 0, 0, 0, 0)


def test_what_sets_the_clock_is_loaded_for_that_alone():
    for answer, failed in ((said, 0), (lambda q: said(q, s=Y2000), 1)):
        board = Board([(b"one", None)], ntp="10.0.0.7")
        with World(board, now=Y2000), Ticking(Socket(answer), board):
            net = Net(board)
            live(net, 2000)
            assert net.failed == failed
            assert "mpota.network.sntp" not in sys.modules and "mpota.link.reach" not in sys.modules


def test_the_time_server_may_have_another_port():
    assert timed(said, ntp="10.0.0.7:1123")[1].to == [("10.0.0.7", 1123)]


def test_a_clock_that_is_set_is_left_alone_and_so_is_one_whose_owner_says_so():
    assert timed(said, now=NOW, ntp="10.0.0.7")[1].to == []
    assert timed(said, ntp=False)[1].to == []


def test_the_seconds_after_february_2036_are_read():
    at = 2208988800 + NOW
    assert sntp.decode(said(sntp.encode(b"12345678"), 2085978496), sntp.encode(b"12345678"), "s") == 2085978496
    assert sntp.decode(said(sntp.encode(b"12345678")), sntp.encode(b"12345678"), "s") == at - 2208988800


def test_an_answer_to_another_query_is_none():
    query = sntp.encode(b"12345678")
    good = said(query)
    assert sntp.decode(good, query, "s") == NOW
    for i in range(24, 32):
        for bit in range(8):
            wrong = bytearray(good)
            wrong[i] ^= 1 << bit
            assert sntp.decode(bytes(wrong), query, "s") is None
    assert sntp.decode(good[:47], query, "s") is None and sntp.decode(b"", query, "s") is None
    assert sntp.decode(query + bytes(48), query, "s") is None, "an echo"


def test_a_server_without_the_time_is_not_believed():
    for first, stratum in ((0x24, 0), (0x24, 16), (0xE4, 2)):
        net, _, air = timed(lambda q, f=first, n=stratum: said(q, first=f, stratum=n), ms=2000, ntp="10.0.0.7")
        assert "has no time" in net.untimed and not hasattr(air, "date")
    net, _, air = timed(lambda q: said(q, s=Y2000), ms=2000, ntp="10.0.0.7")
    assert "2000" in net.untimed and str(YEAR) in net.untimed and not hasattr(air, "date")


def test_a_server_that_says_nothing_is_asked_less_and_less():
    net, server, _ = timed(ms=3600000, ntp="10.0.0.7")
    assert "time server" in net.untimed and 10 <= len(server.to) <= 70, len(server.to)


def test_a_clock_that_cannot_be_set_is_named():
    board = Board([(b"one", None)], ntp="10.0.0.7")
    with World(board, now=Y2000) as air, Ticking(Socket(said), board):
        air.datetime = lambda date: None
        net = Net(board)
        live(net, 1000)
    assert "after it was set" in net.untimed


def test_a_link_over_tls_waits_for_the_clock_and_asks_again_with_each_try():
    board = Board([(b"one", None)], ntp="10.0.0.7")
    server = Socket()
    with World(board, now=Y2000), Ticking(server, board):
        net = Net(board)
        live(net, 1000)
        asked = len(server.to)
        for tries in (1, 2, 3):
            for _ in net.ready(True):
                board.ms += 100
            assert len(server.to) > asked, "with try %d" % tries
            asked = len(server.to)
            code, words = refused(OSError("not yet valid"), Clock().localtime(), net.untimed)
            assert code == "clock" and "nobody told the time" in words and "2000-01-01" in words
        assert list(net.ready(False)) == [], "http needs no clock"
        server.answers.append(said)
        for _ in net.ready(True):
            board.ms += 100
        assert Clock().localtime()[0] == 2026 and net.untimed is None
