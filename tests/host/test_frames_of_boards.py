"""What a board may send to a host that pushes: any frame and any message is answered, ignored, or one sentence."""

import json
import random
import struct

import pytest

from mpota.layout.sifli.link import framing
from mpota.layout.sifli.link import messages as m
from mpota.link import frame, serial
from mpota_boot.errors import Corrupt, LinkError
from mpota_host.board import status
from mpota_host.board.errors import PushError
from mpota_host.board.push import Report, Sender
from mpota_host.chips.sifli.phone.phone import Choice, Phone, Wire
from mpota_host.sim.board import VirtualBoard, create, mpota_files
from tests.chips.esp32 import image_maker
from tests.host.command import call
from tests.host.test_cli import refusal

KINDS = (serial._PULL, serial._ACK, serial._REPORT, serial._PROGRESS, serial._BYE, serial._DATA, serial._OFFER, 0, 255)
LENGTHS = (0, 1, 2, 3, 4, 5, 192, 4096)


def fed(*frames, package=bytes(100000)):
    """(the Sender, what it wrote) after these frames of a board."""
    sender = Sender(package, lambda done, total: None, lambda done, total: None)
    out = b""
    for data in frames:
        sender.feed(data)
        for _ in range(1000):
            more = sender.take()
            if more is None:
                break
            out += more
        else:
            raise AssertionError("it never is the board's turn")
    return sender, out


@pytest.mark.parametrize(
    "kind,name,size", [(serial._PULL, "PULL", 4), (serial._ACK, "ACK", 2), (serial._PROGRESS, "PROGRESS", 4)]
)
def test_a_frame_of_a_wrong_length_is_one_sentence(kind, name, size):
    for n in LENGTHS:
        if n != size:
            with pytest.raises(PushError, match=f"{n} bytes in a {name} frame, wanted {size}") as e:
                fed(frame.encode(kind, 1, 0, bytes(n)))
            assert e.value.code == "frame"


@pytest.mark.parametrize("size,ahead", [(0, 242), (100, 0), (100, 16), (0, 0)])
def test_a_pull_of_nothing_is_one_sentence_and_not_a_wait_without_end(size, ahead):
    with pytest.raises(PushError, match=f"asks for {size} bytes a frame and {ahead} bytes ahead, wanted 1 and 17"):
        fed(frame.encode(serial._PULL, 1, 0, struct.pack("<HH", size, ahead)))


def test_a_host_that_offers_nothing_ends_any_session():
    for n in LENGTHS:
        _, out = fed(frame.encode(serial._PULL, 1, 0, bytes(n)), package=None)
        assert out == frame.encode(serial._NONE, 1, 0)


def test_no_frame_of_a_board_is_a_surprise():
    chance = random.Random(7)
    ended = 0
    for _ in range(3000):
        frames = [
            frame.encode(
                chance.choice(KINDS),
                chance.randrange(3),
                chance.choice((0, 1, 99999, 100000, 100001, 0xFFFFFFFF)),
                chance.randbytes(chance.choice(LENGTHS[:7])),
            )
            for _ in range(chance.randrange(1, 6))
        ]
        try:
            sender, _ = fed(frame.encode(serial._PULL, 1, 0, b"\xc0\0\xf2\0"), *frames)
            assert isinstance(sender.report, Report | None)
        except PushError as e:
            assert e.code == "frame" and "\n" not in str(e)
            ended += 1
    assert 300 < ended < 2900


CONSOLE = """
from mpota.link import frame, serial
def push(board):
    link = serial.console()
    link.start()
    link.tx.write(frame.encode(%d, 1, 0, b"\\1"))
    link.bye()
"""


@pytest.mark.parametrize("kind,name", [(1, "PULL"), (4, "PROGRESS")])
@pytest.mark.board
def test_push_to_a_board_that_sends_such_a_frame_ends_with_4(capsys, tmp_path, kind, name):
    files = mpota_files({"product": "lamp"})
    del files["/lib/mpota/console.mpy"], files["/main.py"]
    files["/lib/mpota/console.py"] = (CONSOLE % kind).encode()
    (tmp_path / "app.bin").write_bytes(image_maker.image())
    package = tmp_path / "lamp.mpota"
    args = ("--unsigned", "--product", "lamp", "--version", "1", "-o", package)
    assert call("pack", tmp_path / "app.bin", *args) == 0
    with VirtualBoard(create(tmp_path / "board.bin", image_maker.image(), files=files)) as board:
        refusal(capsys, 4, f"1 bytes in a {name} frame", "push", package, "--port", board.port)


