"""`make demo LAYOUT=sifli`: an upgrade by phone, lost twice and gone on with; then its program confirms itself.

The board runs the shipped files as processes of its own, its manager too. Its program is a real firmware's bytes behind
a Cortex-M's vector table, which nothing here executes; what is Python runs from its file system.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from mpota.layout.sifli.store import control, progress
from mpota.version import text
from mpota_boot.journal import Record
from mpota_host.chips.sifli import sample, workshop
from mpota_host.chips.sifli.sim import machine
from mpota_host.demo import out, typed
from mpota_host.sim.board import VirtualBoard
from mpota_host.sim.flash import SimFlash
from mpota_host.sources import DEVICE, HOST

UPGRADE = "upgrade"


class Demo:
    """The acts, in a folder which is the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flash = folder / sample.BOARD
        self.programs = [machine.demo_program(name) for name in ("0608", "0831")]
        self.resource = sample.resource()

    def workshop(self) -> None:
        """A board with its first program and the user's own keys."""
        sample.board(self.folder, self.programs[0])
        (self.folder / "app.bin").write_bytes(self.programs[1])
        (self.folder / "res.bin").write_bytes(self.resource)

    def look(self, what: Any) -> Any:
        """`what(chip)` of the board's flash as it is now."""
        flash = SimFlash(machine.SIZE, path=str(self.flash))
        try:
            return what(machine.chip_of(flash))
        finally:
            flash.close()

    def wait(self, what: Any, why: str, timeout: float = 60) -> None:
        """Until `what(chip)` is true."""
        end = time.monotonic() + timeout
        while not self.look(what):
            if time.monotonic() > end:
                raise TimeoutError(why)
            time.sleep(0.02)

    def state(self) -> None:
        """Say what the journal of the board says."""
        now = self.look(progress.load)
        name = control.NAMES[now.image] if now.image != progress.NO_IMAGE else "nothing"
        forced = "it stays in its manager" if now.force else "it may go back to its program"
        out.print(f"  in its journal: {now.packets:,} packets of {name}; {forced}")


# It kills itself as soon as the chip has said that it has so many packets of an image: nobody need look in time.
DIES = """
import os, signal, sys
from pathlib import Path
from mpota_host.chips.sifli.phone import play

folder, port, image, packets = sys.argv[1:]
upgrade = play.load(Path(folder), {})
of = sum(len(one.records) for one in upgrade.images)
wanted = sum(len(one.records) for one in upgrade.images if one.id < int(image)) + int(packets)

def step(done, total):
    if done >= total * wanted // of:
        os.kill(os.getpid(), signal.SIGKILL)

play.push(upgrade, play.Choice(newer=False), play.Way(port), print, step)
"""


def push_and_die(demo: Demo, port: str, image: int, packets: int) -> None:
    """A phone that is gone in the middle of an image."""
    out.print(f"\n[dim]$[/] mpota {shlex.join(['sifli', 'push', UPGRADE, '--port', port, '--older'])}")
    command = [sys.executable, "-c", DIES, UPGRADE, port, str(image), str(packets)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HOST, DEVICE)))}
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env, timeout=90)
    if done.returncode != -signal.SIGKILL:
        raise AssertionError(f"the phone did not come so far: {done.stderr}")

    def there(chip: Any) -> bool:
        now = progress.load(chip)
        return bool(now.image == image and now.packets >= packets)

    demo.wait(there, "its packets are not in the journal")


def acts(demo: Demo, board: VirtualBoard) -> None:
    """Lost in the program, lost in the resource, done."""
    out.rule("2. The phone is gone in the middle of the program", align="left")
    board.wait("reset", image="user")
    push_and_die(demo, board.port, control.HCPU, 100)
    demo.state()
    out.print("  Only a staging area was written: the old program is whole, and runs again after a reset.")
    out.rule("3. The chip says 10, the phone resumes; then the power goes in the resource", align="left")
    push_and_die(demo, board.port, control.RES, 100)
    board.kill()
    demo.state()
    board.on()
    board.wait("reset", image="manager")
    out.print("  A resource is written in place, so the manager stays after the reset, whatever time it takes.")
    out.rule("4. Once more, with the newer messages: the rest of it, install, restart", align="left")
    typed("sifli", "push", UPGRADE, "--port", board.port)
    board.wait("reset", image="user")
    demo.wait(confirmed, "the new program did not confirm itself")


def confirmed(chip: Any) -> bool:
    """Does the journal say that 1.1.0 was confirmed?"""
    record = Record.decode(chip.journal.last("running"))
    return bool(record and text(record.version).startswith("1.1.0"))


def verdict(demo: Demo) -> None:
    """What lies in the flash, byte for byte."""

    def held(place: Any, n: int) -> bytes:
        buf = bytearray(n)
        place.read(0, buf)
        return bytes(buf)

    new, res = demo.programs[1], demo.resource
    if demo.look(lambda chip: held(chip.user, len(new))) != new:
        raise AssertionError("the program is not what was packed")
    if demo.look(lambda chip: held(chip.place(control.RES), len(res))) != res:
        raise AssertionError("the resource is not what was packed")
    out.print(f"  healthy, so it confirmed itself: 1.1.0 runs, {len(new):,} bytes as they were packed;")
    out.print(f"  resources {len(res):,} bytes as they were packed; the program before waits in its area for a retreat")


def play(demo: Demo) -> None:
    """The whole story."""
    demo.workshop()
    out.rule("1. The vendor's packer, its letters: a compressed program and a resource", align="left")
    keys = ["--key", workshop.ROOT_KEY, "--sigkey", workshop.SIGNING_KEY]
    images = ["app.bin", "16", "0", "res.bin", "0", "3"]
    typed("sifli", "pack", *images, *keys, "--fw_ver", "1.1.0", "-o", UPGRADE)
    with VirtualBoard(demo.flash) as board:
        acts(demo, board)
    verdict(demo)


def main() -> None:
    """In a folder of its own, which is removed at the end."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpota-demo-") as folder, chdir(folder):
        play(Demo(Path(folder)))
    out.print(f"\nDone in {time.monotonic() - began:.1f} s.")


if __name__ == "__main__":
    main()
