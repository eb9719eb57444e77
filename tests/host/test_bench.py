"""The bench measures what it says: its loops do the work, its figures can fail, and its lists are those of the rules.

Nothing here is timed, and nothing compares a figure with its bar: that is `make bench`.
"""

import json

import pytest

from host.bench import erases, material, memory, sizes, speed
from host.bench.__main__ import GROUPS, number, table
from host.bench.figure import AT_LEAST, AT_MOST, EXACTLY, Figure, spread
from host.flash import modules


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
    there = {path.relative_to(material.ROOT / "device").as_posix() for path in sizes.core()}
    assert {"installer.py", "agent.py", "shim.py", "errors.py", "stream.py"} < there
    assert {"store/journal.py", "store/writer.py", "pipe/package.py", "pipe/inflate.py", "pipe/trust.py"} < there
    assert {"layout/esp32/__init__.py", "link/http.py", "link/serial.py", "link/frame.py"} < there
    assert not there & {"layout/esp32/loader.py", "board.py", "console.py", "link/file.py"}


def test_what_a_boot_imports_is_seen_by_importing_it(stuff):
    seen = {path.relative_to(material.ROOT).as_posix() for path in sizes.at_boot(stuff)}
    assert {"device/shim.py", "device/board.py", "device/store/journal.py"} <= seen
    assert "device/installer.py" not in seen


def test_the_port_sees_every_module_as_mpy_and_no_source(stuff):
    built = {path.relative_to(stuff.mpy).with_suffix(".py").as_posix() for path in stuff.mpy.rglob("*.mpy")}
    assert built == {p.relative_to(material.ROOT).as_posix() for p in modules("esp32")} | {"small.py", "race.py"}
    assert not list(stuff.mpy.rglob("*.py"))


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_an_update_needs_more_than_a_little_heap_and_less_than_a_lot(stuff, compress):
    offer = stuff.offer(compress, 4096)
    assert memory.completes(stuff, offer.path.name, 4096, memory.HIGH)
    assert not memory.completes(stuff, offer.path.name, 4096, memory.LOW)


def test_a_run_that_fails_of_something_else_than_memory_is_no_figure(stuff):
    bad = stuff.folder / "bad.mpota"
    data = bytearray(stuff.offer("none", 4096).path.read_bytes())
    data[-1] ^= 1
    bad.write_bytes(data)
    with pytest.raises(RuntimeError, match="not the one that was signed"):
        memory.completes(stuff, bad.name, 4096, memory.HIGH)


def test_an_update_over_http_completes(stuff):
    with memory.web(stuff, stuff.offer("deflate", 8192)) as url:
        assert memory.completes(stuff, url, 8192, memory.HIGH)


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_install_and_loop_write_the_same_bytes(stuff, compress):
    stuff.slot.write_bytes(b"\xff" * material.SLOT)
    ours, signature, loop = speed.race(stuff, stuff.offer(compress, 8192), rounds=1)
    # The loop wrote last.
    assert stuff.slot.read_bytes()[: len(stuff.new)] == stuff.new
    assert len(ours) == len(signature) == len(loop) == 1 and min(ours + signature + loop) > 0


def test_erases_are_told_region_by_region(stuff):
    chip = erases.Chip(stuff)
    assert not chip.counted()
    chip.soc.flash.erase(chip.soc.row("ota_1").offset, 8192)
    assert chip.counted() == {"ota_1": 2} and not chip.counted()


def test_every_group_says_what_it_measures():
    assert {"sizes", "memory", "speed", "erases", "push"} == set(GROUPS)
