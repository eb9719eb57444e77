"""What the cases stand on: all imports of the project's modules, the command line, a bare board, a link, a server.

`Bare` is a board of any port in virtual time (bare_board.py). `ask_link` runs the board's HTTP link on the unix port.
`bounded` runs a command that may never end.
"""

# ruff: noqa: F401
from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpota.agent import Agent
from mpota.installer import install
from mpota.layout.esp32 import table
from mpota.store.pair import encode as encode_pair
from mpota_boot import shim
from mpota_boot.errors import LinkError, OtaError
from mpota_host.bench.line.serial import micropython
from mpota_host.board.push import FdWire, Sender, speak
from mpota_host.board.status import STATUS, as_report
from mpota_host.chips.esp32.cut.life import image as big_image
from mpota_host.chips.esp32.sim import soc
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.command import cli as command_line
from mpota_host.command.cli import PUSH
from mpota_host.package import keys
from mpota_host.package.read import package_facts
from mpota_host.package.serve import offers, write_manifest
from mpota_host.registry import programs
from mpota_host.sim.board import VirtualBoard, create, create_for, mpota_files
from mpota_host.sim.line import PacedLine, Pty, open_pair
from mpota_host.sources import DEVICE, PACKAGES, port_environment
from tests.chips.esp32 import image_maker
from tests.host.servers import PACKAGE, SIZE, Rogue, chunked, entry, head, manifest, ranged
from tests.packages import Maker, Ram
from tests.trees import archive, files_of

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).parent
VECTORS = ROOT / "tests/vectors/cases"
# What a time server says on a bare board, unless a case wants another time: 2026-07-01.
NOW = 1782864000


def need(ok: object, what: object) -> None:
    """For what a case stands on: where it is not so, the case has not failed, it was not tried."""
    if not ok:
        raise RuntimeError(what)


# --- commands -------------------------------------------------------------------------------------------------------


@dataclass
class Done:
    """How a command of this process ended: its exit status, and what it wrote to both streams."""

    exit_code: int
    output: str


def mpota(*args: object) -> Done:
    """A command of the command line in this process, on a screen so wide that no line is folded."""
    said = io.StringIO()
    wide = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "400"
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            command_line.main([str(a) for a in args])
    except SystemExit as e:
        return Done(int(e.code or 0), said.getvalue())
    finally:
        os.environ.pop("COLUMNS") if wide is None else os.environ.update(COLUMNS=wide)
    return Done(0, said.getvalue())


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


@dataclass
class Ended:
    """How a command ended. `code` is None for one that had to be killed."""

    code: int | None
    text: str


