"""A release key is lost: every board ends on the new one over the air, also those that sleep through three records."""

import sys

from mpota.agent import Agent
from mpota.installer import install
from mpota.stream import finish
from mpota.version import text
from mpota_boot.errors import LinkError, Refused
from mpota_host.sim import fs
from tests.expect import raises
from tests.packages import Maker, Ram, version
from tests.rooted import Home
from tests.signer import RELEASES, A, B, C, record, signed
from tests.trees import archive

# The unix port takes four times as long for a board.
BOARDS, SLEEPERS = (40, 8) if sys.implementation.name == "micropython" else (200, 20)
ROOTS = A, B, C


def package(number, key, size=300):
    """An application of this version, signed by a release key."""
    maker = Maker(archive({"app.py": b"VERSION = %d\n" % number[1] * size}))
    maker.kind, maker.name, maker.layout, maker.version = 2, b"files", b"files", version(*number)
    return signed(maker, key)


# Each record is signed by two of three roots, and names one release key.
RECORDS = [record(n + 1, [key], (ROOTS[n % 3], ROOTS[(n + 1) % 3])) for n, key in enumerate(RELEASES)]
SHELF = [front + package((1, n + 1), key) for n, (front, key) in enumerate(zip(RECORDS, RELEASES))]
# Whoever has an old key makes a newer version with it.
STOLEN = [package((1, 9), key) for key in RELEASES[:3]]


class Fleet:
    """One file system after another is the modules' own."""

    def __init__(self, boards):
        self.disks = [fs.LittleFs() for _ in range(boards)]
        self.homes = []
        for disk in self.disks:
            with_disk(disk, lambda disk=disk: self.homes.append(Home("", ROOTS, 2, disk)))

    def each(self, numbers, call):
        """call(home) for each of these boards."""
        for n in numbers:
            with_disk(self.disks[n], lambda n=n: call(self.homes[n]))


def with_disk(disk, call):
    stand = fs.Stand(disk, fs.modules())
    try:
        call()
    finally:
        stand.end()


def update(home, data):
    """What a board does over days: it takes the package that is on offer, restarts, and confirms."""
    board = home.power_on()
    agent = Agent(board, [Ram(data)], board.keys())
    said = agent.step()
    while said == "busy":
        said = agent.step()
    assert said == "reset", agent.error
    home.power_on("reset").layout.confirm()


def test_a_lost_release_key_is_replaced_on_every_board():
    fleet = Fleet(BOARDS)
    everybody, awake = range(BOARDS), range(SLEEPERS, BOARDS)
    fleet.each(everybody, lambda home: update(home, SHELF[0]))
    for data in SHELF[1:3]:
        fleet.each(awake, lambda home, data=data: update(home, data))
    fleet.each(everybody, lambda home: update(home, SHELF[3]))
    ended = []

    def judge(home):
        board = home.power_on()
        found = finish(board.keys().proven())
        assert found.release == [RELEASES[3].public] and board.keys().seen() == 4
        assert text(board.layout.version()) == "1.4.0"
        for front, data in zip(RECORDS, STOLEN):
            for offer in (data, front + data):
                raises(Refused, "key", list, install(board, Ram(offer), board.keys()))
        ended.append(found.serial)

    fleet.each(everybody, judge)
    assert ended == [4] * BOARDS


def test_a_download_behind_a_record_goes_on_where_it_stopped():
    data = RECORDS[0] + package((1, 1), RELEASES[0], 3000)
    disk = fs.LittleFs()

    def live():
        home = Home("", ROOTS, 2, disk)
        link = Ram(data, len(RECORDS[0]) + 20000)
        board = home.power_on()
        raises(LinkError, "link", list, install(board, link, board.keys()))
        assert finish(home.power_on().keys().proven()).serial == 1
        # By another server, which has no record in front.
        for start, offer in ((0, data[len(RECORDS[0]) :]), (len(RECORDS[0]), data)):
            kept = disk.state()
            board = home.power_on()
            link = Ram(offer)
            list(install(board, link, board.keys()))
            assert len(link.opened) == 2 and link.opened[1] > start + 8000, link.opened
            home.power_on("reset").layout.confirm()
            assert text(home.power_on().layout.version()) == "1.1.0"
            disk.load(kept)

    with_disk(disk, live)
