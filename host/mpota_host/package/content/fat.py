"""Which names MicroPython's FAT takes for one another, so that the second file would be written into the first.

FatFs compares without regard to case, and it also finds a file by the short name, 8.3, that it made of a long one. As
MicroPython builds it (MICROPY_FATFS_LFN_CODE_PAGE 437, FF_LFN_UNICODE 0) a name is bytes, and each byte of its UTF-8 is
a letter of code page 437: `ä` is C3 A4, `å` is C3 A5, and A4 and A5 are the two cases of one letter there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# The letters of code page 437 that FatFs puts into a short name without their accent (TBL_CT437 in ff.c).
PLAIN = str.maketrans("âàáéêëèïîìíôòóûùúÿ", "AAAEEEEIIIIOOOUUUY")
# What stands as `_` in a short name.
FOREIGN = "+,;=[]"
BODY, EXTENSION = 8, 3
# At the end of a short name that was made: a number up to 5 and then a hash of 16 bits, in hex.
TAIL = re.compile("~[0-9A-F]{1,4}$")
TAILS = range(2, 6)


class Short(NamedTuple):
    """A name as 8.3. `lossy`: it is not all of the name, so FatFs adds a number and finds nothing by this."""

    body: str
    extension: str
    lossy: bool


def letters(name: str) -> str:
    """What FatFs reads in the bytes of a name."""
    return name.encode("utf-8", "surrogatepass").decode("cp437")


def capital(text: str) -> str:
    """Letters without their case, one for one."""
    return "".join(c.upper() if len(c.upper()) == 1 else c for c in text)


def short(name: str) -> Short:
    """The short name that FatFs makes of `name` (create_name() in ff.c)."""
    text = letters(name)
    stem, _, end = text.rpartition(".") if "." in text else (text, "", "")
    body, extension = (part.replace(" ", "").replace(".", "") for part in (stem, end))
    lossy = not stem or " " in text or "." in stem or len(body) > BODY or len(extension) > EXTENSION
    body, extension = (
        capital("".join("_" if c in FOREIGN else c for c in part).translate(PLAIN)) for part in (body, extension)
    )
    return Short(body[:BODY], extension[:EXTENSION], lossy or any(c in FOREIGN for c in text))


def clash(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names of one folder that FAT takes for one another, if there are any."""
    seen: dict[object, str] = {}
    made: dict[tuple[str, int, str], str] = {}
    numbered: dict[tuple[str, int, str], str] = {}
    for name in dict.fromkeys(names):
        body, extension, lossy = found = short(name)
        for key in (capital(letters(name)), *([] if lossy else [found])):
            if key in seen:
                return seen[key], name
            seen[key] = name
        tail = TAIL.search(body)
        if lossy:
            made |= {(body[: BODY - n], n, extension): name for n in TAILS}
        elif tail:
            numbered[body[: tail.start()], len(tail[0]), extension] = name
    for both in made.keys() & numbered.keys():
        return made[both], numbered[both]
    return None
