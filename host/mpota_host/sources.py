"""Where the files are that go on a board, in a checkout and in an installed wheel; how a unix port finds them.

`mpota` and `mpota_boot` lie beside each other in one folder, on a PC as in `/lib` of a board.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

HOST = Path(__file__).resolve().parent.parent
# The root of a checkout, which has build/, tests/ and pyproject.toml; None where mpota was installed from a wheel.
CHECKOUT = HOST.parent if (HOST.parent / "pyproject.toml").is_file() else None


def _device() -> Path:
    found = find_spec("mpota")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the package mpota, which goes on boards, is not installed", name="mpota")
    return Path(found.origin).resolve().parent.parent


DEVICE = _device()
# The two packages that a board carries.
PACKAGES = ("mpota_boot", "mpota")
PROGRAMS = ("boot.py", "main.py")
# The default of a layout, in its own folder.
WIRING = "wiring.py"


def modules() -> list[Path]:
    """Every module of both packages."""
    return [path for name in PACKAGES for path in sorted((DEVICE / name).rglob("*.py"))]


def module_path(name: str) -> Path:
    """The file of a module by its dotted name, a package's `__init__.py` included."""
    base = (HOST if name.startswith("mpota_host") else DEVICE) / name.replace(".", "/")
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def name_of(path: Path) -> str:
    """What a module is called below its source root: `mpota/link/http.py`."""
    return path.relative_to(DEVICE).as_posix()


def program(name: str) -> Path:
    """boot.py or main.py as shipped."""
    for path in (*([CHECKOUT / name] if CHECKOUT else []), Path(__file__).with_name("shipped") / name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is missing: this installation of mpota is not whole; install it again")


def shipped(layout: str) -> dict[str, Path]:
    """What lies at the root of a board of this layout, by name, and is its owner's to change."""
    wing = DEVICE / "mpota" / "layout" / layout
    own = {path.name: path for path in sorted((wing / "programs").glob("*.py"))}
    return {**{name: program(name) for name in PROGRAMS}, WIRING: wing / WIRING, **own}


def root() -> Path:
    """The checkout, for what only a checkout has."""
    if CHECKOUT is None:
        raise FileNotFoundError("this needs a checkout of mpota, with its tests and build files; a wheel has none")
    return CHECKOUT


def port_environment() -> dict[str, str]:
    """The environment in which a unix port imports mpota, mpota_boot and mpota_host."""
    paths = list(dict.fromkeys(map(str, (DEVICE, HOST, *([CHECKOUT] if CHECKOUT else [])))))
    return {**os.environ, "MICROPYPATH": ":".join([*paths, ".frozen"])}
