"""`python -m mpota_host.bench [--json] [--keep] [GROUP...]`: measures, and shows tables or JSON.

The JSON, the chart and the tables of host/README.md come to build/bench.*; `--keep` puts the last two into that page.
Exit status 1 where a figure misses its bar.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from math import isnan

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpota_host.bench import app_memory, erases, memory, page, push, sizes, speed, stages, travel
from mpota_host.bench.figure import Figure
from mpota_host.bench.material import FOLDER, Material
from mpota_host.command import show
from mpota_host.registry import having, part_of

Group = tuple[str, Callable[[Material], list[Figure]]]
GROUPS: dict[str, Group] = {
    "sizes": ("Bytes of .mpy", sizes.measure),
    "modules": ("Each module of an ESP32 with HTTP: bytes of .mpy, and heap on 64 bits", sizes.by_module),
    "travel": ("What travels, in % of the image, the smallest first", travel.measure),
    "memory": ("Least heap of the unix port that completes the update", memory.measure),
    "application": ("Least heap of the unix port for application files alone", app_memory.measure),
    "speed": ("Speed, times the peer's", speed.measure),
    "stages": ("The pipeline on the unix port, in turns", stages.measure),
    "erases": ("Sectors erased on the simulated ESP32", erases.measure),
    "push": ("Serial link", push.measure),
}
# A layout may bring figures of its own: TITLE and measure.
for chip in having("bench"):
    own = part_of(chip, "bench")
    GROUPS[chip] = own.TITLE, own.measure
MARKS = {True: ("ok", "green"), False: ("MISSED", "bold red"), None: ("", "")}
VERSION = "import sys; print('.'.join(str(part) for part in sys.implementation.version), 4 * len('%x' % sys.maxsize))"


def machine(material: Material) -> dict[str, object]:
    """What the figures were measured on."""
    port, bits = material.told(VERSION).rsplit(" ", 1)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "micropython": port,
        "bits": int(bits),
        "image": len(material.new),
    }


def number(value: float) -> str:
    """Three figures of a fraction, all of a whole number, a dash where there is none."""
    if isnan(value):
        return "-"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(title: str, figures: list[Figure]) -> Table:
    """A group for a person."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    for column in ("what", "seen", "bar", "", "how"):
        shown.add_column(column, justify="right" if column in ("seen", "bar") else "left", no_wrap=column == "what")
    for one in figures:
        word, style = MARKS[one.ok]
        bar = f"{one.rule} {number(one.bar)}" if one.rule else ""
        seen = f"{number(one.value)} {one.unit}".strip()
        shown.add_row(Text(one.name), seen, bar, Text(word, style=style), Text(one.note, style="dim"))
    return shown


def run(names: list[str]) -> tuple[dict[str, object], dict[str, list[Figure]]]:
    """Facts of the machine and of the run, and the figures by group."""
    material = Material()
    facts, found = machine(material), {}
    began = time.monotonic()
    for name in names:
        with show.err.status(f"measuring: {GROUPS[name][0]}"):
            found[name] = GROUPS[name][1](material)
    facts["seconds"] = round(time.monotonic() - began, 1)
    return facts, found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--keep", is_flag=True, help="Put chart and tables into host/README.md.")
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
def main(as_json: bool, keep: bool, groups: tuple[str, ...]) -> None:
    """Measure all figures, or those of some GROUPS."""
    facts, found = run(list(groups or GROUPS))
    whole = {"machine": facts, **{name: [one.as_json() for one in rows] for name, rows in found.items()}}
    FOLDER.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    page.write(found, FOLDER.parent, keep)
    missed = [one.name for rows in found.values() for one in rows if one.ok is False]
    if as_json:
        show.facts(whole)
    else:
        paper = show.out if show.out.is_terminal else Console(highlight=False, width=show.PIPED)
        show.out.print(", ".join(f"{key} {value}" for key, value in facts.items()), style="dim")
        for name, rows in found.items():
            show.out.print()
            paper.print(table(GROUPS[name][0], rows))
        bars = sum(one.ok is not None for rows in found.values() for one in rows)
        show.out.print(f"\n{bars - len(missed)} of {bars} bars met", style="bold red" if missed else "bold green")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
