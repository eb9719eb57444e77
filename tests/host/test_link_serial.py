"""The serial link, both ends real: the unix port pulls over a raw pty, the host sends, the line between misbehaves."""

import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from mpota.link import frame, serial
from mpota.link.serial import Serial
from mpota_boot.errors import LinkError
from mpota_host.bench.line import serial as bench
from mpota_host.board.errors import PushError
from mpota_host.board.push import STOP, FdWire, Report, Sender, free, speak, stop
from mpota_host.sim.line import open_pair

PACKAGE = random.Random(7).randbytes(60_000)


def done(data):
    return Report("done", f"{len(data)} {hashlib.sha256(data).hexdigest()}")


class Faulty(FdWire):
    """A wire that hands each frame it writes to `fault(number, frame) -> list of frames`."""

    def __init__(self, fd, fault):
        super().__init__(fd)
        self.fault = fault
        self.n = 0

    def write(self, data):
        self.n += 1
        for out in self.fault(self.n, data):
            super().write(out)


def flip(data, bit):
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def pushed(fault, package=PACKAGE, **options):
    options.setdefault("timeout_ms", 300)
    with bench.sink(**options) as board:
        wire = Faulty(board.master, fault)
        return speak(wire, Sender(package), 20, 0.2), wire


def test_package_arrives_whole():
    seen = []
    updates = []
    with bench.sink() as board:
        sender = Sender(PACKAGE, lambda *p: seen.append(p), lambda *p: updates.append(p))
        assert speak(FdWire(board.master), sender, 20) == done(PACKAGE)
        assert board.child.wait(5) == 0
    assert seen[-1] == (len(PACKAGE), len(PACKAGE))
    assert [n for n, _ in seen] == sorted({n for n, _ in seen})
    assert updates[-1] == (len(PACKAGE), len(PACKAGE))


def test_kinds_are_stable_on_the_wire():
    names = "PULL ACK REPORT PROGRESS OFFER NONE DATA SENT ABORT HEARD BYE".split()
    assert [getattr(serial, "_" + name) for name in names] == list(range(1, 12))


def test_every_byte_value_passes_the_console():
    package = bytes(range(256)) * 40
    assert pushed(lambda n, f: [f], package)[0] == done(package)


def test_nothing_on_offer_is_none():
    assert pushed(lambda n, f: [f], None)[0].code == "none"


@pytest.mark.parametrize("size, ahead", [(192, 208), (100, 40), (2048, 242), (4096, 8000)])
def test_small_buffers_are_respected(size, ahead):
    biggest = 0

    def fault(n, f):
        nonlocal biggest
        biggest = max(biggest, len(f))
        return [f]

    assert pushed(fault, PACKAGE[:20_000], size=size, ahead=ahead)[0] == done(PACKAGE[:20_000])
    assert biggest == size + frame.EXTRA


def pull(run, off, size, ahead):
    return frame.encode(serial._PULL, run, off, struct.pack("<HH", size, ahead))


def ack(run, off, wanted):
    return frame.encode(serial._ACK, run, off, struct.pack("<H", wanted))


def sent(sender):
    """(first byte, bytes) of the DATA frames that a host sends now."""
    found = []
    while (out := sender.take()) is not None:
        if out[2] == serial._DATA:
            found.append((int.from_bytes(out[4:8], "little"), len(out) - frame.EXTRA))
    return found


def test_what_the_board_waits_for_is_sent_and_ahead_of_it_what_a_ring_holds():
    sender = Sender(PACKAGE)
    sender.feed(pull(1, 0, 1024, 242))
    assert sent(sender) == [(0, 226)]
    sender.feed(ack(1, 0, 4000))
    assert sent(sender) == [(226, 1024), (1250, 1024), (2274, 1024), (3298, 702), (4000, 226)]
    # The caller has its bytes and goes away; then it has taken one frame in between.
    sender.feed(ack(1, 4000, 0))
    assert sent(sender) == []
    sender.feed(ack(1, 4226, 0))
    assert sent(sender) == [(4226, 226)]
    sender.feed(ack(1, 4226, 100))
    assert sent(sender) == [(4452, 226)], "it waits for the one before, which is longer than it needs"


def test_frames_ahead_of_small_waits_fit_a_ring_with_their_own_bytes():
    rng = random.Random(3)
    for _ in range(300):
        sender = Sender(PACKAGE)
        sender.feed(pull(1, 0, 2048, 242))
        flight, at = sent(sender), 0
        for _ in range(60):
            wanted = rng.choice((0, 1, 16, 66, 300))
            sender.feed(ack(1, at, wanted))
            flight += sent(sender)
            # The board reads frames until it has what it waits for, and leaves.
            while flight and flight[0][0] < at + wanted:
                wanted -= flight[0][1]
                at += flight.pop(0)[1]
            assert wanted <= 0 and sum(n + frame.EXTRA for _, n in flight) <= 242


