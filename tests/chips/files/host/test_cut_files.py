"""The quick form of the power campaign of application files, and that each part of it can fail."""

import json
from random import Random

import pytest

from mpota_host.chips.files.cut import apps, bugs, life
from mpota_host.chips.files.cut import campaign as files
from mpota_host.chips.files.cut.campaign import FILES
from mpota_host.chips.files.cut.oracle import FilesOracle, journal
from mpota_host.cut import mutants
from mpota_host.cut.explore import Step
from mpota_host.cut.oracle import Bad
from mpota_host.cut.rig import layouts
from mpota_host.sim.fs import Stand
from mpota_host.sources import CHECKOUT as ROOT
from tests.host import hunts
from tests.host.command import call

# Found by: no cut at all, one cut on FAT, one on LittleFS. `mpota cut --layout files` hunts them all.
HUNTED = ("do not copy what is protected", "write into the list before it is freed", "remove the list first")


@pytest.fixture(scope="module", autouse=True)
def own_files():
    """Afterwards the device's modules have their own files again."""
    yield
    if Stand.now:
        Stand.now.end()


@pytest.fixture
def explorer():
    return files.FilesExplorer(life.SCENARIOS["update-fat"])


def test_every_layout_is_in_a_campaign():
    assert {*layouts(), FILES} == {p.parent.name for p in (ROOT / "device" / "mpota" / "layout").glob("*/__init__.py")}
    assert {s.fat for s in life.SCENARIOS.values()} == {True, False}
    assert {s.verdict for s in life.SCENARIOS.values()} >= {"healthy", "unhealthy", "hangs", "dies", "no-link"}
    assert set(life.QUICK) | set(life.DEEP) | set(life.EDGES) <= set(life.SCENARIOS)


def test_no_cut_leaves_a_mixture_of_files():
    tally = files.run(files.quick()).tally
    assert tally.bad == [], [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) > 800 and tally.nested > 5000 and tally.torn > 1000 and set(tally.depths) == {1, 2}
    assert set(tally.ends()) == {"old whole", "resumed", "new whole"} and min(tally.ends().values()) > 50


def test_no_cut_leaves_firmware_with_another_applications_files():
    tally = files.run(files.Settings(("both-soft",), 1)).tally
    assert tally.bad == [], [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) > 400


@pytest.mark.parametrize("name", ["update-fat", "both"])
def test_what_is_shown_of_a_cut_is_what_a_cut_leaves(name):
    explorer = files.FilesExplorer(life.SCENARIOS[name])
    cases = explorer.run(explorer.start, files.every)
    for case in Random(1).sample(cases, 20):
        again = explorer.cut(explorer.start, case.path[0])
        assert again.shot == case.shot and again.memory == case.memory and again.phase == case.phase, case.path
    deeper = explorer.run(cases[40], files.every)
    for case in Random(2).sample(deeper, 5):
        assert explorer.cut(cases[40], case.path[1]).shot == case.shot
    assert explorer.cut(explorer.start, Step(1, "before")).shot == explorer.start.shot


def broken(change, name="update"):
    """The rule that is broken by a life in which `change(files)` happened before the first power-on."""
    explorer = files.FilesExplorer(life.SCENARIOS[name])
    change(explorer.rig.disk.files)
    explorer.run(files.Case(explorer.flash.shot(), explorer.life.memory))
    return [bad.rule for bad in explorer.tally.bad]


