"""`make demo LAYOUT=bk7238`: an RBL made, judged, signed, pushed and fetched; the power goes in the loader's install.

The board runs the shipped files as a process of its own, its loader too. Its application is a real firmware's bytes,
linked where a BK7238 wants them, which nothing here executes; what is Python runs from its file system.
"""

from __future__ import annotations

import os
import select
import tempfile
import threading
import time
from contextlib import chdir
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mpota.store.flash import Region
from mpota.store.log import Log
from mpota.version import text
from mpota_boot.journal import Record
from mpota_host.chips.bk7238.sample import BOARD, PRODUCT, workshop
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.chips.bk7238.sim import machine
from mpota_host.demo import out, typed
from mpota_host.sim.board import VirtualBoard
from mpota_host.sim.flash import SimFlash
from mpota_host.sim.supervisor import Options

KEY, IV = "0123456789ABCDEF" * 2, "0123456789ABCDEF"
IMAGE = 700001
APP_AT = 0x11000


PROMPT = ">>> "


class Line:
    """The board's console, from where a client left it."""

    def __init__(self, port: str) -> None:
        self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.seen = ""

    def type(self, line: str) -> None:
        """Ctrl-C to the prompt, then this line."""
        os.write(self.fd, b"\r\x03")
        self.until(PROMPT)
        os.write(self.fd, line.encode() + b"\r")

    def until(self, mark: str, timeout: float = 30) -> str:
        """What came up to `mark` and the end of its line, or of what was said."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            at = self.seen.find(mark)
            stop = self.seen.find("\n", at + len(mark))
            if at >= 0 and (stop >= 0 or mark == PROMPT):
                stop = stop if stop >= 0 else len(self.seen)
                told, self.seen = self.seen[:stop], self.seen[stop:]
                return told
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")
        raise TimeoutError(f"the board did not say {mark!r} in {timeout} s, but {self.seen!r}")

    def close(self) -> None:
        os.close(self.fd)


class Shelf(ThreadingHTTPServer):
    """Any web server will do."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has read enough hangs up."""


class Demo:
    """The acts, in a folder which is the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flash = folder / BOARD
        self.apps = [machine.application(n, IMAGE) for n in range(3)]

    def workshop(self, url: str) -> None:
        """A plug with its first application, flashed by wire, a key that it trusts, a manifest that is not there."""
        workshop(self.folder, self.apps[0], {"manifest": f"{url}/manifest.json"})
        for n in (1, 2):
            (self.folder / f"app{n}.bin").write_bytes(self.apps[n])

    def rbl(self, n: int, name: str, iv: str = IV) -> None:
        """The vendor's packer, letter by letter."""
        given = ["-f", f"app{n}.bin", "-v", f"1.0.{n}", "-p", "app", "-c", "lzma", "-s", "aes"]
        typed("bk7238", "pack", *given, "-k", KEY, "-i", iv, "-o", name)

    def sign(self, n: int, name: str) -> str:
        """The RBL as a signed package."""
        to = f"{PRODUCT}-1.0.{n}.mpota"
        given = ["--key", "release.pem", "--product", PRODUCT, "--version", f"1.0.{n}", "-o", to]
        typed("pack", name, "--layout", "bk7238", *given)
        return to

    def confirmed(self, n: int) -> None:
        """Wait for the board's own confirm, as it stands in its journal."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            flash = SimFlash(machine.SIZE, prog_size=1, path=str(self.flash))
            record = Record.decode(Log(Region(flash, sim.LOG, 2 * sim.SECTOR)).last("running"))
            flash.close()
            if record and text(record.version) == f"1.0.{n}":
                if machine_image(self.flash, IMAGE) != self.apps[n]:
                    raise AssertionError("what runs is not what was packed")
                out.print(f"  healthy, so it confirmed itself: version 1.0.{n} runs, byte for byte")
                return
            time.sleep(0.05)
        raise TimeoutError(f"1.0.{n} was not confirmed")

    def installing(self) -> None:
        """Wait until the loader has written a part of the application."""
        end = time.monotonic() + 30
        new = [coded(app)[IMAGE // 4 : IMAGE // 4 + 34 * 8] for app in self.apps[:2]]
        with self.flash.open("rb", buffering=0) as file:
            while time.monotonic() < end:
                file.seek(APP_AT + IMAGE // 4)
                if file.read(34 * 8) == new[1]:
                    return
                time.sleep(0.001)
        raise TimeoutError("the loader installed nothing")

    def sectors(self) -> str:
        """What the application's sectors hold after a cut."""
        seen = self.flash.read_bytes()[APP_AT:]
        new = coded(self.apps[1])
        n = sum(new[i : i + 4096] == seen[i : i + 4096] for i in range(0, len(new), 4096))
        return f"{n} of {-(-len(new) // 4096)} sectors are the new application's, the others are blank"


