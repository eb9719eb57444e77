"""What `mpota cut` does: the campaign, the faults, the hostile releases, the seeded bugs, and the report."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click

from mpota_host.command import show
from mpota_host.cut import campaign, faults, hostile, mutants, page, report
from mpota_host.cut.explore import UNCUT
from mpota_host.cut.rig import Scenario, layouts, life_of, scenario_of

# States tried of a flash of the user's own, whose images are a hundred times larger.
SAMPLED = 300
# Bad states of which a report tells how they came about.
SHOWN = 5


def chosen(layout: str) -> str:
    """The layout, which must be one of the device's."""
    if layout not in layouts():
        raise wrong("layout", f"{layout!r} is no layout; there are {', '.join(layouts())}")
    return layout


def wrong(option: str, text: str) -> click.BadParameter:
    """What was typed cannot be meant."""
    return click.BadParameter(text, param_hint=f"'--{option}'")


def run(layout: str, depth: int, seed: int) -> report.Report:
    """Everything, without options."""
    began = time.monotonic()
    settings = campaign.full(chosen(layout), depth, seed)
    how_long = {1: "some seconds", 2: "some minutes"}.get(depth, "many hours: nothing is left out so deep")
    show.note(f"Cutting the power in {len(settings.scenarios)} stories; this takes {how_long}.")
    made = report.Report(layout, campaign.run(settings), options=f" --seed {seed}" if seed else "")
    shorten(made, seed)
    if life_of(layout).ROOMY:
        show.note("Offering forged releases.")
    made.hostile = hostile.attack(layout, hostile.make_keys())
    some, every = mutants.here(layout), mutants.bugs_of(layout).MUTANTS
    show.note(f"Looking for {len(some)} seeded bugs; this takes another minute or two.")
    if len(every) > len(some):
        show.note(f"Of {len(every) - len(some)} more only a test in mpota's repository shows that they are found.")
    made.verdicts = mutants.hunt_all(layout, settings.workers)
    made.seconds = time.monotonic() - began
    return made


def own(layout: str, image: Path, table: Path | None) -> Scenario:
    """The update to a firmware of the user's own, on his own partition table."""
    found: Scenario = life_of(chosen(layout)).own(image.read_bytes(), table.read_bytes() if table else None)
    return found


def sample(layout: str, image: Path, table: Path | None, seed: int) -> report.Report:
    """Cuts at random in an update from the user's own image, on his own table: some hundred states."""
    began = time.monotonic()
    scenario = own(layout, image, table)
    show.note(f"Cutting the power in {SAMPLED} places, or as many as {campaign.SAMPLE_SECONDS:.0f} s allow.")
    options = f" --seed {seed} --image {image}" + (f" --table {table}" if table else "")
    made = report.Report(layout, campaign.sampled(layout, scenario, SAMPLED, seed), options=options)
    made.seconds = time.monotonic() - began
    return made


def replay(
    layout: str, ident: str, seed: int, image: Path | None = None, table: Path | None = None
) -> tuple[report.Report, list[str]]:
    """One state again, and the map of the medium when the power returned; `image`, `table` where it is of `sample`."""
    name, _, path = ident.partition(":")
    stories: dict[str, Scenario] = dict(life_of(chosen(layout)).SCENARIOS)
    if image:
        stories["own"] = own(layout, image, table)
    if name not in stories or not path:
        also = "; give the --image too" if name == "own" else ""
        raise wrong("replay", f"{ident!r} names no scenario and cut; a report prints such names after --replay{also}")
    made = report.Report(layout, ident=ident)
    try:
        return made, _play(made, stories[name], path, seed)
    except (LookupError, ValueError) as e:
        raise wrong("replay", f"{ident!r} cannot be played: {e}") from e


def _play(made: report.Report, scenario: Scenario, path: str, seed: int) -> list[str]:
    """A cut of cuts `3.after+7.prefix`, a fault `stuck=7000.3`, or a release `hostile=unsigned`."""
    kind, equals, which = path.partition("=")
    if not equals:
        explorer, made.result.tally = campaign.replay(made.layout, scenario, path, seed)
        return explorer.oracle.map()
    if kind == "hostile":
        made.hostile = hostile.attack(made.layout, hostile.make_keys(), which)
        if not made.hostile.offered:
            raise LookupError(f"there is no release {which!r}")
        return []
    if kind not in faults.KINDS:
        raise LookupError(f"there is no fault {kind!r}; there are {', '.join(faults.KINDS)}")
    story = faults.Story(made.layout, scenario, seed)
    story.play(kind, which)
    made.result.faults = story.result
    return story.explorer.oracle.map("at rest")


def processes(layout: str, n: int, seed: int) -> report.Report:
    """Kill a virtual board `n` times in real updates."""
    from mpota_host.cut import processes as real

    began = time.monotonic()
    show.note(f"Killing a board {n} times, each in a real update of some seconds.")
    made = report.Report(chosen(layout), killed=real.campaign(n, seed))
    made.seconds = time.monotonic() - began
    return made


def shorten(made: report.Report, seed: int) -> None:
    """Drop from the first bad ways the cuts that they do not need, and draw what lay there at the end of each."""
    tally = made.result.tally
    tally.bad = [campaign.shorten(made.layout, bad, seed) for bad in tally.bad[:SHOWN]] + tally.bad[SHOWN:]
    for bad in tally.bad[:SHOWN]:
        with contextlib.suppress(LookupError, ValueError):
            scenario = scenario_of(made.layout, bad.scenario)
            explorer, _ = campaign.replay(made.layout, scenario, bad.path or UNCUT, seed)
            bad.map = explorer.oracle.map()


def write_page(made: report.Report, path: Path) -> Path:
    """The map of the cuts as a page for a browser."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.page(made), encoding="utf-8")
    return path
