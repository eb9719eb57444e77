"""`mpota mip`: folders that stock `mip install` takes, one for each kind of processor, to lie on any web server.

`mip` asks a board for its .mpy version and never for its processor: the person who types the URL chooses the folder. It
writes to `lib` and nowhere else, so boot.py, main.py and the layout's wiring.py go along as texts, and
`import mpota.setup` on the board copies them to where they run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mpota_boot.errors import Refused
from mpota_host import __version__
from mpota_host.board import carried, flash
from mpota_host.package.content import modules
from mpota_host.sources import WIRING, module_path, name_of, shipped

# For boards that run no native code: without the modules that need it, which are the decoders of delta and LZMA.
BYTECODE = "none"
# mpy-cross 1.29 knows rv64imc and has no native code for it.
ARCHES = (*[arch for arch in modules.ARCHES if arch not in ("", "rv64imc")], BYTECODE)
PACKAGE = "package.json"
SETUP = "mpota.setup"
NEXT = """put it on a web server, for example: python -m http.server -d {folder}
then: mpremote mip install http://ADDRESS:8000/{arch}/package.json, and: mpremote exec "import mpota.setup" """.rstrip()


@dataclass(frozen=True)
class MipOptions:
    """What the boards have in common."""

    layout: str = "esp32"
    lzma: bool = False
    mpy_version: str = "6.3"


@dataclass(frozen=True)
class Made:
    """One folder, and what lies in it."""

    arch: str
    folder: Path
    files: int
    size: int


def contents(arch: str, wish: MipOptions) -> dict[str, bytes]:
    """Path below `lib` -> content, for one of ARCHES."""
    code = "" if arch == BYTECODE else arch
    files = {}
    for path in [*carried.modules(wish.layout, wish.lzma), module_path(SETUP)]:
        native = flash.native(path)
        if path.name != WIRING and (code or not native):
            # Bytecode is the same for every processor.
            data = flash.compile_mpy(path, code if native else "", wish.mpy_version)
            files[Path(name_of(path)).with_suffix(".mpy").as_posix()] = data
    texts = {name: path.read_bytes() for name, path in shipped(wish.layout).items()}
    files |= {f"mpota/shipped/{name}": data for name, data in texts.items()}
    files[flash.RECORD.removeprefix(flash.LIB)] = record(files, texts)
    return files


def record(files: dict[str, bytes], texts: dict[str, bytes]) -> bytes:
    """The hashes by which a later `mpota flash`, and mpota.setup, know a file as ours."""
    whole = {flash.LIB + name: data for name, data in files.items()}
    whole |= {"/" + name: data for name, data in texts.items()}
    return json.dumps({path: [flash.digest(data)] for path, data in sorted(whole.items())}).encode()


def write(folder: Path, arches: Sequence[str], wish: MipOptions) -> list[Made]:
    """A folder for each architecture; its package.json comes last, so that nobody installs half of it."""
    arches = list(dict.fromkeys(arches or ARCHES))
    for arch in arches:
        place = folder / arch
        if place.exists() and not (place / PACKAGE).is_file():
            raise Refused("exists", f"{place} is there and no folder of `mpota mip`: give another FOLDER, or remove it")
    return [_write(folder / arch, arch, contents(arch, wish)) for arch in arches]


def example(made: Sequence[Made]) -> str:
    """An architecture to show a person: an ESP32's where it is there."""
    return "xtensawin" if any(one.arch == "xtensawin" for one in made) else made[0].arch


def _write(folder: Path, arch: str, files: dict[str, bytes]) -> Made:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    package = {"v": 1, "version": __version__, "urls": [[name, name] for name in sorted(files)], "deps": []}
    (folder / PACKAGE).write_bytes(json.dumps(package, indent=1).encode() + b"\n")
    return Made(arch, folder, len(files), sum(map(len, files.values())))
