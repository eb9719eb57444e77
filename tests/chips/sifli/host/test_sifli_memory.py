"""The manager installs a large program within the heap of a small chip, from .mpy, on the MicroPython unix port."""

import subprocess
from hashlib import sha256
from pathlib import Path

from mpota.layout.sifli.port import Chip
from mpota.layout.sifli.store import control, packets, progress
from mpota_host.board.flash import compile_mpy
from mpota_host.chips.sifli.packer import Options, compressed, pad
from mpota_host.sim.flash import SimFlash
from mpota_host.sources import DEVICE
from tests.chips.sifli import sifli_maker as maker

ROOT = Path(__file__).resolve().parents[4]
PROGRAM, STAGED, HEAP = 880 * 1024, 624 * 1024, "116k"
MODULES = [
    "device/mpota_boot/errors.py",
    "device/mpota_boot/journal.py",
    "device/mpota/stream.py",
    "device/mpota/version.py",
    "device/mpota/store/*.py",
    "device/mpota/layout/*.py",
    "device/mpota/pipe/__init__.py",
    "device/mpota/pipe/trust.py",
    "device/mpota/layout/sifli/**/*.py",
]
RUN = """
from mpota.layout.sifli import loader
from mpota.layout.sifli.port import Chip
class Flash:
    size, erase_size, prog_size, erased = {size}, 4096, 4, 255
    file = open({path!r}, "r+b")

    def read(self, off, buf):
        self.file.seek(off)
        self.file.readinto(buf)

    def prog(self, off, buf):
        self.file.seek(off)
        self.file.write(buf)

    def erase(self, off, n):
        for at in range(off, off + n, 64):
            self.prog(at, b"\\xff" * 64)

places = {places!r}
flash = Flash()
chip = Chip(flash, places, {efuse!r}, lambda: None)
print(loader.boot(chip).name)
flash.file.close()
"""


def program():
    """Bytes that compress to about two thirds."""
    noise = b"".join(sha256(b"%d" % i).digest()[:20] + b"\x00\x20\x70\x47" * 3 for i in range(PROGRAM // 32))
    return noise[:PROGRAM]


def test_a_large_program_is_installed_in_little_memory(tmp_path):
    data = program()
    stored = pad(compressed(data, Options(b"", b"", lambda _: b"")), True)
    assert len(data) == PROGRAM and STAGED - 40000 < len(stored) <= STAGED
    places = maker.places(areas=1)
    at = maker.BASE + 0xB000
    places |= {"user": (at, 896 * 1024), "upgrade": [(at + 896 * 1024, 640 * 1024)]}
    size = 0xB000 + (896 + 640) * 1024
    path = str(tmp_path / "flash.bin")
    flash = SimFlash(size, path=path)
    table = maker.table_bytes(places)
    flash.prog(0, table + b"\xff" * (-len(table) % 4))
    chip = Chip(flash, places, maker.efuse(), lambda: None)
    chip.slots[0].prog(0, stored)
    image = control.Image(maker.sign(stored), len(stored), control.COMPRESS, control.HCPU)
    packet = control.Control([0, 51, 7001, 1002003, maker.IMAGE_KEY, 512], [image])
    packets.save(chip, 0, packet)
    now = progress.Progress()
    now.state, now.fw, now.same = progress.INSTALL, progress.INSTALLING, packet.same()
    now.images[0] = progress.WHOLE
    progress.save(chip, now)
    for pattern in MODULES:
        for source in ROOT.glob(pattern):
            there = (tmp_path / source.relative_to(DEVICE)).with_suffix(".mpy")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(compile_mpy(source, "x64"))
    for name in ("mpota_boot", "mpota", "mpota/layout"):
        (tmp_path / name / "__init__.py").touch()
    text = RUN.format(places=places, size=size, path=path, efuse=maker.efuse())
    command = [str(ROOT / ".venv/bin/micropython"), "-X", f"heapsize={HEAP}", "-c", text]
    done = subprocess.run(
        command, env={"MICROPYPATH": f"{tmp_path}:.frozen"}, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "user\n"), done.stdout + done.stderr
    flash = SimFlash(size, path=path)
    chip = Chip(flash, places, maker.efuse(), lambda: None)
    assert maker.held(chip.user, PROGRAM) == data and chip.installed().size == PROGRAM
