"""A whole virtual ESP32: made as a file, run behind a pty, held by a test or by the command line.

`create` makes the flash image of a board as it leaves the workshop: table, firmware in its first slot, blank otadata,
a file system with the board's files. `run_board` and `VirtualBoard` start it. All that a board knows is in that file
and in the JSON beside it, so a board that was killed goes on from there.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from mpota_boot.errors import Refused
from mpota_host.package.read import explain
from mpota_host.package.report import harmless
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.machine import layouts, machine_of
from mpota_host.sim.ports.table import ROWS
from mpota_host.sim.supervisor import (
    BEHAVIOURS,
    BoardError,
    Options,
    Side,
    load_side,
    lock,
    port_arguments,
    port_config,
    save_side,
    serve,
    side_path,
    unix_port,
)
from mpota_host.sources import modules, port_environment

Event = dict[str, Any]
# Seconds that a board may take to switch off; one that takes longer is killed.
END_S = 10.0
# The architectures in sys.implementation._mpy (py/persistentcode.h) that the unix port's wheels have.
ARCHES = {0: "", 1: "x86", 2: "x64", 3: "armv6", 5: "armv7em", 10: "xtensawin", 11: "rv32imc"}


def _port(heap: str, call: str, text: str) -> None:
    """Run one function of mpota_host/sim/port.py to its end."""
    command = [unix_port(), *(part for part in port_arguments(heap, call, text) if part != "-i")]
    done = subprocess.run(command, env=port_environment(), capture_output=True, text=True, timeout=120)
    # A port that raised says so on its standard error and has the exit status 1.
    if done.returncode:
        raise BoardError(f"the board's files could not be written: {(done.stderr or done.stdout).strip()[-500:]}")


def create(
    path: Path | str,
    firmware: bytes,
    table: str = "4MiB-ota",
    files: Mapping[str, bytes] | None = None,
    nvs: Mapping[str, Mapping[str, str]] | None = None,
    bootloader: bytes = b"",
    like: str = "",
) -> Path:
    """A new flash image at `path`, which must not exist; `firmware` is an application image, not a merged one.

    `like`: "esp32" for a board that answers as an ESP32 does, "" for one that calls itself this computer.
    """
    path = Path(path)
    if path.exists():
        raise BoardError(f"{path} is there already: give another file or remove it")
    machine = machine_of("esp32")
    if table not in machine.TABLES:
        raise BoardError(f"no table {table!r}; there are {', '.join(machine.TABLES)}")
    size, rows = machine.TABLES[table]
    app = next(row for row in rows if row[0] == 0)
    if len(firmware) > app[3]:
        raise BoardError(f"the firmware has {len(firmware)} bytes, {app[4]} of table {table} holds {app[3]}")
    _manufacture(path, "esp32", size, lambda flash: machine.make(flash, firmware, rows, bootloader), like)
    write_files(path, files or {}, nvs)
    return path


def create_for(
    layout: str,
    path: Path | str,
    firmware: bytes,
    files: Mapping[str, bytes],
    make: Callable[[SimFlash], None] | None = None,
    like: str = "",
) -> Path:
    """A new board of any layout, as `create` makes an ESP32; `make` in place of what its machine.py has.

    `like`: a port of sim/ports/table.py, whose answers the board gives.
    """
    path = Path(path)
    if path.exists():
        raise BoardError(f"{path} is there already: give another file or remove it")
    machine = machine_of(layout)
    _manufacture(path, layout, machine.SIZE, make or (lambda flash: machine.make(flash, firmware)), like)
    write_files(path, files)
    return path


def _manufacture(path: Path, layout: str, size: int, make: Callable[[SimFlash], None], like: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flash = SimFlash(size, path=str(path))
    try:
        make(flash)
    finally:
        flash.close()
    save_side(path, Side(size, layout=layout, like=like))


def write_files(
    path: Path | str, files: Mapping[str, bytes], nvs: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Put files (name on the board -> content) and NVS blobs (namespace -> key -> text) on a board that is off."""
    path = Path(path)
    fd = lock(path)
    try:
        config = port_config(path)
        with tempfile.TemporaryDirectory() as folder:
            pairs = []
            for i, (name, data) in enumerate(sorted(files.items())):
                source = Path(folder, str(i))
                source.write_bytes(data)
                pairs.append((name, str(source)))
            _port("8M", "fill", json.dumps({**config, "files": pairs, "nvs": nvs or {}}))
    finally:
        os.close(fd)