class Says:
    """A board whose answer is this."""

    def __init__(self, value):
        self.value = value

    def run(self, code):
        return json.dumps(self.value).encode()


@pytest.mark.parametrize(
    "value", [[], {}, 5, None, "x", {"running": "ota_0"}, {"running": 1, "version": [], "trial": 3, "updates": None}]
)
def test_a_status_of_another_version_is_one_sentence(value):
    with pytest.raises(LinkError, match="status is none of this version"):
        status.read(Says(value))


# The phone's side of a SiFli chip.

FIELDS = {id: fields for id, fields in m.FIELDS.items() if fields}


def phone(newer=True):
    images = [Wire(0, [bytes(100)] * 50), Wire(3, [bytes(100)] * 7)]
    found = Phone(bytes(300), images, lambda: 0, Choice(newer=newer))
    found.connected()
    return found


def drained(one):
    """All that the phone says now; it must come to the chip's turn."""
    out = []
    for _ in range(2000):
        message = one.take()
        if message is None:
            return out
        out.append(message)
    raise AssertionError("it never is the chip's turn")


def begun():
    """A phone that sends packets."""
    one = phone()
    drained(one)
    one.feed(m.encode(m.INIT_EXT_RSP, 0, 0, 0, 0, 0, 20, 0, 1))
    drained(one)
    one.feed(m.encode(m.START_RSP, 0, 0, 0))
    assert one.phase == "packets"
    drained(one)
    return one


@pytest.mark.parametrize("id", sorted(m.FIELDS))
def test_a_message_of_a_wrong_length_is_one_sentence(id):
    size = struct.calcsize(m.FIELDS[id]) if m.FIELDS[id] else 0
    for n in range(m.LEAST.get(id, size)):
        with pytest.raises(Corrupt, match=r"the chip.*message %d of %d bytes, wanted %d" % (id, n, size)):
            phone().feed(struct.pack(m.HEAD, id, n) + bytes(n))
    for data in (b"", b"\1", b"\1\0\0", struct.pack(m.HEAD, id, size + 9) + bytes(size)):
        with pytest.raises(Corrupt, match="the chip"):
            phone().feed(data)


@pytest.mark.parametrize("index", [51, 1000, 0xFFFFFFFF])
def test_a_chip_that_has_more_packets_than_there_are_is_one_sentence(index):
    for message in (m.encode(m.RETRY_RSP, 0, 20, index), m.encode(m.LINK_CHECK, 0, 20, index)):
        with pytest.raises(Corrupt, match=f"the chip says that it has {index} packets of 50"):
            begun().feed(message)
    one = phone()
    with pytest.raises(Corrupt, match=f"{index} packets of 7"):
        one.feed(m.encode(m.INIT_EXT_RSP, 0, 1, 0, index, 3, 20, 0, 1))
    one = phone(newer=False)
    one.feed(m.encode(m.INIT_RSP, 10, 0))
    with pytest.raises(Corrupt, match=f"{index} packets of 50"):
        one.feed(m.encode(m.RESUME_RSP, 0, 0, 0, index, 0, 20))


def test_no_message_of_a_chip_is_a_surprise():
    chance = random.Random(3)
    said = {"done": 0, "failed": 0, "corrupt": 0}
    for story in range(4000):
        one = begun() if story % 2 else phone(story % 4 == 0)
        try:
            for _ in range(chance.randrange(1, 30)):
                drained(one)
                id = chance.choice(list(FIELDS))
                size = struct.calcsize(FIELDS[id])
                # Mostly zeros: that is "right" in each of them.
                data = bytes(chance.choice((0, 0, 0, 0, 1, 20, 255)) for _ in range(size))
                if chance.random() < 0.02:
                    data = data[: chance.randrange(size)]
                one.feed(struct.pack(m.HEAD, id, len(data)) + data)
                one.tick()
            drained(one)
        except Corrupt as e:
            assert str(e).startswith("the chip") and "\n" not in str(e)
            said["corrupt"] += 1
        said[one.phase] = said.get(one.phase, 0) + 1
    assert min(said.values()) > 5 and said["corrupt"] < 3900, said


def test_no_value_of_the_radio_is_a_surprise():
    chance = random.Random(5)
    parts, whole = framing.Parts(bytearray(4096)), 0
    for _ in range(20000):
        head = bytes((chance.choice((1, 1, 1, 0)), chance.randrange(5))) + struct.pack(
            "<H", chance.choice((0, 1, 3, 16, 65535))
        )
        value = (head + chance.randbytes(chance.randrange(20)))[: chance.randrange(24)]
        got = parts.feed(value)
        whole += got is not None
    assert whole > 10
