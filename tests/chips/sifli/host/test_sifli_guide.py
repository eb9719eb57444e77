"""The README of a SiFli chip: its guide typed from the first line to the last, its table of the vendor's page."""

import re
import time

import pytest

from mpota_host.sources import DEVICE
from tests.host.test_sample import confirmed, place, running, typed  # noqa: F401

HERE = DEVICE.parent / "tests/chips/sifli"
TEXT = (DEVICE / "mpota/layout/sifli/README.md").read_text()
GUIDE = TEXT.split("## Try it\n")[1].split("\n## ")[0]


def lines():
    """What the guide's blocks say to type."""
    blocks = re.findall(r"^```text\n(.*?)^```", GUIDE, re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.slow  # a wheel is built, and a board of processes is updated twice
@pytest.mark.board
@pytest.mark.timeout(300)
def test_the_guide_is_typed_from_its_first_line_to_its_last_from_the_wheel(place):  # noqa: F811
    first, go, *rest = lines()
    assert first == "mpota sample sifli watch/" and go == "cd watch" and len(rest) >= 8
    done = typed(place, place.work, first)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = place.work / "watch"
    at = next(i for i, line in enumerate(rest) if line.startswith("mpota board "))
    for line in rest[:at]:
        done = typed(place, folder, line)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    versions = ["1.1.0", "1.2.0"]
    with running(place, folder, rest[at]) as port:
        for line in rest[at + 1 :]:
            end = time.monotonic() + 60
            done = typed(place, folder, line, port)
            # The program that was just installed may still start.
            while done.returncode and " push " not in line and time.monotonic() < end:
                time.sleep(0.5)
                done = typed(place, folder, line, port)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if " push " in line:
                confirmed(place, folder, port, versions.pop(0), "mpota confirm --port $PORT")
    assert not versions


def test_every_row_of_the_vendors_page_names_tests_that_exist():
    table = TEXT.split("## The vendor's page, sentence by sentence\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "**" not in line][1:]
    assert len(rows) >= 22 and all(len(row) == 3 for row in rows)
    there = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in HERE.rglob("test_*.py")), re.M))
    for says, here, shown in rows:
        named = re.findall(r"`(test_\w+)`", shown)
        assert named and not set(named) - there, (says, set(named) - there)
        assert not re.search(r"\b(missing|partly|not done)\b", here), says
