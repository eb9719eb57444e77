"""What host/README.md shows of a run: the chart, the sizes of an update, and what each kind of package costs a board.

A run leaves them in build/; `--keep` puts them where that page has them, between marks that name the table.
"""

from __future__ import annotations

from pathlib import Path

from mpota_host.bench import chart, stages
from mpota_host.bench.figure import Figure
from mpota_host.bench.memory import DEFAULT_ROOM, WIDE_ROOM
from mpota_host.bench.size.packages import words
from mpota_host.bench.travel import SECOND
from mpota_host.sources import root

PAGE = root() / "host/README.md"
CHART = Path(__file__).with_name("sizes.svg")
FIRST = "ESP32, 0608 to 0831"
OTHER = f"{SECOND}, MicroPython 1.8.5 to 1.8.6"
NONE = "-"
SHARE = "% of the image, "
TRAVEL = ("update", "bytes, ESP32", SHARE + FIRST, SHARE + OTHER)
COSTS = ("package", "% of the image", "speed, deflate is 1 x", "least heap, 4 KiB rooms", "least heap, 8 KiB rooms")
Found = dict[str, list[Figure]]


def table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """Markdown, figures to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- |", "|---|")


def share(pair: dict[str, float]) -> str:
    """Percent of the image."""
    return f"{100 * pair['size'] / pair['image']:.1f} %" if pair["size"] else NONE


def travel(figures: list[Figure]) -> str:
    """A row for each way to travel; ours in bold."""
    rows = []
    for one in figures:
        pairs = one.facts.get("pairs", [])
        cells = [f"{pairs[0]['size']:,}" if pairs and pairs[0]["size"] else NONE, *map(share, pairs)]
        name = f"**{one.name}**" if one.name.startswith("mpota") else one.name
        rows.append([name, *cells, *[NONE] * (len(TRAVEL) - 1 - len(cells))])
    return table(TRAVEL, rows)


def costs(found: Found) -> str:
    """A row for each kind of package: what travels, how fast it installs beside deflate, the least heap."""
    heap = {one.name: one for one in found["memory"]}
    speed = {one.name: one for one in found["stages"]}
    rows = []
    for kind in stages.INSTALLS:
        least, wide = heap[words(kind, DEFAULT_ROOM)], heap[words(kind, WIDE_ROOM)]
        fast = speed.get(stages.install(kind))
        rows.append(
            [
                kind,
                f"{100 * least.facts['package'] / least.facts['image']:.1f} %",
                f"{fast.value:.2f} x" if fast else "1 x",
                f"{least.value:.0f} KB",
                f"{wide.value:.0f} KB",
            ]
        )
    return table(COSTS, rows)


def tables(found: Found) -> dict[str, str]:
    """The tables that a run has the figures for, by the name of their mark."""
    made = {}
    if "travel" in found:
        made["travel"] = travel(found["travel"])
    if "memory" in found and "stages" in found:
        made["costs"] = costs(found)
    return made


def picture(found: Found) -> str:
    """The chart."""
    return chart.draw(found["travel"], [FIRST, OTHER])


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a table."""
    return f"<!-- bench: {name} -->\n", f"<!-- {name} ends -->\n"


def shown(page: str, name: str) -> str:
    """The table that a page has now."""
    begin, end = marks(name)
    return page.split(begin, 1)[1].split(end, 1)[0]


def put(page: str, made: dict[str, str]) -> str:
    """The page with its tables exchanged."""
    for name, text in made.items():
        begin, end = marks(name)
        before, rest = page.split(begin, 1)
        page = before + begin + text + end + rest.split(end, 1)[1]
    return page


def write(found: Found, folder: Path, keep: bool) -> None:
    """Leave chart and tables in `folder`; and where the page has them, when they are to be kept."""
    made = tables(found)
    (folder / "bench.md").write_text("\n".join(made.values()))
    if "travel" in found:
        (folder / "bench.svg").write_text(picture(found))
    if keep:
        PAGE.write_text(put(PAGE.read_text(), made))
        if "travel" in found:
            CHART.write_text(picture(found))
