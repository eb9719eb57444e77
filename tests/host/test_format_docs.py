"""The tables of the FORMAT.md pages say what the code packs: offsets and sizes are read from them and added up."""

import re
import struct
from itertools import pairwise
from pathlib import Path

from mpota import stream
from mpota.layout import given
from mpota.pipe import delta, keyrecord, package, trust, xtensa
from mpota.pipe import fields as known
from mpota.store import listing, log, pair, writer
from mpota_boot.journal import Record
from mpota_host.package import format as fmt
from mpota_host.package.encode import encrypt, piece
from mpota_host.package.encode.group import HEAD
from mpota_host.sim import fs

ROOT = Path(__file__).resolve().parents[2]


def fields(page: str, heading: str) -> list[tuple[int, int]]:
    """(offset, size) of each row in the first table after a heading or a line of text."""
    text = (ROOT / page).read_text().split(heading, 1)[1]
    rows = re.findall(r"^\| (\d+) \| (\d+)? ?\|", text.split("\n\n")[1 if text.startswith("\n\n") else 2], re.M)
    return [(int(off), int(size or 0)) for off, size in rows]


def total(rows: list[tuple[int, int]]) -> int:
    """The bytes of a gapless table; where a row does not begin at the end of the one before it, the page is wrong."""
    assert rows
    for (off, size), (after, _) in pairwise(rows):
        assert off + size == after, rows
    return rows[-1][0] + rows[-1][1] - rows[0][0]


