"""Intel HEX as srec_cat reads it: its recorded answers to 39 files, and where this reader differs, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpota_boot.errors import Refused
from mpota_host.chips.pic32 import hexfile
from mpota_host.sources import CHECKOUT

RECORDED = json.loads((Path(CHECKOUT) / "tests/vectors/pic32_hex.json").read_text())
# Taken by srec_cat, refused here, and the words that say why. hex2bin knows 00, 01 and 04 only. A file that goes on
# behind its end record was put together, and one without it was cut. srec_cat passes over lines that begin otherwise.
STRICTER = {
    "start record 05": "type 05",
    "start record 03": "type 03",
    "segment record 02": "type 02",
    "no end record": "was cut",
    "two end records": "two files in one",
    "data behind the end record": "two files in one",
    "spaces before records": "no record",
    "KSEG1 and physical, another byte": "0x10020013 gets 45 and has 44",
}
# Refused by srec_cat, taken here: no byte is in doubt. A file without bytes is refused where the slot is looked for.
WIDER = {"cr alone", "spaces behind records", "an end record alone"}


@pytest.mark.parametrize("given", [pytest.param(one, id=one["shape"]) for one in RECORDED])
def test_a_hex_is_read_as_srec_cat_reads_it(given: dict[str, Any]) -> None:
    text, shape = given["hex"].encode(), given["shape"]
    if shape in STRICTER:
        assert given["status"] == 0
        with pytest.raises(Refused, match=STRICTER[shape]):
            hexfile.load(text)
        return
    if given["status"] and shape not in WIDER:
        with pytest.raises(Refused, match=r"line|cut"):
            hexfile.load(text)
        return
    found = hexfile.load(text)
    if not given["status"]:
        wanted = {
            (start & 0x1FFFFFFF) + i: byte
            for start, data in given["bytes"]
            for i, byte in enumerate(bytes.fromhex(data))
        }
        assert found.todict() == wanted and wanted


def test_the_recorded_answers_have_thirty_shapes_and_of_each_kind_some() -> None:
    shapes = {one["shape"] for one in RECORDED}
    assert len(RECORDED) == len(shapes) >= 30 and shapes >= {*STRICTER, *WIDER}
    assert len([one for one in RECORDED if one["status"]]) >= 10


def test_an_end_record_alone_is_no_image() -> None:
    with pytest.raises(Refused, match="nothing lies at 0x10020000"):
        hexfile.binary(hexfile.load(b":00000001FF\n"), hexfile.slot_of("3.7"))


def test_an_end_record_with_data_is_refused_by_its_length() -> None:
    with pytest.raises(Refused, match="1 bytes of data in a record of type 01, wanted 0"):
        hexfile.load(b":0100000105F9\n")


@pytest.mark.parametrize(
    ("address", "folded"),
    [(0, 0), (0x10020000, 0x10020000), (0x90020000, 0x10020000), (0xB0020000, 0x10020000), (0xBFC55E88, 0x1FC55E88)]
    + [(0x80000000, 0), (0x7FFFFFFF, 0x7FFFFFFF), (0xC0000000, 0xC0000000), (0x9FFFFFFF, 0x1FFFFFFF)],
)
def test_virtual_addresses_fold_to_the_physical_one(address: int, folded: int) -> None:
    assert hexfile.fold(address) == folded
