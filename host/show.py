"""What the command line shows a person: sentences, tables, progress; or the facts alone as JSON.

Facts go to standard output, everything else (progress, notes, errors) to standard error, so that output can be piped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from host.report import Report, Table

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

STYLES = {"new": "green", "update": "cyan", "same": "dim", "keep": "yellow", "remove": "red"}


def note(text: str) -> None:
    """A sentence beside the result."""
    err.print(Text(text))


def facts(value: object) -> None:
    """One JSON value, indented, in the order in which it was made."""
    print(json.dumps(value, indent=2, default=str))


def table(given: Table) -> None:
    """A table without borders; a pair of columns named what and value needs no head."""
    pairs = given.columns == ("what", "value")
    shown = RichTable(
        title=given.title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=not pairs,
        show_edge=False,
        pad_edge=False,
    )
    for i, column in enumerate(given.columns):
        number = given.rows and all(row[i][:1].isdigit() and row[i][:2] != "0x" for row in given.rows) and not pairs
        shown.add_column(column, justify="right" if number else "left", style="dim" if pairs and not i else None)
    for row in given.rows:
        shown.add_row(*[Text(cell, style=STYLES.get(cell, "")) for cell in row])
    out.print(shown)


def report(given: Report, as_json: bool) -> None:
    """A report for a person or for a program."""
    if as_json:
        facts({"kind": given.kind, "ok": given.ok, "text": given.text, **given.facts})
        return
    out.print(Text(given.text, style="bold" if given.ok else "bold red"))
    for one in given.tables:
        out.print()
        table(one)


@contextmanager
def progress(words: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar with bytes, rate and time left; call it with (done, total). It shows on a terminal only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        task = bars.add_task(words, total=total)

        def step(done: int, whole: int) -> None:
            bars.update(task, completed=done, total=whole)

        yield step
