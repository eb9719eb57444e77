"""The quick form of the power campaign of application files, and that each part of it can fail."""

import json

import pytest

from mpota_host.chips.files.cut import apps, bugs, life, own
from mpota_host.chips.files.cut.oracle import FilesOracle, journal
from mpota_host.cut import campaign, mutants
from mpota_host.cut.campaign import Settings, Worker
from mpota_host.cut.explore import Case, Explorer
from mpota_host.cut.oracle import Bad
from tests.host import hunts
from tests.host.command import call

# Found by: no cut at all, one cut on FAT, one on LittleFS. `mpota cut --layout files` hunts them all.
HUNTED = (
    *("do not copy what is protected", "write into the list before it is freed", "remove the list first"),
    *("drop the modules of most subpackages", "a rescue by the release's own mpota"),
    "leave the folders above one that a cut has removed",
)


@pytest.fixture
def explorer():
    return explorer_of("update-fat")


def explorer_of(name):
    return Explorer("files", life.SCENARIOS[name])


def test_stories_are_of_both_file_systems():
    assert {s.fat for s in life.SCENARIOS.values()} == {True, False}
    assert set(life.DEEP) <= set(life.EXHAUSTIVE) and set(life.EDGES) <= set(life.SCENARIOS) - set(life.EXHAUSTIVE)


def test_no_cut_in_the_life_after_a_cut_leaves_a_mixture_of_files():
    tally = campaign.run(campaign.quick("files")).tally
    assert tally.bad == [], [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) > 800 and tally.nested > 5000 and tally.torn > 1000 and set(tally.depths) == {1, 2}
    assert set(tally.ends()) == {"old whole", "resumed", "new whole"} and min(tally.ends().values()) > 50


def test_no_cut_leaves_firmware_with_another_applications_files():
    tally = campaign.run(Settings("files", ("both-soft",), (), 0)).tally
    assert tally.bad == [], [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) > 400


SELF = [name for name, story in life.SCENARIOS.items() if story.updaters]


def test_no_cut_leaves_modules_of_two_mpotas_or_one_that_no_link_answered():
    assert len(SELF) == 22 and {kind for name in SELF for kind in life.SCENARIOS[name].updaters} == {
        "",
        "good",
        *own.MARKS,
        "half",
    }
    tally = campaign.run(Settings("files", ("self-ends", "self-broken-fat", "self-blind", "both-self"), (), 0)).tally
    assert tally.bad == [], [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) > 1000


def told(name, change):
    """The rule that a boot breaks, whose interpreter `change` had before the oracle looked."""
    explorer = explorer_of(name)
    explorer.medium.load(explorer.start.shot)
    with explorer.medium:
        life_ = explorer.life
        life_.begin(explorer.start.memory, 0)
        assert life_._begin("power") == 0
        explorer.oracle.imported(0, 0)
        change(explorer.rig.imports)
        with pytest.raises(Bad) as e:
            explorer.oracle.imported(0, 0)
    return e.value.rule


def test_each_rule_of_an_mpota_that_a_release_brings_can_be_broken():
    def moved(name, place):
        return lambda model: setattr(model.modules[name], "file", place)

    assert told("self-ends", moved("mpota.agent", "/lib/mpota/agent.py")) == "roots"
    assert told("self-ends", lambda model: model.modules["wiring"].took.append("/lib/mpota/stream.py")) == "roots"
    assert told("self-ends", moved("app", "/ota/1/lib/app.py")) == "order"

    def all_of(root):
        def change(model):
            for name, one in model.modules.items():
                if name.startswith("mpota"):
                    one.file, one.folder = f"{root}/mpota/x.py", ""
            model.modules["wiring"].took = []

        return change

    assert told("self-ends", all_of("/lib")) == "updater"
    assert told("self-rescue", all_of("/ota/1")) == "updater"
    assert told("self", all_of("/ota/1")) == "updater"


def test_edges_are_cut_in_the_life_after_an_edge_and_nowhere_else():
    worker = Worker(Settings("files", ("both",), (), 0), 0)
    explorer = explorer_of("both")
    first = explorer.run(explorer.start, lambda operation, number: ["after"])[:3]
    worker.inner(explorer, first, lambda operation, number: ["after"])
    assert set(explorer.tally.depths) == {2} and explorer.tally.depths[2] > 100 and explorer.tally.torn == 0
    assert not explorer.tally.bad


def test_the_same_bytes_in_another_story_are_another_state():
    marks = []
    for name in ("update", "unhealthy"):
        explorer = explorer_of(name)
        assert explorer.fresh(explorer.start) and not explorer.fresh(explorer.start)
        marks += explorer.tally.marks
    assert explorer_of("update").start.shot == explorer_of("unhealthy").start.shot
    assert len(set(marks)) == 2


def broken(change, name="update"):
    """The rule that is broken by a life in which `change(files)` happened before the first power-on."""
    explorer = explorer_of(name)
    change(explorer.rig.disk.files)
    explorer.run(Case(explorer.medium.shot(), explorer.life.memory))
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
    explorer = explorer_of("both")
    oracle = explorer.oracle
    explorer.rig.power_on("power")
    for path in list(explorer.rig.disk.files):
        if path.startswith("/ota/1/") and path not in oracle.strangers and path[7:] not in apps.OWN:
            del explorer.rig.disk.files[path]
    explorer.rig.disk.files.update(
        {f"/ota/1/{name}": data for name, data in apps.app(1, explorer.rig.scenario).items()}
    )
    explorer.rig.folder = "/ota/1"
    with pytest.raises(Bad, match="mixed"):
        oracle.started(0)


def test_what_is_left_after_a_confirm_and_a_boot_that_writes_are_bad(explorer):
    oracle: FilesOracle = explorer.oracle
    explorer.rig.folder = "/ota/1"
    explorer.rig.disk.files["/ota/2/app.py"] = b""
    with pytest.raises(Bad, match="freed"):
        oracle.end(False)
    with pytest.raises(Bad, match="quiet"):
        oracle.quiet("power", 1)
    with pytest.raises(Bad, match="kept"):
        oracle.started(1)


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


@pytest.mark.slow  # campaigns in processes of their own, to the first bad state
@pytest.mark.timeout(300)
def test_seeded_bugs_are_found():
    hunts.found("files", HUNTED)


def test_a_state_is_played_again_by_its_name_and_shows_the_files(capsys):
    assert call("cut", "--layout", "files", "--replay", "update-fat:20.after+3.after", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["states"] == 1 and facts["bad"] == 0
    assert call("cut", "--layout", "files", "--replay", "hang:20.after") == 0
    out = capsys.readouterr().out
    assert "hang:20.after: good" in out and "/ota/1/app.py" in out and "as in application 0" in out
    for ident in ("nothing", "unheard:3.after", "update:999.after", "update:3.unheard", "update:x", "update:20.half"):
        assert call("cut", "--layout", "files", "--replay", ident) == 2
        assert ident in capsys.readouterr().err


def test_what_is_of_a_flash_alone_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "app.bin").write_bytes(b"app")
    assert call("cut", "--layout", "files", "--image", tmp_path / "app.bin") == 3
    assert "no place for an image of your own" in capsys.readouterr().err
    for ident in ("update:stuck=7000.3", "both:failing=20", "update:hostile=unsigned"):
        assert call("cut", "--layout", "files", "--replay", ident) == 2
        assert ident in capsys.readouterr().err