def test_the_package_page_has_the_sizes_of_the_code() -> None:
    page = "device/mpota/pipe/FORMAT.md"
    assert total(fields(page, "## Preamble")) == struct.calcsize(fmt.PREAMBLE) == 16
    assert total(fields(page, "## Body")) == struct.calcsize(fmt.BODY)
    assert total(fields(page, "## Component")) == struct.calcsize(fmt.COMPONENT) == fmt.COMPONENT_SIZE
    assert total(fields(page, "## Stored chunk")) == struct.calcsize(fmt.LINK) == fmt.LINK_SIZE
    text = (ROOT / page).read_text()
    assert (
        f"at most the room and {fmt.SLACK}" in text
        and f"1 to {fmt.MOST // fmt.SECTOR} sectors, {fmt.MOST // 1024} KiB" in text
    )
    assert fmt.SIGNATURE == trust.SIZE == 384 and "384 or 0" in text
    assert "in KiB: {}, {} or {} |".format(*(size // 1024 for size in fmt.ROOMS)) in text
    assert total(fields(page, "as PNG's chunks have:")) == struct.calcsize(fmt.FIELD)
    assert re.findall(r"^\| `(\w{4})` \|", text, re.M) == [name.decode() for name, _ in known._FIELDS]
    for code, name in fmt.STAGES.items():
        assert f"{code} {name}" in text


def test_the_section_of_the_keys_record_has_the_numbers_of_the_code() -> None:
    page = "device/mpota/pipe/FORMAT.md"
    head = fields(page, "or is a file of its own.")
    assert total(head) == struct.calcsize(keyrecord.HEAD) == keyrecord.HEAD_SIZE
    text = (ROOT / page).read_text()
    assert f"| {keyrecord.HEAD_SIZE} | {trust.SIZE} each |" in text and f"| | {keyrecord.SIGNED} each |" in text
    assert f"magic `{keyrecord.MAGIC.decode()}`" in text and fmt.RECORD == keyrecord.MAGIC
    assert f"has at most {keyrecord.MOST} bytes" in text and keyrecord.SIGNED == 8 + trust.SIZE


def test_the_board_has_the_same_numbers() -> None:
    device = {name[1:]: value for name, value in vars(package).items() if name[:1] == "_" and name[1:].isupper()}
    device |= {name[1:]: value for name, value in vars(known).items() if name[:1] == "_" and name[1:].isupper()}
    assert {fmt.CHANNEL, fmt.RUNS, fmt.RUNS_FIRMWARE, fmt.RUNS_BOOT} == set(dict(device.pop("FIELDS")))
    device |= {name: getattr(stream, name) for name in ("FIRMWARE", "FILES", "RESOURCE")}
    assert len(device) == 17 and {name: getattr(fmt, name) for name in device} == device
    assert (piece.SECTOR, piece.MOST) == (fmt.SECTOR, fmt.MOST)
    assert struct.calcsize(fmt.PREAMBLE) + struct.calcsize(fmt.BODY) == fmt.RECORDS


def test_the_store_page_has_the_sizes_of_the_code() -> None:
    page = "device/mpota/store/FORMAT.md"
    assert total(fields(page, "A record:")) == struct.calcsize(Record.FMT) == Record.SIZE
    text = (ROOT / page).read_text()
    assert struct.calcsize(writer._PROGRESS) == writer._PROGRESS_SIZE
    assert f"| `progress` | {writer._PROGRESS_SIZE} |" in text
    rows = fields(page, "`given` is a count u16, then at most four releases, the latest first:")
    assert total(rows) == struct.calcsize(given.ROW) == given.ROW_SIZE
    assert "waits for %d counts, two for %d, more for %d" % given.WAITS in " ".join(text.split())
    for tag in ("armed", "running", "failed"):
        assert f"| `{tag}` | {Record.SIZE} |" in text


def test_a_page_with_a_gap_would_be_found() -> None:
    try:
        total([(0, 4), (5, 1)])
    except AssertionError:
        return
    raise AssertionError("a gap was not found")


def test_the_delta_section_has_the_numbers_of_the_code() -> None:
    text = (ROOT / "device/mpota/pipe/FORMAT.md").read_text()
    assert f"pages of {delta.PAGE} bytes" in text and HEAD == delta._HEAD
    assert f"together at most {HEAD} " in text
    assert f"| fine | {xtensa.COARSE - xtensa.FINE} |" in text
    assert f"| coarse | {xtensa.STATE - xtensa.COARSE} |" in text
    assert f"more than {xtensa.Predicted.MODES} is refused" in text and xtensa.FINE == 18


def test_the_encryption_tables_have_the_sizes_of_the_code() -> None:
    page = "device/mpota/pipe/FORMAT.md"
    record = encrypt.records(bytes(32), [bytes(32)])[0]
    assert total(fields(page, "that is not encrypted).")) == fmt.RECIPIENT_SIZE == len(record)
    assert total(fields(page, "It is this block, encrypted with the content key (ECB):")) == len(encrypt.nonce(0, 0))
    text = (ROOT / page).read_text()
    assert f"`{encrypt.LABEL.decode()}`" in text and "`mpota device key`" in text and "`mpota_keys`" in text
    most = (4096 - fmt.SIGNATURE - fmt.RECORDS - fmt.COMPONENT_SIZE) // fmt.RECIPIENT_SIZE
    assert f"room for {most} recipients" in text


def test_the_page_of_application_files_has_the_sizes_of_the_code() -> None:
    page = "device/mpota/store/FORMAT.md"
    assert total(fields(page, "the file `.mpota`:")) == struct.calcsize(listing.HEAD) == listing.HEAD_SIZE
    assert total(fields(page, "An entry:")) == struct.calcsize(listing.ENTRY) == listing.ENTRY_SIZE
    assert total(fields(page, f"each {pair.SIZE} bytes:")) == struct.calcsize(pair.HEAD) == pair.HEAD_SIZE
    text = (ROOT / page).read_text()
    assert f"magic `{listing.MAGIC.decode()}`" in text and f"magic `{pair.MAGIC.decode()}`" in text
    assert f"the file `{listing.LIST}`" in text and f"then 0 up to {pair.SIZE}" in text
    assert f"sectors of {fs.SECTOR} bytes" in text


def test_the_section_of_the_journal_in_two_sectors_has_the_numbers_of_the_code() -> None:
    page = "device/mpota/store/FORMAT.md"
    text = (ROOT / page).read_text()
    assert total(fields(page, "A sector begins with its head:")) == struct.calcsize(log.HEAD) == log.HEAD_SIZE
    assert f"magic `{log.MAGIC.decode()}`" in text and f"at most {log.MOST} bytes of data" in text
    tag = "t" * 15
    assert (
        len(log.encode(tag, bytes(log.MOST), 1)) == log.LONGEST and f"{len(tag)} of tag, {log.LONGEST} in all" in text
    )
    assert log.decode(log.encode(tag, b"", 1), 0, 1) and not log.decode(log.encode(tag + "t", b"", 1), 0, 1)
    wings = {path.parent for path in (ROOT / "device/mpota/layout").glob("*/__init__.py")}
    logged = [wing for wing in wings if any("mpota.store.log" in path.read_text() for path in wing.rglob("*.py"))]
    assert len(logged) >= 2
    assert all("store/log.py" in (wing / "FORMAT.md").read_text() for wing in logged)
