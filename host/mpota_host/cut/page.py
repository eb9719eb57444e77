"""The campaign as a page for a browser: where in an update's life the power went, and what became of the device.

Each story is a strip. Its columns are the operations of the life, left to right in the order of time, under a band that
names the part of the life. A column's cells are the cuts in that operation, each shape in a row of its own.
"""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import fields

from mpota_host.cut.explore import CATEGORIES, OUTCOMES, Tally
from mpota_host.cut.medium.world import World
from mpota_host.cut.report import Report, killed, lines
from mpota_host.cut.rig import life_of

COLOURS = {"old whole": "#4878a8", "resumed": "#9ccbe8", "new whole": "#3f9b57", "bad": "#d62728"}
MEANS = {
    "old whole": "the image that it had",
    "resumed": "the image that it had, and the update went on where it was",
    "new whole": "the newer image",
    "bad": "anything else",
}
BANDS = dict(zip(CATEGORIES, ("#e8e8e8", "#d8d0e8", "#e8dcc0", "#f4f4f4"), strict=True))
# Pixels: a cell and its distance to the next, the band with the names, the ticks below, the widest strip, the bars.
CELL, STEP, BAND, TICKS, WIDEST, BAR = 5, 6, 15, 14, 1300, 640
# Kind of operation -> shape of a cut inside it or after it -> its row.
ROWS = {op: {shape: i for i, shape in enumerate(["after", *shapes])} for op, shapes in World.shapes.items()}
STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:1400px}h2{margin-top:2em}h3{font-size:13px;margin:1.2em 0 .2em}"
    "h3 span{font-weight:normal;color:#555}svg{display:block}svg text{font:10px sans-serif}"
    "td{padding:1px 1em 1px 0;vertical-align:top}i{display:inline-block;width:1em;height:1em;margin:0 .3em -2px 1em}"
    "pre{background:#f4f4f4;padding:1em;overflow-x:auto}.strip{overflow-x:auto}"
)


def page(report: Report) -> str:
    """The whole page; needs nothing from anywhere."""
    tally = report.result.tally
    body = [f"<h1>Power cut everywhere in an update</h1><p>{_sum(report)}</p>"]
    if tally.outcomes:
        legend = "".join(f'<i style="background:{COLOURS[k]}"></i>{k}: {MEANS[k]}' for k in COLOURS)
        body += [f"<p>What ran when the power came back:{legend}</p>", _bars(tally), *_strips(report.layout, tally)]
    if report.verdicts:
        rows = "".join(f"<tr><td>{_text(v.name)}<td>{_text(v.found or 'NOT FOUND')}" for v in report.verdicts)
        body.append(f"<h2>Seeded bugs, and what found each</h2><table>{rows}</table>")
    body.append(f"<h2>As text</h2><pre>{_text(chr(10).join(lines(report)))}</pre>")
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>mpota power campaign</title><style>{STYLE}</style>"
    return head + "\n".join(body) + "\n"


def _text(text: str) -> str:
    return html.escape(text)


def _sum(report: Report) -> str:
    tally = report.result.tally
    words = f"Layout {report.layout}: {len(tally.marks):,} states tried, <b>{len(report.bad)} bad</b>"
    seeded = f", {killed(report)} of {len(report.verdicts)} seeded bugs found" if report.verdicts else ""
    return words + seeded + "."


def _bars(tally: Tally) -> str:
    """One bar for each part of the life, as long as it has states, cut into what became of the device."""
    sums = {name: sum(tally.outcomes[name, o] for o in OUTCOMES) for name in CATEGORIES}
    most = max(sums.values()) or 1
    rows = []
    for name in CATEGORIES:
        parts, x = [], 0.0
        for outcome in OUTCOMES:
            n = tally.outcomes[name, outcome]
            wide = BAR * n / most
            words = f"{n:,}" if wide > 40 else ""
            parts.append(_rect(x, 0, wide, 18, COLOURS[outcome], f"{name}, {outcome}: {n:,}"))
            parts.append(f'<text x="{x + 4:.0f}" y="13" fill="#fff">{words}</text>')
            x += wide
        rows.append(f'<tr><td>{name}<td><svg width="{BAR}" height="18">{"".join(parts)}</svg><td>{sums[name]:,}')
    return f"<h2>All states, by where the power went last</h2><table>{''.join(rows)}</table>"


def _rows(kind: str) -> dict[str, int]:
    """Of a kind that no cut tears, the row after it."""
    return ROWS.get(kind, {"after": 0})


def _ground(x: float, step: float, rows: int) -> str:
    """Where the cells of an operation may lie."""
    return f'<path fill="#f1f1f1" d="M{x:.5g} {BAND}h{max(step - 1, 1):.5g}v{rows * STEP}h-{max(step - 1, 1):.5g}z"/>'