def test_an_acknowledgement_of_an_older_run_moves_nothing():
    sender = Sender(PACKAGE)
    sender.feed(pull(2, 0, 1024, 242))
    sent(sender)
    sender.feed(ack(1, 226, 1024))
    assert sender.take() is None


def test_a_host_that_hears_nothing_asks_and_then_fills_the_frame_up():
    sender = Sender(PACKAGE)
    sender.feed(pull(1, 0, 1024, 242))
    sent(sender)
    kinds = []
    for _ in range(4):
        sender.probe()
        kinds.append((sender.take(), sender.take()))
    ask = frame.encode(serial._SENT, 1, 226)
    assert kinds == [(ask, None), (bytes(1024 + frame.EXTRA), None)] * 2
    sender.probe()
    sender.probe()
    sender.feed(pull(1, 0, 1024, 242))
    assert [out[2] for out in iter(sender.take, None)] == [serial._SENT, serial._OFFER, serial._DATA]


def test_flipped_bits_are_asked_for_again():
    rng = random.Random(1)
    report, wire = pushed(lambda n, f: [flip(f, rng.randrange(len(f) * 8))] if n % 5 == 0 else [f])
    assert report == done(PACKAGE)
    assert wire.n > 20


def test_lost_frames_are_asked_for_again():
    assert pushed(lambda n, f: [] if n % 4 == 0 else [f])[0] == done(PACKAGE)


def test_lost_bytes_are_asked_for_again():
    # Fewer bytes than the board waits for: the host's SENT frames end the wait.
    assert pushed(lambda n, f: [f[: len(f) - 5]] if n % 7 == 3 else [f], size=1024)[0] == done(PACKAGE)


def test_doubled_and_swapped_frames_are_taken_once():
    held = []

    def fault(n, f):
        if n % 5 == 0:
            held.append(f)
            return []
        return [f, *(held.pop() for _ in list(held)), f]

    assert pushed(fault)[0] == done(PACKAGE)


def test_repl_text_between_frames_is_skipped():
    noise = b"\r\n>>> OK\x04\x01 \xf5\x4d Traceback"
    assert pushed(lambda n, f: [noise, f])[0] == done(PACKAGE)


def test_silent_host_is_a_link_error():
    with bench.sink(timeout_ms=100, tries=3) as board:
        # It has asked in vain for so long that it ended.
        board.child.wait(30)
        report = speak(FdWire(board.master), Sender(PACKAGE), 5)
    assert report.code == "link"


def test_host_that_stops_answering_is_reported_with_the_offset():
    report, _ = pushed(
        lambda n, f: [f] if n < 6 or f[2] in (serial._HEARD, serial._BYE) else [], timeout_ms=100, tries=3
    )
    assert report.code == "link"
    assert report.text.split()[0] == str(4 * 4096)


def test_slow_host_is_waited_for():
    def fault(n, f):
        time.sleep(0.25)
        return [f]

    assert pushed(fault, PACKAGE[:20_000], timeout_ms=100)[0] == done(PACKAGE[:20_000])


def test_new_host_goes_on_where_the_dead_one_stopped():
    with bench.sink(timeout_ms=200) as board:
        first = Sender(PACKAGE)
        wire = FdWire(board.master)
        while first._acked < 20_000:
            first.feed(wire.read(1))
            while (out := first.take()) is not None:
                wire.write(out)
        offs = []
        second = Faulty(board.master, lambda n, f: offs.append((f[2], int.from_bytes(f[4:8], "little"))) or [f])
        assert speak(second, Sender(PACKAGE), 20, 0.2) == done(PACKAGE)
    assert min(off for kind, off in offs if kind == serial._DATA) >= 20_000


def test_board_asks_from_the_offset_it_opens():
    offs = []
    report, _ = pushed(
        lambda n, f: offs.append((f[2], int.from_bytes(f[4:8], "little"))) or [f], PACKAGE[:50_000], at=33_333
    )
    assert report == done(PACKAGE[33_333:50_000])
    assert min(off for kind, off in offs if kind == serial._DATA) == 33_333


def test_offset_beyond_the_package_has_nothing_on_offer():
    assert pushed(lambda n, f: [f], b"short", at=6)[0].code == "none"


def test_host_that_stops_is_told_apart_and_the_offset_kept():
    with bench.sink() as board:
        wire = FdWire(board.master)
        sender = Sender(PACKAGE)
        while sender._acked < 8192:
            sender.feed(wire.read(1))
            while (out := sender.take()) is not None:
                wire.write(out)
        report = stop(wire, sender)
        assert board.child.wait(5) == 0
    assert report.code == "aborted"
    assert int(report.text.split()[0]) >= 8192


# A host that writes a part of a frame and then waits to be killed.
KILLED = """
import sys
import mpota_host
from mpota.link.frame import encode
from mpota_host.board.push import FdWire, Sender
wire = FdWire(int(sys.argv[1]))
sender = Sender(bytes(60000))
while sender._acked < 16384:
    sender.feed(wire.read(5))
    while (out := sender.take()) is not None:
        wire.write(out)
wire.write(encode(7, 1, 0, bytes(4096))[:2000])
print("half", flush=True)
sys.stdin.read()
"""


