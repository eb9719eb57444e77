"""The lines of the vendor's console, by the shipped wiring: typed as its page has them, on both interpreters."""

import sys

from mpota.layout.bk7238.link import lines
from mpota.network import port
from mpota_boot import board
from mpota_boot.errors import LinkError, Refused
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.sim.plain import Blobs
from tests.chips.bk7238.test_bk7238_layout import chip
from tests.expect import raises
from tests.scratch import Scratch

WIRING = __file__.replace("\\", "/").rsplit("/", 3)[0] + "/../device/mpota/layout/bk7238/wiring.py"


class Air:
    """Module `network` with one access point; joining takes `looks` looks, None: for ever."""

    STA_IF = 0

    def __init__(self, looks=2, on=False):
        self.looks = looks
        self.on = on
        self.said = []
        self.left = None

    def WLAN(self, _):
        return self

    def active(self, on=None):
        if on:
            self.on = True
            self.said.append("on")
        return self.on

    def isconnected(self):
        if self.left is None or self.looks is None:
            return False
        self.left = max(self.left - 1, 0)
        return not self.left

    def disconnect(self):
        self.said.append("left")
        self.left = None

    def connect(self, *names):
        self.said.append(names)
        self.left = self.looks


class Here:
    """A board that counts what it waits."""

    def __init__(self):
        self.paused = self.fed = 0
        self.wifi = Blobs()

    def memory(self, name):
        assert name == "wifi"
        return self.wifi

    def pause(self):
        self.paused += 1

    def feed(self):
        self.fed += 1


def joined(air, here, *names):
    before = sys.modules.get("network")
    sys.modules["network"] = air
    try:
        lines.join(here, port, *names)
    finally:
        if before is None:
            del sys.modules["network"]
        else:
            sys.modules["network"] = before
    return here


def test_words_are_parted_by_blanks_and_kept_together_by_quotes():
    for line, wanted in (
        ("sta home secret", ["sta", "home", "secret"]),
        ("  sta\thome   secret \r\n", ["sta", "home", "secret"]),
        ('sta "my home" "a \'b\' c"', ["sta", "my home", "a 'b' c"]),
        ("sta 'my home'", ["sta", "my home"]),
        ('sta "" x', ["sta", "", "x"]),
        ('sta home it\'s"so"', ["sta", "home", 'it\'s"so"']),
        ('sta "ho"me x', ["sta", "home", "x"]),
        ("http_ota http://h/a?b=1&c=%20,", ["http_ota", "http://h/a?b=1&c=%20,"]),
        ("", []),
        (" \t ", []),
    ):
        assert lines.words(line) == wanted, (line, lines.words(line))
    for line in ('sta "my home', "sta '", "sta a 'b\""):
        error = raises(Refused, "line", lines.words, line)
        assert "inside a word in quotes" in str(error)


def test_a_line_calls_its_command_or_says_what_is_wrong():
    done = []
    commands = {"sta": (lambda *args: done.append(args), "SSID PASSWORD", 1, 2)}
    for line in ("sta a", "sta a b", "", "   "):
        lines.do(line, commands)
    assert done == [("a",), ("a", "b")]
    for line, text in (
        ("sta", "sta has 0 words behind it, wanted sta SSID PASSWORD"),
        ("sta a b c", "sta has 3 words behind it"),
        ("http_ota x", "there is no command http_ota, but sta"),
        ("STA a b", "there is no command STA"),
    ):
        assert text in str(raises(Refused, "line", lines.do, line, commands)), line
    assert len(done) == 2


def looped(typed):
    """(lines that were commands, what was said): a string is typed, an exception is a key."""
    done = []
    told = []

    def read(prompt):
        assert prompt == "# "
        line = typed.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line

    def command(line):
        done.append(line)
        for word, error in (("bad", Refused("line", "no such thing")), ("broken", OSError(5)), ("odd", ValueError(3))):
            if line == word:
                raise error

    lines.loop(command, told.append, read)
    return done, told


def test_the_loop_goes_on_after_an_error_and_ends_where_a_person_wants_to():
    for end in (EOFError(), KeyboardInterrupt(), "exit", " quit "):
        typed = ["one", "bad", "broken", "odd", "two", end, "never"]
        done, told = looped(typed)
        assert done == ["one", "bad", "broken", "odd", "two"] and typed == ["never"]
        assert told[0] == "Refused: no such thing" and told[1].startswith("OSError: ") and len(told) == 3


def test_a_wifi_is_joined_and_kept_in_front_of_those_that_were_there():
    air = Air(3)
    here = joined(air, Here(), "home", "secret12")
    assert air.said == ["on", ("home", "secret12")] and here.paused == here.fed == 2
    assert (here.wifi.last("ssid"), here.wifi.last("psk")) == (b"home", b"secret12")
    for name in ("b", "c", "d", "e"):
        joined(Air(1, True), here, name)
    places = [(here.wifi.last("ssid" + n), here.wifi.last("psk" + n)) for n in ("", "2", "3", "4")]
    assert places == [(b"e", None), (b"d", None), (b"c", None), (b"b", None)]
    joined(Air(1, True), here, "c", "open no more")
    places = [(here.wifi.last("ssid" + n), here.wifi.last("psk" + n)) for n in ("", "2", "3", "4")]
    assert places == [(b"c", b"open no more"), (b"e", None), (b"d", None), (b"b", None)]


def test_what_is_joined_already_is_left_first_and_an_open_wifi_needs_no_password():
    air = Air(1, True)
    air.left = 0
    here = joined(air, Here(), "caf\u00e9")
    assert air.said == ["left", ("caf\u00e9",)] and here.wifi.last("ssid") == b"caf\xc3\xa9"


def test_a_wifi_that_does_not_answer_is_said_and_not_kept():
    here = joined(Air(1), Here(), "old", "password")
    error = raises(LinkError, "network", joined, Air(None), here, "home", "secret")
    assert "the Wi-Fi home was not joined in 15 s" in str(error)
    # 15 s in pauses of 10 ms.
    assert here.paused == 1500 and here.wifi.last("ssid") == b"old" and here.wifi.last("ssid2") is None


def wired(call):
    """call(names of the shipped wiring, its Air) on a simulated chip."""
    air = Air(1)
    scratch = Scratch()
    before = {}
    for name, module in (("chip", sim.ChipModule(chip().flash.flash, True)), ("network", air)):
        before[name] = sys.modules.get(name)
        sys.modules[name] = module
    root = board.Board.root
    board.Board.root = scratch.__enter__()
    try:
        with open(WIRING) as f:
            source = f.read()
        names = {"__name__": "wiring"}
        exec(source, names)
        call(names, air)
    finally:
        board.Board.root = root
        for name in before:
            if before[name] is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before[name]
        scratch.__exit__()


def test_the_shipped_wiring_has_the_lines_of_the_page():
    def typed(wiring, air):
        fetched = []
        wiring["http_ota"] = fetched.append
        wiring["command"]("sta home secret12")
        wiring["command"]("http_ota http://192.168.1.2/bk7238_ota.bin")
        assert air.said == ["on", ("home", "secret12")]
        assert fetched == ["http://192.168.1.2/bk7238_ota.bin"]
        assert wiring["Board"]().memory("wifi").last("ssid") == b"home"
        error = raises(Refused, "line", wiring["command"], "reboot")
        assert "http_ota, sta, status" in str(error)

    wired(typed)