def native_arch() -> str:
    """The architecture for which this machine's unix port loads native code, in mpy-cross's words."""
    command = [unix_port(), "-c", "import sys; print(sys.implementation._mpy >> 10 & 15)"]
    return ARCHES.get(int(subprocess.run(command, capture_output=True, check=True, timeout=END_S).stdout), "")


def mpota_files(
    settings: Mapping[str, object] | None = None,
    keys: Mapping[str, bytes] | None = None,
    layout: str = "esp32",
    platform: str = sys.platform,
) -> dict[str, bytes]:
    """What `mpota flash` puts on a board: its modules as .mpy, its programs, settings and trusted keys."""
    from mpota_host.board.carried import modules as carried
    from mpota_host.board.flash import compile_mpy, on_board
    from mpota_host.registry import programs

    arch = native_arch()
    files = {on_board(path): compile_mpy(path, arch) for path in carried(layout, platform=platform)}
    files |= programs(layout)
    if settings is not None:
        files["/mpota.json"] = json.dumps({**getattr(machine_of(layout), "SETTINGS", {}), **settings}).encode()
    for name, data in (keys or {}).items():
        files[f"/keys/{name}.pub"] = data
    return {**files, **machine_of(layout).files()}


def behave(flash: Path | str, firmware: bytes | str, behaviour: str) -> None:
    """From its next start an image (its bytes, or its SHA-256 in hex) behaves so."""
    if behaviour not in BEHAVIOURS:
        raise BoardError(f"an image cannot behave {behaviour!r}, only {', '.join(BEHAVIOURS)}")
    sha = firmware if isinstance(firmware, str) else hashlib.sha256(firmware).hexdigest()
    side = load_side(Path(flash))
    side.images[sha] = behaviour
    save_side(Path(flash), side)


def is_board(flash: Path) -> bool:
    """Is this file the flash of a board? The JSON file beside it says so, or an inspector knows what is in it."""
    try:
        if side_path(flash).exists():
            return load_side(flash).size == flash.stat().st_size
        return explain(flash.read_bytes()).kind == "flash dump"
    except (Refused, ValueError, TypeError):
        return False


def _new_board(
    flash: Path, layout: str, firmware: Path | None, blank: bool, like: str, options: Options | None
) -> None:
    """As `run_board` makes it."""
    image = machine_of(layout).firmware(firmware)
    if blank:
        owners = {name: data for name, data in machine_of(layout).files().items() if not name.startswith("/ota/")}
        create_for(layout, flash, image, owners, like=like)
        return
    settings: dict[str, object] = {"product": "virtual"}
    if options and options.line == "uart":
        # As an ESP32 has it by itself; the unix port takes its console for a pipe.
        settings["console"] = [2048, 242]
    platform = ROWS[like].platform if like else sys.platform
    if layout == "esp32":
        files = mpota_files(settings, platform=platform)
        create(flash, image, files=files, nvs={"wifi": {"ssid": "any"}}, like=like)
    else:
        files = mpota_files({**settings, "layout": layout}, layout=layout, platform=platform)
        create_for(layout, flash, image, files, like=like)


def run_board(
    flash: Path | str,
    layout: str = "esp32",
    firmware: Path | str | None = None,
    options: Options | None = None,
    on_event: Callable[[Event], None] | None = None,
    blank: bool = False,
    like: str = "",
) -> None:
    """Run a board in this process until Ctrl-C or SIGTERM; a flash file that is not there becomes a new board first.

    `blank`: the new board has MicroPython alone, and what its workshop or its owner has to put there. `like`: the port
    whose answers a board of layout files gives.
    """
    if layout not in layouts():
        raise BoardError(f"no virtual board of layout {layout!r}; there is {', '.join(layouts())}")
    flash = Path(flash)
    if like and layout not in ("files", "esp32")[: 1 + (like == "esp32")]:
        raise BoardError(f"a board like {like} has layout {'esp32 or files' if like == 'esp32' else 'files'}")
    if not flash.exists():
        _new_board(flash, layout, Path(firmware) if firmware else None, blank, like, options)
    elif firmware is not None:
        raise BoardError(f"{flash} has its firmware already: leave --firmware off, or remove the file for a new board")
    elif blank:
        raise BoardError(f"{flash} is a board already: leave --blank off, or remove the file for a new board")
    elif like not in ("", load_side(flash).like):
        is_like = load_side(flash).like or "an ESP32"
        raise BoardError(f"{flash} is a board like {is_like}: leave --like off, or remove the file for a new board")
    serve(flash, options or Options(), on_event or print_event)


