"""The bench measures what it says: its loops do the work, its figures can fail, and its lists are those of the rules.

Nothing here is timed, and nothing compares a figure with its bar: that is `make bench`.
"""

import json
import re
import subprocess
import zlib
from math import isnan, nan
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from mpota_host.bench import app_memory, chart, erases, material, memory, page, sizes, speed, stages, travel
from mpota_host.bench.__main__ import GROUPS, number, table
from mpota_host.bench.figure import AT_LEAST, AT_MOST, EXACTLY, Figure, spread
from mpota_host.bench.size import peers
from mpota_host.bench.size.packages import Pair, part
from mpota_host.package.pack import WBITS, Options
from mpota_host.sources import name_of


@pytest.fixture(scope="module")
def stuff(tmp_path_factory):
    return material.Material(tmp_path_factory.mktemp("bench") / "material")


def test_a_figure_on_the_wrong_side_of_its_bar_fails():
    for rule, good, bad in ((AT_MOST, (40, 41), (42,)), (AT_LEAST, (41, 42), (40,)), (EXACTLY, (41,), (40, 42))):
        assert all(Figure("x", value, "", rule, 41).ok for value in good)
        assert not any(Figure("x", value, "", rule, 41).ok for value in bad)
    assert Figure("x", 1, "").ok is None


def test_a_figure_survives_json_with_its_verdict():
    one = json.loads(json.dumps(Figure("x", 3, "KB", AT_MOST, 2, "why", {"a": spread([1.0, 2.0])}).as_json()))
    assert one["ok"] is False and one["bar"] == 2 and one["facts"]["a"]["median"] == 1.5


def test_a_missed_bar_is_seen_in_the_table():
    rows = table("t", [Figure("x", 3, "KB", AT_MOST, 2), Figure("y", 1, "KB", AT_MOST, 2), Figure("z", 1, "")])
    assert [cell.plain for cell in rows.columns[3]._cells] == ["MISSED", "ok", ""]
    assert list(rows.columns[1]._cells) == ["3 KB", "1 KB", "1"]
    assert (number(1495344), number(9.449), number(53.27)) == ("1,495,344", "9.45", "53.3")


def test_the_core_is_what_updates_a_board_and_not_what_stays_on_the_pc():
    there = {name_of(path) for path in sizes.core()}
    assert {
        "mpota/installer.py",
        "mpota/agent.py",
        "mpota_boot/shim.py",
        "mpota_boot/errors.py",
        "mpota/stream.py",
    } < there
    assert {
        "mpota_boot/journal.py",
        *("mpota/" + n for n in ("store/writer.py", "pipe/package.py", "pipe/inflate.py", "pipe/trust.py")),
    } < there
    assert {
        "mpota/" + n for n in ("layout/esp32/__init__.py", "link/http.py", "link/serial.py", "link/frame.py")
    } < there
    assert not there & {
        "mpota/layout/esp32/loader/__init__.py",
        "mpota_boot/board.py",
        "mpota/console.py",
        "mpota/link/file.py",
    }


def test_what_a_boot_imports_is_seen_by_importing_it(stuff):
    seen = {name_of(path) for path in sizes.at_boot(stuff)}
    assert {"mpota_boot/shim.py", "mpota_boot/board.py", "mpota_boot/journal.py"} <= seen
    assert "mpota/installer.py" not in seen


def test_every_module_of_a_board_is_weighed_once_and_what_stays_apart(stuff):
    rows = [row for row in sizes.by_module(stuff) if row.facts]
    carried = {name_of(path) for path in material.modules("esp32", platform="esp32")}
    assert sorted(row.name for row in rows) == sorted(name for name in carried if "/loader/" not in name)
    assert all(row.value > 0 and row.facts["heap"] > 0 for row in rows)
    kept = {row.name for row in rows if row.facts["stays"]}
    assert {"mpota/agent.py", "mpota/link/http.py", "mpota/network/net.py", "mpota/layout/esp32/layout.py"} < kept
    assert not kept & {"mpota/link/ask.py", "mpota/link/tls.py", "mpota/network/sntp.py", "mpota/pipe/delta.py"}
    order = sizes.ordered(["mpota.link.http"])
    assert order.index("mpota.link.connection") < order.index("mpota.link.web") < order.index("mpota.link.http")


