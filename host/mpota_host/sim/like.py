"""What a program on a virtual board of another port finds: its `machine`, and its words in sys and os.

sim/ports/table.py has the ports. The supervisor keeps what outlives a run: reset_cause(), registers, the clock.
"""

import os
import sys

import machine

from mpota_host.sim import inside
from mpota_host.sim.ports import table as ports


class Machine(inside.Machine):
    """Module `machine` of the port."""

    def __init__(self, wire, row, config):
        super().__init__(wire, config["number"])
        self._row = row
        held = {}
        for at, value in config["held"].items():
            held[int(at)] = value
        registers = ports.Registers(held, row.free, lambda at, value: wire.say("register %d %d" % (at, value)))
        self.mem32 = self.mem16 = registers
        self.WDT = _wdt_class(self.WDT, row)
        self.Timer = _timer_class(wire, self.WDT)
        for name in row.names:
            setattr(self, name + "_RESET", row.names[name])

    def __getattr__(self, name):
        return getattr(machine, name)

    def wake_reason(self):
        raise AttributeError("wake_reason")


def _wdt_class(real, row):
    class WDT(real):
        """The port's watchdog, with the times that it has."""

        fed = 0

        def __init__(self, id=0, timeout=5000):
            super().__init__(id, row.dog_ms(timeout))

        def feed(self):
            WDT.fed += 1
            super().feed()

    return WDT


def _timer_class(wire, dog):
    class Timer:
        """machine.Timer as far as it feeds the watchdog: one whose first call does, does so until it is stopped.

        No other callback is called: the unix port has no timers.
        """

        ONE_SHOT, PERIODIC = 0, 1

        def __init__(self, id=-1, mode=1, period=-1, callback=None, hard=False):
            before = dog.fed
            callback(self)
            self.feeds = dog.fed > before
            if self.feeds:
                wire.say("timer 1")

        def deinit(self):
            if self.feeds:
                wire.say("timer 0")

    return Timer


class Implementation:
    """sys.implementation with the port's machine."""

    def __init__(self, row):
        self._machine = row.machine

    def __getattr__(self, name):
        return getattr(sys.implementation, name)


def modules(wire, config, clock):
    """Name -> module of the port."""
    row = ports.ROWS[config["like"]]
    chip = Machine(wire, row, config)
    chip.RTC = clock.rtc()
    names = (row.platform, row.platform, "1.29.0", "", row.machine)
    return {
        "machine": chip,
        "sys": inside.Words(sys, platform=row.platform, implementation=Implementation(row)),
        "os": inside.Words(os, uname=lambda: names),
    }
