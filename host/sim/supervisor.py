"""What is outside the chip of a virtual board: power, reset, the bootloader, the watchdog and the cable.

One loop carries bytes between the client's pty and the pty of the running unix port, takes the words of `chip.Wire`
out of them, and starts the port again after each reset. Only a reset through the loader chooses an image; a soft reset
keeps the image, the watchdog and the REPL mode the client is in. The flash file is all that outlives a process.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from host.sim.flash import SimFlash
from host.sim.machine import Started, machine_of

ROOT = Path(__file__).resolve().parent.parent.parent
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
# What the unix port needs from a Ctrl-C to the prompt.
INTERRUPT_S = 0.03


class BoardError(Exception):
    """The virtual board cannot run; the text says what to do."""


@dataclass
class Options:
    """How the board is built. `rollback` is the bootloader's, `app_rollback` that of the running build."""

    rollback: bool = True
    app_rollback: bool = True
    idf: str = "5.5.2"
    heap: str = "2M"


@dataclass
class Side:
    """What the board's JSON file beside the flash image says: how an image behaves, by its SHA-256 in hex."""

    size: int = 4 << 20
    images: dict[str, str] = field(default_factory=dict)
    layout: str = "esp32"


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
        raise BoardError(f"no MicroPython unix port at {beside}: run make, or set MICROPYTHON to one")
    return named


def port_command(heap: str, call: str, text: str) -> list[str]:
    """The command line that calls a function of host/sim/port.py with one text, leaving no name behind."""
    code = f"__import__('host.sim.port', None, None, ('x',)).{call}({text!r})"
    return [unix_port(), "-X", f"heapsize={heap}", "-i", "-c", code]


