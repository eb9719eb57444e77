"""An upgrade over Bluetooth: the device's BLE link on a stand-in of `bluetooth.BLE`, a phone by bumble, no air."""

import asyncio
import time

import pytest
from bumble.core import UUID, AdvertisingData

from mpota.layout.sifli import loader
from mpota.layout.sifli.link import ble, framing
from mpota.layout.sifli.link.ble import Ble
from mpota.layout.sifli.link.server import Server
from mpota.layout.sifli.link.session import Session
from mpota.layout.sifli.policy import Policy
from mpota_host.chips.sifli.phone.phone import Choice, Phone, Wire
from mpota_host.chips.sifli.phone.radio import drive
from tests.chips.sifli import sifli_maker as maker
from tests.chips.sifli.host import sifli_radio

OLD, NEW, RES = maker.payload(9000, 1), maker.payload(9000, 2), maker.payload(9000, 3)


class Board:
    """The clock of everything here."""

    @staticmethod
    def ticks_ms():
        return int(time.monotonic() * 1000)

    def since(self, then):
        return self.ticks_ms() - then


class Chip:
    """A chip whose two programs are reached by radio alone."""

    def __init__(self, radio):
        self.radio = radio
        self.chip = maker.chip()
        maker.provision(self.chip, OLD)
        self.programs = []

    async def run(self):
        """Programs, one reset after the other."""
        while True:
            chip = maker.chip(memory=self.chip.flash)
            start = loader.boot(chip)
            self.programs.append(start.name)
            session = Session(chip, Policy(lambda found: True), Board(), start.name == loader.MANAGER, start.why)
            server = Server(session, [Ble(self.radio, UUID)], Board())
            while not (session.leave and server.link is None):
                server.turn()
                await asyncio.sleep(0)


async def upgrade(package, mtu, newer=True, cut=0):
    radio, air = await sifli_radio.pair(mtu)
    chip = Chip(radio)
    running = asyncio.ensure_future(chip.run())
    phone = Phone(
        package.packet,
        [Wire(i, r) for i, r in package.records.items()],
        Board.ticks_ms,
        Choice(newer=newer, every=4),
    )
    notes = []

    def step(done, total):
        nonlocal cut
        if cut and done >= cut:
            cut = 0
            radio._soon(air.connection.disconnect())

    try:
        await asyncio.wait_for(drive(phone, air, notes.append, step, 0.01), 60)
        for _ in range(2000):
            if chip.programs[-1] == loader.USER and len(chip.programs) > 2:
                break
            await asyncio.sleep(0)
    finally:
        running.cancel()
    return chip, phone, air, notes


@pytest.mark.parametrize("mtu", [0, 185, 517])
def test_an_upgrade_goes_over_the_air_at_any_mtu(mtu):
    package = maker.Package([(0, 16, NEW), (3, 0, RES)], 1002000)
    chip, phone, air, _ = asyncio.run(upgrade(package, mtu))
    assert phone.done and air.mtu == (mtu or framing.MTU)
    assert chip.programs == [loader.USER, loader.MANAGER, loader.USER]
    assert maker.held(chip.chip.user, len(NEW)) == NEW and maker.held(chip.chip.place(3), len(RES)) == RES


@pytest.mark.parametrize("newer", [True, False])
def test_a_link_that_is_lost_on_the_air_is_gone_on_with(newer):
    package = maker.Package([(3, 0, RES)], 1002000)
    chip, phone, air, _ = asyncio.run(upgrade(package, 185, newer, cut=9))
    assert phone.done and phone.resumed and air.connections == 3
    assert maker.held(chip.chip.place(3), len(RES)) == RES


def test_a_chip_is_found_by_the_vendors_name_and_number():
    async def look():
        radio, _ = await sifli_radio.pair(0)
        Ble(radio, UUID)
        return radio.advertised

    found, answer = asyncio.run(look())
    ad, more = AdvertisingData.from_bytes(found), AdvertisingData.from_bytes(answer)
    assert ad.get(AdvertisingData.MANUFACTURER_SPECIFIC_DATA) == (1, bytes.fromhex("20c40091"))
    assert more.get(AdvertisingData.COMPLETE_LOCAL_NAME).startswith("SIFLI_APP-")


class Full:
    """A BLE whose radio is full every other time."""

    def __init__(self):
        self.sent, self.n = [], 0

    def __getattr__(self, name):
        return lambda *args, **given: (0, b"\0" * 6) if name == "config" else ((0, 1),)

    def gatts_notify(self, conn, handle, data):
        self.n += 1
        if self.n % 2:
            raise OSError(12)
        self.sent.append(data)

    def gatts_read(self, handle):
        return b"value"


def test_what_a_full_radio_refuses_goes_later_and_what_it_drops_is_bounded():
    radio = Full()
    link = Ble(radio, lambda text: text)
    assert link.write(b"x"), "nobody is there to miss it"
    link._irq(1, (0, 0, b""))
    assert not link.write(b"a") and link.write(b"a") and radio.sent == [b"a"]
    for _ in range(2 * ble.MOST):
        link._irq(3, (0, 0))
    assert len(link.values) == ble.MOST and link.read() == b"value"
    link._irq(21, (0, 200))
    assert link.mtu == 200 and link.came == 1
    link._irq(2, (0, 0, b""))
    assert not link.up and link.write(b"x")
    link.drop()
