"""An updater that updates itself, on the virtual board: LittleFS, the shipped boot.py and main.py, a web server."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpota_host.board import flash
from mpota_host.cut import patch
from mpota_host.sim.board import VirtualBoard, native_arch
from mpota_host.sources import DEVICE
from tests.host.test_application import OLD, Lamp, shown

NEW_IMAGE = OLD
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


def copy(*bugs: tuple[str, str, str, str]) -> dict[str, bytes]:
    """mpota as `pack --updater` puts it into a tree; each bug is a module's path, a function, and a change in it."""
    files = flash.updater("files", native_arch(), "6.3")
    for path, function, old, new in bugs:
        tree = patch.apply(ast.parse((DEVICE / path).read_bytes()), function, old, new)
        source = ast.unparse(tree).encode()
        files[path[:-3] + ".mpy"] = flash.compile_source(source, path, native_arch(), "6.3")
    return files


BLIND = ("mpota/link/find.py", "_offers", "text['mpota'] != 1", "text['mpota'] != 2")


class SelfLamp(Lamp):
    """A board whose releases may bring mpota."""

    def roots(self, board: VirtualBoard) -> list[tuple[str, list[str]]]:
        """(version of the application, roots of mpota's modules), for each run and each change in one."""
        text = shown(board, "print(open('/roots.txt').read())")
        return [(version, found) for version, found in map(json.loads, text.split("\n"))]


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[SelfLamp]:
    one = SelfLamp(tmp_path, layout="files", trial_ms=6000)
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
        assert by["1.0.0"] == {"/lib"} and by["1.1.1"] <= {"/ota/1", "/ota/2"} and by["1.1.0"] == by["1.1.1"], by
