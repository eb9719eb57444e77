"""What a campaign tells: a page of text, one line of JSON, a map of a bad flash, and an SVG of every first cut.

The picture has one row for each scenario and one column for each operation of its life; a column's cells are the cuts
in that operation, coloured by what became of the device.
"""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from host.sim.cut.campaign import Result
from host.sim.cut.cells import BLANK, SECTOR
from host.sim.cut.explore import CATEGORIES, Explorer, Failure, Tally
from host.sim.cut.hostile import Hostile
from host.sim.cut.mutants import Verdict
from host.sim.cut.processes import Killed

COLOURS = {"old whole": "#4878a8", "resumed": "#8fb8de", "new whole": "#3f9b57", "bad": "#d62728"}
CELL, GAP, ROW = 5, 1, 14


@dataclass
class Report:
    """Everything that one run of `python -m host cut` found."""

    layout: str
    result: Result = field(default_factory=Result)
    hostile: Hostile = field(default_factory=Hostile)
    killed: Killed | None = None
    verdicts: Sequence[Verdict] = ()
    seconds: float = 0.0

    @property
    def bad(self) -> list[Failure]:
        """All of it, the shortest way first."""
        found = self.result.tally.bad + self.result.faults.bad + self.hostile.bad
        found += self.killed.bad if self.killed else []
        return sorted(found, key=lambda b: (b.path.count("+"), len(b.path)))

    @property
    def survivors(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.broken or not v.found]

    @property
    def good(self) -> bool:
        return not self.bad and not self.survivors

    def facts(self) -> dict[str, object]:
        """For --json."""
        tally, faults = self.result.tally, self.result.faults
        return {
            "layout": self.layout,
            "states": len(tally.marks),
            "cuts": tally.cuts,
            "nested": tally.nested,
            "torn": tally.torn,
            "bad": len(self.bad),
            "mutants": len(self.verdicts),
            "killed": len(self.verdicts) - len(self.survivors),
            "seconds": round(self.seconds, 1),
            "phases": {name: tally.categories()[name] for name in CATEGORIES},
            "outcomes": dict(tally.outcomes),
            "depths": {str(k): n for k, n in sorted(tally.depths.items())},
            "faults": dict(faults.lives),
            "hostile": sum(self.hostile.offered.values()),
            "found_by": {v.name: v.found for v in self.verdicts},
            "kills": self.killed.kills if self.killed else {},
            "updates": self.killed.updates if self.killed else {},
            "failures": [{"id": b.ident, "rule": b.rule, "text": b.text} for b in self.bad],
        }


def lines(report: Report) -> list[str]:
    """For a person."""
    if report.killed:
        return _of_processes(report, report.killed)
    tally = report.result.tally
    out = [
        f"power campaign, layout {report.layout}: {len(tally.marks):,} states tried in {report.seconds:.0f} s",
        f"  cuts      {tally.cuts:,} seen, {tally.nested:,} of them in a life after a cut, {tally.torn:,} torn",
        "  depth     " + ", ".join(f"{depth}: {n:,}" for depth, n in sorted(tally.depths.items())),
        "  where     " + _shares(tally),
        "  outcomes  " + ", ".join(f"{name} {n:,}" for name, n in sorted(tally.outcomes.items())),
    ]
    faults = report.result.faults.lives
    if faults:
        out.append("  faults    " + ", ".join(f"{kind} {n:,}" for kind, n in faults.items()))
    if report.hostile.offered:
        out.append(f"  hostile   {sum(report.hostile.offered.values())} releases that no board may start")
    out.append(f"  bad       {len(report.bad)}")
    for verdict in report.verdicts:
        out.append(f"  seeded    {verdict.name}: {_word(verdict)}")
    if report.verdicts:
        out.append(f"  seeded bugs found: {len(report.verdicts) - len(report.survivors)} of {len(report.verdicts)}")
    for bad in report.bad[:5]:
        out += [f"BAD {bad.text}", f"    again: python -m host cut --layout {report.layout} --replay '{bad.ident}'"]
    return out


def _of_processes(report: Report, killed: Killed) -> list[str]:
    kills = ", ".join(f"{link} {n}" for link, n in killed.kills.items())
    done = ", ".join(f"{link} {n}" for link, n in killed.updates.items())
    return [
        f"a virtual board killed with SIGKILL in real updates: {kills}; in {report.seconds:.0f} s",
        f"  completed {done} updates; {killed.resumed} times in the middle of a package",
        f"  bad       {len(killed.bad)}",
        *(f"BAD {bad.ident} {bad.text}" for bad in killed.bad),
    ]


