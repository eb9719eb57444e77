"""The quick form of the power campaign, and that each part of it can fail. Nothing switches it off."""

import json
from random import Random

import pytest

from mpota_host.command import cut as command
from mpota_host.cut import campaign, explore, faults, hostile, report
from mpota_host.cut.drive import Memory
from mpota_host.cut.explore import CATEGORIES, OUTCOMES, Explorer, Failure, Step, every
from mpota_host.cut.medium import shapes
from mpota_host.cut.medium.cells import BLANK, SECTOR, CutFlash
from mpota_host.cut.medium.medium import mark
from mpota_host.cut.oracle import Bad, Oracle
from mpota_host.cut.rig import VERDICTS, layouts, life_of, scenario_of
from mpota_host.sim.flash import PowerCut
from tests.host.command import call

STATES = 4000


# The layouts where cuts in cuts are drawn at random. "files" has a test of its own.
RANDOM = [name for name in layouts() if not campaign.quick(name, STATES).exhaustive]


@pytest.fixture(scope="module", params=RANDOM)
def quick(request):
    """A layout, and what its quick campaign found."""
    return request.param, campaign.run(campaign.quick(request.param, STATES))


@pytest.fixture
def explorer():
    return Explorer("esp32", scenario_of("esp32", "update"))


# `quick` plays 4,000 cuts and all faults of a layout: a quarter of a minute of one core.
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_cut_leaves_a_device_dead(quick):
    layout, result = quick
    tally = result.tally
    assert tally.bad == [], [f"{b.ident} {b.text}" for b in tally.bad]
    assert len(tally.marks) >= STATES
    assert max(tally.depths) >= 5, "cuts in cuts in cuts were tried"
    for name in CATEGORIES:
        assert tally.categories()[name] >= len(tally.marks) / life_of(layout).SHARE, tally.categories()
    ends = tally.ends()
    assert set(ends) == set(OUTCOMES) and min(ends.values()) > 100, ends
    assert sum(ends.values()) == sum(tally.depths.values()) >= len(tally.marks)


# `quick` plays 4,000 cuts and all faults of a layout: a quarter of a minute of one core.
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_fault_of_the_flash_leaves_a_device_dead(quick):
    _, result = quick
    assert result.faults.bad == [], [f"{b.ident} {b.text}" for b in result.faults.bad]
    assert set(result.faults.lives) == set(faults.KINDS) and min(result.faults.lives.values()) >= 30


def test_every_layout_but_one_with_a_test_of_its_own_is_in_the_quick_campaign():
    assert set(layouts()) - set(RANDOM) == {"files"}


def test_no_forged_release_is_started():
    for name in (name for name in layouts() if life_of(name).ROOMY):
        result = hostile.attack(name, hostile.make_keys())
        assert result.bad == [], [f"{b.ident} {b.text}" for b in result.bad]
        assert sum(result.offered.values()) >= 20


def test_every_layout_of_the_device_is_in_the_campaign():
    assert "esp32" in layouts()
    for name in layouts():
        life = life_of(name)
        named = {*life.QUICK, *life.EXHAUSTIVE, *life.HUNT, *life.FAULTY, life.ROOMY or life.QUICK[0]}
        assert named <= set(life.SCENARIOS)
        assert life.FAULTY and set(getattr(life, "PAIRS", ())) <= set(life.SCENARIOS) - set(life.EXHAUSTIVE)
        stories = life.SCENARIOS.values()
        assert {s.verdict for s in stories} == set(life.VERDICTS) <= {*VERDICTS, *getattr(life, "COPIES", ())}
        assert {s.erase_size for s in stories} >= set(life.ERASES)
        assert {s.prog_size for s in stories} >= set(life.UNITS)
    assert life_of("esp32").VERDICTS == VERDICTS, "nothing is left out where everything can happen"


@pytest.mark.parametrize(("layout", "name"), [("esp32", "update"), ("files", "update-fat"), ("files", "both")])
def test_what_is_shown_of_a_cut_is_what_a_cut_leaves(layout, name):
    """The states are made while a life runs; a medium that really dies in the same place holds the same."""
    explorer = Explorer(layout, scenario_of(layout, name))
    cases = explorer.run(explorer.start, every)
    for case in Random(1).sample(cases, 25):
        again = explorer.cut(explorer.start, case.path[0])
        assert again.shot == case.shot and again.memory == case.memory, case.path
        assert again.phase == case.phase
    deeper = explorer.run(cases[40], every)
    for case in Random(2).sample(deeper, 10):
        assert explorer.cut(cases[40], case.path[1]).shot == case.shot
    assert explorer.cut(explorer.start, Step(1, "before")).shot == explorer.start.shot
    with pytest.raises(LookupError, match="no operation 9999"):
        explorer.cut(explorer.start, Step(9999, "after"))