def bounded(seconds: float, *args: object) -> Ended:
    """A command as a process of its own, killed after so many seconds."""
    command = [sys.executable, "-m", "mpota_host", *map(str, args)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out = process.communicate(timeout=seconds)[0].decode(errors="replace")
        need("ImportError: " not in out and "ModuleNotFoundError: " not in out, out)
        return Ended(process.returncode, out)
    except subprocess.TimeoutExpired:
        process.kill()
        return Ended(None, process.communicate(timeout=10)[0].decode(errors="replace"))


# --- the board's link -----------------------------------------------------------------------------------------------


def ask_link(url: str, opens: tuple[int, ...] = (0,), **more: object) -> Any:
    """What the HTTP link makes of a URL, on the unix port: [bytes, SHA-256], None, or {"code", "text"} of an error."""
    env = port_environment()
    text = json.dumps({"url": url, "opens": list(opens), **more})
    program = [micropython(), "tests/host/http_client.py"]
    done = subprocess.run(program, input=text.encode() + b"\n", cwd=ROOT, env=env, capture_output=True, timeout=30)
    need(not done.returncode, done.stdout.decode() + done.stderr.decode())
    return json.loads(done.stdout)["out"][0]


def whole() -> list[object]:
    """What `ask_link` gives for all of the servers' PACKAGE."""
    return [SIZE, hashlib.sha256(PACKAGE).hexdigest()]


def link_text(out: Any) -> str:
    """The error's sentence."""
    return str(out["text"]) if isinstance(out, dict) else ""


# --- a bare board ---------------------------------------------------------------------------------------------------


class Life:
    """What happened on a bare board: (virtual ms, kind, text)."""

    def __init__(self, events: list[Any]) -> None:
        self.events = [(int(at), str(kind), str(text)) for at, kind, text in events]

    def __str__(self) -> str:
        """For an assertion that fails: what came first and last."""
        lines = []
        for i, (at, kind, text) in enumerate(self.events):
            if (kind, text) != self.events[i - 1][1:] or not i:
                lines.append(f"{at} {kind} {text}".rstrip())
        return "; ".join(lines if len(lines) < 31 else [*lines[:15], f"... {len(lines) - 30} more", *lines[-15:]])

    def all(self, kind: str, text: str | None = None) -> list[tuple[int, str]]:
        return [(at, said) for at, one, said in self.events if one == kind and text in (None, said)]

    def says(self, word: str) -> list[int]:
        """When the application printed this word."""
        return [at for at, _ in self.all("say", word)]

    def bites(self) -> list[int]:
        """When the watchdog reset the board."""
        return [at for at, _ in self.all("down", "watchdog")]

    def runs(self) -> list[list[str]]:
        """What each boot's applications printed, each word once."""
        found: list[list[str]] = []
        for _, kind, text in self.events:
            if kind == "boot":
                found.append([])
            elif kind == "say" and text not in found[-1]:
                found[-1].append(text)
        return found


class Bare:
    """A board of layout `files`: a folder with the shipped boot.py, main.py and device code, settings and an app.py."""

    def __init__(self, folder: Path, port: str = "esp32", app: str = "", ssid: bool = True, **settings: object) -> None:
        self.folder = folder
        self.port = port
        folder.mkdir(exist_ok=True)
        (folder / "lib").mkdir()
        for name in PACKAGES:
            (folder / "lib" / name).symlink_to(DEVICE / name)
        for name, data in programs("files").items():
            (self.folder / name.strip("/")).write_bytes(data)
        self.settings = {"product": "lamp", "layout": "files", **settings}
        self.write("mpota.json", json.dumps(self.settings))
        if ssid:
            # The names that mpota.network.net reads.
            self.write("ota/wifia", encode_pair(1, {"ssid": b"any", "psk": b"secret"}))
        if app:
            self.write("app.py", app)

    def write(self, name: str, data: bytes | str) -> None:
        write(self.folder, {name: data})

    def arm(self, package: bytes, keys_: list[bytes] | None = None) -> None:
        """Install an update with the shipped installer, as the agent does; it waits for the reset now."""
        board = Plain(str(self.folder), self.settings, keys_).power_on()
        for _ in install(board, Ram(package), keys_):
            pass

    def confirm(self) -> None:
        """Boot once, and keep what is on trial."""
        Plain(str(self.folder), self.settings).power_on("reset").layout.confirm()

    def release(self, files: Mapping[str, bytes | str], *version: int) -> None:
        """Install an application of these files, unsigned."""
        data = archive({n: d.encode() if isinstance(d, str) else d for n, d in files.items()})
        maker = Maker(data, product=b"lamp")
        maker.kind, maker.name, maker.layout = 2, b"files", b"files"
        maker.version = b"".join(n.to_bytes(2, "big") for n in [*(version or (2, 0, 0)), 0])
        self.arm(maker.bytes())

    def live(
        self,
        *plan: tuple[int, str],
        first: str = "power",
        boots: int = 8,
        radio: str = "ok",
        server: str | Mapping[str, str] = "refuses",
        late_ms: int = 0,
        code: str = "",
        networks: tuple[str, ...] = ("any",),
        join_ms: int = 100,
        time: int = NOW,
    ) -> Life:
        """Switch it on. `plan`: so many ms of a run, then "power", "reset", "soft", "stop", or "prompt MS" (Ctrl-C).

        A run that ends itself (machine.reset(), deepsleep(), SystemExit, the watchdog) uses nothing of the plan up.
        `code` is typed at the prompt. `networks` are in the air; `time` is what time servers say, 0: nothing.
        """
        world = {"port": self.port, "plan": plan, "first": first, "boots": boots, "radio": radio}
        path = self.folder.with_name(self.folder.name + ".life.json")
        more = {
            "server": server,
            "late_ms": late_ms,
            "code": code,
            "networks": networks,
            "join_ms": join_ms,
            "time": time,
        }
        path.write_text(json.dumps({**world, **more}))
        program = [micropython(), "-X", "heapsize=64M", str(HERE / "bare_board.py"), str(self.folder), str(path)]
        env = {**os.environ, "MICROPYPATH": ".frozen"}
        done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60)
        need(not done.returncode, f"the bare board broke: {done.stdout[-1000:]} {done.stderr[-1000:]}")
        life = Life([json.loads(line) for line in done.stdout.splitlines()])
        need(not any(re.search("no module named 'mpota", said) for _, _, said in life.events), life)
        return life

    def status(self, life: Life) -> str:
        """The words of the command `status`, where a life ended with `code=STATUS`."""
        report = as_report(json.loads(life.all("say")[-1][1]))
        rows = [" ".join(row) for one in report.tables for row in one.rows]
        return "\n".join([report.text, *rows])

    def signed(self, files: Mapping[str, bytes | str], key: Path, **options: object) -> bytes:
        """The package of an application of these files."""
        source = write(self.folder.with_name(self.folder.name + ".app"), files)
        return packed(source.parent, key, app=source, **options)


def packed(folder: Path, key: Path, **options: object) -> bytes:
    """The package that `pack` makes with these options; layout, product and version have defaults."""
    given = {"layout": "files", "product": "lamp", "version": "2.0.0", **options}
    out = folder / "made.mpota"
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    done = mpota("pack", *words, "--key", key, "-o", out)
    need(done.exit_code == 0, done.output)
    return out.read_bytes()


# --- an ESP32 in this process ---------------------------------------------------------------------------------------


def take(board: Any, package: bytes) -> None:
    """Install an unsigned update."""
    for _ in install(board, Ram(package), None):
        pass


def boot(c: Any, cause: int = soc.HARD, wakes: bool = False, errors: bool = False) -> str:
    """A reset through the loader, or a wake, and what boot.py does, with the resets that it asks for: what runs.

    `errors`: what boot.py met is no reason to stop, as on a board.
    """
    for _ in range(9):
        c.board = c.run(soc.DEEPSLEEP) if wakes else c.power_on(cause)
        try:
            shim.boot(lambda: c.board)
        except soc.Reset:
            cause, wakes = soc.HARD, False
            continue
        if shim.error and not errors:
            raise shim.error
        return str(c.started.name)
    raise RuntimeError("the board resets for ever")


# --- a web server ---------------------------------------------------------------------------------------------------


@contextmanager
def web(give: Any) -> Iterator[tuple[str, list[str]]]:
    """A server on the loopback: `give(path, at)` -> (status, fields, body). Gives its URL and the paths asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            at = int((self.headers["Range"] or "bytes=0-")[6:].rstrip("-"))
            status, fields, body = give(self.path, at)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
