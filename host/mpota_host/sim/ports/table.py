"""The ports that mpota runs on, as their chips and C sources are: what `machine` says there, and what lies behind it.

The tables in mpota_boot/ports say the same to a board; nothing here comes from them, so that a wrong cell is seen.
Sources: MicroPython 1.29, ports/NAME/modmachine.c, machine_wdt.c, machine_rtc.c, main.c and modules/_boot.py.
Runs on both interpreters.
"""

POWER, RESET, WAKE, DOG, SOFT = "power", "machine.reset()", "deep sleep", "watchdog", "soft"
_ALL = {"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 5}
# WATCHDOG.REASON of an RP2040 and an RP2350: TIMER 1, FORCE 2, none after power-on and the RUN pin.
_REASON = {POWER: 0, RESET: 2, WAKE: 2, DOG: 1}
# WDOG1.WRSR of an i.MX RT10xx: SFTW 1, TOUT 2, POR 16.
_WRSR = {POWER: 16, RESET: 1, WAKE: 16, DOG: 2}


class Row:
    """A port. `numbers`: reset_cause() after each start; of SOFT None where it stays what it was.

    `most`: the longest time of its watchdog, 0 for any; `clamps`: a longer one is cut, and else refused. `register`: an
    address that tells more, and what it holds after each start. `free`: a register that nothing uses, and the bits that
    it has. `place`: where boot.py lies, without a card and with.
    """

    clamps = False
    # The only time that its watchdog knows.
    only = 0
    register = None
    free = None
    place = ("", "")
    # Does every later reset read as a wake, until the power goes?
    sticks = False
    # Does the clock begin anew at every reset but a soft one?
    forgets = False

    def __init__(self, platform, machine, names, numbers, most, year, **more):
        self.platform = platform
        self.machine = machine
        self.names = names
        self.numbers = dict(zip((POWER, RESET, WAKE, DOG, SOFT), numbers))
        self.most = most
        self.year = year
        for name, value in more.items():
            setattr(self, name, value)

    def dog_ms(self, asked):
        """What a watchdog that is asked for becomes, in ms; ValueError where the port refuses it."""
        if self.only and asked != self.only:
            raise ValueError("timeout")
        if self.most and asked > self.most:
            if not self.clamps:
                raise ValueError("timeout exceeds %d" % self.most)
            return self.most
        return asked


_STM = "pyboard", "PYBv1.1 with STM32F405RG", dict(_ALL, SOFT=0)
_PICO = {"PWRON": 1, "WDT": 3}
# INTERP1_BASE2 of the SIO, all of it.
_INTERP = (0xD00000D0, 0xFFFFFFFF)
# The priority of interrupt 0: WWDG of an STM32, PM of a SAMD51; the Cortex-M0's has the fewest bits.
_IPR0 = (0xE000E400, 0xC0)
# Interrupt 17 is the cross trigger's.
_RT = {"free": (0xE000E410, 0xF000), "clamps": True, "sticks": True, "place": ("/flash", "/sdcard")}
ROWS = {
    "esp32": Row("esp32", "Generic ESP32 module with ESP32", _ALL, (1, 2, 4, 3, 5), (1 << 32) // 4 - 1, 2000),
    "rp2": Row(
        "rp2", "Raspberry Pi Pico W with RP2040", _PICO, (1, 3, 3, 3, None), 8388, 2021,
        register=(0x40058008, _REASON), free=_INTERP, forgets=True,
    ),
    "rp2350": Row(
        "rp2", "Raspberry Pi Pico 2 W with RP2350", _PICO, (1, 3, 3, 3, None), 16777, 2021,
        register=(0x400D8008, _REASON), free=_INTERP, forgets=True,
    ),
    "stm32": Row(*_STM, (1, 2, 4, 3, 0), 32767, 2015, free=_IPR0, place=("/flash", "/sd")),
    # The chip does not pull its own NRST.
    "stm32-pin": Row(*_STM, (1, 0, 4, 3, 0), 32767, 2015, free=_IPR0, place=("/flash", "/sd")),
    "mimxrt": Row(
        "mimxrt", "Teensy 4.1 with MIMXRT1062DVJ6A",
        {"PWRON": 1, "WDT": 3, "SOFT": 5}, (1, 5, 4, 3, None), 128000, 2013,
        register=(0x400B8004, _WRSR), **_RT,
    ),
    # Its WDOG1 lies elsewhere.
    "mimxrt1170": Row(
        "mimxrt", "i.MX RT1170 EVK with MIMXRT1176DVMAA",
        {"PWRON": 1, "WDT": 3, "SOFT": 5}, (1, 5, 4, 3, None), 128000, 2013, **_RT,
    ),
    "samd": Row(
        "samd", "SparkFun SAMD51 Thing Plus with SAMD51J20A",
        {"PWRON": 1, "HARD": 0x10, "WDT": 0x20, "SOFT": 0x40, "DEEPSLEEP": 0x80}, (1, 0x40, 0x40, 0x20, None),
        16384, 2000, free=_IPR0, clamps=True,
    ),
    # Ports without a table of their own on a board.
    "alif": Row("alif", "Alif Ensemble", _ALL, (1, 2, 4, 3, 5), 0, 2000),
    "renesas-ra": Row("renesas-ra", "EK-RA6M2 with RA6M2", dict(_ALL, SOFT=0), (1, 2, 4, 3, 0), 0, 2000),
    "esp8266": Row(
        "esp8266", "ESP module with ESP8266", {"PWRON": 0, "HARD": 6, "WDT": 1, "SOFT": 4, "DEEPSLEEP": 5},
        (0, 4, 5, 1, None), 5000, 2000, only=5000,
    ),
}  # fmt: skip
# Ethernet in a firmware that has some: classes of module `network`, constants of LAN, constants of `network`. Sources:
# ports/NAME/network_lan.c, esp32/modnetwork.h, stm32/eth.h, mimxrt/eth.h, extmod/network_wiznet5k.c, board files.
ETHERNET = {
    "esp32": (
        ("LAN",), {},
        {"PHY_LAN8720": 1, "PHY_RTL8201": 3, "PHY_KSZ8851SNL": 100, "PHY_DM9051": 101, "PHY_W5500": 102},
    ),
    # W5500_EVB_PICO; a Pico W has Wi-Fi alone.
    "rp2": (("WIZNET5K",), {}, {}),
    # NUCLEO_F767ZI, and PYBV11 in its variant NETWORK.
    "stm32": (("LAN",), {"PHY_LAN8742": 0, "PHY_LAN8720": 1}, {}),
    "stm32-wiznet": (("WIZNET5K",), {}, {}),
    "mimxrt": (("LAN",), {"PHY_KSZ8081": 0, "PHY_LAN8720": 3, "IN": 0, "OUT": 1}, {}),
    "samd": ((), {}, {}),
}  # fmt: skip
# Those that README names.
SUPPORTED = ("esp32", "rp2", "stm32", "mimxrt", "samd")


class Fault(Exception):
    """A program wrote where a port or its chip has something."""


class Registers:
    """`machine.mem32` and its like: 0 where nothing was written. `held`: address -> value; `free`: see Row."""

    def __init__(self, held, free, wrote=None):
        self.held = held
        self.free = free
        self.wrote = wrote

    def __getitem__(self, at):
        return self.held.get(at, 0)

    def __setitem__(self, at, value):
        if not self.free or at != self.free[0]:
            raise Fault("a write to 0x%x" % at)
        self.held[at] = value & self.free[1]
        if self.wrote:
            self.wrote(at, self.held[at])


def started(row, number, kind):
    """(reset_cause(), registers) after a start that is no soft reset; `number` is what it was, 0 after power-on."""
    found = row.numbers[kind]
    if row.sticks and kind != POWER and number == row.numbers[WAKE]:
        found = number
    return found, {row.register[0]: row.register[1][kind]} if row.register else {}


class Bite(Exception):
    """The watchdog was not fed in time."""


class Chip:
    """Module `machine` of a port, and the chip under it, in time that only `wait` moves."""

    def __init__(self, name):
        self.row = ROWS[name]
        for key in self.row.names:
            setattr(self, key + "_RESET", self.row.names[key])
        self.number = 0
        self.now = 0
        self.held = {}
        self.mem32 = self.mem16 = Registers(self.held, self.row.free)
        self.dog_at = None
        self.timers = []
        self.WDT = _wdt(self)
        self.Timer = _timer(self)
        self.go(POWER)

    def reset_cause(self):
        return self.number

    def go(self, kind):
        """The chip starts again. A soft reset stops the timers and nothing else."""
        self.timers = []
        if kind == SOFT:
            if self.row.numbers[SOFT] is not None:
                self.number = self.row.numbers[SOFT]
            return
        self.dog_at = None
        self.number, registers = started(self.row, self.number, kind)
        self.held.clear()
        self.held.update(registers)

    def wait(self, ms):
        """Let time pass, with what the timers do in it; Bite when the watchdog is due."""
        end = self.now + ms
        while self.now < end:
            due = [timer.at for timer in self.timers] + [end] + ([] if self.dog_at is None else [self.dog_at])
            self.now = min(due)
            for timer in self.timers:
                if timer.at <= self.now:
                    timer.at += timer.period
                    timer.callback(timer)
            if self.dog_at is not None and self.now >= self.dog_at:
                raise Bite("after %d ms" % self.now)


def _wdt(chip):
    class WDT:
        def __init__(self, id=0, timeout=5000):
            self.ms = self.timeout = chip.row.dog_ms(timeout)
            self.feed()

        def feed(self):
            chip.dog_at = chip.now + self.ms

    return WDT


def _timer(chip):
    class Timer:
        ONE_SHOT, PERIODIC = 0, 1

        def __init__(self, id=-1, *, mode=1, period=-1, callback=None, hard=False):
            self.period = period
            self.callback = callback
            self.at = chip.now + period
            chip.timers.append(self)

        def deinit(self):
            if self in chip.timers:
                chip.timers.remove(self)

    return Timer
