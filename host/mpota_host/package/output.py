"""May a command write a file? Only over one of the kind that it writes, and never over what it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mpota_boot.errors import Refused


def want_own(paths: Iterable[Path], kind: str, own: Callable[[bytes], bool], inputs: Iterable[Path] = ()) -> None:
    """Refused unless each of `paths` is new, empty, or `own` knows its bytes as what is written there: `kind`.

    Ask this before the first byte of the first file is written.
    """
    given = [path for path in inputs if path.exists()]
    for path in paths:
        same = next((one for one in given if path.exists() and path.samefile(one)), None)
        if same:
            raise Refused("out", f"{path} is an input of this command: give the output a name of its own")
        data = path.read_bytes() if path.is_file() else b""
        if data and not own(data):
            raise Refused(
                "out", f"{path} exists, is no {kind} and is not overwritten: give the output a name of its own"
            )
