"""An updater that updates itself, on the virtual board: LittleFS, the shipped boot.py and main.py, a web server."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpota_host.board import flash
from mpota_host.board.status import STATUS, as_report
from mpota_host.cut import patch
from mpota_host.sim.board import VirtualBoard, native_arch
from mpota_host.sources import DEVICE
from tests.host.command import call
from tests.host.test_application import NEW, OLD, Lamp, shown

# Writes a line for each root that a module of mpota's was ever seen under in a run, and says that all is well.
APP = b"""
import json, sys
VERSION = %r
seen = []
def look():
    files = [getattr(m, "__file__", None) for name, m in sys.modules.items() if name.split(".")[0] == "mpota"]
    roots = sorted({path.rpartition("/mpota/")[0] for path in files if path})
    if roots not in seen:
        seen.append(roots)
        with open("/roots.txt", "a") as f:
            f.write(json.dumps([VERSION, roots]) + "\\n")
look()
def step():
    look()
def health():
    return True
"""


def application(version: str) -> dict[str, bytes]:
    return {"app.py": APP % version}


def copy(*bugs: tuple[str, str, str, str], layout: str = "files") -> dict[str, bytes]:
    """mpota as `pack --updater` puts it into a tree; each bug is a module's path, a function, and a change in it."""
    files = flash.updater(layout, native_arch(), "6.3")
    for path, function, old, new in bugs:
        tree = patch.apply(ast.parse((DEVICE / path).read_bytes()), function, old, new)
        source = ast.unparse(tree).encode()
        files[path[:-3] + ".mpy"] = flash.compile_source(source, path, native_arch(), "6.3")
    return files


BLIND = ("mpota/link/find.py", "_offers", "text['mpota'] != 1", "text['mpota'] != 2")


class SelfLamp(Lamp):
    """A board whose releases may bring mpota."""

    def again(self, board: VirtualBoard) -> None:
        """Off and on, until main.py runs."""
        board.off()
        before = self.shop.asked["/manifest.json"]
        board.on()
        self.polled(before)

    def roots(self, board: VirtualBoard) -> list[tuple[str, list[str]]]:
        """(version of the application, roots of mpota's modules), for each run and each change in one."""
        text = shown(board, "print(open('/roots.txt').read())")
        return [(version, found) for version, found in map(json.loads, text.split("\n"))]


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[SelfLamp]:
    one = SelfLamp(tmp_path, layout="files", trial_ms=6000, trials=9)
    yield one
    one.shop.loop.call_soon_threadsafe(one.shop.loop.stop)


def one_root(found: list[tuple[str, list[str]]]) -> dict[str, set[str]]:
    """The roots by version; AssertionError where a run ever had modules of two roots."""
    by: dict[str, set[str]] = {}
    for version, roots in found:
        assert len(roots) == 1, found
        by.setdefault(version, set()).add(roots[0])
    return by


def test_an_updater_that_cannot_read_a_manifest_retreats_and_the_next_release_arrives(lamp: SelfLamp) -> None:
    with VirtualBoard(lamp.flash) as board:
        lamp.publish("1.0.0", application("1.0.0"))
        lamp.hear("confirmed")
        lamp.publish("1.1.0", application("1.1.0") | copy(BLIND))
        assert "updater: " in lamp.hear("failed")
        lamp.publish("1.1.1", application("1.1.1") | copy())
        assert "1.1.1" in lamp.hear("confirmed")
        by = one_root(lamp.roots(board))
        kept = "from mpota_boot.board import Board; from mpota.store.pair import FileJournal\n"
        assert shown(board, kept + "print({type(m) is FileJournal for m in Board._memories.values()})") == "{True}"
        assert by["1.0.0"] == {"/lib"} and by["1.1.1"] <= {"/ota/1", "/ota/2"} and by["1.1.0"] == by["1.1.1"], by


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[SelfLamp]:
    one = SelfLamp(tmp_path, "8MiB-ota", trial_ms=6000)
    yield one
    one.shop.loop.call_soon_threadsafe(one.shop.loop.stop)


def test_on_an_esp32_mpota_switches_with_its_firmware_and_one_that_cannot_start_is_left_at_once(chip: SelfLamp) -> None:
    broken = copy(layout="esp32")
    broken["mpota/link/web.mpy"] = b"M\x05" + broken["mpota/link/web.mpy"][2:]
    with VirtualBoard(chip.flash) as board:
        chip.publish("1.0.0", application("1.0.0") | copy(layout="esp32"), NEW)
        assert "1.0.0" in chip.hear("confirmed")
        chip.publish("1.1.0", application("1.1.0") | broken, OLD)
        said = chip.hear("failed")
        assert "incompatible .mpy" in said, said
        chip.publish("1.1.1", application("1.1.1"), OLD)
        assert "1.1.1" in chip.hear("confirmed")
        by = one_root(chip.roots(board))
        assert by == {"1.0.0": {"/ota/1"}, "1.1.1": {"/lib"}}, by


def test_an_mpota_whose_import_never_returns_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    # MicroPython reads on for ever behind the end of an .mpy that was cut off.
    hangs = copy()
    hangs["mpota/link/web.mpy"] = hangs["mpota/link/web.mpy"][:200]
    lamp = SelfLamp(tmp_path, layout="files", wdt_ms=2500, trials=2)
    with VirtualBoard(lamp.flash) as board:
        lamp.publish("1.0.0", application("1.0.0") | hangs)
        assert "watchdog" in lamp.hear("failed")
        lamp.publish("1.0.1", application("1.0.1"))
        assert "1.0.1" in lamp.hear("confirmed")
        assert one_root(lamp.roots(board)) == {"1.0.1": {"/lib"}}
    lamp.shop.loop.call_soon_threadsafe(lamp.shop.loop.stop)