def port_environment() -> dict[str, str]:
    return {**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"}


def lock(flash: Path) -> int:
    """A descriptor that holds the flash for one board; the port inherits it, so another starts only when both ended."""
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
    layout = load_side(path).layout
    flash = SimFlash(path.stat().st_size, path=str(path))
    try:
        machine = machine_of(layout)
        windows, volume = machine.windows(flash), machine.volume(flash)
    finally:
        flash.close()
    return {"flash": str(path), "size": flash.size, "layout": layout, "overwrite": windows, "volume": volume}


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

    def feed(self) -> None:
        self.deadline = time.monotonic() + self.timeout_s + self.gap_s


class Cable:
    """The client's pty. Both its ends stay open, so that clients come and go without the board noticing."""

    def __init__(self) -> None:
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


class Chip:
    """One run of the unix port, from a start to an exit or a kill, on a pty of its own."""

    def __init__(self, config: dict[str, Any], heap: str, lock_fd: int) -> None:
        mark = b"\xd7" + secrets.token_bytes(8).replace(b"\n", b"\x01")
        self.tap = Tap(mark)
        self.cook = Cook()
        self.binary = False
        self.master, slave = os.openpty()
        # Bytes as they are; Ctrl-C interrupts only once the board's own code runs, which switches ISIG on.
        tty.setraw(slave)
        modes = termios.tcgetattr(slave)
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        os.set_blocking(self.master, False)
        text = json.dumps({**config, "mark": mark.hex()})
        # The port leads a session on that pty: Ctrl-C reaches it, and the hangup ends it when the supervisor is killed.
        self.process = subprocess.Popen(
            port_command(heap, "start", text),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=port_environment(),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
            pass_fds=(lock_fd,),
        )
        os.close(slave)
        self.input = b""
        # When the next input byte may be passed on; the port is not ready for a Ctrl-C before it says so.
        self.open_at = float("inf")

    def read(self) -> bytes | None:
        """Some output; b"" when there is none now, None when the port has gone."""
        try:
            return os.read(self.master, PENDING) or None
        except BlockingIOError:
            return b""
        except OSError as e:
            if e.errno == errno.EIO:
                return None
            raise

    def push(self) -> None:
        """Pass input on, a Ctrl-C alone: two in a row would kill the unix port on its way to the prompt."""
        if not self.input or time.monotonic() < self.open_at:
            return
        n = len(self.input) if self.binary else self.input.find(b"\x03") + 1 or len(self.input)
        # A port that has just gone takes no input; its end is noticed by read.
        with contextlib.suppress(OSError):
            n = os.write(self.master, self.input[:n])
            if self.input[n - 1] == 3 and not self.binary:
                self.open_at = time.monotonic() + INTERRUPT_S
            self.input = self.input[n:]

    def end(self) -> int:
        """Kill what still runs; the exit status."""
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        os.close(self.master)
        return status


class Supervisor:
    """A virtual board from power-on until `stop`. `on_event` gets a dict for each thing that happens."""

    def __init__(self, flash: Path, options: Options, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.path = flash
        self.options = options
        self.on_event = on_event
        self.lock_fd = lock(flash)
        self.size = flash.stat().st_size
        self.cable = Cable()
        self.mode = Mode()
        self.dog: Dog | None = None
        self.chip: Chip | None = None
        # What the client sent and no port has seen yet.
        self.unread = b""
        self.machine = machine_of(load_side(flash).layout)
        self.boot: Started | None = None
        # Why the loader ran last.
        self.cause = PWRON
        self.behaviour = "fine"
        # After a soft reset in raw mode the new port's banner is dropped and Ctrl-A sent: "", "banner", "raw".
        self.entering = ""
        self.swallowed = b""
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
            os.close(self.lock_fd)

    # Resets

    def hard(self, cause: int) -> None:
        """A reset through the bootloader."""
        self._end_chip()
        self.cause = cause
        self.unread = b""
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
            self.unread = self.chip.input
        self.chip = None
        self.start_at = None

    def _start(self, cause: int, main: bool, repl: bool = False) -> None:
        self.entering = ""
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
            "repl": repl,
        }
        self.chip = Chip(config, self.options.heap, self.lock_fd)
        self.chip.input, self.unread = self.unread, b""

    # The loop

    def turn(self) -> None:
        """Wait for something and do it."""
        chip = self.chip
        reads = [self.cable.master] if chip and len(chip.input) < PENDING else []
        if chip and len(self.cable.out) < PENDING:
            reads.append(chip.master)
        if self.leash is not None:
            reads.append(self.leash)
        writes = [self.cable.master] if self.cable.out else []
        if chip and chip.input and not self.entering and time.monotonic() >= chip.open_at:
            writes.append(chip.master)
        readable, _, _ = select.select(reads, writes, [], self._patience())
        if self.leash in readable and not os.read(self.leash or 0, 1):
            self.stop()
        if self.cable.out:
            self.cable.push()
        if chip and self.cable.master in readable:
            chip.input += os.read(self.cable.master, PENDING)
        if chip and not self.entering:
            chip.push()
        if chip and chip.master in readable:
            self._output(chip)
        elif chip and chip.tap.rest:
            self._show(chip, chip.tap.flush())
        self._clock()

    def _patience(self) -> float:
        # The port writes a mark at once, so the rest of a divided one is never late.
        waits = [0.002 if self.chip and self.chip.tap.rest else 0.2]
        if self.dog:
            waits.append(self.dog.deadline - time.monotonic())
        if self.chip and self.chip.input:
            waits.append(self.chip.open_at - time.monotonic())
        if self.start_at:
            waits.append(self.start_at[0] - time.monotonic())
        return max(0.0, min(waits))

    def _clock(self) -> None:
        now = time.monotonic()
        if self.start_at and now >= self.start_at[0]:
            self.hard(self.start_at[1])
        elif self.dog and now > self.dog.deadline:
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
        elif status == -signal.SIGINT:
            # The unix port dies of a Ctrl-C between two prompts, where a chip would not even notice it.
            self._end_chip()
            self._start(SOFT, main=False, repl=True)
        else:
            self.emit("crash", status=status)
            self.cable.send(b"Guru Meditation Error: the port ended with status %d\r\n" % status)
            self._panic()

    def _panic(self) -> None:
        self._end_chip()
        self.start_at = (time.monotonic() + RETRY_S, HARD)

    def _show(self, chip: Chip, data: bytes) -> None:
        if self.entering:
            data = self._enter(chip, data)
            if not data:
                return
        if not chip.binary:
            self.mode.watch(data)
            data = chip.cook.feed(data)
        self.cable.send(data)

    def _enter(self, chip: Chip, data: bytes) -> bytes:
        """Take the new port's REPL to raw mode; the client sees only the raw prompt."""
        self.swallowed += data
        if self.entering == "banner" and self.swallowed.endswith(b">>> "):
            self.entering = "raw"
            self.swallowed = b""
            os.write(chip.master, b"\x01")
        # The client may have typed its own Ctrl-A while boot.py ran.
        at = self.swallowed.find(RAW_PROMPT)
        if at < 0:
            return b""
        self.entering = ""
        return self.swallowed[at:]

    def _word(self, chip: Chip, verb: str, *args: str) -> None:
        """One word of the wire."""
        if verb == "wdt":
            self.dog = Dog(int(args[0]) / 1000, int(args[1]) / 1000)
            self.dog.feed()
        elif verb == "feed" and self.dog:
            self.dog.feed()
        elif verb == "binary":
            chip.binary = args[0] == "1"
        elif verb == "up":
            chip.open_at = 0.0
        elif verb == "repl":
            self.entering, self.swallowed = ("banner" if self.mode.raw else ""), b""
            # Between here and the prompt a Ctrl-C would kill the unix port.
            chip.open_at = time.monotonic() + INTERRUPT_S
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
