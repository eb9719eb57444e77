"""What a command found out: a sentence, tables for a person, and the same facts for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


def harmless(text: str) -> str:
    """Text that others wrote, fit for one line of a terminal: what cannot be seen there is shown as its escape.

    Those are control characters, line ends, marks that turn the direction of writing, and what no font has.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


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