def real_firmware(release: str) -> Path:
    """A firmware of the wheel that the set-up installs: release 0608 or 0831."""
    import sysconfig

    folder = Path(sysconfig.get_paths()["purelib"], "thonnycontrib", "thonny_etboard_firmware", "etboard", "firmware")
    path = folder / f"etboard_firmware_micropython_custom_{release}_last.bin"
    if not path.exists():
        raise BoardError(f"no {path.name}: `make demo` brings it in a checkout; or give `board` your own --firmware")
    return path


def program(n: int, seed: int) -> bytes:
    """`n` bytes that stand for a program in an image: nothing executes them, and they compress as a program does.

    They are of the modules that go on a board, which every installation has; each `seed` has others.
    """
    whole = b"".join(path.read_bytes() for path in modules())
    at = seed * 65_537 % len(whole)
    turned = whole[at:] + whole[:at]
    return (turned * (n // len(turned) + 1))[:n]


def print_event(event: Event) -> None:
    """One line for a person, of the events that matter to one."""
    lines = {
        "ready": "The board is at {port}. Ctrl-C switches it off.",
        "reset": "reset: {image} starts ({behaviour})",
        "soft": "soft reset",
        "abort": "the running image aborted",
        "crash": "the unix port ended with status {status}",
        "lost": "the UART had no room for {bytes} bytes",
    }
    if event["event"] in lines:
        print(harmless(lines[event["event"]].format(**event)), flush=True)


class VirtualBoard:
    """A running board for tests: `with VirtualBoard(path) as b: b.port`.

    It is a process of its own, so `kill` is the power cut: SIGKILL, and the chip dies with it. `off` is a switch. After
    either, `on` starts the board again from its flash.
    """

    def __init__(self, flash: Path | str, options: Options | None = None) -> None:
        self.flash = Path(flash)
        self.options = options or Options()
        self.events: list[Event] = []
        self.port = ""
        self._seen = 0
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "VirtualBoard":
        self.on()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.off()

    def on(self, timeout: float = 20) -> None:
        """Power on; returns when the port is there, before the image has started."""
        if self._process:
            raise BoardError("the board is on already")
        self.events, self._seen = [], 0
        command = [sys.executable, "-m", "mpota_host.sim.supervisor", str(self.flash), json.dumps(asdict(self.options))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        try:
            self.port = str(self.wait("ready", timeout)["port"])
        except BaseException:
            self.kill()
            raise

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def wait(self, event: str, timeout: float = 20, **facts: object) -> Event:
        """The next event of this kind that was not waited for yet, with these facts; later calls look behind it."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                while self._seen < len(self.events):
                    found = self.events[self._seen]
                    self._seen += 1
                    if found["event"] == "error":
                        raise BoardError(found["text"])
                    if found["event"] == event and all(found.get(k) == v for k, v in facts.items()):
                        return found
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"no {event} {facts or ''} in {timeout} s; there were {self.events}")

    def behave(self, firmware: bytes | str, behaviour: str) -> None:
        """How an image behaves from its next start on."""
        behave(self.flash, firmware, behaviour)

    def kill(self) -> None:
        """The power fails: SIGKILL to the board's process."""
        self._end(signal.SIGKILL)

    def off(self) -> None:
        """Switch it off."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process:
            process, self._process = self._process, None
            process.send_signal(number)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin
            process.stdin.close()

    def run(self, code: str) -> str:
        """Interrupt what runs, run code in the raw REPL without a soft reset, return what it printed."""
        from mpremote.transport_serial import SerialTransport

        transport = SerialTransport(self.port)
        try:
            transport.enter_raw_repl(soft_reset=False)
            out: bytes = transport.exec(code)
            transport.exit_raw_repl()
        finally:
            transport.close()
        return out.decode().replace("\r\n", "\n")


__all__ = [
    "BEHAVIOURS",
    "BoardError",
    "Options",
    "VirtualBoard",
    "behave",
    "create",
    "create_for",
    "mpota_files",
    "program",
    "run_board",
    "side_path",
    "write_files",
]
