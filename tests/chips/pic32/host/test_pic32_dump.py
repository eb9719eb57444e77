"""Dumps of an image store: FAT of every kind, a card with a partition table, and what is broken in one."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from mpota_host.chips.pic32 import fatimage, inspector
from mpota_host.sources import CHECKOUT
from tests.chips.pic32.host.test_pic32_pack import run

VECTORS = Path(CHECKOUT) / "tests/vectors"
DUMPS = {
    "FAT12": "cases/vendors/f12_512.img",
    "FAT12, sectors of 4096": "pic32_f12_4096.img",
    "FAT16 on a card": "pic32_card.img",
    "FAT32": "pic32_f32.img",
}
NAMES = ["app_v2.bin", "app_v3.bin", "factory_reset.bin", "image_database.csv"]


def dump(kind: str) -> bytes:
    return gzip.decompress((VECTORS / f"{DUMPS[kind]}.gz").read_bytes())


@pytest.mark.parametrize("kind", DUMPS)
def test_a_dump_tells_what_the_store_holds_and_what_comes_first(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "external.img"
    path.write_bytes(dump(kind))
    done = run("inspect", path)
    assert done.exit_code == 0, done.output
    assert (
        f"{kind[:5]}, {path.stat().st_size:,} bytes, with an image store: app_v3.bin comes first in /ota" in done.output
    )
    assert "whole" in done.output and "factory" in done.output


@pytest.mark.parametrize("kind", DUMPS)
def test_the_files_are_those_that_were_copied_in(kind: str) -> None:
    fat = fatimage.mounted(dump(kind))
    assert fat and fat.bits == int(kind[3:5])
    found = dict(fatimage.folders(fat))
    first = fatimage.mounted(dump("FAT12"))
    assert first
    wanted = {file.name: file.read() for file in dict(fatimage.folders(first))["/ota"]}
    assert {file.name: file.read() for file in found["/ota"]} == wanted and sorted(wanted) == NAMES
    assert found["/"] == [] and len(wanted["app_v3.bin"]) == 13096


def test_a_file_is_found_by_its_short_name_and_in_any_case() -> None:
    held = inspector.Held([("Application_of_2024.bin", "APPLIC~1.BIN", lambda: b"x"), ("B.BIN", "B.BIN", lambda: b"y")])
    assert held.get("applic~1.bin") == held.get("APPLICATION_OF_2024.BIN. ") == b"x" and held.get("b.bin") == b"y"
    assert held.get("c.bin") is None and not held.is_store()


def test_a_folder_of_any_case_is_a_store_and_one_without_its_files_is_none(tmp_path: Path) -> None:
    fat = fatimage.mounted(dump("FAT12"))
    assert fat
    for file in dict(fatimage.folders(fat))["/ota"]:
        (tmp_path / file.name.upper()).write_bytes(file.read())
    done = run("inspect", tmp_path)
    assert done.exit_code == 0 and "app_v3.bin comes first" in done.output, done.output
    for name in NAMES[2:]:
        (tmp_path / name.upper()).unlink()
    assert inspector.store(tmp_path) is None


def test_a_file_system_without_a_store_and_what_is_no_file_system_are_nothing_of_ours() -> None:
    data = bytearray(dump("FAT12"))
    fat = fatimage.mounted(bytes(data))
    assert fat
    data[fat.root : fat.root + fat.root_size] = bytes(fat.root_size)
    assert fatimage.mounted(bytes(data)) and inspector.explain(bytes(data)) is None
    good = dump("FAT16 on a card")
    for spoiled in (
        b"",
        bytes(512),
        good[:512],
        good[:446] + bytes(64) + good[510:],
        good[:450] + b"\x83" + good[451:],
        good[:454] + b"\xff" * 8 + good[462:],
    ):
        assert fatimage.mounted(spoiled) is None
    # Fields of the boot sector that no FAT has.
    for at, value in ((11, 1), (12, 3), (13, 0), (13, 3), (14, 0), (16, 0), (22, 0), (510, 0), (0, 0)):
        data = bytearray(dump("FAT12"))
        data[at] = value
        if at == 14:
            data[15] = 0
        if at == 22:
            data[23] = 0
        assert fatimage.mounted(bytes(data)) is None, at


def test_nothing_in_a_dump_that_is_broken_stops_inspect() -> None:
    good = dump("FAT12")
    fat = fatimage.mounted(good)
    assert fat
    dice = random.Random(7)
    area = fat.clusters + 3 * fat.cluster
    for _ in range(300):
        data = bytearray(good)
        for _ in range(dice.randrange(1, 12)):
            data[dice.randrange(area)] = dice.choice((0, 0xFF, 0xE5, 0x0F, 2, dice.randrange(256)))
        report = inspector.explain(bytes(data))
        assert report is None or report.text
        inspector.explain(bytes(data[: dice.randrange(len(good))]))


def test_a_chain_that_runs_in_a_circle_comes_to_an_end() -> None:
    data = bytearray(dump("FAT12"))
    fat = fatimage.mounted(bytes(data))
    assert fat
    _, _, _, cluster, _ = next(e for e in fat.folder(0) if e[0] == "ota")
    # The folder's cluster follows itself.
    at = fat.table + cluster * 12 // 8
    pair = int.from_bytes(data[at : at + 2], "little")
    pair = pair & 0x000F | cluster << 4 if cluster & 1 else pair & 0xF000 | cluster
    data[at : at + 2] = pair.to_bytes(2, "little")
    circle = fatimage.mounted(bytes(data))
    assert circle and circle.next(cluster) == cluster
    assert len(circle.chain(cluster, 1 << 20)) == circle.cluster
    assert [path for path, _ in fatimage.folders(circle)] == ["/", "/ota"]
