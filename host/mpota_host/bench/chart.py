"""The sizes of what travels as a picture: a bar for each pair of firmwares, ours in colour, the smallest on top.

Plain SVG, written line by line. It brings its own background and colours for light and for dark, so that it is readable
wherever it is shown, and says each figure beside its bar.
"""

from __future__ import annotations

from html import escape
from math import isnan

from mpota_host.bench.figure import Figure

WIDTH, LABELS, RIGHT = 920, 326, 60
TOP, ROW, BOTTOM = 84, 34, 34
# The highest figure that has room, in %, and the steps of the axis.
MOST, STEP = 70, 10
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.title { font-size: 16px; font-weight: 600; }
.small { font-size: 11px; fill: #59636e; }
.mine { font-weight: 600; }
.back { fill: #ffffff; } .grid { stroke: #d8dee4; }
.our1 { fill: #0969da; } .our2 { fill: #7fb5ef; } .peer1 { fill: #818b98; } .peer2 { fill: #c3cad2; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .small { fill: #9198a1; } .back { fill: #0d1117; } .grid { stroke: #30363d; }
.our1 { fill: #4493f8; } .our2 { fill: #285a9c; } .peer1 { fill: #7d8590; } .peer2 { fill: #444c56; }
}
"""


def at(percent: float) -> float:
    """Where on the axis a figure lies."""
    return LABELS + (WIDTH - LABELS - RIGHT) * percent / MOST


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(y: float, height: float, percent: float, kind: str) -> str:
    """A bar with its figure behind it; one that does not fit ends at the edge and still says its figure."""
    end = at(min(percent, MOST))
    shape = f'<rect x="{LABELS}" y="{y:.1f}" width="{max(end - LABELS, 1):.1f}" height="{height}" class="{kind}"/>'
    return shape + text(end + 5, y + height - 1, f"{percent:.1f} %", "small")


def row(y: float, figure: Figure) -> list[str]:
    """A name and its bars, or the reason why there is none."""
    mine = figure.name.startswith("mpota")
    out = [text(LABELS - 10, y + 16, figure.name, "mine" if mine else "", "end")]
    shares = [100 * pair["size"] / pair["image"] for pair in figure.facts.get("pairs", []) if not pair["missing"]]
    if isnan(figure.value) or not shares:
        return [*out, text(LABELS + 5, y + 16, figure.note, "small")]
    out.append(bar(y + 2, 13, shares[0], "our1" if mine else "peer1"))
    if len(shares) > 1:
        out.append(bar(y + 17, 9, shares[1], "our2" if mine else "peer2"))
    return out


def legend(pairs: list[str]) -> list[str]:
    """Which bar is which pair."""
    out, x = [], float(LABELS)
    for i, name in enumerate(pairs, 1):
        out.append(f'<rect x="{x}" y="44" width="11" height="11" class="our{i}"/>')
        out.append(f'<rect x="{x + 13}" y="44" width="11" height="11" class="peer{i}"/>')
        out.append(text(x + 30, 54, name, "small"))
        x += 46 + 6.4 * len(name)
    return out


def axis(height: float) -> list[str]:
    """A line every STEP %, with its figure at the bottom."""
    out = []
    for percent in range(0, MOST + 1, STEP):
        x = at(percent)
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - BOTTOM + 4}" class="grid"/>')
        out.append(text(x, height - BOTTOM + 18, f"{percent} %", "small", "middle"))
    return out


def draw(figures: list[Figure], pairs: list[str]) -> str:
    """The picture of the figures, in their order."""
    height = TOP + ROW * len(figures) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-label="Bytes that travel, in percent of the new image">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" class="back"/>',
        text(20, 28, "Bytes that travel, in % of the new image (less is better)", "title"),
        *legend(pairs),
        *axis(height),
        *[line for i, figure in enumerate(figures) for line in row(TOP + ROW * i, figure)],
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
