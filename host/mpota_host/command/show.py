"""What the command line shows a person: sentences, tables, progress; or the facts alone as JSON.

Facts go to standard output, everything else (progress, notes, errors) to standard error, so that output can be piped.
Much of the text comes from files, boards and strangers: all of it is made harmless here, and none of it is markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from mpota_host.package.report import Report, Table, harmless

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

# Columns of a table that is piped: enough that no line of it is folded.
PIPED = 1000

STYLES = {"new": "green", "update": "cyan", "same": "dim", "keep": "yellow", "remove": "red"}


def say(text: str = "") -> None:
    """A line of the result."""
    out.print(plain(text))


def plain(text: str, style: str = "") -> Text:
    """Text as it was written, on one line, without markup."""
    return Text(harmless(text), style=style)


def note(text: str) -> None:
    """A sentence beside the result, on one line."""
    err.print(plain(text))


def facts(value: object) -> None:
    """One JSON value, indented, in the order in which it was made."""
    # JSON escapes all but this one.
    print(json.dumps(value, indent=2, default=str).replace("\x7f", "\\u007f"))


def table(given: Table) -> None:
    """A table without borders; a pair of columns named what and value needs no head."""
    pairs = given.columns == ("what", "value")
    shown = RichTable(
        title=plain(given.title) if given.title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=not pairs,
        show_edge=False,
        pad_edge=False,
    )
    for i, column in enumerate(given.columns):
        number = given.rows and all(row[i][:1].isdigit() and row[i][:2] != "0x" for row in given.rows) and not pairs
        style = "dim" if pairs and not i else None
        shown.add_column(plain(column), justify="right" if number else "left", style=style, overflow="fold")
    for row in given.rows:
        shown.add_row(*[plain(cell, STYLES.get(cell, "")) for cell in row])
    (out if out.is_terminal else Console(highlight=False, width=PIPED)).print(shown)


def report(given: Report, as_json: bool) -> None:
    """A report for a person or for a program."""
    if as_json:
        facts({"kind": given.kind, "ok": given.ok, "text": given.text, **given.facts})
        return
    out.print(plain(given.text, "bold" if given.ok else "bold red"))
    for one in given.tables:
        out.print()
        table(one)


def planned(sentence: str, files: Table | None) -> None:
    """What `flash` is about to do."""
    for line in sentence.split("\n"):
        say(line)
    if files:
        table(files)


def flashed(held: dict[str, str], after: Report) -> None:
    """What `flash` did: the device keys that the board holds by id, and the board as it answers."""
    for ident, word in held.items():
        say(f"device key {ident}: the board {'holds it now' if word == 'new' else 'held it already'}")
    report(after, False)


class Step:
    """Moves a bar: call it with (done, total). `began` is true once it was called.

    `chunk`: what one step can bring at most; a first step that brings more went on from an earlier run.
    """

    def __init__(self, bars: Progress, task: TaskID, chunk: int) -> None:
        self.bars = bars
        self.task = task
        self.chunk = chunk
        self.began = False

    def __call__(self, done: int, whole: int) -> None:
        before = done - self.chunk
        if not self.began and self.chunk and before > 0:
            note(f"goes on at {before:,} of {whole:,} bytes")
            # The rate is that of this run.
            self.bars.reset(self.task, completed=before, total=whole)
        self.began = True
        self.bars.update(self.task, completed=done, total=whole)


@contextmanager
def progress(words: str, total: int, chunk: int = 0) -> Iterator[Step]:
    """A bar with bytes, rate and times. It shows on a terminal only."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield Step(bars, bars.add_task(harmless(words), total=total), chunk)
