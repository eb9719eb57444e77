"""What the figures are measured on: the real firmwares, packages of them, and the device's modules as .mpy.

All of it lies in `build/bench`, made anew for each run; the unix port works in that folder and sees only .mpy there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mpota_host.bench.size.packages import PRODUCT, WBITS, Pair, package, words
from mpota_host.board.carried import modules
from mpota_host.board.flash import compile_mpy, compile_source
from mpota_host.package import keys
from mpota_host.package.encode import delta, encrypt
from mpota_host.registry import prepare
from mpota_host.sim.board import native_arch, real_firmware
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import DEVICE, root

FOLDER = root() / "build" / "bench"
SLOT = 0x180000  # a slot of MicroPython's 4MiB-ota table
LOOPS = ("small", "race", "laps", "app_board")
__all__ = ["PRODUCT", "WBITS", "Material", "Offer"]


def shipped() -> list[Path]:
    """The modules of an ESP32 that has every stage, of a board that has files alone, and the link of the bench."""
    more = ("mpota/pipe/lzma.py", "mpota/link/file.py")
    return sorted({*modules("esp32"), *modules("files"), *(DEVICE / name for name in more)})


@dataclass
class Offer:
    """A package in the folder; `kind` is one of packages.py, `seconds` what making it took, the plan included."""

    kind: str
    room: int
    path: Path
    seconds: float

    @property
    def words(self) -> str:
        """The kind and the room that it needs."""
        return words(self.kind, self.room)


class Material:
    """The folder and what is in it. `old` runs on the board, `new` is the update."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.offers: dict[str, Offer] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.key = keys.generate(folder / "key.pem")
        self.public = keys.public_bytes(self.key)
        self.secret = encrypt.content_key()
        (folder / "device.key").write_bytes(self.secret)
        self.erase()

    def erase(self) -> None:
        """A blank slot: what is in it afterwards was written afterwards."""
        self.slot.write_bytes(b"\xff" * SLOT)

    def runs(self, pair: Pair) -> None:
        """Put the old image of a pair where the loops find the running one."""
        (self.folder / "old.bin").write_bytes(pair.old)

    @property
    def slot(self) -> Path:
        """The file that stands for the slot's flash."""
        return self.folder / "slot.bin"

    @cached_property
    def pair(self) -> Pair:
        """The two firmwares of the ESP32, of which the older one runs from now on."""
        images = [bytes(prepare("esp32", real_firmware(name).read_bytes())[0]) for name in ("0608", "0831")]
        pair = Pair("ESP32", images[0], images[1])
        self.runs(pair)
        return pair

    @property
    def old(self) -> bytes:
        return self.pair.old

    @property
    def new(self) -> bytes:
        return self.pair.new

    def offer(self, kind: str, room: int, pair: Pair | None = None) -> Offer:
        """The signed package of a pair's new image, put together once."""
        pair = pair or self.pair
        path = self.folder / f"{pair.name} {kind} {room}.mpota".replace(" + ", "+").replace(" ", "-")
        if path.name not in self.offers:
            # Finding what both images share is a part of every package's time.
            delta.matched.cache_clear()
            began = time.perf_counter()
            path.write_bytes(package(pair, kind, room, self.key, self.secret))
            self.offers[path.name] = Offer(kind, room, path, time.perf_counter() - began)
        return self.offers[path.name]

    @cached_property
    def bare(self) -> Path:
        """The bytes of `new`, as a plain file."""
        path = self.folder / "new.bin"
        path.write_bytes(self.new)
        return path

    @cached_property
    def stream(self) -> Path:
        """The bytes of `new` as one deflate stream, with the window that packages have."""
        path = self.folder / "new.deflate"
        deflate = zlib.compressobj(9, zlib.DEFLATED, -WBITS, 9)
        path.write_bytes(deflate.compress(self.new) + deflate.flush())
        return path

    @cached_property
    def mpy(self) -> Path:
        """The device's modules and the loops of the bench, compiled for this machine's port."""
        folder = self.folder / "mpy"
        arch = native_arch()
        for path in shipped():
            out = folder / path.relative_to(DEVICE).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(compile_mpy(path, arch))
        for name in LOOPS:
            source = Path(__file__).parent / "on_port" / (name + ".py")
            (folder / (name + ".mpy")).write_bytes(compile_source(source.read_bytes(), name + ".py", arch, "6.3"))
        return folder

    def port(self, code: str, heap: str = "1M") -> subprocess.CompletedProcess[str]:
        """Run one line on the unix port, in the folder, on nothing but .mpy."""
        environment = {**os.environ, "MICROPYPATH": f"{self.mpy}:.frozen"}
        command = [unix_port(), "-X", f"heapsize={heap}", "-c", code]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)

    def told(self, code: str, heap: str = "1M") -> str:
        """What the port printed; RuntimeError where it failed."""
        done = self.port(code, heap)
        if done.returncode:
            raise RuntimeError(f"the unix port failed: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout
