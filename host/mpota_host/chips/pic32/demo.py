"""`make demo LAYOUT=pic32`: a release out of Intel HEX, served with the vendor's manifest, fetched, ranked, confirmed.

Then a bad one and the way back, and a factory reset. The board runs the shipped files as a process of its own, its
bootloader too; the code in its program flash is a real firmware's bytes, which nothing here executes: what is Python
runs from its file system. Everything that the board prints is the board's own.
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

from rich.markup import escape
from rich.rule import Rule

from mpota.layout.pic32.port import BASE
from mpota_host.chips.pic32 import sample
from mpota_host.chips.pic32.binfile import PAGE
from mpota_host.chips.pic32.sim import machine
from mpota_host.demo import out, typed
from mpota_host.sim.board import VirtualBoard
from mpota_host.sim.supervisor import Options

SIZES = (300_001, 320_017, 310_003)


class Listener:
    """The board's console: what mpota and the bootloader say is shown, line by line."""

    def __init__(self, port: str) -> None:
        self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self.lines: list[str] = []
        self.rest = b""
        self.seen = 0

    def read(self) -> None:
        """What has come by now."""
        if select.select([self.fd], [], [], 0.05)[0]:
            self.rest += os.read(self.fd, 4096)
        *whole, self.rest = self.rest.split(b"\n")
        for line in whole:
            who, colon, text = line.decode(errors="replace").strip().partition(": ")
            if colon and who in ("ota", "bootloader"):
                self.lines.append(text)
                out.print(f"  [cyan]{who:>10}[/]  [dim]{escape(text)}[/]")

    def until(self, words: str, timeout: float = 40) -> None:
        """The next line with these words in it."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            while self.seen < len(self.lines):
                self.seen += 1
                if words in self.lines[self.seen - 1]:
                    return
            self.read()
        raise TimeoutError(f"the board did not say {words!r} in {timeout} s, but {self.lines}")

    def type(self, line: str) -> None:
        """Ctrl-C to the prompt, then this line."""
        os.write(self.fd, b"\r\x03")
        end = time.monotonic() + 40
        while not self.rest.endswith(b">>> "):
            if time.monotonic() > end:
                raise TimeoutError(f"the board shows no prompt, but {self.rest!r}")
            self.read()
        out.print(f"  [dim]>>>[/] {escape(line)}")
        os.write(self.fd, line.encode() + b"\r")

    def restart(self) -> None:
        """After a command on the console main.py goes on with a soft reset."""
        os.write(self.fd, b"\r\x02\x04")

    def close(self) -> None:
        """Before somebody else wants the port."""
        os.close(self.fd)


class Demo:
    """The acts, in a folder which is the current one."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.flash = folder / "board.bin"
        self.codes = [machine.application(n, size) for n, size in enumerate(SIZES)]

    def build(self) -> None:
        """What a compiler leaves: HEX of three applications and of a bootloader, with the same configuration words."""
        for n, code in enumerate(self.codes):
            (self.folder / f"lamp{n + 1}.hex").write_bytes(sample.build(code))
        (self.folder / "bootloader.hex").write_bytes(sample.bootloader())
        (self.folder / "sign.pem").write_bytes(sample.signing_key())

    def create(self) -> None:
        """The board as a programmer leaves it, with mpota on its file system."""
        settings = {"service": self.url + "/manifest.json", "period_ms": 1500}
        signing = (self.folder / "sign.pem").read_bytes()
        sample.workshop(self.flash, self.folder / "lamp1.hex", signing, settings)

    def release(self, n: int, number: int) -> None:
        """Image `n` becomes a release, number `number` of the manifest."""
        given = [
            "--version",
            str(number),
            "--url",
            self.url,
            "--key",
            "sign.pem",
            "--product",
            sample.PRODUCT,
            "-o",
            "shelf",
        ]
        typed("pic32", "pack", f"lamp{n}.hex", *given)

    def page(self) -> bytes:
        """The front of the control page."""
        with self.flash.open("rb") as f:
            f.seek(BASE)
            return f.read(16)

    def sectors(self, n: int) -> int:
        """How many sectors of image n lie in program flash."""
        code = self.codes[n - 1]
        with self.flash.open("rb") as f:
            f.seek(BASE + PAGE)
            seen = f.read(len(code))
        return sum(code[i : i + PAGE] == seen[i : i + PAGE] for i in range(0, len(code), PAGE))

    def runs(self, n: int) -> None:
        """Image n lies in program flash, byte for byte."""
        if self.sectors(n) * PAGE < len(self.codes[n - 1]):
            raise AssertionError(f"what lies in program flash is not the code of lamp{n}.hex")
        out.print(
            f"  program flash holds the {len(self.codes[n - 1]):,} bytes of [bold]lamp{n}.hex[/], page {self.shown()}"
        )

    def shown(self) -> str:
        status, kind = self.page()[0], self.page()[3]
        return f"{status:02X}, type {kind:02X}"

    def programming(self, n: int) -> None:
        """Wait until the bootloader has written a part of image n."""
        end = time.monotonic() + 40
        while self.sectors(n) < 20:
            if time.monotonic() > end:
                raise TimeoutError("the bootloader programs nothing")
            time.sleep(0.002)

    def stored(self, board: VirtualBoard) -> None:
        """The database, as it is on the board's FAT file system."""
        for row in board.run("print(open('/mnt/ota/image_database.csv').read())").split():
            out.print(f"  {'row':>10}  [dim]{escape(row[:60])}...[/]")


def packed(demo: Demo) -> None:
    """Act 1."""
    act(1, "A build's HEX becomes a release")
    typed("pic32", "pack", "lamp1.hex", "--bootloader", "bootloader.hex", "-o", "factory")
    out.print("  one HEX for the programmer: a board leaves the workshop with lamp1.hex and its bootloader")
    demo.create()
    demo.release(2, 2)
    typed("inspect", "shelf/lamp2.bin")


def updated(demo: Demo, board: VirtualBoard) -> None:
    """Act 2: everything by itself, and the power goes where the vendor's bootloader loses both images."""
    act(2, "An update, and a power cut while the bootloader programs")
    console = Listener(board.port)
    console.until("database entry")
    demo.programming(2)
    board.kill()
    board.options.hold = -1
    console.close()
    n, of = demo.sectors(2), -(-len(demo.codes[1]) // PAGE)
    out.print(
        f"  [bold red]power cut[/]: {n} of {of} sectors are the new image's, the page is {demo.shown()}. Power on."
    )
    board.on()
    console = Listener(board.port)
    console.until("programs image1.bin")
    console.until("confirmed")
    console.close()
    demo.runs(2)
    demo.stored(board)


def gone_back(demo: Demo, board: VirtualBoard) -> None:
    """Act 3: an image that boots, and is not well."""
    act(3, "A bad release: it boots, but its self-test says no")
    board.behave(machine.firmware(demo.folder / "lamp3.hex"), "unhealthy")
    demo.release(3, 3)
    console = Listener(board.port)
    console.restart()
    console.until("programs image2.bin")
    console.until("programs image1.bin")
    console.until("not available")
    console.close()
    demo.runs(2)
    typed("status", "--port", board.port)


def restored(demo: Demo, board: VirtualBoard) -> None:
    """Act 4: the control message of the vendor's service."""
    act(4, "Factory reset, by a control message")
    (demo.folder / "shelf" / "manifest.json").write_text('{"ota": []}\n')
    console = Listener(board.port)
    console.until("not available")
    # A check that the console broke off is finished first: while it lasts no message is taken.
    console.type("any(service.step() == 'idle' for _ in range(9))")
    console.type("service.control(events.FACTORY_RESET); board.reset()")
    console.until("programs factory_reset.bin")
    console.until("not available")
    console.close()
    demo.runs(1)


def act(number: int, title: str) -> None:
    """The heading of an act."""
    out.print()
    out.print(Rule(f"{number}. {title}", align="left", style="cyan"))


def play(folder: Path) -> None:
    """The story."""
    server = serve(folder / "shelf")
    try:
        demo = Demo(folder, f"http://127.0.0.1:{server.server_address[1]}")
        demo.build()
        packed(demo)
        # The first image that the bootloader programs is cut off there.
        with VirtualBoard(demo.flash, Options(hold=BASE + 25 * PAGE)) as board:
            updated(demo, board)
            gone_back(demo, board)
            restored(demo, board)
    finally:
        server.shutdown()
        server.server_close()


def serve(folder: Path) -> ThreadingHTTPServer:
    """The folder's files, over HTTP: any web server will do."""
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Run it in a folder of its own, which is removed at the end."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpota-demo-") as name, chdir(name):
        play(Path(name))
    out.print()
    out.print(Rule(f"{time.monotonic() - began:.1f} s", align="left"))
