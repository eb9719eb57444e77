"""What happens to one file of a board when `flash` runs."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass
class Change:
    """What happens to one file: "new", "update", "same", "keep" (yours, with the reason in `note`), or "remove"."""

    path: str
    action: str
    data: bytes = b""
    note: str = ""


def digest(data: bytes) -> str:
    """The SHA-256 that a board tells of a file."""
    return sha256(data).hexdigest()


def once(path: str, data: bytes, there: dict[str, list[object]], note: str) -> Change:
    """A file that is written where there is none; `note` says why another one stays."""
    if path not in there:
        return Change(path, "new", data)
    return Change(path, "same", data) if there[path][1] == digest(data) else Change(path, "keep", note=note)
