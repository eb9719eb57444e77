"""A campaign tells what it did: each state once, no cut left out where none may be, and a page that shows them all."""

import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

from mpota_host.command import cut as command
from mpota_host.cut import campaign, faults, page, report
from mpota_host.cut.campaign import Settings, Worker
from mpota_host.cut.explore import CATEGORIES, OUTCOMES, Explorer, Failure, Tally, every
from mpota_host.cut.medium.medium import mark
from mpota_host.cut.mutants import Verdict
from mpota_host.cut.oracle import Bad
from mpota_host.cut.rig import scenario_of

ROOT = Path(__file__).resolve().parent.parent.parent


def one_story(workers):
    """Every single cut of one story, by so many processes' shares."""
    settings = Settings("esp32", ("update",), (), 0, 1, workers=workers)
    told = Tally()
    for number in range(workers):
        told.add(campaign.work(settings, number))
    return told


def test_the_oracle_shares_no_code_with_what_it_judges():
    code = "import sys, mpota_host.cut.oracle\n"
    code += "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('mpota', 'mpota_boot')))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["mpota_boot", "mpota_boot.errors"]
    # Nor does it import anything later.
    text = (ROOT / "host/mpota_host/cut/oracle.py").read_text()
    assert re.findall(r"^\s*(?:from|import) (\S+)", text, re.M) == [
        "__future__",
        "mpota_host.cut.medium.cells",
        "mpota_host.cut.rig",
    ]


def test_two_processes_tell_of_each_state_once():
    alone, shared = one_story(1), one_story(2)
    assert alone.marks and set(alone.marks) == set(shared.marks)
    assert alone.cuts == shared.cuts > 0 and alone.torn == shared.torn
    assert alone.outcomes == shared.outcomes and alone.depths == shared.depths
    assert sorted(alone.map) == sorted(shared.map)


def test_a_state_that_is_walked_again_is_not_told_of_again():
    worker = Worker(campaign.quick("esp32"), 0)
    worker.scenario("update", 1, 500)
    places = [entry[:2] + entry[3:4] for entry in worker.tally.map]
    assert len(places) == len(set(places)) > 100
    assert max(worker.tally.depths) > 3, "it went down from some of them"


def test_no_cut_in_the_life_after_a_cut_is_left_out():
    worker = Worker(Settings("esp32", ("update",), ("update",), 0, workers=1), 0)
    explorer = Explorer("esp32", scenario_of("esp32", "update"))
    for case in explorer.run(explorer.start, every)[30:200:90]:
        second = Explorer("esp32", scenario_of("esp32", "update"))
        wanted = {mark(c.shot) for c in second.run(case, every)}
        explorer.shown.clear()
        worker.below(explorer, [case], 2)
        assert len(wanted) > 5 and wanted <= set(worker.tally.marks) | set(explorer.tally.marks)


def test_rot_in_a_half_written_image_is_found_and_the_update_is_repeated():
    story = faults.Story("esp32", scenario_of("esp32", "update"), 0)
    for ident in story.idents("spoiled", 12):
        story.play("spoiled", ident)
    assert story.result.lives["spoiled"] == 12 and story.result.bad == []


def test_a_report_says_how_a_bad_life_without_a_cut_is_played_again():
    bad = Failure("update", "", "whole", "whole: no")
    told = report.Report("esp32", campaign.Result(Tally(bad=[bad])), options=" --seed 7")
    command.shorten(told, 7)
    text = "\n".join(report.lines(told))
    assert "cut --layout esp32 --seed 7 --replay 'update:uncut'" in text and "app0 " in text
    assert command.replay("esp32", "update:uncut", 7)[0].good


def made():
    told = report.Report("esp32", campaign.Result(one_story(1)))
    told.result.tally.bad = [
        Failure("update", "7.prefix", "whole", "whole: <no>"),
        Failure("hang", "1.after+2.half", "", ""),
    ]
    told.verdicts = [Verdict("a bug & a half", "update: wear: a sector"), Verdict("another", "")]
    return told


def test_the_page_shows_every_first_cut_the_bad_ones_and_the_seeded_bugs():
    told = made()
    text = page.page(told)
    cells = re.findall(r"<title>update:(\d+)\.(\w+), (\w*) in ([\w ]*): (\w+ ?\w*)</title>", text)
    assert len(cells) == len(told.result.tally.map) + 1
    assert {c[4] for c in cells} == {*OUTCOMES, "bad"}
    for name in CATEGORIES[:3]:
        assert f">{name}</text>" in text or f">{name.split()[0]}</text>" in text, (
            "the strip says which part of the life this is"
        )
    for words in (
        "a bug &amp; a half",
        "update: wear: a sector",
        "NOT FOUND",
        "1 of 2 seeded bugs",
        "2 bad",
        "&lt;no&gt;",
    ):
        assert words in text
    assert "nan" not in text and "<no>" not in text


def test_the_page_has_a_row_for_each_cut_of_a_file_and_none_for_those_of_a_flash():
    told = report.Report("files", campaign.run(Settings("files", ("update-fat",), (), 0, 1, workers=1)))
    text = page.page(told)
    rows = {}
    for y, shape in re.findall(r'y="(\d+)"[^>]*><title>update-fat:\d+\.(\w+), sector in', text):
        rows.setdefault(shape, set()).add(y)
    assert {"half", "back", "blank"} <= set(rows) and len(set.union(*rows.values())) == len(rows)
    assert "sector: after, half, back, blank" in text and "erase" not in text


def test_the_lines_name_what_was_found_and_what_was_not():
    text = "\n".join(report.lines(made()))
    assert "1 of 2 bugs found" in text and re.search(r"another +NOT FOUND", text)
    assert re.search(r"outcomes +old whole \d+, resumed \d+, new whole \d+", text)


def test_what_is_bad_can_be_told_by_another_process():
    bad = pickle.loads(pickle.dumps(Bad("whole", "it is not")))
    assert (bad.rule, str(bad)) == ("whole", "whole: it is not")


SLEEPER = """
import os, time
from mpota_host.cut.campaign import pool

if __name__ == "__main__":
    with pool(1) as processes:
        print(processes.submit(os.getpid).result(), flush=True)
        processes.submit(time.sleep, 60)
        time.sleep(60)
"""


def test_a_campaign_that_is_killed_leaves_no_process_behind(tmp_path):
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as main:
        worker = int(main.stdout.readline())
        main.kill()
    end = time.monotonic() + 20
    while there(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not there(worker)


def there(pid):
    """Does this process run, and is no mere zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
