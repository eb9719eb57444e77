"""MicroPython's `bluetooth.BLE` and a phone's radio, both over bumble's virtual controllers: no air."""

from __future__ import annotations

import asyncio

from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

from mpota.layout.sifli.link import ble, framing

CHIP, PHONE = Address("F0:F1:F2:F3:F4:F5"), Address("F5:F4:F3:F2:F1:F0")
# Notifications that a radio has room for.
ROOM = 4


def radio(link, name, address):
    """A bumble device with a controller of its own on the virtual air."""
    controller = Controller(name, link=link)
    host = Host()
    host.controller = controller
    host.set_packet_sink(AsyncPipeSink(controller))
    return Device(name, address=address, host=host)


class BLE:
    """What mpota/layout/sifli/ble.py uses of `bluetooth.BLE`; interrupts come from the loop of asyncio."""

    def __init__(self, device):
        self.device = device
        self.handler = None
        self.connection = None
        self.characteristics = []
        self.held = b""
        self.pending = 0
        self.advertised = None
        self.lock = asyncio.Lock()
        self.jobs = set()
        device.on("connection", self._connected)

    def active(self, on):
        assert on

    def config(self, *names, **values):
        return (0, bytes(CHIP)) if names == ("mac",) else None

    def irq(self, handler):
        self.handler = handler

    def gatts_register_services(self, services):
        if self.characteristics:
            return ((0, 1),)
        for uuid, characteristics in services:
            made = [self._characteristic(i, *c) for i, c in enumerate(characteristics)]
            self.device.add_service(Service(uuid, made))
            self.characteristics = made
        return (tuple(range(len(self.characteristics))),)

    def _characteristic(self, i, uuid, flags):
        known = Characteristic.Properties
        bits = ((2, known.READ), (4, known.WRITE_WITHOUT_RESPONSE), (8, known.WRITE), (16, known.NOTIFY))
        properties = known(sum(bit for flag, bit in bits if flags & flag))
        value = CharacteristicValue(write=lambda connection, data: self._written(i, data))
        return Characteristic(uuid, properties, Characteristic.READABLE | Characteristic.WRITEABLE, value)

    def gatts_set_buffer(self, handle, size):
        assert handle == 0 and size > 500

    def gatts_read(self, handle):
        return self.held

    def gatts_notify(self, conn, handle, data):
        if self.pending >= ROOM:
            raise OSError(12)
        assert conn == self.connection.handle and len(data) <= self.connection.att_mtu - 3
        self.pending += 1
        self._soon(self._notify(self.characteristics[handle], bytes(data)))

    async def _notify(self, characteristic, data):
        await self.device.notify_subscriber(self.connection, characteristic, data)
        self.pending -= 1

    def gap_advertise(self, interval_us, adv_data, resp_data):
        self.advertised = adv_data, resp_data
        assert max(len(adv_data), len(resp_data)) <= 31 and AdvertisingData.from_bytes(resp_data)
        self._soon(self._advertise(adv_data, resp_data))

    async def _advertise(self, found, answer):
        async with self.lock:
            if not self.device.is_advertising:
                await self.device.start_advertising(advertising_data=found, scan_response_data=answer)

    def _soon(self, job):
        """What a radio does by itself."""
        task = asyncio.ensure_future(job)
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)

    def gap_disconnect(self, conn):
        self._soon(self.connection.disconnect())

    def _connected(self, connection):
        self.connection = connection
        connection.on("disconnection", lambda reason: self.handler(2, (connection.handle, 0, b"")))
        connection.on("connection_att_mtu_update", lambda: self.handler(21, (connection.handle, connection.att_mtu)))
        self.handler(1, (connection.handle, 0, bytes(PHONE)))

    def _written(self, handle, data):
        self.held = data
        self.handler(3, (self.connection.handle, handle))


class Air:
    """A phone's radio, as mpota_host/chips/sifli/radio.py wants one."""

    def __init__(self, device, mtu):
        self.device, self.wanted = device, mtu
        self.values = asyncio.Queue()
        self.mtu = framing.MTU
        self.connection = None
        self.up = False
        self.connections = 0

    async def connect(self):
        self.connection = await self.device.connect(CHIP, timeout=10)
        self.connection.on("disconnection", self._gone)
        peer = Peer(self.connection)
        self.values = asyncio.Queue()
        self.mtu = await peer.request_mtu(self.wanted) if self.wanted else framing.MTU
        await peer.discover_services()
        await peer.discover_characteristics()
        (self.data,) = peer.get_characteristics_by_uuid(ble.DATA)
        await self.data.subscribe(lambda value: self.values.put_nowait(bytes(value)))
        self.peer = peer
        self.up = True
        self.connections += 1

    def _gone(self, reason):
        self.up = False

    async def write(self, value):
        assert len(value) <= self.mtu - 3
        if not self.up:
            raise OSError("the link is gone")
        await self.peer.write_value(self.data, value, with_response=False)
        # A controller takes what the air takes; here that is at once.
        await asyncio.sleep(0)

    async def disconnect(self):
        if self.up:
            self.up = False
            await self.connection.disconnect()


async def pair(mtu):
    """(a chip's BLE, a phone's Air) within reach of each other."""
    link = LocalLink()
    chip, phone = radio(link, "chip", CHIP), radio(link, "phone", PHONE)
    made = BLE(chip)
    await chip.power_on()
    await phone.power_on()
    return made, Air(phone, mtu)