def _rect(x: float, y: float, wide: float, tall: float, colour: str, title: str) -> str:
    place = f'x="{x:.5g}" y="{y:.5g}" width="{wide:.5g}" height="{tall}"'
    return f'<rect {place} fill="{colour}"><title>{_text(title)}</title></rect>'


class Strip:
    """The first cuts of one story."""

    def __init__(self) -> None:
        # operation -> (its kind, its part of the life), and -> [(shape, outcome)].
        self.ops: dict[int, tuple[str, str]] = {}
        self.cuts: dict[int, list[tuple[str, str]]] = defaultdict(list)

    @property
    def step(self) -> float:
        return min(STEP, WIDEST / max(self.cuts))

    def bands(self) -> Iterator[tuple[int, int, str]]:
        """(first operation, the one behind the last, part of the life)."""
        first, name = 0, ""
        for op, (_, phase) in sorted(self.ops.items()):
            if phase != name:
                if name:
                    yield first, op, name
                first, name = op, phase
        yield first, max(self.cuts) + 1, name

    def svg(self, story: str) -> str:
        step, parts = self.step, []
        for low, high, name in self.bands():
            wide = (high - low) * step
            parts.append(_rect((low - 1) * step, 0, wide - 1, BAND - 3, BANDS.get(name, "#fff"), name))
            word = next((w for w in (name, name.split(" ")[0]) if wide > 6 * len(w)), "")
            parts.append(f'<text x="{(low - 1) * step + 3:.5g}" y="{BAND - 5}">{word}</text>')
        tall = BAND
        for op, cuts in sorted(self.cuts.items()):
            kind, phase = self.ops.get(op, ("", ""))
            parts.append(_ground((op - 1) * step, step, len(_rows(kind))))
            for shape, outcome in cuts:
                y = BAND + _rows(kind).get(shape, 0) * STEP
                title = f"{story}:{op}.{shape}, {kind} in {phase}: {outcome}"
                parts.append(_rect((op - 1) * step, y, max(step - 1, 3), CELL, COLOURS[outcome], title))
            tall = max(tall, BAND + len(_rows(kind)) * STEP)
        for op in range(20, max(self.cuts) + 1, max(20, 20 * round(max(self.cuts) / 400))):
            parts.append(f'<text x="{(op - 1) * step:.5g}" y="{tall + 10}" fill="#888">{op}</text>')
        return f'<svg width="{max(self.cuts) * step:.0f}" height="{tall + TICKS}">{"".join(parts)}</svg>'


def _strips(layout: str, tally: Tally) -> list[str]:
    strips: dict[str, Strip] = defaultdict(Strip)
    for story, op, what, shape, outcome in tally.map:
        kind, _, phase = what.partition(" ")
        strips[story].cuts[op].append((shape, outcome))
        if kind:
            strips[story].ops[op] = kind, phase
    for bad in tally.bad:
        number, _, shape = bad.path.partition(".")
        if bad.path and "+" not in bad.path:
            strips[bad.scenario].cuts[int(number)].append((shape, "bad"))
    kinds = {kind for strip in strips.values() for kind, _ in strip.ops.values()}
    return [_explained(kinds), *(_strip(layout, name, strip) for name, strip in strips.items())]


def _explained(kinds: set[str]) -> str:
    """`kinds`: the operations that were seen."""
    bands = "".join(f'<i style="background:{BANDS[name]}"></i>{name}' for name in CATEGORIES[:3])
    rows = "; ".join(f"{op}: {', '.join(shapes)}" for op, shapes in ROWS.items() if op in kinds)
    return (
        "<h2>Every first cut, in order of time</h2><p>A column is one operation that changes the flash or the files, "
        f"numbered below; its rows are the cut after it and those inside it ({rows}). No cell: this cut leaves what "
        "another one left before, or none was tried. Point at a cell for the name that <code>--replay</code> takes.</p>"
        f"<p>Where in the life of an update:{bands}</p>"
    )


def _strip(layout: str, name: str, strip: Strip) -> str:
    counts = Counter(outcome for cuts in strip.cuts.values() for _, outcome in cuts)
    words = ", ".join(f"{outcome} {counts[outcome]}" for outcome in COLOURS if counts[outcome])
    head = f"<h3>{_text(name)} <span>{_text(_story(layout, name))} &middot; {words}</span></h3>"
    return f'{head}<div class="strip">{strip.svg(name)}</div>'


def _story(layout: str, name: str) -> str:
    """What is not as in most stories."""
    scenario = life_of(layout).SCENARIOS.get(name)
    if scenario is None:
        return "your own image"
    odd = [(f.name, getattr(scenario, f.name)) for f in fields(scenario) if f.name not in ("name", "sizes")]
    default = {f.name: f.default for f in fields(scenario)}
    said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in odd if v != default[k])
    return said or "a healthy update, then the next one"