def test_a_watchdog_resets_where_a_trial_is_counted_judged_or_ended_and_the_next_start_knows(explorer):
    cases = explorer.run(explorer.start, every)
    reset = {case.path[0].op: case for case in cases if case.path[0].shape == "watchdog"}
    after = {case.path[0].op: case for case in cases if case.path[0].shape == "after"}
    assert 10 < len(reset) < len(after) / 2
    assert {case.phase for case in reset.values()} <= {"arm and first boot", "confirm and retreat", "recovery"}
    for op, case in reset.items():
        assert case.shot == after[op].shot and not case.torn and (case.cause, after[op].cause) == ("watchdog", "power")
        assert explorer.fresh(case) and explorer.fresh(after[op]), "another start is another state"
    case = reset[min(reset)]
    assert explorer.cut(explorer.start, case.path[0]).shot == case.shot
    causes = []
    explorer.life.rest = lambda cause, memory: bool(causes.append(cause))
    explorer.life.begin(case.memory, 1)
    explorer.medium.load(case.shot)
    explorer.life.run(case.cause)
    assert causes[0] == "watchdog"


def test_a_healthy_image_that_is_given_up_while_it_has_trials_is_bad(explorer):
    life = explorer.life
    for cuts, bad in ((0, True), (2, True), (3, False)):
        life.begin(Memory(), cuts)
        if bad:
            with pytest.raises(Bad, match="given up"):
                life._given_up("failed", 1)
        else:
            life._given_up("failed", 1)
    life.begin(Memory(lost=True), 0)
    life._given_up("failed", 1)
    unhealthy = Explorer("esp32", scenario_of("esp32", "unhealthy")).life
    unhealthy._given_up("failed", 1)
    with pytest.raises(Bad, match="given up"):
        unhealthy._given_up("failed", 2)


def test_pairs_are_all_cuts_of_the_switch_after_each_of_them():
    name = life_of("pic32").PAIRS[0]
    worker = campaign.Worker(campaign.Settings("pic32", (name,), (), 0), 0)
    explorer = Explorer("pic32", scenario_of("pic32", name))
    first = [case for case in explorer.run(explorer.start, every) if case.switches]
    assert {case.phase for case in first} == {"arm and first boot"} and len(first) > 30
    worker.inner(explorer, first[:4], campaign.switching(explorer))
    assert set(explorer.tally.depths) == {2} and explorer.tally.depths[2] > 50 and explorer.tally.torn > 50
    assert explorer.tally.bad == []
    settings = campaign.full("pic32", 2, 0)
    assert settings.pairs == (name,) and campaign.one("pic32", name, 600).pairs == (name,)


def test_a_full_page_of_the_nvs_moves_in_each_of_its_stories(monkeypatch):
    """Every operation of a move is cut, and the move that recovers from that."""
    from mpota_host.chips.esp32.cut.life import MOVES
    from mpota_host.chips.esp32.sim import nvs

    for scenario in MOVES:
        explorer = Explorer("esp32", scenario)
        moved, move = [], nvs.Store._move

        def noted(store, page, explorer=explorer, moved=moved, move=move):
            first = page.state, explorer.life.phase, explorer.medium.ops
            move(store, page)
            moved.append((*first, explorer.medium.ops))

        monkeypatch.setattr(nvs.Store, "_move", noted)
        found = explorer.run(explorer.start, every)
        assert len(moved) == 1 and moved[0][1] != "fetch", scenario.name
        low, high = moved.pop()[2:]
        inside = [case for case in found if low < case.path[0].op <= high]
        assert len(inside) > 50
        for case in inside:
            explorer.run(case)
        monkeypatch.undo()
        assert explorer.tally.bad == []
        assert [state for state, *_ in moved].count(nvs.FREEING) > 10, "it is finished by a mount"


def test_a_read_of_the_journal_that_goes_wrong_is_counted_and_comes_once():
    for layout, name in (("esp32", "hang-unprotected"), ("bk7238", "dies"), ("pic32", "both"), ("files", "hang-fat")):
        story = faults.Story(layout, scenario_of(layout, name), 0)
        assert story.idents("misread", 3) == story.idents("misread", 3) and story.reads > 20
        for ident in story.idents("misread", 5):
            story.play("misread", ident)
        assert story.result.bad == [] and story.result.lives["misread"] >= 6
    for ident in ("3.unheard", "0.bits", "x.bits"):
        with pytest.raises((LookupError, ValueError)):
            story.play("misread", ident)


