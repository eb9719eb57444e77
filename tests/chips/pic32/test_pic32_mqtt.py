"""The MQTT trigger of a PIC32MZW1: what it says to a broker, what it hears, and what a broker cannot do to it."""

import sys

from mpota.layout.pic32.events import CHECK_START, DOWNLOAD_START
from mpota.layout.pic32.link import mqtt
from mpota_boot.errors import LinkError, Refused
from tests.chips.pic32.test_pic32_service import KEY, A, B, Device, Net, Open, entry
from tests.core.test_connection import Net as Sockets

CONNACK, SUBACK = b"\x20\2\0\0", b"\x90\3\0\1\0"
HELLO = b"\x10\x16\0\4MQTT\4\2\0\x3c\0\x0ampota-demo"
SUBSCRIBE = b"\x82\x08\0\1\0\3ota\0"


class Wire:
    """A broker that says what it was given to say, in odd pieces; then nothing, or it hangs up."""

    def __init__(self, said, ends=False):
        self.said = said
        self.ends = ends
        self.got = b""
        self.open = True

    def readinto(self, buf):
        if not self.said:
            return 0 if self.ends else None
        n = min(len(buf), 7, len(self.said))
        buf[:n] = self.said[:n]
        self.said = self.said[n:]
        return n

    def write(self, data):
        self.got += data[:9]
        return min(len(data), 9)

    def close(self):
        self.open = False


def publish(body, topic=b"ota", kind=0x30):
    body = bytes((len(topic) >> 8, len(topic) & 255)) + topic + body
    n = len(body)
    size = b""
    while n > 127:
        size += bytes((n & 127 | 128,))
        n >>= 7
    return bytes((kind,)) + size + bytes((n,)) + body


class Wired(mqtt.Mqtt):
    """One whose broker is at the end of the last of these wires; None: there is nobody."""

    def __init__(self, device, *wires):
        super().__init__(device.board, device.service, "broker", "ota")
        self.wires = list(wires)

    def connect(self, to):
        self.sock = self.wires[-1]
        if not self.sock:
            raise OSError(111)
        return
        yield


