"""The main job, as `make demo` shows it: real firmware and an application in one signed update, as a delta over HTTP to
a virtual ESP32, with a power cut in the middle; then a bad update that goes back by itself.

Nothing here takes part in the update: it makes the package and the board, serves a folder, pulls the plug once, and
draws what lies in the flash. What the board does, it does by the files that `make flash` puts on a real one.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.rule import Rule
from rich.table import Table

from mpota_boot.errors import Refused
from mpota_host.command import needs
from mpota_host.package import bases, keys
from mpota_host.package.content import app
from mpota_host.package.format import FIRMWARE
from mpota_host.package.pack import Options, goods, packages
from mpota_host.package.read import package_facts
from mpota_host.package.serve import write_manifest
from mpota_host.registry import having, part_of, prepare
from mpota_host.sim.board import BoardError, VirtualBoard, create, mpota_files, real_firmware
from mpota_host.sim.shop import Shop

flashmap = part_of("esp32", "flashmap")
PRODUCT = "etboard"
# The application: its health is the chip's temperature, which a sick image's board gets wrong.
APP = """\
import esp32

VERSION = "{}"

def step():
    pass

def health():
    return esp32.raw_temperature() < 200
"""
out = Console(highlight=False, soft_wrap=True)


def typed(*args: str, status: int = 0) -> None:
    """Show `mpota ARGS`, as a person types it, and run it in this process. Raises where its exit status is another."""
    from mpota_host.command import cli

    line = shlex.join(args)
    out.print(f"\n[dim]$[/] mpota {line}")
    found = 0
    try:
        cli.main(list(args))
    except SystemExit as e:
        found = int(e.code or 0)
    if found != status:
        raise AssertionError(f"`mpota {line}` ended with exit status {found}, wanted {status}")


@dataclass
class Step:
    """A line of the summary."""

    what: str
    seconds: float
    number: str = ""


@dataclass
class Demo:
    """What the demo's acts share."""

    folder: Path
    shop: Shop
    steps: list[Step] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def flash(self) -> Path:
        return self.folder / "flash.bin"

    def timed(self, what: str, act: Callable[[], Any], number: str = "") -> Any:
        """Do it and note how long it took."""
        began = time.monotonic()
        done = act()
        self.steps.append(Step(what, time.monotonic() - began, number))
        return done

    def map(self, title: str, running: str) -> None:
        """Draw the flash."""
        out.print()
        out.print(Rule(title, style="dim", align="left"))
        for line in flashmap.draw(self.flash.read_bytes(), running, self.names):
            out.print(line)
        out.print()


def prepare_board(demo: Demo, key: Path) -> tuple[bytes, bytes]:
    """A board with the old firmware as it leaves the workshop. Returns both applications, the old and the new one."""
    old, new = (bytes(prepare("esp32", real_firmware(name).read_bytes())[0]) for name in ("0608", "0831"))
    for data, name in ((old, "0608"), (new, "0831")):
        demo.names[hashlib.sha256(data).hexdigest()] = f"MicroPython {name}"
    settings = {
        "product": PRODUCT,
        "manifest": demo.shop.url + "/manifest.json",
        "report": demo.shop.url + "/report",
        "poll_ms": 500,
        "wdt_ms": 5000,
    }
    files = mpota_files(settings, {"release": keys.load_public(key)}) | {"/app.py": APP.format("1.0.0").encode()}
    create(demo.flash, old, "4MiB-ota", files, {"wifi": {"ssid": "workshop", "psk": "secret"}})
    return old, new


def release(demo: Demo, firmware: bytes, version: str, key: Path, old: bytes) -> list[Path]:
    """Sign firmware and application as one package, and as a delta to `old`; both go on the shelf."""
    folder = demo.folder / f"application-{version}"
    folder.mkdir()
    (folder / "app.py").write_text(APP.format(version))
    (folder / "page.html").write_text(f"<h1>{PRODUCT} {version}</h1>\n" * 50)
    given = goods("esp32", firmware, app.tree(folder, {}))
    base = bases.plain(Path("what runs"), (FIRMWARE, ""), old)
    paths = []
    for packed in packages(given, Options(PRODUCT, version), keys.load_private(key), [base]):
        path = demo.shop.folder / f"{PRODUCT}-{version}{'-delta' if packed.base else ''}.mpota"
        path.write_bytes(packed.data)
        share = len(packed.data) / int(str(packed.facts["image"]))
        out.print(f"  {path.name}: {len(packed.data):,} bytes, {share:.1%} of what is installed")
        paths.append(path)
    entries = [{**package_facts(path.read_bytes()), "file": path.name} for path in paths]
    write_manifest(demo.shop.folder, entries)
    out.print(f"  signed by {packed.facts['key']}; firmware and application files, one signature and one flip")
    return paths


def follow(demo: Demo, slot: int, image: bytes, until: float) -> float:
    """Draw a bar of the sectors that the flash holds, until this share of the image; the seconds it took."""
    began = time.monotonic()
    columns = (TextColumn("  in flash"), BarColumn(bar_width=40), DownloadColumn(), TransferSpeedColumn())
    done = 0
    with Progress(*columns, console=out) as bars, demo.flash.open("rb", buffering=0) as flash:
        task = bars.add_task("", total=len(image))
        while done < len(image) * until:
            flash.seek(slot + done)
            now = flash.read(4096)[: len(image) - done]
            if now and now == image[done : done + len(now)]:
                done += len(now)
                bars.update(task, completed=done)
            elif time.monotonic() - began > 60:
                raise TimeoutError("the board wrote nothing for a minute")
            else:
                time.sleep(0.005)
    return time.monotonic() - began


