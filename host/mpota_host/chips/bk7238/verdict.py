"""What the loader will say of an RBL, before any restart: the device's own dry run over a file."""

from __future__ import annotations

from collections.abc import Iterator

from mpota.layout.bk7238 import checks, rbl
from mpota.layout.bk7238.store import table
from mpota_host.package.report import Report, Table
from mpota_host.package.rom import Rom

SIZE = 0x200000
SECRET = (rbl.KEY, rbl.IV)
EARLY = ("header", "name", "chip", "algorithm", "sizes", "new", "file")


def _nothing() -> None:
    """Nobody has to be fed."""


def checks_of(place: checks.Place, data: bytes) -> Iterator[tuple[str, str]]:
    """(check, what is wrong or ""), up to where nothing more can be said."""
    found = list(checks.early(data[: rbl.SIZE], place))
    yield from found
    if any(wrong for _, wrong in found):
        return
    head = rbl.Header.decode(data[: rbl.SIZE])
    n = rbl.SIZE + head.body
    yield "file", "" if len(data) == n else f"the file has {len(data):,} bytes, its header says {n:,}"
    if len(data) >= n:
        yield from checks.late(Rom(data, 0, len(data)), head, place, _nothing)


def checks_for(
    data: bytes,
    secret: tuple[bytes, bytes] = SECRET,
    size: int = SIZE,
    runs: bytes = b"",
    rows: dict[bytes, table.Entry] | None = None,
) -> list[tuple[str, str]]:
    """All of it for the table `rows`, by default the vendor's of a flash of `size` bytes."""
    rows = rows or table.entries(size)
    app = rows[b"app"]
    return list(checks_of(checks.Place(rows[b"download"].size, app.offset, app.size, secret, runs), data))


def facts(data: bytes) -> dict[str, object]:
    """The header's fields; {} where there is none."""
    head = rbl.Header.decode(data[: rbl.SIZE]) if len(data) >= rbl.SIZE else None
    if head is None:
        return {}
    return {
        "part": repr(head.name)[2:-1],
        "version": repr(head.version)[2:-1],
        "compress": rbl.COMPRESSIONS.get(head.compression, hex(head.compression)),
        "crypt": rbl.CIPHERS.get(head.cipher, str(head.cipher)),
        "time": head.time,
        "raw": head.raw,
        "body": head.body,
        "hash": f"{head.hash:08x}",
        "crc": f"{head.crc:08x}",
    }


def sentence(name: str, wrong: str) -> str:
    """A failed check as a sentence. The vendor's loader does not ask for the chip; a board of mpota's does."""
    verdict = "do not install it" if name == "chip" else "the loader would not install it"
    return f"{verdict}: {name}: {wrong}"


def judge(
    data: bytes,
    secret: tuple[bytes, bytes],
    size: int,
    runs: bytes = b"",
    rows: dict[bytes, table.Entry] | None = None,
) -> Report:
    """The verdict as a report."""
    found = checks_for(data, secret, size, runs, rows)
    lines = [(name, wrong or "right") for name, wrong in found]
    wrong = [(name, text) for name, text in found if text]
    # The vendor's loaders are compiled with the vendor's key.
    taken = "the loader installs it" if secret == SECRET else "a loader with this key and IV installs it"
    verdict = sentence(*wrong[0]) if wrong else taken
    early = bool(wrong) and wrong[0][0] in EARLY
    more = {"checks": lines, "failed": [name for name, _ in wrong], "early": early, **facts(data)}
    return Report("verdict", verdict, more, [Table("", ("check", "result"), lines)], not wrong)
