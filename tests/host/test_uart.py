"""A push over a real UART, in virtual time: both ends, installer and ESP32's layout real, the line without mercy."""

import random

import pytest

from mpota_host.bench import uart as bench
from mpota_host.board.push import Report, Sender
from mpota_host.sim import uart
from tests.firmware import image
from tests.packages import Maker

OLD, NEW = image(30000, 1), image(200_000, 2)
ARMED = Report("armed", "version 1.1.0 waits for the reset")
# Of settings, port and board's room: mpota/console.py, `line`.
PLAIN, LONG, FLOW = (2048, 242), (4096, 242), (4096, 4112)


def pushed(baud=115200, chunk=16384, pair=PLAIN, noise=None, chat=None, **options):
    sender = Sender(Maker(NEW, chunk=chunk).bytes())
    line = uart.Line(sender, baud, **options)
    line.noise, line.chat = noise or line.noise, chat
    done = bench.push(bench.chip(OLD, "demo", None, 0x40000), sender, line, pair)
    assert done.report == ARMED and done.image.startswith(NEW), done.report
    return done


@pytest.mark.parametrize("baud, least", [(115200, 0.9), (460800, 0.63)])
@pytest.mark.parametrize("chunk, pair", [(4096, PLAIN), (8192, PLAIN), (16384, LONG)])
def test_stored_bytes_fill_the_line_of_an_esp32_while_its_flash_is_at_work(baud, least, chunk, pair):
    done = pushed(baud, chunk, pair)
    assert done.share >= least and done.lost == 0


@pytest.mark.parametrize("baud", [9600, 57600, 921600])
def test_no_byte_is_lost_at_other_speeds(baud):
    assert pushed(baud).lost == 0


def test_a_board_that_prints_every_30_ms_takes_a_push_as_fast():
    done = pushed(chat=(30.0, b"I (12345) radio: beacon\r\n"))
    assert done.share >= 0.9 and done.lost == 0


def test_usb_waits_for_the_flash_and_for_little_else():
    # 50 sectors, each 45 + 7 ms.
    for pair in (PLAIN, FLOW):
        done = pushed(8_000_000, pair=pair, flow=True)
        assert done.lost == 0 and done.seconds < 1.35 * 50 * 0.052


def damage(share, of):
    """Noise that does this to a share of all pieces, from either side."""
    chance = random.Random(5)
    return lambda board, data: of(chance, board, data) if chance.random() < share else data


def cut(chance, board, data):
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.randrange(1, len(data) + 1) :]


def flip(chance, board, data):
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def log(chance, board, data):
    """ESP-IDF's own log heeds no lock: it prints inside a frame."""
    at = chance.randrange(len(data))
    return data[:at] + b"W (77) wifi: log\r\n" * board + data[at:]


@pytest.mark.parametrize("share, of", [(0.03, cut), (0.05, flip), (0.1, log)])
def test_a_push_survives_damage_at_half_its_speed_or_more(share, of):
    assert pushed(noise=damage(share, of)).share > 0.5


def test_a_buffer_that_is_smaller_than_the_settings_say_costs_time_and_not_the_update():
    for ring, pair in ((uart.RING, FLOW), (100, PLAIN)):
        done = pushed(ring=ring, pair=pair)
        assert done.lost > 1000 and done.share > 0.2


def test_a_board_that_is_away_for_seconds_loses_nothing_to_the_hosts_questions():
    sender = Sender(Maker(NEW).bytes())
    line = uart.Line(sender, 115200)
    asked = []
    probe, sender.probe = sender.probe, lambda: (asked.append(line.now), probe())
    link = uart.Board(line)
    assert link.open() is link
    assert link.readinto(bytearray(100)) == 100
    line.work(1900)
    assert len(asked) == 1 and line.lost == 0, "one question fits behind the frame ahead"
    buf = bytearray(4096)
    total = 100
    while n := link.readinto(buf):
        total += n
        line.work(5000 if total < 9000 else 0)
    assert total == len(sender.package)
    link.bye()
    assert sender.finished


def test_the_virtual_line_loses_what_a_ring_has_no_room_for_and_usb_does_not():
    class Floods:
        frames_seen = under_way = 0
        out = bytes(range(250)) * 4

        def feed(self, data):
            pass

        def take(self):
            out, self.out = self.out, b""
            return out or None

        def probe(self):
            pass

    for flow in (False, True):
        line = uart.Line(Floods(), 10_000, flow=flow)
        line.work(uart.PROBE_MS + 2000)
        buf = bytearray(uart.RING)
        line.readinto(buf)
        assert bytes(buf) == (bytes(range(250)) * 4)[: uart.RING]
        assert line.lost == (0 if flow else 1000 - uart.RING)
        if flow:
            rest, began = bytearray(1000 - uart.RING), line.now
            line.readinto(rest)
            assert bytes(buf + rest) == bytes(range(250)) * 4
            assert line.now - began == pytest.approx(len(rest) + 0.62, abs=1), "at the speed of the line"
        else:
            assert line.poll(100) == []
