"""What the figures are measured on: the real firmwares, packages of them, and the device's modules as .mpy.

All of it lies in `build/bench`, made anew for each run; the unix port works in that folder and sees only .mpy there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from host import keys, pack
from host.flash import ROOT, compile_mpy, modules
from host.sim.board import native_arch, real_firmware
from host.sim.supervisor import unix_port
from host.vendor import prepare

FOLDER = ROOT / "build" / "bench"
SLOT = 0x180000  # a slot of MicroPython's 4MiB-ota table
PRODUCT = "bench"
LOOPS = ("small", "race")


@dataclass
class Offer:
    """A package in the folder."""

    compress: str
    chunk: int
    path: Path

    @property
    def words(self) -> str:
        """The kind and the size of its chunks."""
        return f"{'raw' if self.compress == 'none' else self.compress} {self.chunk // 1024} KiB"


class Material:
    """The folder and what is in it. `old` runs on the board, `new` is the update."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.key = keys.generate(folder / "key.pem")
        self.public = keys.public_bytes(self.key)
        self.slot.write_bytes(b"\xff" * SLOT)

    @property
    def slot(self) -> Path:
        """The file that stands for the slot's flash."""
        return self.folder / "slot.bin"

    @cached_property
    def old(self) -> bytes:
        return prepare("esp32", real_firmware("0608").read_bytes())[0]

    @cached_property
    def new(self) -> bytes:
        return prepare("esp32", real_firmware("0831").read_bytes())[0]

    def offer(self, compress: str, chunk: int) -> Offer:
        """The signed package of `new`, packed once."""
        path = self.folder / f"{compress}-{chunk}.mpota"
        if not path.exists():
            options = pack.Options(PRODUCT, "2.0.0", chunk=chunk, compress=compress)
            path.write_bytes(pack.pack(self.new, options, self.key).data)
        return Offer(compress, chunk, path)

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
        deflate = zlib.compressobj(9, zlib.DEFLATED, -pack.WBITS, 9)
        path.write_bytes(deflate.compress(self.new) + deflate.flush())
        return path

    @cached_property
    def mpy(self) -> Path:
        """The device's modules and the loops of the bench, compiled for this machine's port."""
        folder = self.folder / "mpy"
        arch = native_arch()
        for path in modules("esp32"):
            out = folder / path.relative_to(ROOT).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(compile_mpy(path, arch))
        for name in LOOPS:
            source = Path(__file__).with_name(name + ".py")
            (folder / (name + ".mpy")).write_bytes(compile_mpy(source, arch))
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