def running_app(board: VirtualBoard) -> str:
    """Which application the board imports, asked over its REPL; then main.py goes on, after a soft reset."""
    import serial

    told = board.run("import app\nprint(app.__file__, 'of version', app.VERSION)").strip()
    with serial.Serial(board.port) as line:
        line.write(b"\r\x02\x04")
    return told


def good_update(demo: Demo, board: VirtualBoard, new: bytes) -> None:
    """Fetch, a power cut in the middle, resume, trial, confirm."""
    slot = 0x190000
    out.print("  The manifest has version 1.1.0 twice; the board tries the smaller package first, and the delta fits.")
    demo.steps.append(Step("fetch and write, first part", follow(demo, slot, new, 0.4), "40 %"))
    board.kill()
    out.print("  [bold red]Power cut[/]: the board's process is killed with SIGKILL in the middle. Power on again.")
    before = len(demo.shop.ranges)
    board.on()
    demo.steps.append(Step("resume and write the rest", follow(demo, slot, new, 1), "60 %"))
    began = time.monotonic()
    out.print(f"  It asked for the header, and then went on with [bold]{demo.shop.ranges[before:][-1]}[/].")
    said = demo.shop.wait("armed")
    out.print(f"  read back, proven and armed: {said['text']}")
    started = board.wait("reset", image="ota_1")
    out.print(f"  reset: the loader starts [bold]{started['image']}[/]")
    said = demo.shop.wait("confirmed")
    out.print(f"  [green]healthy and confirmed[/]: {said['text']}, with {running_app(board)}")
    demo.steps.append(Step("read back, arm, reset, trial, confirm", time.monotonic() - began))


def bad_update(demo: Demo, board: VirtualBoard, sick: bytes) -> None:
    """An image that boots and is not well: the board goes back by itself."""
    board.behave(sick, "unhealthy")
    began = time.monotonic()
    board.wait("reset", image="ota_0", timeout=60)
    out.print("  fetched, proven, armed; reset: the loader starts [bold]ota_0[/]")
    board.wait("reset", image="ota_1")
    out.print("  its health check says no: retreat; reset: the loader starts [bold]ota_1[/] again")
    said = demo.shop.wait("failed")
    out.print(f"  [yellow]the board says why[/]: {said['text']}")
    out.print(f"  the old firmware runs again, and with it {running_app(board)}")
    demo.steps.append(Step("bad update and retreat", time.monotonic() - began))


def summary(demo: Demo, seconds: float) -> None:
    """The time and bytes of each step."""
    shown = Table(show_edge=False, pad_edge=False, box=None, header_style="dim")
    for column, side in (("step", "left"), ("seconds", "right"), ("", "right")):
        shown.add_column(column, justify=side)  # type: ignore[arg-type]
    for step in demo.steps:
        shown.add_row(step.what, f"{step.seconds:.2f}", step.number)
    shown.add_row("drawing flashes, starting boards", f"{seconds - sum(step.seconds for step in demo.steps):.2f}")
    shown.add_row("in all", f"{seconds:.2f}")
    out.print(shown)


def act(number: int, title: str) -> None:
    """The heading of an act."""
    out.print()
    out.print(Rule(f"{number}. {title}", align="left", style="cyan"))


def play(demo: Demo) -> None:
    """All acts."""
    key = demo.folder / "release.pem"
    act(1, "A board leaves the workshop, and a release is signed")
    demo.timed("key pair, RSA-3072", lambda: keys.generate(key))
    old, new = demo.timed("board: table, firmware, LittleFS, mpota as .mpy", lambda: prepare_board(demo, key))
    out.print("  a virtual ESP32: 4 MiB of flash, MicroPython's OTA table, the real firmware 0608 of a product on sale")
    out.print("  Xtensa code cannot run here: a slot's bytes are checked, written and chosen as on the")
    out.print("  chip, and what then executes is MicroPython's unix port with the board's files.")
    out.print("  Version 1.1.0 is the next real release, 0831, and the application that belongs to it:")
    paths = demo.timed(
        "package 1.1.0 and its delta", lambda: release(demo, real_firmware("0831").read_bytes(), "1.1.0", key, old)
    )
    demo.steps[-1].number = f"{paths[-1].stat().st_size:,} bytes"
    demo.map("flash before", "ota_0")
    with VirtualBoard(demo.flash) as board:
        act(2, "The update, and a power cut in the middle of it")
        good_update(demo, board, new)
        demo.map("flash after", "ota_1")
        act(3, "A bad release: it boots, but it is not well")
        demo.timed("package 1.2.0 and its delta", lambda: release(demo, old, "1.2.0", key, new))
        bad_update(demo, board, old)
        demo.map("flash after the retreat", "ota_1")


def main() -> None:
    """Run the demo in a folder of its own, which is removed at the end."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="mpota-demo-"))
    try:
        shelf = folder / "shelf"
        shelf.mkdir()
        demo = Demo(folder, Shop(shelf))
        play(demo)
        summary(demo, time.monotonic() - began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def story(layout: str = "") -> Callable[[], None]:
    """The demo of a layout that has one of its own, else this one."""
    if not layout:
        return main
    known = having("demo")
    if layout not in known:
        sys.exit(f"mpota: there is no demo of {layout!r}, only of {', '.join(['esp32', *known])}")
    told: Callable[[], None] = part_of(layout, "demo").main
    return told


if __name__ == "__main__":
    # A terminal that knows ASCII only gets a question mark for what it cannot show.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        needs.virtual_board("the demo")
        story(*sys.argv[1:])()
    except (Refused, BoardError) as e:
        sys.exit(f"mpota: {e}")
    except KeyboardInterrupt:
        sys.exit("mpota: the demo was stopped by Ctrl-C; its folder is removed")
