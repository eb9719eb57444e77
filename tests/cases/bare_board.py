"""A board of any port inside one process of the unix port: the shipped boot.py and main.py, in virtual time.

    micropython bare_board.py FOLDER LIFE.json

FOLDER is the board's file system. LIFE says what the world is like; see `rig.Bare.live`. A boot is a fresh interpreter
as far as a program can tell: modules are forgotten, boot.py and main.py run again. Modelled are the parts of a port
that a reset, a watchdog or a network shows to Python. The clock moves only where a program sleeps or waits, so that a
life of hours takes milliseconds and computing takes no time at all. Prints what happened, a JSON list a line.
"""

import builtins
import json
import os
import select
import socket
import sys
import time

import machine

# What `machine` has on each port, and reset_cause() after power-on, machine.reset(), a watchdog, deep sleep.
# ports/esp32/modmachine.c, ports/rp2/modmachine.c, ports/esp8266/modmachine.c, ports/mimxrt/modmachine.c,
# ports/samd/modmachine.c, ports/stm32/modmachine.c. A soft reset changes the answer on the ESP32 and the STM32 alone.
PORTS = {
    "esp32": ({"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 5}, (1, 2, 3, 4)),
    "rp2": ({"PWRON": 1, "WDT": 3}, (1, 3, 3, 3)),
    "esp8266": ({"PWRON": 0, "HARD": 6, "DEEPSLEEP": 5, "WDT": 1, "SOFT": 4}, (0, 4, 1, 5)),
    "mimxrt": ({"PWRON": 1, "WDT": 3, "SOFT": 5}, (1, 5, 3, 4)),
    # A deep sleep ends with NVIC_SystemReset().
    "samd": ({"PWRON": 1, "HARD": 0x10, "WDT": 0x20, "SOFT": 0x40, "DEEPSLEEP": 0x80}, (1, 0x40, 0x20, 0x40)),
    "stm32": ({"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 0}, (1, 2, 3, 4)),
}
# What `sys.platform` says, where that is another word.
PLATFORMS = {"stm32": "pyboard"}
# The longest time of a watchdog; True: a longer one is refused, else it is cut.
DOGS = {"rp2": (8388, True), "stm32": (32767, True), "samd": (16384, False), "mimxrt": (128000, False)}
KINDS = ("power", "reset", "watchdog", "sleep")
# An RP2040's WATCHDOG.REASON: bit 0 TIMER, bit 1 FORCE, which machine.reset() and the end of a deep sleep set
# (pico-sdk, hardware/regs/watchdog.h).
REASON = 0x40058008
REASONS = {"power": 0, "reset": 2, "watchdog": 1, "sleep": 2}
# WDOG1.WRSR of an i.MX RT10xx: SFTW 1, TOUT 2, POR 16 (fsl_wdog.h).
WRSR = 0x400B8004
WRSRS = {"power": 16, "reset": 1, "watchdog": 2, "sleep": 16}
MACHINES = {"mimxrt": "Teensy 4.1 with MIMXRT1062DVJ6A", "rp2": "Raspberry Pi Pico W with RP2040"}
# The year that the clock shows after power-on, as seconds since 1970.
YEARS = {"rp2": 1609459200, "stm32": 1420070400, "mimxrt": 1381780391}
Y2000 = 946684800

NEVER = 1 << 60
DNS_MS = 20000  # lwIP's getaddrinfo against a name server that never answers
TCP_MS = 75000  # a connect without a timeout
SCAN_MS = 1300  # a port scans 11 to 13 channels, and waits
DRIP_MS = 900


class Down(BaseException):
    """This run of the interpreter is over. No `except Exception` of a program may swallow it."""

    def __init__(self, why, ms=0):
        super().__init__(why)
        self.why = why
        self.ms = ms


class World:
    """What outlives a run: the clock, the watchdog, what happened."""

    def __init__(self, folder, life):
        self.folder = folder
        self.life = life
        self.now = 0
        # What a program set the clock to, in seconds since 1970, less the time that has passed; no reset forgets it.
        self.clock = None
        # The last reset that was no soft one: its kind, and when it was. A port's clock begins at 0 after it.
        self.kind = life["first"]
        self.began = 0
        self.end = NEVER
        self.dog_at = NEVER
        self.dog_ms = 0
        self.timers = []
        self.events = []
        # Registers, as the last hardware reset left them; a soft reset touches none.
        self.registers = Registers()

    def note(self, kind, text=""):
        self.events.append((self.now, kind, text))

    def wait(self, ms):
        """Let `ms` pass; the watchdog and the end of this run come in between."""
        until = self.now + ms
        while True:
            at = min(until, self.end, self.dog_at, min([t.at for t in self.timers] + [NEVER]))
            self.now = max(self.now, at)
            if self.now >= self.dog_at:
                raise Down("watchdog")
            if self.now >= self.end:
                raise Down("end")
            for timer in self.timers:
                timer.due()
            if self.now >= until:
                return


class Registers(dict):
    """machine.mem32 and mem16: 0 where nothing was written."""

    def __getitem__(self, at):
        return self.get(at, 0)

    def reset(self, kind):
        self.clear()
        self[REASON] = REASONS[kind]
        self[WRSR] = WRSRS[kind]


class Time:
    def __init__(self, world):
        self.world = world

    def __getattr__(self, name):
        return getattr(time, name)

    def sleep_ms(self, ms):
        self.world.wait(max(0, ms))

    def sleep(self, s):
        self.world.wait(int(s * 1000))

    def sleep_us(self, us):
        self.world.wait(us // 1000)

    def ticks_ms(self):
        return self.world.now - self.world.began & 0x3FFFFFFF

    def ticks_us(self):
        return (self.world.now - self.world.began) * 1000 & 0x3FFFFFFF

    def time(self):
        began = YEARS.get(self.world.life["port"], Y2000) if self.world.clock is None else self.world.clock
        return began + self.world.now // 1000

    def localtime(self, s=None):
        return time.gmtime(self.time() if s is None else s)

    gmtime = localtime


class Sys:
    """`sys` of the port."""

    def __init__(self, world):
        port = world.life["port"]
        self.platform = PLATFORMS.get(port, port)
        self.world = world

    def __getattr__(self, name):
        return getattr(sys, name)

    def print_exception(self, e, *_):
        self.world.note("traceback", repr(e))


class Os:
    """`os` of the port."""

    def __init__(self, world):
        port = world.life["port"]
        self._names = (port, port, "1.28.0", "", MACHINES.get(port, port))

    def __getattr__(self, name):
        return getattr(os, name)

    def uname(self):
        return self._names


class Machine:
    def __init__(self, world, cause):
        self._world = world
        self._cause = cause
        port = world.life["port"]
        self._port = port
        for name, n in PORTS[port][0].items():
            setattr(self, name + "_RESET", n)
        self.mem32 = self.mem16 = world.registers
        self.WDT = wdt(world, port)
        self.Timer = timer(world)
        self.Pin, self.SPI = Pin, SPI
        self.RTC = rtc(world)

    def __getattr__(self, name):
        return getattr(machine, name)

    def reset_cause(self):
        return self._cause

    def reset(self):
        raise Down("reset")

    def soft_reset(self):
        raise SystemExit

    def deepsleep(self, ms=0):
        raise Down("sleep", ms)

    def unique_id(self):
        return b"\x02mpota"


class Pin:
    IN, OUT, PULL_UP = 0, 1, 2

    def __init__(self, n, *_):
        self.n = n

    def value(self):
        return 1

    def __str__(self):
        return "pin %s" % self.n


class SPI:
    def __init__(self, n, **pins):
        self.said = ", ".join(["%s %s" % (name, pins[name]) for name in sorted(pins)])
        self.n = n

    def __str__(self):
        return "spi %s (%s)" % (self.n, self.said)


def rtc(world):
    class RTC:
        def datetime(self, now):
            year, month, day, _, hour, minute, second, _ = now
            world.clock = time.mktime((year, month, day, hour, minute, second, 0, 0)) - world.now // 1000
            world.note("clock", "%d-%02d-%02d" % (year, month, day))

    return RTC


def wdt(world, port):
    class WDT:
        """machine_wdt.c: RP2040 and STM32 refuse what is too long, SAMD and i.MX RT cut it, an ESP8266 knows one."""

        def __init__(self, id=0, timeout=5000):
            most, refuses = DOGS.get(port, (timeout, False))
            if (refuses and timeout > most) or (port == "esp8266" and timeout != 5000):
                raise ValueError("timeout")
            world.dog_ms = min(timeout, most)
            self.feed()

        def feed(self):
            world.dog_at = world.now + world.dog_ms

    return WDT


def timer(world):
    class Timer:
        ONE_SHOT, PERIODIC = 0, 1

        def __init__(self, id=-1, **more):
            self.at = NEVER
            if more:
                self.init(**more)

        def init(self, mode=1, period=-1, callback=None, freq=0, **_):
            self.period = period if mode else NEVER
            self.callback = callback
            self.at = world.now + period
            if self not in world.timers:
                world.timers.append(self)

        def deinit(self):
            self.at = NEVER

        def due(self):
            if world.now >= self.at:
                self.at += self.period
                self.callback(self)

    return Timer


class Network:
    """Module `network`. `radio`: ok, none, late (the access point is there after `late_ms`), raises, missing.

    "wire" is Ethernet and no radio. `networks` are the names in the air; a scan takes its time.
    """

    STA_IF, AP_IF = 0, 1
    PHY_LAN8720, PHY_RTL8201, PHY_W5500 = 1, 2, 102

    def __init__(self, world):
        self.world = world
        self.radio = world.life["radio"]
        self.air = [name.encode() for name in world.life["networks"]]
        self.began = self.asked = None
        self.up = self.wired = False
        if self.radio != "missing":
            self.WLAN = self._wlan
        # An RP2 with Ethernet has a WIZnet chip; a SAMD51 has none.
        port = world.life["port"]
        if port == "rp2":
            self.WIZNET5K = self._wiznet
        elif port != "samd":
            self.LAN = self._lan

    def _wlan(self, interface=0):
        if self.radio == "raises":
            raise OSError("WiFi Out of Memory")
        return self

    def _lan(self, **words):
        self.world.note("lan", ", ".join(["%s %s" % (name, words[name]) for name in sorted(words)]))
        self.wired = True
        return self

    def _wiznet(self, *words):
        self.world.note("wiznet", ", ".join([str(word) for word in words]))
        self.wired = True
        return self

    def active(self, on=None):
        if on and not self.up and self.wired:
            self.began = self.world.now
        self.up = self.up if on is None else bool(on)
        return self.up

    def there(self, ms):
        """Is the access point there at this time?"""
        if self.wired:
            return self.radio == "wire"
        here = self.asked is None or self.asked in self.air
        return here and (self.radio == "ok" or (self.radio == "late" and ms >= self.world.life["late_ms"]))

    def connect(self, name=None, *_):
        self.world.note("join", (name or b"").decode())
        self.asked = name
        self.began = self.world.now

    def disconnect(self):
        self.began = None

    def isconnected(self):
        if (
            self.began is None
            or self.world.now < self.began + self.world.life["join_ms"]
            or not self.there(self.world.now)
        ):
            return False
        # The ESP32's driver joins again by itself. Others look once, when they are told to.
        return self.world.life["port"] in ("esp32", "esp8266") or self.there(self.began)

    def status(self, *_):
        return 3 if self.isconnected() else -2

    def scan(self):
        self.world.note("scan")
        self.world.wait(SCAN_MS)
        self.asked = None
        return [(name, b"", 1, -50, 3, False) for name in self.air] if self.there(self.world.now) else []

    def ifconfig(self, *_):
        return ("10.0.0.2", "255.0.0.0", "10.0.0.1", "10.0.0.1")

    def config(self, *_, **__):
        return None


class Socket:
    """Module `socket`: the network as `server` says, see `Line`. `hole`: no name server answers."""

    def __init__(self, world, network):
        self.world = world
        self.network = network

    def __getattr__(self, name):
        return getattr(socket, name)

    def socket(self, family=2, kind=1, *_):
        return Names(self.world, self.network) if kind == socket.SOCK_DGRAM else Line(self.world, self.network)

    def getaddrinfo(self, name, port, *args):
        server = self.world.life["server"]
        if not self.network.isconnected():
            raise OSError(-202)
        if server == "hole":
            self.world.wait(DNS_MS)
        if server in ("hole", "noname"):
            raise OSError(-2)
        if name == "six.example":
            # A name with an IPv6 address alone, whatever family AF_INET6 has here.
            if args and args[0] == socket.AF_INET:
                raise OSError(-2)
            return [(socket.AF_INET6, 1, 0, "", ("fd00::9", port))]
        return [(2, 1, 0, "", (name, port))]


class Line:
    """A socket, and the server at its other end.

    drops: no answer to SYN, as behind a firewall. refuses. silent: accepts, then nothing. drips: a byte of an endless
    header in 900 ms. Or a dict: the answer by path, "*" for all others.
    """

    def __init__(self, world, network):
        self.world = world
        self.network = network
        self.timeout = None
        self.began = None
        self.asked = b""
        self.answer = b""

    def settimeout(self, s):
        self.timeout = s

    def setblocking(self, on):
        self.timeout = None if on else 0

    def setsockopt(self, *_):
        pass

    def connect(self, address):
        if not self.network.isconnected():
            raise OSError(118)  # lwIP's EHOSTUNREACH
        # As people write it, by RFC 5952.
        ip = address[0].replace(":0:0:0:0:0:0:", "::")
        self.world.note("connect", "%s:%s" % (ip, address[1]))
        self.began = self.world.now
        server = self.world.life["server"]
        if server == "drops":
            if self.timeout != 0:
                self.world.wait(TCP_MS if self.timeout is None else int(self.timeout * 1000))
                raise OSError(110)
            raise OSError(115)
        if server == "refuses":
            raise OSError(111)

    def ready(self):
        """(readable, writable) now."""
        server = self.world.life["server"]
        if self.began is None or server in ("drops", "hole"):
            return False, False
        return bool(self.readable()), True

    def readable(self):
        server = self.world.life["server"]
        if server == "drips":
            head = b"HTTP/1.1 200 OK\r\nX: "
            n = (self.world.now - self.began) // DRIP_MS
            have = (head + b"y" * n)[:n]
            return have[len(self.answer) :]
        if isinstance(server, dict) and b"\r\n\r\n" in self.asked:
            return b"more"
        return b""

    def write(self, data):
        if not self.ready()[1]:
            return None
        self.asked += bytes(data)
        server = self.world.life["server"]
        if isinstance(server, dict) and self.asked.endswith(b"\r\n\r\n"):
            path = self.asked.split()[1].decode()
            self.world.note("asked", path)
            self.world.note("head", self.asked.decode())
            text = server.get(path, server.get("*", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
            self.answer = text.encode()
        return len(data)

    send = sendall = write

    def readinto(self, buf):
        server = self.world.life["server"]
        if isinstance(server, dict):
            if not self.readable():
                return None
            n = min(len(buf), len(self.answer))
            buf[:n] = self.answer[:n]
            self.answer = self.answer[n:]
            return n
        have = self.readable()[: len(buf)]
        if not have:
            return None
        buf[: len(have)] = have
        self.answer += have
        return len(have)

    def close(self):
        self.began = None


class Names:
    """A datagram socket, and the network's name server at its other end: RFC 1035.

    `hole`: it never answers. `noname`: it knows no name. six.example has an IPv6 address alone, all others 10.0.0.9.
    What goes to port 123 is asked of a time server (RFC 4330), which says `time`: seconds since 1970, 0: nothing.
    """

    def __init__(self, world, network):
        self.world = world
        self.network = network
        self.answers = []

    def setblocking(self, on):
        pass

    def sendto(self, data, address):
        if address[1] == 123:
            self.world.note("time", "%s:%d" % tuple(address))
            now = self.world.life["time"]
            if now and self.network.isconnected():
                said = (now + 2208988800 + self.world.now // 1000 & 0xFFFFFFFF).to_bytes(4, "big")
                self.answers.append(b"\x24\x02" + bytes(22) + data[40:48] + bytes(8) + said + bytes(4))
            return len(data)
        name, at = [], 12
        while data[at]:
            name.append(data[at + 1 : at + 1 + data[at]].decode())
            at += data[at] + 1
        self.world.note("look-up", "%s at %s:%d" % ((".".join(name),) + tuple(address)))
        server = self.world.life["server"]
        if server == "hole" or not self.network.isconnected():
            return len(data)
        six = ".".join(name) == "six.example"
        found = b""
        if server != "noname" and six == (data[-3] == 28):
            ip = b"\xfd" + bytes(14) + b"\x09" if six else b"\x0a\0\0\x09"
            found = b"\xc0\x0c" + data[-4:] + bytes(4) + bytes((0, len(ip))) + ip
        head = data[:2] + b"\x81" + (b"\x83" if server == "noname" else b"\x80") + b"\0\1\0"
        self.answers.append(head + (b"\1" if found else b"\0") + bytes(4) + data[12:] + found)
        return len(data)

    def ready(self):
        return bool(self.answers), True

    def recvfrom(self, n):
        if not self.answers:
            raise OSError(11)
        return self.answers.pop(0), ("10.0.0.1", 53)

    def close(self):
        pass


class Select:
    def __init__(self, world):
        self.world = world

    def __getattr__(self, name):
        return getattr(select, name)

    def poll(self):
        return Poll(self.world)


class Poll:
    def __init__(self, world):
        self.world = world
        self.lines = []

    def register(self, line, mask=5):
        self.lines = [one for one in self.lines if one[0] is not line] + [(line, mask)]

    modify = register

    def unregister(self, line):
        self.lines = [one for one in self.lines if one[0] is not line]

    def poll(self, ms=-1, *_):
        until = self.world.now + (NEVER if ms < 0 else ms)
        while True:
            found = []
            for line, mask in self.lines:
                reads, writes = line.ready()
                bits = mask & ((1 if reads else 0) | (4 if writes else 0))
                if bits:
                    found.append((line, bits))
            if found or self.world.now >= until:
                return found
            self.world.wait(min(10, until - self.world.now) if self.lines else until - self.world.now)

    ipoll = poll


class Asyncio:
    """Module `_asyncio`, which is C on every port, reads the real clock and so cannot wait in virtual time.

    A Task's `state`: True is running and awaited by nobody, a TaskQueue holds who awaits it, else it is over.
    """

    def __init__(self, world):
        clock = Time(world)

        def core():
            return sys.modules["asyncio.core"]

        class TaskQueue:
            def __init__(self, *_):
                self.tasks = []

            def peek(self):
                return self.tasks[0] if self.tasks else None

            def push(self, task, key=None):
                task.data = None
                task.ph_key = clock.ticks_ms() if key is None else key
                i = len(self.tasks)
                while i and time.ticks_diff(self.tasks[i - 1].ph_key, task.ph_key) > 0:
                    i -= 1
                self.tasks.insert(i, task)

            def pop(self):
                return self.tasks.pop(0)

            def remove(self, task):
                self.tasks.remove(task)

        class Task:
            def __init__(self, coro, _=None):
                self.coro = coro
                self.data = None
                self.state = True
                self.ph_key = 0

            def __iter__(self):
                if not self.state:
                    self.state = False
                elif self.state is True:
                    self.state = TaskQueue()
                return self

            def __next__(self):
                if not self.state:
                    raise self.data
                self.state.push(core().cur_task)
                core().cur_task.data = self

            def done(self):
                return not self.state

        self.TaskQueue, self.Task = TaskQueue, Task


def stand_ins(world, cause):
    found = {"sys": Sys(world), "os": Os(world), "time": Time(world), "machine": Machine(world, cause)}
    found["_asyncio"] = Asyncio(world)
    if world.life["radio"] != "absent":
        found["network"] = Network(world)
        if world.life["server"] != "real":
            found["socket"] = Socket(world, found["network"])
            found["select"] = Select(world)
    return found


class Life:
    """One boot after the other, until the plan is through or there were too many."""

    def __init__(self, world):
        self.world = world
        self.known = set(sys.modules)
        self.path = ["", ".frozen", world.folder + "/lib"]

    def boot(self, cause, ms):
        """One run: what ended it, and how long it sleeps."""
        world = self.world
        world.end = world.now + ms
        world.timers = []
        for name in list(sys.modules):
            if name not in self.known:
                del sys.modules[name]
        sys.path[:] = self.path
        os.chdir(world.folder)
        sys.modules.update(stand_ins(world, cause))
        self.names = {"__name__": "__main__"}
        builtins.print = lambda *words, **_: world.note("say", " ".join([str(w) for w in words]))
        try:
            if self.run("boot.py"):
                self.run("main.py")
            world.note("prompt")
            world.wait(NEVER)
        except Down as e:
            return e.why, e.ms
        except SystemExit:
            return "soft", 0
        finally:
            builtins.print = PRINT

    def run(self, name):
        try:
            with open(name) as f:
                exec(compile(f.read(), name, "exec"), self.names)
            return True
        except Exception as e:
            self.world.note("ended", "%s: %r" % (name, e))
            return False

    def go(self):
        world = self.world
        plan = list(world.life["plan"])
        numbers = dict(zip(KINDS, PORTS[world.life["port"]][1]))
        kind = world.life["first"]
        cause = numbers[kind]
        world.registers.reset(kind)
        for _ in range(world.life["boots"]):
            world.note("boot", kind)
            kind, slept = self.boot(cause, plan[0][0])
            world.note("down", kind)
            if kind == "end":
                kind = plan.pop(0)[1]
                if kind.startswith("prompt"):
                    return self.prompt(int(kind.split()[1]))
                if not plan:
                    return
            if kind == "soft":
                port = world.life["port"]
                cause = PORTS[port][0]["SOFT"] if port in ("esp32", "stm32") else cause
                continue
            world.dog_at = NEVER
            world.now += slept
            world.kind, world.began = kind, world.now
            world.registers.reset(kind)
            cause = numbers[kind]

    def prompt(self, ms):
        """Somebody pressed Ctrl-C, looks at the prompt for so long, and types the code of the life."""
        world = self.world
        world.end = NEVER
        world.note("prompt")
        builtins.print = lambda *words, **_: world.note("say", " ".join([str(w) for w in words]))
        try:
            world.wait(ms)
            exec(world.life["code"], self.names)
        except Down as e:
            world.note("down", e.why)
        finally:
            builtins.print = PRINT


PRINT = builtins.print


def main():
    folder, path = sys.argv[1:]
    with open(path) as f:
        life = json.load(f)
    world = World(folder, life)
    try:
        Life(world).go()
    finally:
        for event in world.events:
            PRINT(json.dumps(event))


main()
