"""The page of the package format beside the code: names and numbers of format 2 that stand in its tables and lines."""

import re
import struct

from mpota.pipe import delta, keyrecord, package, xtensa
from mpota.pipe import fields as board
from mpota_boot import shim
from mpota_host.package import format as fmt
from tests.format2 import patch, tables
from tests.host.test_format_docs import ROOT, fields, total

PAGE = "device/mpota/pipe/FORMAT.md"
TEXT = " ".join((ROOT / PAGE).read_text().split())


def rows(heading: str, n: int = 1) -> list[list[str]]:
    """The cells of the n-th table below a heading, without its own heading."""
    below = (ROOT / PAGE).read_text().split(heading + "\n", 1)[1]
    found = [part.strip() for part in below.split("\n\n") if part.strip().startswith("|")][n - 1]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.split("\n")[2:]]


def bytes_of(cells: list[list[str]]) -> int:
    """The bytes of a table without gaps, up to the row whose size is not fixed."""
    return total([(int(off), int(size or 0)) for off, size, *_ in cells])


def test_each_table_has_the_size_of_both_implementations() -> None:
    for heading, mine, theirs in (
        ("## Preamble", fmt.PREAMBLE, tables.PREAMBLE),
        ("## Body", fmt.BODY, tables.BODY),
        ("## Component", fmt.COMPONENT, tables.COMPONENT),
        ("## Stored chunk", fmt.LINK, tables.LINK),
        ("that is not encrypted).", "", tables.RECIPIENT),
        ("It is this block, encrypted with the content key (ECB):", "", tables.IV),
    ):
        size = total(fields(PAGE, heading))
        assert size == theirs.size and (not mine or size == struct.calcsize(mine)), heading
        assert not mine or theirs.format == mine, heading
    assert fmt.RECORDS == 16 + struct.calcsize(fmt.BODY)


def test_the_picture_has_the_sizes_of_its_parts() -> None:
    picture = (ROOT / PAGE).read_text().split("```")[1]
    sizes = picture.split("\n")[3]
    assert re.findall(r"\d+", sizes)[:6] == [
        str(n) for n in (16, fmt.RECORDS - 16, fmt.COMPONENT_SIZE, fmt.RECIPIENT_SIZE, fmt.SIGNATURE, 0)
    ]
    assert f"its first {len('12345678')} bytes are the id" in picture


def test_a_field_begins_as_the_page_says_and_its_names_are_the_boards() -> None:
    assert bytes_of(rows("## Fields")) == struct.calcsize(fmt.FIELD) == struct.calcsize(board._FIELD) == 6
    assert tables.FIELD.format == fmt.FIELD == board._FIELD
    known = {row[0].strip("`").encode(): row[1] for row in rows("## Fields", 2)}
    assert set(known) == {name for name, _ in board._FIELDS} == set(tables.FIELDS)
    assert set(known) == {fmt.CHANNEL, fmt.RUNS, fmt.RUNS_FIRMWARE, fmt.RUNS_BOOT}
    assert {name: size for name, size in board._FIELDS if size} == {
        name: most for name, (least, most) in tables.FIELDS.items() if least == most
    }
    for name, (least, most) in tables.FIELDS.items():
        assert known[name] == (str(least) if least == most else f"{least}..{most}"), name
        assert len(name) == 4 and name[:1].isupper()
    assert "`mpota_boot.shim.NUMBER`" in TEXT and shim.NUMBER > 0


def test_the_limits_of_a_chunk_are_the_boards() -> None:
    assert f"at most the room and {fmt.SLACK}" in TEXT and package._SLACK == fmt.SLACK == tables.SLACK
    assert f"1 to {fmt.MOST // fmt.SECTOR} sectors, {fmt.MOST // 1024} KiB at most" in TEXT
    assert package._MOST == fmt.MOST == tables.SECTORS * tables.SECTOR and package._SECTOR == fmt.SECTOR
    rooms = [room // 1024 for room in fmt.ROOMS]
    assert "room for a stored chunk, in KiB: {}, {} or {}".format(*rooms) in TEXT
    # What a sector takes that nothing makes smaller: the sentence at the end of the page adds up to the limit.
    line = re.search(r"behind the link \((\d+)\).*?delta \((\d+)\).*?deflate \((\d+)\).*?encrypted \((\d+)\)", TEXT)
    assert line
    assert int(line[1]) == fmt.LINK_SIZE and sum(map(int, line.groups())) <= fmt.SLACK


def test_kinds_and_stages_are_the_boards() -> None:
    cells = {row[0]: row[2] for row in rows("## Component")}
    assert "1 firmware, 2 application files" in cells["0"] and "3 a resource" in cells["0"]
    assert (fmt.FIRMWARE, fmt.FILES, fmt.RESOURCE) == (tables.FIRMWARE, tables.FILES, tables.RESOURCE) == (1, 2, 3)
    stages = re.findall(r"(\d) (\w+)", cells["3"].split(": ")[1])
    assert {int(n): name for n, name in stages} == fmt.STAGES == package.STAGES
    numbers = {name: n for n, name in fmt.STAGES.items()}
    assert [numbers[name.lower()] for name in ("INFLATE", "DECRYPT", "DELTA", "LZMA", "XTENSA")] == [
        getattr(tables, name) for name in ("INFLATE", "DECRYPT", "DELTA", "LZMA", "XTENSA")
    ]


def test_a_keys_record_is_the_boards_and_the_second_implementations() -> None:
    cells = rows("## Keys record")
    assert bytes_of(cells[:7]) == tables.RECORD.size
    assert cells[7][:2] == [str(tables.RECORD.size), f"{tables.RSA} each"]
    assert cells[8][1] == f"{8 + tables.RSA} each"
    assert cells[0][2] == f"magic `{keyrecord.MAGIC.decode()}`" and cells[1][2] == f"format, {keyrecord.FORMAT}"
    assert tables.RECORD.format == keyrecord.HEAD and keyrecord.SIGNED == 8 + tables.RSA


def test_the_groups_of_a_delta_are_the_boards() -> None:
    assert bytes_of(rows("## Delta")) == patch.HEAD.size == 7
    assert f"together at most {delta._HEAD}" in TEXT and delta._HEAD == patch.MOST
    assert f"pages of {delta.PAGE} bytes" in TEXT and delta.PAGE == patch.PAGE
    size = {row[0]: int(row[1]) for row in rows("### Prediction", 2)}
    assert size == {"fine": xtensa.COARSE - xtensa.FINE, "coarse": xtensa.STATE - xtensa.COARSE}


def test_where_an_address_begins_is_the_second_implementations() -> None:
    cells = {row[0]: row for row in rows("### Prediction")}
    state = patch.Prediction(7)
    for name, image, low, high in (
        ("pointer", b"\0\0\0\x3f", 0, 23),
        ("CALL8", b"\x25\0\0\0", 6, 23),
        ("L32R", b"\1\0\0\0", 8, 23),
    ):
        state.next = 0
        found = state.find(image, 0, 4, 0)
        assert found and (found.low, found.mask) == (low, (1 << high + 1 - low) - 1)
        assert cells[name][2] == f"bits {low}..{high}"
    pointer = cells["pointer"][1]
    least, most = (int(n, 16) for n in re.findall(r"0x\w\w", pointer.split("bit 4")[1]))
    for highest in range(256):
        at = state.find(bytes((0, 0, 0, highest)), 0, 4, 0)
        assert bool(at and at.size == 4) == (least <= highest <= most), highest