def _shares(tally: Tally) -> str:
    kinds, n = tally.categories(), max(1, len(tally.marks))
    return ", ".join(f"{name} {kinds[name] / n:.0%}" for name in CATEGORIES)


def _word(verdict: Verdict) -> str:
    if verdict.broken:
        return f"COULD NOT BE TRIED: {verdict.found}"
    return f"found, {verdict.found[:110]}" if verdict.found else "NOT FOUND"


def flash_map(explorer: Explorer) -> list[str]:
    """What lies where: `.` erased, `#` as at the beginning, a digit where an image's bytes lie, `?` anything else."""
    sectors = explorer.flash.cells.sectors
    out = []
    for area in explorer.rig.areas:
        first = area.off // SECTOR
        row = "".join(_sign(explorer, i, i - first) for i in range(first, first + area.size // SECTOR))
        whole = explorer.oracle.holds(area.off)
        note = f"  image {whole}, whole" if area.kind == "slot" and whole >= 0 else ""
        out.append(f"  0x{area.off:06x} {area.label:10} {row[:64]}{note}")
    out.append(f"  {len(sectors)} sectors of {SECTOR} bytes")
    return out


def _sign(explorer: Explorer, i: int, n: int) -> str:
    data = explorer.flash.cells.sectors[i]
    if data == BLANK:
        return "."
    if data == explorer.start.shot[i]:
        return "#"
    for k, image in enumerate(explorer.rig.images):
        piece = image[n * SECTOR : (n + 1) * SECTOR]
        if piece and data[: len(piece)] == piece:
            return str(k)
    return "?"


def svg(report: Report) -> str:
    """A page with the map of the cuts."""
    rows: dict[str, dict[int, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    kinds: dict[str, dict[int, str]] = defaultdict(dict)
    for scenario, op, kind, shape, outcome in report.result.tally.map:
        rows[scenario][op].append((shape, outcome))
        kinds[scenario][op] = kind or kinds[scenario].get(op, "")
    for bad in report.result.tally.bad:
        if "+" not in bad.path:
            number, _, shape = bad.path.partition(".")
            rows[bad.scenario][int(number)].append((shape, "bad"))
    body = "".join(_scenario(name, found, kinds[name]) for name, found in rows.items())
    legend = "".join(
        f'<span style="background:{colour}">&nbsp;&nbsp;</span> {name} ' for name, colour in COLOURS.items()
    )
    text = html.escape("\n".join(lines(report)))
    return (
        "<!doctype html><meta charset=utf-8><title>mpota power campaign</title>"
        "<style>body{font:13px sans-serif;margin:2em}pre{background:#f4f4f4;padding:1em}h2{font-size:13px}</style>"
        f"<h1>Where the power was cut, and what became of the device</h1><p>{legend}</p>"
        "<p>One column is one program or erase in the life of an update, left to right; its cells are the cuts after "
        f"and inside it. Point at a cell for its name.</p>{body}<pre>{text}</pre>"
    )


def _scenario(name: str, found: dict[int, list[tuple[str, str]]], kinds: dict[int, str]) -> str:
    tall = max(len(cuts) for cuts in found.values())
    wide = max(found)
    cells = []
    for op, cuts in sorted(found.items()):
        for i, (shape, outcome) in enumerate(sorted(cuts)):
            title = f"{name}:{op}.{shape} {kinds.get(op, '')}: {outcome}"
            cells.append(
                f'<rect x="{op * (CELL + GAP)}" y="{i * (CELL + GAP)}" width="{CELL}" height="{CELL}" '
                f'fill="{COLOURS[outcome]}"><title>{html.escape(title)}</title></rect>'
            )
    width, height = (wide + 1) * (CELL + GAP), tall * (CELL + GAP) + ROW
    counts = Counter(outcome for cuts in found.values() for _, outcome in cuts)
    words = ", ".join(f"{outcome} {n}" for outcome, n in sorted(counts.items()))
    return f'<h2>{html.escape(name)}: {words}</h2><svg width="{width}" height="{height}">{"".join(cells)}</svg>'
