"""Several packages of one version, deltas and the full one: the smallest that the board takes is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpota_boot.errors import Refused
from mpota_host.board.push import Report
from mpota_host.package import read as inspect

# What a board refuses for a reason that another package of the same version may not have.
NEXT = ("base", "stage", "encrypted", "room", "MemoryError")


@dataclass(frozen=True)
class Offer:
    """A whole package, and how many bytes it installs."""

    file: Path
    data: bytes
    installed: int


@dataclass(frozen=True)
class Said:
    """The board's last report, and the file that it is about."""

    code: str
    text: str
    file: Path


def read(files: Sequence[Path]) -> list[Offer]:
    """The packages, smallest first; Refused unless they are of one product, layout and version."""
    found, names = [], {}
    for file in dict.fromkeys(files):
        data = file.read_bytes()
        inspect.want_whole(data)
        package, facts = inspect.read_package(data), inspect.package_facts(data)
        names[f"{facts['product']} {facts['version']} for {facts['layout']}"] = file
        found.append(Offer(file, data, sum(part.size for part in package.components)))
    if len(names) > 1:
        seen = ", ".join(f"{file} is {name}" for name, file in names.items())
        raise Refused("version", f"packages of one version can be pushed together: {seen}")
    return sorted(found, key=lambda one: len(one.data))


def push(files: Sequence[Path], send: Callable[[Offer], Report], note: Callable[[str], None]) -> Said:
    """Send them until the board takes one, or refuses what no other could change."""
    offers = read(files)
    for one, other in zip(offers, [*offers[1:], None], strict=True):
        said = send(one)
        if other is None or said.code not in NEXT:
            break
        note(f"the board does not take {one.file.name} ({said.text}); next {other.file.name}")
    return Said(said.code, said.text, one.file)
