"""The boot rules of the vendor as a model of a few lines, held to the recorded boots; our bootloader on random ones."""

from __future__ import annotations

import json
import random
from typing import Any

from mpota.layout.pic32.store.database import strtol
from tests.chips.esp32.image_maker import ROOT
from tests.chips.pic32 import replay as replay_pic32

FACTORY = {"end": "JUMP", "ctl_status": "f8", "ctl_version": 1, "app_fill": "fa", "db_after": None}
CRASH = {"end": "CRASH", "ctl_status": None, "ctl_type": None, "ctl_version": None, "db_after": [[""]]}
Rows = list[list[str]]


def shown(rows: Rows) -> Rows:
    return [row[:3] for row in rows]


def vendor(ctl: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """What the vendor's bootloader does."""
    status, version = int(ctl["status"], 16), ctl["version"]
    found = [row for row in rows if strtol(row[2]) & 0xFF == version][-1:]
    valid = any(strtol(row[2]) == version and strtol(row[1]) & 0xFF == 0xF8 for row in found)
    if ctl["type"] == 2 or (status == 0xF8 and valid):
        page = {"ctl_status": ctl["status"], "ctl_type": ctl["type"], "ctl_version": version}
        return {"end": "JUMP", **page, "app_fill": "ee", "db_after": shown(rows)}
    failed = False
    while True:
        best, chosen, last = 0, None, status
        for row in rows:
            if strtol(row[2]) > best:
                last = strtol(row[1]) & 0xFF
                if last in (0xFE, 0xF8):
                    chosen, best = row, strtol(row[2])
        if chosen is None or chosen[4] == "missing":
            return {**FACTORY, "ctl_type": 1 if failed else 3}
        if chosen[4] == "ok":
            page = {"ctl_status": f"{last & 0xFC:02x}", "ctl_type": 1, "ctl_version": best}
            return {"end": "JUMP", **page, "app_fill": chosen[3], "db_after": shown(rows)}
        failed = True
        if len(rows) == 1:
            return {**CRASH, "app_fill": chosen[3]}
        rows = [row for row in rows if row is not chosen]


def test_the_model_does_what_was_recorded() -> None:
    with open(f"{ROOT}/tests/vectors/pic32_boot.json") as f:
        for case in json.load(f)["cases"]:
            assert vendor(case["ctl"], case["rows"]) == case["out"], case["name"]


def test_no_boot_differs_but_by_a_name() -> None:
    r = random.Random(7)
    names = set()
    for n in range(1500):
        ctl = {"status": r.choice(["fe", "fc", "f8", "f0", "ff"]), "type": r.choice([1, 1, 1, 0, 2])}
        ctl["version"] = r.choice([1, 2, 3, 4, 9, 16, 17, 22, 153, 256, 257])
        rows = []
        for i, number in enumerate(
            r.choices(["1", "2", "3", "9", "10", "11", "16", "99", "100", "101", "0"], k=n % 4 + 1)
        ):
            status = r.choice(["FE", "f8", "F8", "f0", "ff", "fc"])
            rows.append([f"i{i}.bin", status, number, f"{16 + i}", r.choice(["ok", "ok", "ok", "missing", "bad"])])
        case = {"name": str(n), "ctl": ctl, "rows": rows, "factory": True, "out": vendor(ctl, rows)}
        names.add(replay_pic32.replay(case))
        assert names <= {None, *replay_pic32.SAFER}, case
    assert names == {None, *replay_pic32.SAFER}
