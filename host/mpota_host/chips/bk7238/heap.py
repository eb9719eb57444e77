"""The loader on the MicroPython unix port, from .mpy, on a heap of so many KiB: does a real package install?

The flash is a plain file, read and written in place, so that what is measured is the loader and the interpreter.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from mpota.layout.bk7238.store import table
from mpota_host.board.flash import compile_mpy, compile_source
from mpota_host.sim.board import native_arch
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import DEVICE

# KiB on which each has to install.
BARS = {"lzma": 160, "gzip": 96, "none": 56}
SIZE = 0x200000
NEEDED = (
    "mpota_boot/errors",
    "mpota_boot/journal",
    *(f"mpota/{name}" for name in ("stream", "version", "pipe/lzma", "store/*")),
)
NEEDED += tuple(f"mpota/layout/bk7238/{name}" for name in ("*", "pipe/*", "store/*", "loader/*"))
HARNESS = """
from mpota.layout.bk7238 import loader
from mpota.layout.bk7238.store import table
from mpota.layout.bk7238.store.coded import Coded
from mpota.store.flash import Region

class Flash:
    size, erase_size, prog_size, erased = {size}, 4096, 1, 255

    def __init__(self):
        self.file = open("flash", "r+b")

    def read(self, off, buf):
        self.file.seek(off)
        self.file.readinto(buf)

    def prog(self, off, buf):
        self.file.seek(off)
        self.file.write(buf)

    def erase(self, off, n):
        self.file.seek(off)
        blank = b"\\xff" * 256
        for _ in range(0, n, 256):
            self.file.write(blank)

flash = Flash()
parts = {{}}
for name, row in table.entries({size}).items():
    parts[name] = (Coded if row.code else Region)(flash, row.offset, row.size)
print(loader.boot(loader.Options(parts)).code)
"""


def compiled(folder: Path) -> None:
    """What the loader imports, as .mpy for this machine's port."""
    arch = native_arch()
    for pattern in NEEDED:
        for path in sorted(DEVICE.glob(pattern + ".py")):
            out = folder / path.relative_to(DEVICE).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(compile_mpy(path, arch))


def boot(package: bytes, heap: int) -> tuple[int | None, bytes]:
    """(the loader's result code, or None where memory ran out; the whole flash afterwards)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled(folder)
        at = table.entries(SIZE)[b"download"].offset
        flash = bytearray(b"\xff" * SIZE)
        flash[at : at + len(package)] = package
        (folder / "flash").write_bytes(flash)
        harness = HARNESS.format(size=SIZE).encode()
        (folder / "run.mpy").write_bytes(compile_source(harness, "run.py", native_arch(), "6.3"))
        command = [unix_port(), "-X", f"heapsize={heap}k", "-c", "import run"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        said = done.stdout + done.stderr
        if done.returncode and "memory" not in said.lower():
            raise RuntimeError(said)
        # The loader's own code for too little memory is -6.
        code = None if done.returncode or int(said) == -6 else int(said)
        return code, (folder / "flash").read_bytes()
