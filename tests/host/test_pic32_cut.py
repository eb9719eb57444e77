"""The power campaign of the PIC32MZW1 in small: no bad state, and each seeded bug is found by the cuts of its story."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from host.sim.cut import campaign
from host.sim.cut.bugs import Mutant
from host.sim.cut.explore import Explorer, every
from host.vendor.pic32 import bugs, life

HUNT = """
import json, sys
from host.sim.cut.mutants import Mutant, _cuts, seed
*fields, story, states = json.loads(sys.argv[1])
seed(Mutant(*fields))
print("FOUND", _cuts("pic32", [story], states))
"""


@pytest.mark.parametrize("name", life.SCENARIOS)
def test_every_story_comes_to_rest_with_the_newest_image(name: str) -> None:
    explorer = Explorer("pic32", life.SCENARIOS[name])
    cuts = explorer.run(explorer.start, every)
    assert not explorer.tally.bad, explorer.tally.bad
    assert len(cuts) > 500 and explorer.life.boots[-1] == 2


def test_every_single_cut_of_the_quick_stories_and_some_cuts_in_cuts_are_survived() -> None:
    settings = campaign.quick("pic32", 1800)
    tally = campaign.work(settings, 0)
    assert not tally.bad, [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) > 1500 and max(tally.depths) > 2


@pytest.mark.parametrize(("mutant", "story"), bugs.BUGS, ids=lambda x: getattr(x, "name", None))
def test_each_seeded_bug_is_found(mutant: Mutant, story: str) -> None:
    states = 900 if story == "row-deflate" else 0
    given = json.dumps([mutant.name, mutant.module, mutant.old, mutant.new, story, states])
    done = subprocess.run([sys.executable, "-B", "-c", HUNT, given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = done.stdout.partition("FOUND ")[2].strip()
    assert bool(found) == (mutant.name != "no bug"), found
