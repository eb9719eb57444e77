"""What `python -m host cut` does: the campaign, the faults, the hostile releases, the seeded bugs, and the report."""

from __future__ import annotations

import time
from pathlib import Path

from device.errors import Refused
from host.sim.cut import bugs, campaign, faults, hostile, mutants, report
from host.sim.cut.rig import layouts, life_of

# States tried of a flash of the user's own, whose images are a hundred times larger.
SAMPLED = 300


def chosen(layout: str) -> str:
    """The layout, which must be one of the device's."""
    if layout not in layouts():
        raise Refused("layout", f"layout {layout!r}, known are {', '.join(layouts())}")
    return layout


def run(layout: str, depth: int, seed: int) -> report.Report:
    """Everything, without options."""
    began = time.monotonic()
    settings = campaign.full(chosen(layout), depth, seed)
    made = shortened(layout, report.Report(layout, campaign.run(settings)), seed)
    made.hostile = hostile.attack(layout, hostile.make_keys())
    made.verdicts = mutants.hunt_all(bugs.MUTANTS, layout, settings.workers)
    made.seconds = time.monotonic() - began
    return made


def sample(layout: str, image: Path, table: Path | None, seed: int) -> report.Report:
    """Cuts at random in an update from the user's own image, on his own table: some hundred states."""
    began = time.monotonic()
    scenario = life_of(chosen(layout)).own(image.read_bytes(), table.read_bytes() if table else None)
    made = report.Report(layout, campaign.sampled(layout, scenario, SAMPLED, seed))
    made.seconds = time.monotonic() - began
    return made


def replay(layout: str, ident: str, seed: int) -> tuple[report.Report, list[str]]:
    """One bad state again, and the map of the flash when the power returned."""
    name, _, path = ident.partition(":")
    if name not in life_of(chosen(layout)).SCENARIOS or not path:
        raise Refused("replay", f"{ident!r} names no scenario and cut; a report prints such names after --replay")
    made = report.Report(layout)
    kind, equals, which = path.partition("=")
    if equals and kind in faults.KINDS:
        story = faults.Story(layout, name, seed)
        story.play(kind, which)
        made.result.faults = story.result
        return made, report.flash_map(story.explorer)
    try:
        explorer, made.result.tally = campaign.replay(layout, ident, seed)
    except (LookupError, ValueError) as e:
        raise Refused("replay", f"{ident!r} cannot be played: {e}") from e
    return made, report.flash_map(explorer)


def processes(layout: str, n: int, seed: int) -> report.Report:
    """Kill a virtual board `n` times in real updates."""
    from host.sim.cut import processes as real

    began = time.monotonic()
    made = report.Report(chosen(layout), killed=real.campaign(n, seed))
    made.seconds = time.monotonic() - began
    return made


def shortened(layout: str, made: report.Report, seed: int) -> report.Report:
    """Drop from each bad way the cuts that it does not need: those nearest to the beginning first."""
    tally = made.result.tally
    tally.bad = [campaign.shorten(layout, bad, seed) for bad in tally.bad[:5]] + tally.bad[5:]
    return made


def write_page(made: report.Report, path: Path) -> Path:
    """The map of the cuts as a page for a browser."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.svg(made), encoding="utf-8")
    return path