def test_the_port_sees_every_module_as_mpy_and_no_source(stuff):
    built = {path.relative_to(stuff.mpy).with_suffix(".py").as_posix() for path in stuff.mpy.rglob("*.mpy")}
    loops = {"small.py", "race.py", "laps.py", "app_board.py"}
    assert built == {name_of(p) for p in material.shipped()} | loops
    assert not list(stuff.mpy.rglob("*.py"))


@pytest.mark.parametrize("kind", ["raw", "deflate", "predicted delta + deflate + AES"])
def test_an_update_needs_more_than_a_little_heap_and_less_than_a_lot(stuff, kind):
    offer = stuff.offer(kind, 4096)
    assert memory.completes(stuff, offer.path.name, 4096, memory.HIGH)
    assert not memory.completes(stuff, offer.path.name, 4096, memory.LOW)


def test_a_run_that_fails_of_something_else_than_memory_is_no_figure(stuff):
    bad = stuff.folder / "bad.mpota"
    data = bytearray(stuff.offer("raw", 4096).path.read_bytes())
    data[-1] ^= 1
    bad.write_bytes(data)
    with pytest.raises(RuntimeError, match="not the one that was signed"):
        memory.completes(stuff, bad.name, 4096, memory.HIGH)


def test_an_update_over_http_completes(stuff):
    with memory.web(stuff, stuff.offer("deflate", 8192)) as url:
        assert memory.completes(stuff, url, 8192, memory.HIGH)


@pytest.mark.parametrize("kind", ["raw", "deflate"])
def test_install_and_loop_write_the_same_bytes(stuff, kind):
    stuff.erase()
    ours, signature, loop = speed.race(stuff, stuff.offer(kind, 8192), rounds=1)
    # The loop wrote last.
    assert stuff.slot.read_bytes()[: len(stuff.new)] == stuff.new
    assert len(ours) == len(signature) == len(loop) == 1 and min(ours + signature + loop) > 0


def test_erases_are_told_region_by_region(stuff):
    chip = erases.Chip(stuff)
    assert not chip.counted()
    chip.soc.flash.erase(chip.soc.row("ota_1").offset, 8192)
    assert chip.counted() == {"ota_1": 2} and not chip.counted()


def test_every_group_says_what_it_measures():
    vendors = {
        path.parent.name for path in (Path(__file__).parents[2] / "host" / "mpota_host" / "chips").glob("*/bench.py")
    }
    assert {"sizes", "modules", "travel", "memory", "application", "speed", "stages", "erases", "push"} == set(
        GROUPS
    ) - vendors
    assert vendors <= set(GROUPS)


def test_what_pack_does_by_itself_is_what_is_measured():
    assert Options.room == memory.DEFAULT_ROOM and WBITS == material.WBITS


def test_an_application_needs_more_than_a_little_heap_and_every_byte_of_it(stuff, monkeypatch):
    name = app_memory.package(stuff).name
    for make in ("Small", "whole"):
        assert app_memory.completes(stuff, make, name, app_memory.HIGH)
        assert not app_memory.completes(stuff, make, name, app_memory.LOW)
    real = stuff.port

    def spoils(*args):
        done = real(*args)
        (stuff.folder / "app/ota/1/page.html").write_bytes(b"another page")
        return done

    monkeypatch.setattr(stuff, "port", spoils)
    with pytest.raises(RuntimeError, match="not what was sent"):
        app_memory.completes(stuff, "Small", name, app_memory.HIGH)


def test_an_update_that_writes_nothing_is_no_update(stuff, monkeypatch):
    offer = stuff.offer("raw", 4096)
    assert memory.completes(stuff, offer.path.name, 4096, memory.HIGH)
    # The slot holds the image now; a port that only says so must not pass.
    monkeypatch.setattr(stuff, "port", lambda *_: subprocess.CompletedProcess([], 0, "1\narmed\n", ""))
    with pytest.raises(RuntimeError, match="does not hold the image"):
        memory.completes(stuff, offer.path.name, 4096, memory.HIGH)


def test_a_figure_that_could_not_be_measured_meets_no_bar_and_says_so():
    one = Figure("x", nan, "%", AT_MOST, 100, "cannot be installed")
    assert one.ok is False and one.as_json()["value"] is None
    assert number(nan) == "-" and "NaN" not in json.dumps(one.as_json())


def small_pair(name="small"):
    """Two made images that share most, and are no ESP32 images."""
    old = b"".join(zlib.crc32(bytes([i])).to_bytes(4, "little") * 8 for i in range(200)) * 2
    return Pair(name, old, old[:3000] + b"something new" + old[3000:-100])


