"""Files of an application that MicroPython would not load, or would load in place of what mpota imports.

Both end in an application that every board gives up, so they are refused before anything is signed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from mpota_boot.errors import Refused

# docs.micropython.org/en/latest/reference/mpyfiles.html; by the number in a header.
ARCHES = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "rv64imc"),
)


class Header(NamedTuple):
    """What the first bytes of an .mpy say: `version` "6.3", `arch` of its native code, "" for none."""

    version: str
    arch: str


def header(data: bytes) -> Header | None:
    """None where the bytes are no .mpy."""
    if len(data) < 4 or data[0] != ord("M"):
        return None
    arch = data[2] >> 2 & 0x0F
    return Header(f"{data[1]}.{data[2] & 3}", ARCHES[arch] if arch < len(ARCHES) else f"number {arch}")


def want_loadable(files: Mapping[str, bytes], version: str, arch: str) -> None:
    """Refused where a board that loads .mpy `version`, with native code of `arch` ("" for any), cannot load a file.

    Bytecode needs the same number before the dot, native code the one behind it too.
    """
    for path, data in files.items():
        if not path.endswith(".mpy"):
            continue
        found = header(data)
        if found is None:
            raise Refused("mpy", f"{path} is no .mpy file: pack its source, or compile it with mpy-cross")
        same = found.version == version if found.arch else found.version.split(".")[0] == version.split(".")[0]
        if not same:
            raise Refused(
                "mpy",
                f"{path} has .mpy version {found.version}, the boards load {version}: pack its source with --mpy,"
                " or name theirs with --mpy-version",
            )
        if arch and found.arch not in ("", arch):
            raise Refused("mpy", f"{path} has code for {found.arch}, the boards are {arch}: compile it for them")


def want_unhidden(paths: Iterable[str], imported: Collection[str]) -> None:
    """Refused where a file would be found in place of one of the modules `imported` by mpota on the board.

    The application's folder and its `lib` stand first on the board's sys.path; a folder is a module too.
    """
    for path in paths:
        inside = path.removeprefix("lib/")
        top, deeper, _ = inside.partition("/")
        name, _, suffix = top.partition(".")
        if name in imported and (deeper or suffix in ("py", "mpy")):
            raise Refused(
                "path",
                f"{path!r} would hide the module {name!r} that mpota imports on the board: give it another name",
            )
