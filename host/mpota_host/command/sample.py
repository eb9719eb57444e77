"""What `mpota sample` does: a folder in which a chip's guide can be typed from its first line to its last."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from mpota_boot.errors import Refused
from mpota_host.registry import part_of
from mpota_host.sim.supervisor import BoardError


@dataclass(frozen=True)
class Made:
    """`files`: name -> bytes; `commands`: what to type next."""

    files: dict[str, int]
    commands: list[str]


def write(chip: str, folder: Path) -> Made:
    """Fill a new or empty folder; Refused where it holds something. What fails on the way leaves it as it was."""
    new = not folder.exists()
    if not new and any(folder.iterdir()):
        raise Refused("exists", f"{folder} holds something and is left as it is: name a new folder, or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        commands: list[str] = part_of(chip, "sample").write(folder)
    except BaseException as e:
        _empty(folder)
        if new:
            folder.rmdir()
        if isinstance(e, BoardError):
            raise Refused("board", str(e)) from e
        raise
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}
    first = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    return Made(files, first + commands)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