def test_each_rule_of_the_oracle_can_be_broken():
    assert broken(lambda held: held.update({"/ota/1/app.py": b"VERSION = 1\n"})) == ["whole"]
    assert broken(lambda held: held.pop("/ota/1/table.bin")) == ["whole"]
    assert broken(lambda held: held.update({"/ota/1/more.py": b""})) == ["whole"]
    assert broken(lambda held: held.update({"/ota/1/config.json": b"{}"})) == ["whole"]
    assert broken(lambda held: held.update({"/data/log.csv": b""})) == ["strangers"]
    assert broken(lambda held: held.pop("/ota/1/own.txt")) == ["strangers"]
    assert broken(lambda held: held.pop("/ota/1/.mpota")) == ["shim"]
    for path in ("/ota/mpotaa", "/ota/mpotab"):
        assert broken(lambda held, path=path: held.update({path: b""})) in ([], ["folder"], ["whole"])
    assert broken(lambda held: held.update({"/ota/mpotaa": b"", "/ota/mpotab": bytes(512)})) in (
        ["journal"],
        ["folder"],
    )


def test_files_of_another_application_than_the_firmwares_are_mixed():
    explorer = files.FilesExplorer(life.SCENARIOS["both"])
    oracle = explorer.oracle
    explorer.rig.power_on("power")
    for path in list(explorer.rig.disk.files):
        if path.startswith("/ota/1/") and path not in oracle.strangers and path[7:] not in apps.OWN:
            del explorer.rig.disk.files[path]
    explorer.rig.disk.files.update({f"/ota/1/{name}": data for name, data in apps.app(1, True).items()})
    with pytest.raises(Bad, match="mixed"):
        oracle.started("/ota/1", 0)


def test_what_is_left_after_a_confirm_and_a_boot_that_writes_are_bad(explorer):
    oracle: FilesOracle = explorer.oracle
    explorer.rig.disk.files["/ota/2/app.py"] = b""
    with pytest.raises(Bad, match="freed"):
        oracle.end("/ota/1", False)
    with pytest.raises(Bad, match="quiet"):
        oracle.quiet("power", 1)
    with pytest.raises(Bad, match="kept"):
        oracle.started("/ota/1", 1)


def test_the_oracle_reads_the_journal_by_itself():
    from mpota.store.pair import encode

    data = encode(7, {"armed": b"abc"})
    assert journal(data) == 7 and journal(data[:-1]) == 0 and journal(b"") == 0
    assert not any(journal(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]) for i in range(22))


def test_every_seeded_bug_is_a_change_of_one_place():
    assert len(bugs.MUTANTS) >= 25
    assert len({m.name for m in bugs.MUTANTS}) == len(bugs.MUTANTS)
    for m in bugs.MUTANTS:
        seeder = mutants.Seeder(m)
        assert mutants._Loader(m, str(seeder.path)).get_code(m.module) is not None
        assert m.old != m.new
        assert not m.test or m.test in life.SCENARIOS


def test_seeded_bugs_are_found():
    hunts.found(FILES, HUNTED)


def test_a_state_is_played_again_by_its_name_and_shows_the_files(capsys):
    assert call("cut", "--layout", FILES, "--replay", "update-fat:20.after+3.after", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["states"] == 1 and facts["bad"] == 0
    assert call("cut", "--layout", FILES, "--replay", "hang:20.after") == 0
    out = capsys.readouterr().out
    assert "hang:20.after: good" in out and "/ota/1/app.py" in out and "as in application 0" in out
    for ident in ("nothing", "unheard:3.after", "update:999.after", "update:3.unheard", "update:x", "update:20.half"):
        assert call("cut", "--layout", FILES, "--replay", ident) == 2
        assert ident in capsys.readouterr().err


def test_a_failure_is_brought_down_to_the_cuts_that_it_needs(monkeypatch):
    """With an oracle that calls every resumed update bad, the shortest way to one is a single cut."""
    whole = files.FilesExplorer._settle

    def settle(self):
        if self.life.resumed:
            raise Bad("resumed", "for the test")
        whole(self)

    monkeypatch.setattr(files.FilesExplorer, "_settle", settle)
    bad = files.run(files.Settings(("update",), 1, first=True)).tally.bad[0]
    longer = files.Failure("update", f"1.before+{bad.path}", "resumed", "")
    assert files.shorten(longer, 0).path == bad.path