def test_a_kind_says_which_stages_decode_it():
    pair = small_pair()
    assert part(pair, "raw", 4096).stages == ()
    assert part(pair, "delta + deflate + AES", 4096).stages == ("inflate", "delta")
    # Nothing to predict here: the stage without prediction decodes it.
    assert part(pair, "predicted delta + LZMA", 4096).stages == ("lzma", "delta")
    assert part(pair, "delta + deflate", 4096).base == pair.old and part(pair, "LZMA", 4096).base == b""


@pytest.mark.parametrize("kind", sorted({one.kind for one in travel.OURS} | set(stages.INSTALLS)))
def test_every_kind_that_is_measured_decodes_on_the_port(stuff, kind):
    pair = small_pair()
    travel.prove(stuff, stuff.offer(kind, 4096, pair), pair)


def test_a_package_that_decodes_to_something_else_has_no_size(stuff):
    pair = small_pair("other")
    offer = stuff.offer("delta + deflate", 4096, pair)
    with pytest.raises(RuntimeError):
        travel.prove(stuff, offer, Pair("other", bytes(len(pair.old)), pair.new))
    with pytest.raises(RuntimeError, match="wanted"):
        travel.prove(stuff, offer, Pair("other", pair.old, pair.new + b"x"))
    assert (stuff.folder / "old.bin").read_bytes() == stuff.old


def test_a_peer_whose_patch_does_not_give_the_image_back_has_no_size():
    short = peers.Peer("short", lambda old, new: b"", lambda old, made: old)
    with pytest.raises(RuntimeError, match="short does not give"):
        travel.theirs(small_pair(), short)


@pytest.mark.parametrize("peer", [one for one in peers.PEERS if not one.name.startswith(("detools", "bsdiff4"))])
def test_a_peer_that_is_always_here_gives_the_image_back(peer):
    pair = small_pair()
    seen = travel.theirs(pair, peer)
    assert not seen.missing and seen.size == len(peer.make(pair.old, pair.new)) > 0


def test_a_peer_that_cannot_be_installed_says_so_in_its_row(tmp_path, monkeypatch):
    def missing(*_):
        return peers.installed("./no-such-folder-here", tmp_path)

    seen = travel.theirs(small_pair(), peers.Peer("gone", missing, missing))
    assert isnan(seen.percent) and "cannot be installed" in seen.missing and not list(tmp_path.iterdir())
    # pip is not asked again; without a network that takes it long.
    monkeypatch.setattr(peers, "pip", None)
    assert travel.theirs(small_pair(), peers.Peer("gone", missing, missing)) == seen
    row = travel.figure("gone", [seen, seen])
    assert isnan(row.value) and row.note == seen.missing
    words = [e.text for e in ElementTree.fromstring(chart.draw([row], ["a", "b"])).findall(".//{*}text")]
    assert seen.missing in words
    assert "| gone | - | - | - |" in page.travel([row])


def test_without_the_second_pair_the_first_is_measured_and_the_rest_says_why(stuff, monkeypatch):
    def missing(*_, **__):
        raise peers.Missing("no second pair")

    monkeypatch.setattr(peers, "installed", missing)
    monkeypatch.setattr(travel, "OURS", travel.OURS[:1])
    found = {one.name: one for one in travel.measure(stuff)}
    assert found[travel.OURS[0].name].value > 50 and found["xz -9e"].value > 50
    assert found[f"the {travel.SECOND} pair"].note == found["bsdiff4"].note == "no second pair"
    assert isnan(list(found.values())[-1].value) and not isnan(next(iter(found.values())).value)


def test_a_peer_that_is_installed_and_does_not_load_is_missing_too(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "requirements", lambda group: ["nosuchmodule>=1"])
    monkeypatch.setattr(peers, "installed", lambda requirement: tmp_path)
    with pytest.raises(peers.Missing, match="does not load here"):
        peers.module("nosuchmodule")


def test_pip_that_never_ends_is_a_reason_too(monkeypatch):
    monkeypatch.setattr(peers, "PATIENCE", 0.01)
    assert "took more than" in peers.pip("--version")


def test_no_requirement_of_the_bench_is_installed_for_anything_else():
    import make_venv

    wanted = " ".join(one for group in make_venv.wanted().values() for one in group)
    assert "pytest" in wanted
    for group in ("bench", travel.OLD, travel.NEW):
        assert peers.requirements(group) and not any(one in wanted for one in peers.requirements(group))