def test_board_that_waits_for_the_rest_of_a_killed_hosts_frame_is_freed():
    with bench.sink() as board:
        os.set_inheritable(board.master, True)
        argv = [sys.executable, "-c", KILLED, str(board.master)]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, pass_fds=[board.master]) as child:
            assert child.stdout.readline() == b"half\n"
            child.send_signal(signal.SIGKILL)
        free(FdWire(board.master))
        assert board.child.wait(5) == 0


def test_frames_that_free_a_board_hold_no_control_character_a_repl_obeys():
    assert not set(STOP) & {1, 2, 3, 4, 5, 10, 13}


def test_program_that_dies_is_reported_by_its_last_line():
    near, far = open_pair()
    try:
        os.write(far, b"OK\x04Traceback (most recent call last):\r\nImportError: no module named 'device'\r\n\x04>")
        with pytest.raises(PushError, match="ImportError: no module named 'device'") as e:
            speak(FdWire(near), Sender(PACKAGE), 5, 0.1)
        assert e.value.code == "board"
    finally:
        os.close(near)
        os.close(far)


def test_silent_board_is_an_error():
    near, far = open_pair()
    try:
        with pytest.raises(PushError, match="said nothing"):
            speak(FdWire(near), Sender(PACKAGE), 0.2, 0.1)
    finally:
        os.close(near)
        os.close(far)


def test_closed_port_is_an_error_on_both_ends():
    r, w = os.pipe()
    os.close(w)
    with pytest.raises(PushError, match="closed"):
        FdWire(r).read(1)
    with open(r, "rb", 0) as rx, open(os.devnull, "wb", 0) as tx, pytest.raises(LinkError, match="closed"):
        Serial(rx, tx).open()


def test_report_in_the_middle_of_a_package_loses_no_byte():
    near, far = open_pair()
    with open(far, "r+b", 0) as port:
        link = Serial(port)
        link.timeout_ms = 200
        sender = Sender(PACKAGE)
        host_end = threading.Thread(target=speak, args=(FdWire(near), sender, 10, 0.1))
        host_end.start()
        src = link.open()
        buf = bytearray(1000)
        got = bytes(buf[: src.readinto(buf)])
        link.report("hello", "there")
        while n := src.readinto(buf):
            got += buf[:n]
        link.bye()
        host_end.join(10)
    os.close(near)
    assert got == PACKAGE
    assert sender.report == Report("hello", "there")


def test_report_before_any_package_reaches_the_host_through_damage():
    near, far = open_pair()
    with open(far, "r+b", 0) as port:
        link = Serial(port)
        link.timeout_ms = 200
        answers = Faulty(near, lambda n, f: [f[:-1] + b"?"] if n == 1 else [f])
        sender = Sender(None)
        host_end = threading.Thread(target=speak, args=(answers, sender, 10, 0.1))
        host_end.start()
        link.report("boot", "hello")
        link.bye()
        host_end.join(10)
    os.close(near)
    assert sender.report == Report("boot", "hello")


def test_report_that_nobody_hears_is_no_error():
    near, far = open_pair()
    with open(far, "r+b", 0) as port:
        link = Serial(port)
        link.timeout_ms = 100
        link.report("boot", "hello")
        link.bye()
    os.close(near)


def test_watchdog_is_fed_while_waiting():
    near, far = open_pair()
    fed = []
    with open(far, "r+b", 0) as port:
        link = Serial(port)
        link.timeout_ms, link.tries = 100, 2
        link.feed = lambda: fed.append(1)
        with pytest.raises(LinkError, match="200 ms"):
            link.open()
    os.close(near)
    assert len(fed) >= 4


def test_noise_without_end_is_a_silence():
    near, far = open_pair()
    with open(far, "r+b", 0) as port, open("/dev/urandom", "rb", 0) as noise:
        link = Serial(noise, port)
        link.tries = 2
        with pytest.raises(LinkError, match="no frame"):
            link.open()
    os.close(near)


@pytest.mark.parametrize("baud", [115200, 460800, 921600])
def test_paced_line_carries_97_percent_payload(baud):
    package = random.Random(baud).randbytes(baud // 5)
    shares = []
    # A machine that is busy with something else may stop either end for longer than the window lasts.
    for _ in range(3):
        shares.append(bench.measure(package, baud)["share_of_line"])
        if shares[-1] >= 0.97:
            return
    pytest.fail(f"payload shares of the line: {shares}")


def test_paced_line_never_carries_more_than_the_line():
    package = bytes(20_000)
    assert bench.measure(package, 921600)["share_of_line"] <= 1.0


def test_push_is_50_times_as_fast_as_mpremote():
    package = random.Random(3).randbytes(300_000)
    ours = min(bench.measure(package)["seconds"] for _ in range(3))
    assert bench.measure_fs_cp(package)["seconds"] >= 50 * ours
