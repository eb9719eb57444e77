"""Whatever JSON comes over the network or lies in the settings of a PIC32MZW1: its service, trigger and main.py live.

MicroPython's json takes more than CPython's: numbers and null for keys, missing commas. What it makes of bytes goes
through the same code here on both interpreters; on CPython objects with such keys are given as well.
"""

import json
import sys
from hashlib import sha256

from mpota.layout.pic32 import events, settings
from mpota.layout.pic32.link import manifest, mqtt
from mpota.layout.pic32.service import Service
from mpota_boot.errors import OtaError, Refused
from mpota_host.sim.reset import Reset
from tests.chips.esp32.image_maker import ROOT
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_signer import bound, sign
from tests.chips.pic32.test_pic32_loader import A, Dice
from tests.chips.pic32.test_pic32_mqtt import CONNACK, SUBACK, Wire, Wired, publish
from tests.chips.pic32.test_pic32_service import BEFORE, KEY, URL, B, Device, Net, Open, app, entry
from tests.expect import raises

MAIN = ROOT + "/device/mpota/layout/pic32/programs/main.py"
# What a stranger writes by hand.
BODIES = b"{1: 2}|{null: 1}|{true: 1}|{1.5: 2}|{[1]: 2}|{{}: 1}|{:1}|[,]|{|[|]|{}|[]|7|-|\\|\0|\xff\xfe{".split(b"|")
BODIES += b'{"a": 1, [1]: 2}|{"a" "b"}|{"a":}|"|1e999|\xef\xbb\xbf{}|{"Version": 1e999}|{"Version": NaN}'.split(b"|")
BODIES += b'{"Version": -1}|{"Version": 3, "URL": {1: {2: 3}}}|{"Version": 3, "URL": 5}'.split(b"|")
BODIES += b'{"version": 3, "VERSION": 3, 3: 3}|{"Version": true, "EraseVer": 1}|{"EraseVer": true}'.split(b"|")
BODIES += [b"[" * 500, b"[" * 250 + b"]" * 250, b'{"a":' * 80 + b"1" + b"}" * 80, b"9" * 490, b"-" + b"9" * 480]
BODIES += [
    b'{"Version": %s}' % (b"9" * 480),
    b'{"URL": "http://h/a", "Version": 3, "Digest": "\xc3\xa9' + b"a" * 63 + b'"}',
    b'{"Signature": "\xc3", "URL": "http://h/a", "Version": 3, "Digest": "' + b"ab" * 32 + b'"}',
    b'{"Signature": "\\ud800", "URL": "http://h/\\ud800", "Version": 3, "Digest": "' + b"ab" * 32 + b'"}',
    b'{"Signature": null, "URL": "http://h/a", "Version": 3, "Digest": "\\ud800' + b"ab" * 32 + b'"}',
]
WORDS = ["Version", "URL", "Digest", "EraseVer", "Signature", "ota", "OTA", "", "\\u0000", "\\ud800", "a" * 90]


class Text:
    """JSON that nobody meant, from dice: `value()` is its bytes."""

    def __init__(self, dice):
        self.dice = dice

    def value(self, deep=0):
        kind = self.dice.below(9 if deep < 4 else 6)
        if kind < 2:
            return self.scalar()
        if kind == 2:
            return b'"%s"' % WORDS[self.dice.below(len(WORDS))].encode()
        if kind == 3:
            return b'"http://h/%d"' % self.dice.below(99)
        if kind == 4:
            return b"%d" % (self.dice.below(1200) - 100)
        if kind == 5:
            return b'"' + b"ab" * 32 + b'"'
        items = [self.value(deep + 1) for _ in range(self.dice.below(5))]
        if kind == 6:
            return b"[" + b",".join(items) + b"]"
        return b"{" + b",".join([self.key() + b": " + item for item in items]) + b"}"

    def scalar(self):
        odd = (b"null", b"true", b"false", b"-0", b"1e400", b"9" * 60, b"0.5", b"[" * 40, b"\xff", b"", b'"', b"}")
        return odd[self.dice.below(len(odd))]

    def key(self):
        if not self.dice.below(6):
            return self.scalar()
        return b'"%s"' % WORDS[self.dice.below(len(WORDS))].encode()


def texts(n, seed):
    dice = Dice()
    dice.seed = seed
    text = Text(dice)
    return [text.value() for _ in range(n)]


def unharmed(d):
    assert sorted(n for n in d.chip.store.files if n[:5] != "mpota") == BEFORE
    assert maker.rows(d.chip) == [("a.bin", "f8", "2")] and maker.page(d.chip).status == 0xF8