def test_a_cut_before_an_operation_is_a_cut_after_the_one_before_it(explorer):
    after = {
        case.path[0].op: case.shot for case in explorer.run(explorer.start, every) if case.path[0].shape == "after"
    }
    assert len(after) > 50
    for op in (2, 17, 40):
        assert explorer.cut(explorer.start, Step(op, "before")).shot == after[op - 1]
    assert explorer.cut(explorer.start, Step(1, "before")).shot == explorer.start.shot


def test_nothing_survives_a_cut_but_the_flash(explorer):
    flash = explorer.rig.flash
    flash.cut, flash.cut_at = 1, "before"
    with pytest.raises(PowerCut):
        flash.erase(0, SECTOR)
    for use in (lambda: flash.read(0, bytearray(4)), lambda: flash.prog(0, b"1234"), lambda: flash.erase(0, SECTOR)):
        with pytest.raises(PowerCut):
            use()
    assert mark(flash.cells.sectors) == mark(explorer.start.shot)


@pytest.mark.parametrize("op", ["prog", "erase"])
def test_tears_move_bits_one_way_only(op):
    rng = Random(3)
    for shape in shapes.SHAPES[op].values():
        for _ in range(20):
            old = rng.randbytes(64)
            new = b"\xff" * 64 if op == "erase" else bytes(a & b for a, b in zip(old, rng.randbytes(64), strict=True))
            left = shape(old, new, rng)
            assert len(left) == 64
            for a, b, c in zip(old, left, new, strict=True):
                assert (a & b & c) | ((a | c) & b) == b, "a bit that was to stay has moved"
                assert (a | b) == b if op == "erase" else (a & b) == b, "a bit has moved the other way"


