"""Roots, threshold and the first keys record for a board, over a cable: no package brings any of them.

The board judges the record itself, as one that comes over a link, so `flash` cannot bring an old one back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mpota_boot.errors import Refused
from mpota_host.board import repl as console
from mpota_host.board.change import Change, digest, once
from mpota_host.board.repl import WITH_BOARD
from mpota_host.package import record

FOLDER = "/keys/roots/"
# Where the record lies until the board has judged it; where it keeps it.
COMES, COPIES = FOLDER + "comes.record", (FOLDER + "record.a", FOLDER + "record.b")
TAKE = WITH_BOARD + "import json\nfrom mpota import keyring\nprint(json.dumps(keyring.from_file(Board(), {path!r})))"
SETTING = "threshold"


@dataclass
class Roots:
    """What the caller gave: public root keys by name, how many must sign (0: all), a keys record."""

    keys: dict[str, bytes] = field(default_factory=dict)
    threshold: int = 0
    record: bytes = b""

    def settings(self) -> dict[str, int]:
        """The setting that goes with them."""
        return {SETTING: self.threshold} if self.threshold else {}


def want(roots: Roots, product: str | None = None) -> None:
    """Refuse what no board could use; with the roots at hand the record is held to them."""
    if roots.threshold and roots.threshold > len(set(roots.keys.values())):
        raise Refused("threshold", f"{roots.threshold} roots must sign and {len(set(roots.keys.values()))} are given")
    if roots.record and roots.keys:
        record.prove(roots.record, list(roots.keys.values()), roots.threshold, product)


def changes(roots: Roots, there: dict[str, list[Any]], lone: dict[str, bytes]) -> Iterator[Change]:
    """What becomes of the keys on a board, where `lone` are those for a board without roots."""
    held = [path for path in there if path.startswith(FOLDER) and path.endswith(".pub")]
    if roots.record and not (held or roots.keys):
        raise Refused("root", "the board has no roots, so it takes no keys record: give its --root too")
    for name, data in roots.keys.items():
        path = f"{FOLDER}{name}.pub"
        yield once(path, data, there, f"{path} is another root and stays; remove it first")
    if roots.record:
        same = all(there.get(path, [0, ""])[1] == digest(roots.record) for path in COPIES)
        yield Change(COPIES[0], "same") if same else Change(COMES, "new", roots.record)
    if held or roots.keys:
        lost = [path for path in there if path.startswith("/keys/") and path.count("/") == 2 and path.endswith(".pub")]
        for path in sorted({*lost, *(f"/keys/{name}.pub" for name in lone)}):
            yield Change(
                path, "keep", note="this board has roots: the keys record says which keys count, not this file"
            )


def give(repl: console.Repl, path: str) -> None:
    """Have the board take the record in a file; Refused, with what the board says, where it does not."""
    said = console.ask(repl, TAKE.format(path=path))
    if said:
        raise Refused("record", f"the board does not take the keys record: {said}")
