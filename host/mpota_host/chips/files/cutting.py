"""What `mpota cut --layout files` does: the campaign of application files, their seeded bugs, the report."""

from __future__ import annotations

import contextlib
import os
import time

import click

from mpota_host.chips.files.cut import campaign as files
from mpota_host.chips.files.cut import life
from mpota_host.chips.files.cut.campaign import FILES
from mpota_host.command import show
from mpota_host.cut import mutants, report
from mpota_host.cut.explore import UNCUT

# Bad states of which a report tells how they came about.
SHOWN = 5


def run(depth: int, seed: int) -> report.Report:
    """Everything, without options."""
    began = time.monotonic()
    workers = max(2, os.cpu_count() or 1)
    settings = files.full(depth, seed, workers)
    show.note(
        f"Cutting the power in {len(settings.scenarios)} stories of application files; this takes a minute or two."
    )
    made = report.Report(FILES, files.run(settings), options=f" --seed {seed}" if seed else "")
    tally = made.result.tally
    tally.bad = [files.shorten(bad, seed) for bad in tally.bad[:SHOWN]] + tally.bad[SHOWN:]
    for bad in tally.bad[:SHOWN]:
        with contextlib.suppress(LookupError, ValueError):
            explorer, _ = files.replay(life.SCENARIOS[bad.scenario], bad.path or UNCUT, seed)
            bad.flash = files.files_map(explorer)
    show.note(f"Looking for {len(mutants.bugs_of(FILES).MUTANTS)} seeded bugs; this takes another minute.")
    made.verdicts = mutants.hunt_all(FILES, workers)
    made.seconds = time.monotonic() - began
    return made


def replay(ident: str, seed: int) -> tuple[report.Report, list[str]]:
    """One state again, and what the file system held when the power returned."""
    name, _, path = ident.partition(":")
    if name not in life.SCENARIOS or not path:
        raise _wrong(f"{ident!r} names no scenario and cut; a report prints such names after --replay")
    made = report.Report(FILES, ident=ident)
    try:
        explorer, made.result.tally = files.replay(life.SCENARIOS[name], path, seed)
    except (LookupError, ValueError) as e:
        raise _wrong(f"{ident!r} cannot be played: {e}") from e
    return made, files.files_map(explorer)


def _wrong(text: str) -> click.BadParameter:
    return click.BadParameter(text, param_hint="'--replay'")