def rest(d):
    """Run it to its end; no answer is endless."""
    for _ in range(99):
        if d.service.step() == "idle":
            return
    raise AssertionError("it never rests")


def test_a_key_that_is_no_text_is_an_entry_that_is_wrong():
    for odd in ({1: 2}, {None: 1}, {True: 1}, {1.5: 1}, {b"Version": 3}, {(): 1}, {"Version": 3, 4: 5}):
        found = manifest.Manifest([odd, json.loads(entry(3, B))])
        assert found.offer.number == 3 and "entry 1: a field's name is" in found.wrong[0], odd
    for odd in (None, 7, [], [1], "text", 1.5, True):
        assert "wanted an object" in manifest.Manifest([odd]).wrong[0], odd


def test_of_thousands_of_wrong_entries_a_few_are_told():
    text = b'{"ota": [' + b"0," * 3000 + entry(3, B).encode() + b"]}"
    found = manifest.parse(text)
    assert found.offer.number == 3 and len(found.wrong) == manifest.WRONG
    huge = b'{"ota": [{"Version": ' + b"9" * 3000 + b"}]}"
    assert len(manifest.parse(huge).wrong[0]) < 80
    many = b'{"ota": [{"%s": 1, "%s": 2}]}' % (b"a" * 3000, b"A" * 3000)
    for wrong in manifest.parse(many).wrong:
        assert len(wrong) < 80


def test_no_manifest_ends_the_service():
    d = Device(Net(), key=KEY)
    ends = set()
    for text in BODIES + texts(300, 5):
        for body in (text, b'{"ota": [%s]}' % text, b'{"ota": [%s, %s]}' % (text, text), b'{"ota": %s}' % text):
            d.net.files["manifest.json"] = body
            d.service.control(events.CHECK)
            rest(d)
            ends.add(d.events[-1])
            d.service.ask = False
    # Failed, and nothing in it.
    assert ends == {5, 7}
    unharmed(d)
    d.net.files["app.bin"] = B
    d.net.offer(entry(3, B, more=', "Signature": "%s"' % sign(B) + bound(3, sha256(B).digest())))
    d.service.control(events.CHECK)
    assert d.run() == "reset"


def test_no_message_of_a_broker_ends_the_trigger_or_its_service():
    for key in (KEY, None):
        d = Device(app(B).offer(entry(2, B)), key=key)
        d.service.ask = False
        d.service.period_ms = 0
        wire = Wire(CONNACK + SUBACK)
        found = Wired(d, wire)
        for body in BODIES + texts(300, 9):
            # A broker keeps it and says it again at every connection: the flag 1.
            wire.said += publish(body, kind=0x31)
            found.error = None
            while wire.said:
                found.step()
            found.step()
            assert found.wanted is None and found.ready and wire.open, body
            assert found.error or d.service.offer or body.strip() in (b"", b"check"), body
            rest(d)
        unharmed(d)
        wire.said += publish(b"check")
        while wire.said:
            found.step()
        found.step()
        assert d.service.job is not None


def test_a_message_asks_again_and_what_failed_is_not_fetched_for_it():
    d = Open(Net(**{"app.bin": A}).offer(entry(3, B)))
    rest(d)
    wire = Wire(CONNACK + SUBACK)
    found = Wired(d, wire)
    for _ in range(5):
        wire.said += publish(b"check")
        while wire.said:
            found.step()
        found.step()
        rest(d)
    assert d.net.asked.count("http://h/app.bin") == 1 and d.net.asked.count(URL) == 6
    assert d.service.error.code == "failed"


def test_a_line_that_raises_anything_is_made_again():
    d = Device(Net())
    found = mqtt.Mqtt(d.board, d.service, 5, None)
    for _ in range(3):
        found.step()
        assert found.error is not None and found.sock is None
        d.board.ms += mqtt.RETRY_MS

    class Odd(Wire):
        def readinto(self, buf):
            raise TypeError("no such thing")

    wire = Odd(b"")
    found = Wired(d, wire)
    for _ in range(3):
        found.step()
    assert isinstance(found.error, TypeError) and not wire.open


def configured(given):
    """(Service, Mqtt) of a board with these settings."""
    c = maker.chip((("a.bin", 2, "f8", A),), given)
    board = c.power_on()
    service = Service(board, Net().fetch, board.settings.get("service"))
    settings.configure(service)
    return service, settings.trigger(service)