def test_where_a_confirmed_mpota_has_rotted_or_a_person_asks_for_a_rescue_libs_takes_the_next_release(
    lamp: SelfLamp,
) -> None:
    with VirtualBoard(lamp.flash) as board:
        lamp.publish("1.0.0", application("1.0.0") | copy())
        lamp.hear("confirmed")
        board.run("with open('/ota/1/mpota/link/http.mpy', 'wb') as f: f.write(b'M')")
        board.off()
        lamp.publish("1.1.0", application("1.1.0") | copy())
        board.on()
        assert "1.1.0" in lamp.hear("confirmed")
        by = one_root(lamp.roots(board))
        # With lib's the application runs on, where the release is not there before its first turn.
        assert by["1.0.0"] - {"/lib"} == {"/ota/1"} and by["1.1.0"] == {"/ota/2"}, by
        board.run("open('/rescue', 'w').close()")
        lamp.again(board)
        facts = json.loads(shown(board, STATUS))
        assert facts["updater"] == "lib" and facts["rescue"] and facts["tree"] == "/ota/2"
        lamp.publish("1.2.0", application("1.2.0") | copy())
        board.off()
        board.on()
        assert "1.2.0" in lamp.hear("confirmed")
        board.run("import os; os.remove('/rescue')")
        lamp.again(board)
        facts = json.loads(shown(board, STATUS))
        assert facts["updater"] == "/ota/1" and not facts["rescue"]
        assert "/ota/1/mpota, which a release brought" in str(as_report(facts).tables)


def test_a_power_cut_anywhere_leaves_an_mpota_of_one_root(lamp: SelfLamp) -> None:
    with VirtualBoard(lamp.flash) as board:
        lamp.publish("1.0.0", application("1.0.0") | copy())
        lamp.hear("confirmed")
        lamp.publish("1.1.0", application("1.1.0") | copy())
        for wait in (0.4, 0.8, 1.2, 1.6):
            board.kill()
            board.on()
            time.sleep(wait)
        board.kill()
        board.on()
        try:
            lamp.hear("confirmed")
        except AssertionError:
            # A cut between the confirm and its report has lost the report.
            facts = json.loads(shown(board, STATUS))
            assert facts["version"] == "1.1.0" and not facts["trial"], facts
        lamp.again(board)
        by = one_root(lamp.roots(board))
        assert by["1.0.0"] == {"/ota/1"} and by["1.1.0"] == {"/ota/2"}, by


def test_pack_brings_what_flash_would_put_there_and_inspect_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in application("1.0.0").items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / "lamp").mkdir(exist_ok=True)
        (tmp_path / "lamp" / name).write_bytes(data)
    words = ["pack", "--product", "lamp", "--version", "1.0.0", "--layout", "files", "--unsigned"]
    out = tmp_path / "out.mpota"
    given = [*words, "--app", tmp_path / "lamp", "-o", out, "--updater"]
    assert call(*given, "--mpy", "armv6m") == 0
    assert "mpota itself goes along" in capsys.readouterr().err
    assert call("inspect", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["needs"] == {"mpota_boot": "1"}
    brought = {row["path"] for row in facts["files"] if row["path"].startswith("mpota/")}
    wishes = flash.FlashOptions(layout="files")
    lib = flash.wanted(flash.Facts("", "1.27", "6.3", "armv6m", 1 << 20, platform="rp2"), wishes)
    assert facts["updater"] and brought == {path[5:] for path in lib if path.startswith("/lib/mpota/")}
    assert not any("esp32" in path or "mpota_boot" in path for path in brought) and len(brought) > 25
    assert call("inspect", out) == 0 and "brings mpota itself" in capsys.readouterr().out
    assert call(*given, "--mpy", "none") == 0
    capsys.readouterr()
    assert call("inspect", out, "--json") == 0
    few = {row["path"] for row in json.loads(capsys.readouterr().out)["files"]}
    # Without native code there is no delta and no LZMA, as on a board that flash filled.
    assert brought - few == {"mpota/pipe/delta.mpy", "mpota/pipe/xtensa.mpy"} & brought
    assert call(*given, "--mpy", "armv6m", "--decodes", "+lzma") == 0
    capsys.readouterr()
    assert call("inspect", out, "--json") == 0 and "mpota/pipe/lzma.mpy" in capsys.readouterr().out
    for more, sentence in (
        ([*given], "--mpy"),
        ([*words, "--resource", f"a={tmp_path / 'app.py'}", "-o", out, "--updater", "--mpy", "armv6m"], "--app"),
    ):
        assert call(*more) == 3 and sentence in capsys.readouterr().err


def test_a_package_without_it_says_nothing_of_mpota(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp" / "app.py").write_bytes(b"pass")
    out = tmp_path / "out.mpota"
    words = ["pack", "--product", "lamp", "--version", "1.0.0", "--layout", "files", "--unsigned", "-o", out]
    assert call(*words, "--app", tmp_path / "lamp") == 0 and "mpota itself" not in capsys.readouterr().err
    assert call("inspect", out) == 0 and "brings mpota" not in capsys.readouterr().out
