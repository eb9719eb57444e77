"""A phone and a chip with a bad link between them, on a clock of the test's own: the same every time."""

from __future__ import annotations

from random import Random

from mpota.layout.sifli import loader, port
from mpota.layout.sifli.link import framing
from mpota.layout.sifli.loader import finish, install
from mpota_host.chips.sifli.phone.phone import Choice, Phone, Wire
from mpota_host.chips.sifli.sim.soc import Clock, Device
from tests.chips.sifli import sifli_maker as maker

STEP_MS = 20
# What a test runner holds is no board's heap.
finish.collect = install.collect = loader.collect = port.collect = int


def framed(message):
    """Bytes of a message in the values of the serial service, at the MTU that phones agree on."""
    return sum(map(len, framing.encode(message, 517)))


class World:
    """`loss`, `repeats`, `swaps`: how many of a hundred packets; `cut`: (ms, ...) when the link is lost."""

    def __init__(self, device, package, seed=0, loss=0, repeats=0, swaps=0, choice=None):
        self.device, self.clock = device, device.clock
        self.rng = Random(seed)
        self.loss, self.repeats, self.swaps = loss, repeats, swaps
        self.phone = Phone(
            package.packet, [Wire(i, r) for i, r in package.records.items()], lambda: self.clock.ms, choice or Choice()
        )
        self.linked = False
        self.up_at = self.clock.ms
        self.wire = {"up": 0, "down": 0}
        self.held = None
        self.connections = 0
        self.trouble = True

    def link(self):
        self.linked = True
        self.connections += 1
        self.phone.connected()

    def drop(self):
        """Either end, or the air, ends the link; the phone comes back in a second."""
        if self.linked:
            self.linked = False
            self.phone.lost()
            self.device.session.lost()
            self.up_at = self.clock.ms + 1000

    def bad(self, message):
        """Only packets are lost and such: what a link loses while it is there."""
        return self.trouble and message[:2] in (b"\x0a\0", b"\x0b\0", b"\x10\0", b"\x11\0", b"\x23\0", b"\x24\0")

    def carry(self, message, deliver):
        n = self.rng.randrange(100)
        if self.bad(message) and n < self.loss:
            return
        if self.bad(message) and n < self.loss + self.swaps and self.held is None:
            self.held = message, deliver
            return
        deliver(message)
        if self.bad(message) and n >= 100 - self.repeats:
            deliver(message)
        if self.held:
            (message, deliver), self.held = self.held, None
            deliver(message)

    def step(self):
        self.clock.ms += STEP_MS
        if not self.linked:
            ends = self.phone.phase in ("done", "failed")
            if self.clock.ms >= self.up_at and not self.device.session.leave and not ends:
                self.link()
            self.device.turn()
            return
        for _ in range(8):
            message = self.phone.take()
            if message:
                self.wire["up"] += framed(message)
                self.carry(message, self.device.feed)
            answer = self.device.take()
            while answer:
                self.wire["down"] += framed(answer)
                self.carry(answer, self.phone.feed)
                answer = self.device.take()
        self.phone.tick()
        resets = self.device.resets
        if self.device.turn() or self.phone.hang_up or self.device.resets != resets:
            self.drop()

    def run(self, ms=1200000):
        """Until the phone is done or has failed for good, and the chip rests; True where it is done."""
        end = self.clock.ms + ms
        while self.clock.ms < end:
            self.step()
            if self.phone.phase in ("done", "failed") and not self.device.session.leave and not self.linked:
                break
        for _ in range(100):
            self.clock.ms += STEP_MS
            self.device.turn()
        return self.phone.done


def device(old=b"", apart=True, healthy=True, **given):
    """A provisioned chip that runs `old`, and what it is made of."""
    places = maker.places(**given)
    memory = maker.flash(places, apart=apart)
    found = Device(memory, places, maker.efuse(), Clock(), healthy)
    if old:
        maker.provision(found.chip, old)
    found.power_on()
    return found


__all__ = ["Choice", "World", "device", "maker"]