def test_the_settings_make_the_service():
    given = {"service": URL, "period_ms": 5000, "auto_update": False, "auto_reset": False, "last_entry": True}
    given.update({"enforce_tls": True, "bare": True, "service_key": "".join(["%02x" % c for c in KEY])})
    given["mqtt"] = {"host": "broker", "topic": "ota", "port": 8883, "login": ["me", "secret"]}
    service, trigger = configured(given)
    assert (service.period_ms, service.key, service.error) == (5000, KEY, None)
    assert (service.auto_update, service.auto_reset, service.last_entry) == (False, False, True)
    assert service.enforce_tls and service.bare
    assert (trigger.host, trigger.topic, trigger.port, trigger.login) == ("broker", "ota", 8883, ["me", "secret"])
    service, trigger = configured({})
    assert (service.period_ms, service.key, service.bare, trigger) == (0, None, False, None)
    assert configured({"service": URL, "period_ms": 0})[0].period_ms == 0
    assert configured({"service": URL})[0].period_ms == 60000


def test_a_setting_that_is_wrong_is_named_and_lets_nobody_in():
    wrong = [("bare", "yes"), ("bare", 1), ("enforce_tls", "no"), ("enforce_tls", 0), ("auto_update", "often")]
    keys = (None, "", "ab", "zz" * 64, 5, ["ab" * 64], {1: 2}, "\u00e9" * 128)
    wrong += [("service_key", key) for key in keys]
    wrong += [("mqtt", value) for value in (5, "broker", {}, {"host": "b"}, {1: 2}, {"host": 5, "topic": "ota"})]
    more = [("topic", ["ota"]), ("host", "b" * 300), ("port", "1883"), ("port", 0), ("port", 70000), ("port", [1])]
    more += [("login", login) for login in ("ab", 5, ["me"], [1, 2], {1: 2, 3: 4})]
    for name, value in more:
        broker = {"host": "b", "topic": "ota"}
        broker[name] = value
        wrong.append(("mqtt", broker))
    for name, value in wrong:
        given = {"service": URL, "bare": True}
        given.update({name: value})
        service, trigger = configured(given)
        assert service.error.code == "setting" and "`%s`" % name in str(service.error), (name, value)
        assert trigger is None and service.auto_update and len(str(service.error)) < 160
        assert service.bare == (name != "bare") and service.enforce_tls == (name == "enforce_tls"), (name, value)
        if name == "service_key":
            assert service.key == b""
            service.set_parameters("http://h/app.bin", 3, "ab" * 32)
            raises(Refused, "unsigned", service._admit, service.offer)


class Over(BaseException):
    """The turns that a test gives main.py are over."""


class Wiring:
    """The module `wiring` of a board."""

    def __init__(self, board):
        self.board = board

    def Board(self):
        return self.board


def joined(line, wire):
    """Steps to this broker."""
    line.sock = wire
    return
    yield


def run_main(given, wire=None, turns=30, d=None):
    """The Device on which the shipped main.py ran so many turns with these settings; its broker is `wire`."""
    d = d or Device(Net())
    board = d.board
    board.settings.update(given)
    board.connect = lambda: True
    left = [turns]

    def pause():
        board.ms += 60000
        left[0] -= 1
        if not left[0]:
            raise Over

    board.pause = pause
    connect = mqtt.Mqtt.connect
    sys.modules["wiring"] = Wiring(board)
    if wire:
        mqtt.Mqtt.connect = lambda self, to: joined(self, wire)
    try:
        with open(MAIN) as f:
            exec(f.read(), {"__name__": "main"})
    except (Over, Reset):
        d.turns = turns - left[0]
        return d
    finally:
        mqtt.Mqtt.connect = connect
        sys.modules.pop("wiring")


def test_main_lives_whatever_a_broker_keeps():
    key = "".join(["%02x" % c for c in KEY])
    for body in BODIES:
        wire = Wire(CONNACK + SUBACK + publish(body, kind=0x31))
        d = run_main({"mqtt": {"host": "broker", "topic": "ota"}, "service_key": key}, wire, 120)
        assert d.turns == 120 and not wire.said, body
        unharmed(d)


def test_main_lives_whatever_the_settings_are():
    names = ("service", "service_key", "mqtt", "period_ms", "auto_update", "enforce_tls", "bare", "ca", "last_entry")
    names += ("vendor_manifest", "jump")
    seen = 0
    for text in texts(120, 3):
        try:
            value = json.loads(text)
        except Exception:
            continue
        for name in names:
            seen += 1
            d = run_main({name: value}, Wire(b""), 4)
            assert d.turns == 4, (name, value)
            unharmed(d)
    assert seen > 300


def test_an_error_of_the_service_is_an_error_with_a_name():
    for odd in ({1: 2}, {None: 3}, {}, {"Version": 3}, [], 5):
        e = raises(OtaError, "manifest", Device(Net()).service.offered, odd)
        assert str(e)
