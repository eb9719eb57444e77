"""Plans of large deltas are kept in build/plans from one run to the next: the real pair takes ten seconds each time.

A plan is found by the SHA-256 of both images, and its folder by that of the encoder's own sources, so a changed encoder
never meets an old plan. `delta.plan` itself keeps nothing; this stands before it in tests only. `fresh` is the encoder
itself.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path

from mpota_host.package.encode import delta
from mpota_host.package.encode.fill import SECTORS, Way
from mpota_host.package.encode.piece import Piece

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "plans"
# Old and new image together; what is smaller is planned faster than it is looked up in words.
LARGE = 1 << 20
# Everything of the project that takes part in planning.
SOURCES = (
    "host/mpota_host/__init__.py",
    "host/mpota_host/package/__init__.py",
    "host/mpota_host/package/format.py",
    "host/mpota_host/package/encode/*.py",
    "device/mpota_boot/*.py",
    "device/mpota/*.py",
    "device/mpota/pipe/*.py",
    "host/mpota_host/sim/cpython/*.py",
)

fresh = delta.plan


def sources() -> list[Path]:
    return sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))


def encoder() -> str:
    """Changes with anything that a plan depends on besides its images."""
    digest = hashlib.sha256(f"{version('hdiffpatch')} {zlib.ZLIB_RUNTIME_VERSION} {sys.version}".encode())
    for path in sources():
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


class Plans:
    """`mpota_host.package.encode.delta.plan` with a memory."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder / encoder()

    def plan(
        self, old: bytes, new: bytes, way: Way, limit: int, predict: bool = False, sectors: int = SECTORS
    ) -> delta.Delta:
        if len(old) + len(new) < LARGE:
            return fresh(old, new, way, limit, predict, sectors)
        images = "-".join(hashlib.sha256(image).hexdigest() for image in (old, new))
        options = hashlib.sha256(repr((way, limit, predict, sectors)).encode()).hexdigest()[:16]
        path = self.folder / f"{images}-{options}"
        known = load(path)
        if known is None:
            known = fresh(old, new, way, limit, predict, sectors)
            self.save(path, known)
        return known

    def save(self, path: Path, made: delta.Delta) -> None:
        """Whole or not at all: another process may look for it. Plans of other encoders go."""
        if not self.folder.is_dir():
            shutil.rmtree(self.folder.parent, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            file.write(encode(made))
        os.replace(file.name, path)


def encode(made: delta.Delta) -> bytes:
    """A digest, and a line of JSON with the chunks in hex."""
    chunks = [(piece.data.hex(), piece.output) for piece in made.pieces]
    text = json.dumps([made.predicted, made.facts, chunks]).encode()
    return hashlib.sha256(text).digest() + zlib.compress(text, 1)


def load(path: Path) -> delta.Delta | None:
    """None where there is none, or a damaged one."""
    try:
        data = path.read_bytes()
        text = zlib.decompress(data[32:])
    except (OSError, zlib.error):
        return None
    if hashlib.sha256(text).digest() != data[:32]:
        return None
    predicted, facts, chunks = json.loads(text)
    return delta.Delta([Piece(bytes.fromhex(data), output) for data, output in chunks], predicted, facts)