def test_a_state_that_was_found_can_be_played_again(capsys):
    assert call("cut", "--replay", "update:20.suffix+3.prefix", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["states"] == 1 and facts["bad"] == 0
    assert call("cut", "--replay", "update:20.suffix") == 0
    out = capsys.readouterr().out
    assert "ota_0" in out or "app0" in out, "a map of the flash"
    assert "update:20.suffix: good, resumed" in out
    # In the last one a worn cell makes the board give up one release after the other; each has polls of its own.
    worn = "journal-full:stuck=501f.2"
    for ident in ("hang:failing=20", "update:spoiled=20.suffix.9001.3", "deflate:hostile=unsigned", worn):
        assert call("cut", "--replay", ident) == 0
        assert f"{ident}: good" in capsys.readouterr().out


NO_STATES = [
    *("nothing", "unheard:3.after", "own:3.after", "update:9999.after", "update:3.unheard", "update:x"),
    *("update:unheard=1", "update:stuck=7000", "update:stuck=x.1", "update:stuck=7000.8", "update:stuck=fffffff.1"),
    *("update:failing=0", "update:failing=9999", "update:metastable=1.unheard", "update:rot=99.7000.1"),
    *("update:spoiled=20.suffix", "deflate:hostile=unheard"),
]


@pytest.mark.parametrize("ident", NO_STATES)
def test_a_replay_that_cannot_be_says_so_in_one_sentence(ident, capsys):
    assert call("cut", "--replay", ident) == 2
    *usage, sentence = capsys.readouterr().err.splitlines()
    assert ident in sentence and len(usage) <= 3


def test_an_unknown_layout_is_refused(capsys):
    assert call("cut", "--layout", "unheard") == 2
    assert "esp32" in capsys.readouterr().err


def test_an_own_image_and_table_are_sampled(tmp_path, monkeypatch, capsys):
    from mpota.layout.esp32 import table
    from mpota_host.chips.esp32.sim.tables import TABLES

    monkeypatch.setattr(command, "SAMPLED", 30)
    (tmp_path / "app.bin").write_bytes(life_of("esp32").image(50_001, 5))
    (tmp_path / "table.bin").write_bytes(table.encode(TABLES["arduino-nano"][1][:4]))
    assert call("cut", "--image", tmp_path / "app.bin", "--json") == 0
    assert json.loads(capsys.readouterr().out)["states"] >= 25
    assert (
        call("cut", "--image", tmp_path / "app.bin", "--table", tmp_path / "table.bin", "--page", tmp_path / "x.html")
        == 0
    )
    page = (tmp_path / "x.html").read_text()
    assert page.count("<rect") >= 10 and "own" in page


def test_a_report_names_what_is_bad_and_how_to_see_it_again():
    made = report.Report("esp32")
    made.result.tally.bad = [
        Failure("update", "5.after+7.prefix", "whole", "whole: no"),
        Failure("hang", "3.after", "a", "b"),
    ]
    text = "\n".join(report.lines(made))
    assert "--replay 'hang:3.after'" in text and text.index("hang:3") < text.index("update:5"), "the shortest way first"
    assert not made.good and made.facts()["bad"] == 2
    keys = {"layout", "states", "cuts", "nested", "torn", "bad", "mutants", "killed", "seconds"}
    assert keys <= set(made.facts())


def test_a_failure_is_brought_down_to_the_cuts_that_it_needs(monkeypatch):
    """With an oracle that calls every resumed update bad, the shortest way to one is a single cut."""
    whole = Explorer._settle

    def settle(self):
        if self.life.resumed:
            raise Bad("resumed", "for the test")
        whole(self)

    monkeypatch.setattr(explore.Explorer, "_settle", settle)
    explorer = Explorer("esp32", scenario_of("esp32", "update"), enough=1)
    for case in explorer.run(explorer.start, every):
        explorer.run(case)
        if explorer.full():
            break
    step = explorer.tally.bad[0].path
    assert "+" not in step
    short = campaign.shorten("esp32", Failure("update", f"1.before+{step}", "resumed", ""), 0)
    assert short.path == step and short.rule == "resumed"


# Each rule of the oracle, and what breaks it.


def broken(change):
    """The rule that is broken by a life in which `change(rig, flash)` happened before the first power-on."""
    explorer = Explorer("esp32", scenario_of("esp32", "update"))
    change(explorer.rig, explorer.rig.flash)
    explorer.run(explore.Case(explorer.medium.shot(), Memory()))
    return [bad.rule for bad in explorer.tally.bad]


def slot(rig):
    return next(a for a in rig.areas if a.first)


def test_a_flash_without_an_image_is_bad():
    assert broken(lambda rig, flash: flash.cells.put(slot(rig).off, BLANK)) == ["boots"]


def test_an_image_that_nobody_approved_is_bad():
    strange = life_of("esp32").image(4999, 77)
    assert broken(lambda rig, flash: flash.cells.put(slot(rig).off, strange)) == ["whole"]


def test_a_byte_outside_is_bad():
    assert broken(lambda rig, flash: flash.cells.put(flash.size - 1, b"\0")) == ["outside"]


def test_lost_credentials_are_bad():
    def forget(rig, flash):
        rig._nvs()("wifi").erase_key("psk")

    assert broken(forget) == ["secrets"]


def test_wear_going_back_and_forbidden_programs_are_bad(explorer):
    oracle = Oracle(explorer.rig)
    wear = [0] * (explorer.rig.flash.size // SECTOR)
    oracle.wear(wear)
    wear[slot(explorer.rig).off // SECTOR] = 9
    with pytest.raises(Bad, match="wear"):
        oracle.wear(wear)
    explorer.rig.power_on("power")
    assert oracle.started(0) == 0
    with pytest.raises(Bad, match="kept"):
        oracle.started(1)
    explorer.rig.flash.violations.append("0 over 0")
    with pytest.raises(Bad, match="nor"):
        oracle.after()


def test_a_life_that_never_rests_is_bad(monkeypatch, explorer):
    monkeypatch.setattr(explorer.life, "_session", lambda cause: "power")
    explorer.run(explorer.start)
    assert [bad.rule for bad in explorer.tally.bad] == ["rest"]


def test_cells_waver_until_they_are_rewritten():
    flash = CutFlash(2 * SECTOR)
    flash.prog(0, bytes(16))
    flash.weaken(0, b"\xff" * 16, bytes(16))
    seen = set()
    for _ in range(20):
        buf = bytearray(16)
        flash.read(0, buf)
        seen.add(bytes(buf))
    assert len(seen) > 10
    flash.erase(0, SECTOR)
    buf = bytearray(16)
    flash.read(0, buf)
    assert buf == b"\xff" * 16


def test_a_stuck_cell_stays_0_and_a_failing_operation_changes_nothing():
    flash = CutFlash(2 * SECTOR)
    flash.stick(5, 3)
    flash.erase(0, SECTOR)
    flash.prog(0, b"\xff" * 8)
    assert flash.cells.get(0, 8) == b"\xff" * 5 + b"\xf7" + b"\xff" * 2
    flash.heal()
    flash.fail_at = flash.ops + 1
    with pytest.raises(OSError, match="FLASH_OP_FAIL"):
        flash.erase(0, SECTOR)
    assert flash.cells.get(5, 1) == b"\xf7"
    flash.erase(0, SECTOR)
    assert flash.cells.get(0, SECTOR) == BLANK
