"""The phone's end over Bluetooth: any radio that connects, writes without a response and hears notifications.

`by_bluetooth` uses the computer's own by `bleak`, which the extra `ble` brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from mpota.layout.sifli.link import ble, framing
from mpota_boot.errors import LinkError
from mpota_host.chips.sifli.phone.phone import Phone

FIND_S = 10.0
TRIES = 4
# A chip that resets is on the air again by then.
AGAIN_S = 1.0


class Air(Protocol):
    """A way to one chip. `values` gets what it notifies; `up` is False once the link is gone."""

    values: asyncio.Queue[bytes]
    mtu: int

    @property
    def up(self) -> bool: ...

    async def connect(self) -> None: ...

    async def write(self, value: bytes) -> None: ...

    async def disconnect(self) -> None: ...


async def drive(
    phone: Phone, air: Air, note: Callable[[str], None], step: Callable[[int, int], None], again_s: float = AGAIN_S
) -> None:
    """Play the phone until its upgrade is done or has failed; LinkError where no chip can be reached any more."""
    left, before = TRIES, -1
    while phone.phase not in ("done", "failed"):
        if phone.stored > before or phone.phase == "reboot":
            left, before = TRIES, phone.stored
        if not left:
            raise LinkError("link", f"{phone.error or 'the link was lost'}; push again, it goes on")
        left -= 1
        try:
            await air.connect()
            await _talk(phone, air, step)
        except (OSError, EOFError, TimeoutError, LookupError) as e:
            note(f"the link was lost: {e}")
        finally:
            await air.disconnect()
            phone.lost()
        if phone.phase not in ("done", "failed"):
            await asyncio.sleep(again_s)


async def _talk(phone: Phone, air: Air, step: Callable[[int, int], None]) -> None:
    parts = framing.Parts(bytearray(4096))
    phone.connected()
    while air.up and not phone.hang_up and phone.phase != "failed":
        message = phone.take()
        while message is not None:
            for value in framing.encode(message, min(air.mtu, ble.MOST_MTU)):
                await air.write(value)
            message = phone.take()
        try:
            value = await asyncio.wait_for(air.values.get(), 0.05)
        except TimeoutError:
            phone.tick()
            continue
        whole = parts.feed(value)
        if whole is not None:
            phone.feed(bytes(whole))
            step(phone.stored, phone.total)


class Bleak:
    """The computer's Bluetooth; `who` is an address or a name."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.values: asyncio.Queue[bytes] = asyncio.Queue()
        self.mtu = framing.MTU
        self.client: Any = None

    @property
    def up(self) -> bool:
        """Is there a link?"""
        return bool(self.client and self.client.is_connected)

    async def connect(self) -> None:
        """Find the chip and subscribe."""
        from bleak import BleakClient, BleakScanner

        found = await BleakScanner.find_device_by_filter(
            lambda device, seen: self.who in (device.address, device.name, seen.local_name), timeout=FIND_S
        )
        if found is None:
            raise TimeoutError(f"no chip {self.who!r} in {FIND_S:.0f} s")
        self.values = asyncio.Queue()
        self.client = BleakClient(found)
        await self.client.connect()
        await self.client.start_notify(ble.DATA, lambda _, value: self.values.put_nowait(bytes(value)))
        self.mtu = self.client.mtu_size

    async def write(self, value: bytes) -> None:
        """Without a response; the stack waits where its buffers are full."""
        await self.client.write_gatt_char(ble.DATA, value, response=False)

    async def disconnect(self) -> None:
        """End the link, if there is one."""
        if self.client:
            await self.client.disconnect()


def by_bluetooth(phone: Phone, who: str, note: Callable[[str], None], step: Callable[[int, int], None]) -> None:
    """Push over the computer's Bluetooth."""
    try:
        import bleak  # noqa: F401
    except ImportError:
        raise LinkError(
            "ble", "--ble needs bleak: in mpota's folder `pipx install --force '.[ble]'` brings it"
        ) from None
    asyncio.run(drive(phone, Bleak(who), note, step))