def trigger(said, ends=False, **options):
    """(Mqtt, Device): the broker has said its part."""
    device = Open(Net(**{"app.bin": B}).offer(entry(3, B)), **options)
    device.service.ask = False
    found = Wired(device, Wire(said, ends))
    for _ in range(len(said) // 7 + 4):
        found.step()
    return found, device


def test_it_subscribes_and_a_message_makes_the_service_look():
    for body in (b"", b"check", b" check\n"):
        found, device = trigger(CONNACK + SUBACK + publish(body))
        assert found.wires[0].got == HELLO + SUBSCRIBE and found.ready and found.error is None
        assert device.service.job and device.run() == "reset" and device.events[0] == CHECK_START
    found, device = trigger(CONNACK + SUBACK + publish(b"check", b"otb"))
    assert device.service.job is None and found.error is None


def test_a_message_waits_until_the_service_has_time():
    found, device = trigger(CONNACK + SUBACK)
    device.service.control(1)
    found.wires[0].said = publish(b"check")
    for _ in range(3):
        found.step()
    assert found.wanted == b"check"
    device.service.job = None
    found.step()
    assert found.wanted is None and device.service.job


def test_a_message_names_an_image_only_where_a_signature_is_asked_for():
    body = entry(3, B, more=', "Signature": "%s"' % ("A" * 88)).encode()
    found, device = trigger(CONNACK + SUBACK + publish(body))
    assert found.error.code == "message" and device.service.job is None and device.service.offer is None
    found, device = trigger(CONNACK + SUBACK + publish(body), key=KEY)
    assert device.service.offer.number == 3 and device.service.job
    assert device.run() == "idle"
    # The bytes of this image were not signed.
    assert device.events[0] == DOWNLOAD_START and device.service.error.code == "signature"
    for wrong in (b"[]", b"{", b"{}", b'{"Version": 3, "EraseVer": true}', b"\xff", b"[" * 300):
        found, device = trigger(CONNACK + SUBACK + publish(wrong), key=KEY)
        assert found.error is not None and device.service.job is None and found.wires[0].open, wrong


def test_a_packet_longer_than_the_buffer_is_skipped_and_the_next_one_heard():
    found, device = trigger(CONNACK + SUBACK + publish(b"x" * 20000) + publish(b"check"))
    assert isinstance(found.error, Refused) and len(found.buf) == mqtt.MOST and device.service.job


def test_a_broker_that_refuses_or_speaks_something_else_is_left():
    for said in (
        b"\x20\2\0\5",
        CONNACK + b"\x90\3\0\1\x80",
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"<html>" * 20,
        b"\x30\xff\xff\xff\xff\1",
        CONNACK + publish(b"check", kind=0x32),
        CONNACK + b"\x40\2\0\1",
    ):
        found, device = trigger(said)
        assert isinstance(found.error, LinkError) and found.error.code == "mqtt", said
        assert found.sock is None and not found.wires[0].open, said
        assert device.service.job is None
    for short in (b"\x30\0", b"\x30\1x", b"\x30\2\0\x09", b"\x30\3\xff\xffx"):
        found, device = trigger(CONNACK + short + publish(b"check"))
        assert found.error is not None and device.service.job, short


def test_no_bytes_of_a_broker_raise_anything():
    seed = 7
    for _ in range(300):
        said = b""
        for _ in range(40):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            said += bytes(
                ((0x20, 0x30, 0x90, 2, 0, seed >> 8 & 0xFF, seed >> 16 & 0xFF)[seed >> 24 & 3 if seed & 1 else 6],)
            )
        trigger(CONNACK + SUBACK + said)


def test_a_line_that_is_lost_is_made_again_after_a_while():
    found, device = trigger(CONNACK + SUBACK, ends=True)
    assert found.sock is None and not found.ready
    found.wires.append(Wire(CONNACK + SUBACK))
    found.step()
    assert found.sock is None
    device.board.ms += mqtt.RETRY_MS
    for _ in range(4):
        found.step()
    assert found.ready and found.wires[1].got == HELLO + SUBSCRIBE


def test_a_silent_broker_is_asked_and_then_left():
    found, device = trigger(CONNACK + SUBACK)
    device.board.ms += 31000
    found.step()
    assert found.wires[0].got == HELLO + SUBSCRIBE + b"\xc0\0"
    found.wires[0].said = b"\xd0\0"
    found.step()
    device.board.ms += 61000
    found.step()
    assert found.ready
    device.board.ms += 31000
    found.step()
    assert not found.ready and "nothing" in str(found.error)


def test_a_broker_that_takes_nothing_or_is_not_there_is_an_error_and_no_more():
    found, device = trigger(b"")
    found.lose()
    deaf = Wire(b"")
    deaf.write = lambda data: None
    found.wires.append(deaf)
    began = device.board.ms = device.board.ms + mqtt.RETRY_MS
    while deaf.open:
        found.step()
        device.board.ms += 100
    assert "no room for a word" in str(found.error) and device.board.ms - began <= mqtt.DIAL_MS + 1000
    found.wires.append(None)
    device.board.ms += mqtt.RETRY_MS
    found.step()
    assert isinstance(found.error, OSError) and found.sock is None


def test_a_line_that_takes_no_more_holds_up_no_step():
    found, device = trigger(CONNACK + SUBACK)
    wire = found.wires[0]
    wire.write = lambda data: None
    device.board.ms += 31000
    found.step()
    assert found.out == b"\xc0\0" and found.ready
    while wire.open:
        device.board.ms += 500
        found.step()
    assert "no room for a word" in str(found.error) and device.board.ms <= 45000


class Far(mqtt.Mqtt):
    """One over the sockets of a Sockets, in their time."""

    def name_server(self):
        return "10.0.0.1"

    def ticks(self):
        return self.net.ms

    def since(self, then):
        return self.net.ms - then


def far(says, ca=None):
    """(Far, its sockets, the longest step) at a broker that says this, until the line is ready or lost."""
    net = Sockets(names={"broker": ("10.0.0.9", None)}, hosts={"10.0.0.9": says})
    if says is None:
        net.names = {}
    device = Open(Net())
    found = Far(device.board, device.service, "broker", "ota")
    found.net, found.ca = net, ca
    longest = 0
    real = {name: sys.modules.get(name) for name in ("socket", "select")}
    try:
        sys.modules["socket"] = sys.modules["select"] = net
        while found.lost is None and not found.ready:
            before = net.ms
            found.step()
            longest = max(longest, net.ms - before)
            net.ms += 10
            assert net.ms < 3600000, "this has no end"
    finally:
        for name in real:
            if real[name]:
                sys.modules[name] = real[name]
            else:
                del sys.modules[name]
    return found, net, longest


def test_no_step_waits_for_a_broker_or_a_name_server_whatever_they_do():
    for says, word in ((None, "name server"), ("drops", "connection"), ("refuses", "111"), ("late", "111")):
        found, net, longest = far(says)
        assert longest <= 250 and net.ms <= mqtt.DIAL_MS + 1000, (says, longest, net.ms)
        assert word in str(found.error) and "mqtt://broker:1883" in str(found.error), str(found.error)
        assert found.sock is None and found.steps is None and net.open == 0, says
    found, net, longest = far([(4000, CONNACK + SUBACK)])
    assert found.ready and found.error is None and longest == 0 and net.ms >= 4000
    assert net.connected == [("10.0.0.9", 1883)]
    found, net, longest = far([], b"no certificate")
    assert longest <= 250 and found.error is not None and net.open == 0


def test_a_login_goes_along():
    device = Device(Net(), (("a.bin", 2, "f8", A),))
    wire = Wire(b"")
    found = Wired(device, wire)
    found.login = "me", "secret"
    found.step()
    assert wire.got[:12] == b"\x10\x22\0\4MQTT\4\xc2\0\x3c" and b"\0\2me\0\6secret" in wire.got
    assert mqtt.packet(1, bytes(200))[:3] == b"\1\xc8\1"