def coded(app: bytes) -> bytes:
    """An application as it lies in flash."""
    flash = SimFlash(sim.SIZE, prog_size=1)
    it = sim.Chip({}, None, flash)
    it.write(app)
    return bytes(flash.cells.get(APP_AT, (len(app) + 31) // 32 * 34))


def machine_image(path: Path, n: int) -> bytes:
    """The application in a board's flash file."""
    flash = SimFlash(machine.SIZE, path=str(path))
    try:
        data: bytes = machine.chip(flash).image(n)
        return data
    finally:
        flash.close()


def packed(demo: Demo) -> None:
    """Act 1 and 2: what the loader will say, before any reboot."""
    out.print()
    out.rule("1. The vendor's packer, its letters; and what its loader will say", align="left")
    demo.rbl(1, "ota.rbl")
    typed("bk7238", "verify", "ota.rbl")
    out.print()
    out.rule("2. Another IV: an update that 'succeeds', and nothing changes", align="left")
    demo.rbl(1, "other.rbl", "F" * 16)
    typed("bk7238", "verify", "other.rbl", status=5)


def pushed(demo: Demo, board: VirtualBoard) -> None:
    """Act 3: over the serial line; the wrong one, then the right one with a power cut."""
    out.print()
    out.rule("3. Signed, and pushed over the serial line", align="left")
    board.wait("reset", image="app")
    typed("push", demo.sign(1, "other.rbl"), "--port", board.port, status=5)
    out.print("  the board made its loader's checks itself: nothing was staged, the old application runs on")
    release = demo.sign(1, "ota.rbl")
    typed("push", release, "--port", board.port)
    demo.installing()
    board.kill()
    board.options.hold = -1
    out.print(f"  [bold]power cut[/] in the loader's install: {demo.sectors()}")
    board.on()
    line = Line(board.port)
    out.print(f"  power on: {line.until('[loader]').split(chr(10))[-1]}", markup=False)
    line.close()
    demo.confirmed(1)


def fetched(demo: Demo, board: VirtualBoard, url: str) -> None:
    """Act 4: the vendor's own command at the board's console."""
    out.print()
    out.rule("4. http_ota URL, at the board's console", align="left")
    demo.rbl(2, "next.rbl")
    demo.sign(2, "next.rbl")
    line = Line(board.port)
    for name, mark in (("next.rbl", "Refused: "), (f"{PRODUCT}-1.0.2.mpota", "[loader]")):
        command = f'http_ota("{url}/{name}")'
        line.type(command)
        out.print(f"  >>> {command}", markup=False)
        out.print(f"  {line.until(mark).split(chr(10))[-1]}", markup=False)
    line.close()
    demo.confirmed(2)


def play(demo: Demo, url: str) -> None:
    """The story."""
    demo.workshop(url)
    packed(demo)
    # The first application that the loader installs is cut off there.
    with VirtualBoard(demo.flash, Options(hold=APP_AT + IMAGE // 4 + 34 * 8)) as board:
        pushed(demo, board)
        fetched(demo, board, url)
        out.print()
        out.rule("5. What the board says of itself", align="left")
        typed("status", "--port", board.port)


def shelf(folder: Path) -> Shelf:
    """The folder's files, over HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = Shelf(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Run it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpota-demo-") as name, chdir(name):
        server = shelf(Path(name))
        try:
            play(Demo(Path(name)), f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            server.server_close()
    out.print()
    out.rule(f"{time.monotonic() - began:.1f} s", align="left")
