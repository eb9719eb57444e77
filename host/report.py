"""What a command found out: a sentence, tables for a person, and the same facts for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """Rows of text under a title."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass
class Report:
    """`kind` is a stable word, `text` one sentence, `ok` false where a board would not take what was looked at."""

    kind: str
    text: str
    facts: dict[str, object] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    ok: bool = True
