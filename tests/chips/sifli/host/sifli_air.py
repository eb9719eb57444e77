"""Virtual controllers within reach of a virtual board and of this computer: what MPOTA_AIR names, and `bleak`'s side.

They run by bumble on a loop of their own, in a thread. A board's program is a client of `Air`'s port and its radio goes
as that program goes; `bleak()` is a module in the place of bleak, so that `push --ble` runs as it is.
"""

from __future__ import annotations

import asyncio
import json
import threading
import types

from bumble.core import AdvertisingData
from bumble.device import Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.link import LocalLink

from tests.chips.sifli.host.sifli_radio import CHIP, PHONE, radio


class Air:
    """`with Air() as air:`; `air.name` for MPOTA_AIR. `seen` are the names that were advertised."""

    def __init__(self, mtu=517):
        self.mtu = mtu
        self.connections = 0
        self.cut = None

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.run(self._open())
        self.name = f"127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self.run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def run(self, job):
        """On the controllers' loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(30)

    async def _open(self):
        link = LocalLink()
        self.chip, self.phone = radio(link, "chip", CHIP), radio(link, "phone", PHONE)
        await self.chip.power_on()
        await self.phone.power_on()
        self.board = None
        self.connection = None
        self.answer = b""
        self.characteristics = []
        self.chip.on("connection", self._connected)
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _close(self):
        self.server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    # The board.

    async def _serve(self, reader, writer):
        self.board = writer
        try:
            while line := await reader.readline():
                word, *facts = json.loads(line)
                await getattr(self, "_" + word)(*facts)
        except (ConnectionError, ValueError):
            pass
        finally:
            # The radio of a chip that resets is silent.
            if self.board is writer:
                self.board = None
                await self._quiet()
            writer.close()

    async def _quiet(self):
        if self.chip.is_advertising:
            await self.chip.stop_advertising()
        if self.connection:
            await self._disconnect(0)

    def _tell(self, *words):
        if self.board:
            self.board.write(json.dumps(words).encode() + b"\n")

    async def _services(self, services):
        if self.characteristics:
            # bumble keeps those of the program before, which are the same.
            return
        for uuid, characteristics in services:
            made = [self._characteristic(i, *c) for i, c in enumerate(characteristics)]
            self.chip.add_service(Service(uuid, made))
            self.characteristics += made

    def _characteristic(self, i, uuid, flags):
        known = Characteristic.Properties
        bits = ((2, known.READ), (4, known.WRITE_WITHOUT_RESPONSE), (8, known.WRITE), (16, known.NOTIFY))
        properties = known(sum(bit for flag, bit in bits if flags & flag))
        value = CharacteristicValue(write=lambda connection, data: self._tell("written", i, data.hex()))
        return Characteristic(uuid, properties, Characteristic.READABLE | Characteristic.WRITEABLE, value)

    async def _advertise(self, interval_us, found, answer):
        self.answer = bytes.fromhex(answer)
        if not self.chip.is_advertising:
            await self.chip.start_advertising(advertising_data=bytes.fromhex(found), scan_response_data=self.answer)

    async def _notify(self, conn, handle, text):
        if self.connection:
            await self.chip.notify_subscriber(self.connection, self.characteristics[handle], bytes.fromhex(text))
        self._tell("sent")

    async def _disconnect(self, conn):
        connection, self.connection = self.connection, None
        if connection:
            await connection.disconnect()

    def _connected(self, connection):
        self.connection = connection
        self.connections += 1
        connection.on("disconnection", lambda reason: self._gone(connection))
        connection.on("connection_att_mtu_update", lambda: self._tell("mtu", connection.handle, connection.att_mtu))
        self._tell("connect", connection.handle)

    def _gone(self, connection):
        if self.connection is connection:
            self.connection = None
        self._tell("gone", connection.handle)

    # This computer.

    async def find(self, wants, timeout):
        """The first chip that `wants(device, what it says)`, None where there is none."""
        found = asyncio.get_running_loop().create_future()

        def heard(advertisement):
            # bumble 0.0.236 answers a scan with the advertisement once more, so the answer is taken from here.
            name = AdvertisingData.from_bytes(self.answer).get(AdvertisingData.COMPLETE_LOCAL_NAME)
            device = types.SimpleNamespace(address=str(advertisement.address).partition("/")[0], name=name)
            if wants(device, types.SimpleNamespace(local_name=name)) and not found.done():
                found.set_result(device)

        self.phone.on("advertisement", heard)
        await self.phone.start_scanning(active=True, filter_duplicates=False)
        try:
            return await asyncio.wait_for(found, timeout)
        except TimeoutError:
            return None
        finally:
            self.phone.remove_listener("advertisement", heard)
            await self.phone.stop_scanning()

    def bleak(self):
        """A module that is bleak's to the code that imports it."""
        air = self

        async def there(job):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job, air.loop))

        class BleakScanner:
            @staticmethod
            async def find_device_by_filter(wants, timeout=10.0):
                return await there(air.find(wants, timeout))

        class BleakClient:
            def __init__(self, device):
                self.device = device
                self.is_connected = False
                self.mtu_size = 23

            async def connect(self):
                await there(self._connect())

            async def _connect(self):
                self.connection = await air.phone.connect(CHIP, timeout=10)
                self.connection.on("disconnection", self._gone)
                self.is_connected = True
                self.peer = Peer(self.connection)
                if air.mtu:
                    self.mtu_size = await self.peer.request_mtu(air.mtu)
                await self.peer.discover_services()
                await self.peer.discover_characteristics()

            def _gone(self, reason):
                self.is_connected = False

            def _found(self, uuid):
                (characteristic,) = self.peer.get_characteristics_by_uuid(uuid)
                return characteristic

            async def start_notify(self, uuid, hear):
                loop = asyncio.get_running_loop()
                await there(
                    self._found(uuid).subscribe(
                        lambda value: loop.call_soon_threadsafe(hear, self.device, bytearray(value))
                    )
                )

            async def write_gatt_char(self, uuid, value, response=True):
                if not self.is_connected or (air.cut is not None and not air.cut):
                    air.cut = None
                    await self.disconnect()
                    raise OSError("the link is gone")
                if air.cut:
                    air.cut -= 1
                await there(self.peer.write_value(self._found(uuid), bytes(value), with_response=response))

            async def disconnect(self):
                if self.is_connected:
                    self.is_connected = False
                    await there(self.connection.disconnect())

        return types.SimpleNamespace(BleakScanner=BleakScanner, BleakClient=BleakClient)
