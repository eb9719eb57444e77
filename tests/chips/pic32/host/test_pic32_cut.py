"""The power campaign of the PIC32MZW1 beside the quick one of every layout: its stories, its bugs, an own image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpota_host.chips.pic32 import hexfile
from mpota_host.chips.pic32.cut import bugs, life
from mpota_host.command import cut as command
from mpota_host.cut import mutants
from mpota_host.cut.explore import Explorer, every
from tests.host import hunts
from tests.host.command import call

# Found by: a single cut, the second boot, a fault, a forged release, a test. `mpota cut` hunts them all.
HUNTED = (
    "arm before the journal knows",
    "count no boots",
    "start what rotted",
    "take another chip's image",
    "take the last entry",
)


@pytest.mark.parametrize("name", life.SCENARIOS)
def test_every_story_comes_to_rest_with_the_newest_image(name: str) -> None:
    explorer = Explorer("pic32", life.SCENARIOS[name])
    cuts = explorer.run(explorer.start, every)
    assert not explorer.tally.bad, explorer.tally.bad
    assert len(cuts) > 500 and explorer.life.boots[-1] == 2


def test_every_seeded_bug_is_a_change_of_one_place_and_the_tests_that_it_names_pass() -> None:
    assert len(bugs.MUTANTS) >= 30 and len({m.name for m in bugs.MUTANTS}) == len(bugs.MUTANTS)
    for m in bugs.MUTANTS:
        assert mutants._Loader(m, str(mutants.Seeder(m).path)).get_code(m.module) is not None and m.old != m.new
        assert mutants._by_test(m.test) == "", f"{m.test} fails without the bug"


@pytest.mark.slow  # campaigns in processes of their own, to the first bad state
@pytest.mark.timeout(300)
def test_seeded_bugs_are_found() -> None:
    hunts.found("pic32", HUNTED)


def test_an_own_hex_is_sampled_and_a_state_is_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from intelhex import IntelHex

    monkeypatch.setattr(command, "SAMPLED", 20)
    found = IntelHex()
    slot = hexfile.slot_of("3.7")
    found.frombytes(life.image(20_001, 5), slot.start)
    (tmp_path / "app.hex").write_bytes(hexfile.text(found))
    assert call("cut", "--layout", "pic32", "--image", tmp_path / "app.hex", "--json") == 0
    assert json.loads(capsys.readouterr().out)["states"] >= 15
    assert call("cut", "--layout", "pic32", "--image", tmp_path / "app.hex", "--table", tmp_path / "app.hex") == 3
    for ident in ("row:20.half+3.after", "golden:stuck=2f89.3", "row-deflate:hostile=unsigned"):
        assert call("cut", "--layout", "pic32", "--replay", ident) == 0
        assert f"{ident}: good" in capsys.readouterr().out
