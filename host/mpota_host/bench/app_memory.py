"""The least heap on which the unix port takes an update of application files alone, found as memory.py finds it."""

from __future__ import annotations

import shutil
from pathlib import Path

from mpota_host.bench.figure import AT_MOST, Figure
from mpota_host.bench.material import PRODUCT, Material
from mpota_host.bench.memory import DEFAULT_ROOM
from mpota_host.bench.size.packages import VERSION, words
from mpota_host.package.assemble import Head, Part, assemble
from mpota_host.package.content import app
from mpota_host.package.encode.piece import pieces
from mpota_host.package.format import FILES

BAR = 40
LOW, HIGH = 24, 128
# Five files of the size that applications have, none compressible to nothing.
NAMES = ("app.py", "lib/menu.py", "lib/net.py", "page.html", "words.txt")
BYTES = 9001


def package(material: Material) -> Path:
    """A signed package of a five-file application, raw, as `pack --app` makes it."""
    folder = material.folder / "app"
    shutil.rmtree(folder, ignore_errors=True)
    for i, name in enumerate(NAMES):
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(material.new[i * BYTES : (i + 1) * BYTES])
    data = app.tree(folder / "source", {}).data
    part = Part(FILES, "files", data, pieces(data, DEFAULT_ROOM))
    path = material.folder / "application.mpota"
    path.write_bytes(assemble(Head(PRODUCT, "files", VERSION, DEFAULT_ROOM), [part], material.key))
    return path


def completes(material: Material, make: str, name: str, heap: int) -> bool:
    """Does the update end on `heap` KiB, with every file in its tree? RuntimeError where it fails of anything else."""
    tree = material.folder / "app" / "ota"
    shutil.rmtree(tree, ignore_errors=True)
    done = material.port(f"import app_board; app_board.run(app_board.{make}, {name!r}, {DEFAULT_ROOM})", f"{heap}k")
    if done.returncode == 0 and done.stdout.endswith("armed\n"):
        for i, path in enumerate(NAMES):
            if (tree / "1" / path).read_bytes() != material.new[i * BYTES : (i + 1) * BYTES]:
                raise RuntimeError(f"{path} is not what was sent")
        return True
    if "MemoryError" not in done.stdout + done.stderr and "memory" not in done.stderr:
        raise RuntimeError(f"the update failed on {heap} KiB: {(done.stderr or done.stdout).strip()[-500:]}")
    return False


def least(material: Material, make: str, name: str) -> int:
    """KiB, the least from which on it completes at every size up to HIGH."""
    size = HIGH
    while size > LOW and completes(material, make, name, size - 1):
        size -= 1
    return size


def measure(material: Material) -> list[Figure]:
    """Beside firmware's figure on the same terms, then with everything that such a board has."""
    name = package(material).name
    files = f"application files, {len(NAMES)} x {BYTES:,} bytes"
    small, whole = least(material, "Small", name), least(material, "whole", name)
    note = "the trees; a dict as journal"
    return [
        Figure(f"{files}, {words('raw', DEFAULT_ROOM)}", small, "KB", AT_MOST, BAR, note),
        Figure(f"{files}, whole", whole, "KB", note="layout files, its journal in two files"),
    ]