def test_the_peer_of_the_delta_writes_the_same_bytes(stuff, monkeypatch):
    stuff.erase()
    name = stuff.offer(stages.PEER, 8192).path.name
    code = f"import laps, small; s = open('slot.bin', 'r+b'); laps.hung(laps.board(s, 8192), {name!r}); s.close()"
    stuff.told(code)
    assert stuff.slot.read_bytes()[: len(stuff.new)] == stuff.new


def test_installs_and_stages_run_in_turns(stuff, monkeypatch):
    monkeypatch.setattr(stages, "ROUNDS", 1)
    stuff.erase()
    found = stages.measure(stuff)
    assert stuff.slot.read_bytes()[: len(stuff.new)] == stuff.new
    assert [one.name for one in found] == stages.names() and all(one.value == one.value for one in found)
    with pytest.raises(RuntimeError, match="after 1 of 2"):
        monkeypatch.setattr(stages, "ROUNDS", 2)
        stages.rounds(SimpleNamespace(told=lambda *_: "1 2 3\n"), "")


def drawn(name, *sizes):
    """A row of what travels, of images of 1000 bytes."""
    return travel.figure(name, [travel.Seen(size, 1.0, 1000) for size in sizes])


def test_the_chart_has_a_bar_for_every_figure_as_long_as_it_says():
    svg = chart.draw([drawn("mpota: a & b", 100, 200), drawn("peer", 400, 50)], ["one", "two"])
    root = ElementTree.fromstring(svg)
    bars = [
        (e.get("class"), float(e.get("width")))
        for e in root.findall(".//{*}rect")
        if float(e.get("y") or 0) >= chart.TOP
    ]
    unit = bars[0][1] / 10
    assert [(kind, round(width / unit)) for kind, width in bars] == [
        ("our1", 10), ("our2", 20), ("peer1", 40), ("peer2", 5),
    ]  # fmt: skip
    words = [e.text for e in root.findall(".//{*}text")]
    assert {"mpota: a & b", "peer", "10.0 %", "20.0 %", "40.0 %", "5.0 %", "one", "two"} <= set(words)
    edges = [float(e.get("x")) + float(e.get("width")) for e in root.findall(".//{*}rect") if e.get("x")]
    assert max(edges) < chart.WIDTH
    assert "prefers-color-scheme: dark" in svg


def names_in(table):
    """The first column, without emphasis."""
    return [line.split(" | ")[0].strip("|* ") for line in table.splitlines()[2:]]


def test_the_page_shows_what_the_bench_prints():
    text = page.PAGE.read_text()
    rows = names_in(page.shown(text, "travel"))
    assert sorted(rows) == sorted(travel.names()) and len(rows) > 10
    assert names_in(page.shown(text, "costs")) == list(stages.INSTALLS)
    assert f"]({page.CHART.relative_to(page.PAGE.parent).as_posix()})" in text
    for name, head in (("travel", page.TRAVEL), ("costs", page.COSTS)):
        assert page.shown(text, name).startswith(page.table(head, []))
    words = {e.text for e in ElementTree.parse(page.CHART).findall(".//{*}text")}
    assert set(travel.names()) <= words


def test_the_page_and_the_chart_have_the_same_figures_in_the_same_order():
    table = page.shown(page.PAGE.read_text(), "travel").splitlines()[2:]
    shown = [re.findall(r"[\d.]+ %", line.split("|", 2)[2]) for line in table]
    words = [e.text for e in ElementTree.parse(page.CHART).findall(".//{*}text") if re.fullmatch(r"[\d.]+ %", e.text)]
    # The axis stands before the bars.
    assert words[len(range(0, chart.MOST + 1, chart.STEP)) :] == [one for row in shown for one in row]
    first = [float(row[0][:-2]) for row in shown]
    assert first == sorted(first) and len(first) > 10


def test_tables_are_put_where_their_marks_are_and_nowhere_else():
    begin, end = page.marks("travel")
    text = f"before\n{begin}old\n{end}after\n"
    assert page.put(text, {"travel": "new\n"}) == f"before\n{begin}new\n{end}after\n"
    with pytest.raises(ValueError):
        page.put("no marks", {"travel": "new\n"})


def test_every_stage_with_a_bar_is_one_that_a_board_may_do_without():
    assert set(sizes.STAGES) <= set(sizes.OPTIONAL)
    assert not {path.stem for path in sizes.core()} & set(sizes.OPTIONAL)
    assert {one.name for one in sizes.optional()} == {f"optional: {stem}" for stem in sizes.OPTIONAL}
