"""An application's whole life on the virtual board: the shipped boot.py and main.py, LittleFS, a web server, a plug."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mpota_host.chips.esp32.cut.life import image
from mpota_host.cut.hostile import make_keys
from mpota_host.package import keys
from mpota_host.package.assemble import Head, Part, assemble
from mpota_host.package.encode.piece import pieces
from mpota_host.package.format import FILES, FIRMWARE
from mpota_host.package.pack import version_bytes
from mpota_host.package.read import package_facts
from mpota_host.package.serve import write_manifest
from mpota_host.sim.board import VirtualBoard, create, create_for, mpota_files, write_files
from mpota_host.sim.shop import Shop
from tests.host.test_board import listen
from tests.trees import archive

PRODUCT = "lamp"
PATIENCE_S = 30.0
GOOD = b"def step():\n    pass\ndef health():\n    return True\n"
OLD, NEW = image(700_001, 1), image(704_093, 2)


class Lamp:
    """A board and the shelf that it looks at."""

    def __init__(self, folder: Path, table: str = "4MiB-ota", layout: str = "esp32", **settings: object) -> None:
        self.layout = layout
        self.key = make_keys().trusted
        shelf = folder / "shelf"
        shelf.mkdir()
        self.shop = Shop(shelf)
        self.flash = folder / "flash.bin"
        url = self.shop.url
        known = {"product": PRODUCT, "poll_ms": 200, "manifest": f"{url}/manifest.json", "report": f"{url}/report"}
        trusted = {"k": keys.public_bytes(self.key)}
        self.settings = {**known, **settings, "layout": layout}
        files = mpota_files(self.settings, trusted, layout)
        if layout == "esp32":
            create(self.flash, OLD, table, files, {"wifi": {"ssid": "any", "psk": "secret"}})
        else:
            create_for(layout, self.flash, b"", files)

    def publish(self, version: str, files: Mapping[str, bytes], firmware: bytes | None = None) -> None:
        """Put a release on the shelf."""
        data = archive(dict(files))
        parts = [Part(FILES, "files", data, pieces(data, 4096))]
        if firmware is not None:
            parts.insert(0, Part(FIRMWARE, "firmware", firmware, pieces(firmware, 4096)))
        made = assemble(Head(PRODUCT, self.layout, version_bytes(version), 4096), parts, self.key)
        path = self.shop.folder / f"{version}.mpota"
        path.write_bytes(made)
        self.shop.reports.clear()
        write_manifest(self.shop.folder, [{**package_facts(made), "file": path.name}])

    def hear(self, code: str) -> str:
        """Wait for a report; its text."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for said in self.shop.reports:
                if said["code"] == code:
                    return str(said["text"])
            time.sleep(0.05)
        raise AssertionError(f"no {code}, but {self.shop.reports}")

    def polled(self, before: int) -> None:
        """Wait until the board has asked for the manifest more often than `before`: then its main.py runs."""
        end = time.monotonic() + PATIENCE_S
        while self.shop.asked["/manifest.json"] <= before:
            assert time.monotonic() < end, "the board does not ask"
            time.sleep(0.05)


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[Lamp]:
    one = Lamp(tmp_path)
    yield one
    one.shop.loop.call_soon_threadsafe(one.shop.loop.stop)


def shown(board: VirtualBoard, code: str) -> str:
    """What the board's REPL says."""
    return board.run("import os\nfrom mpota_boot import shim\n" + code).strip()


def test_an_application_comes_over_http_is_confirmed_and_replaced(lamp: Lamp) -> None:
    lamp.publish("1.0.0", {"app.py": b"import words\n" + GOOD, "words.py": b"SAID = 'one'\n"})
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        assert shown(board, "import words; print(words.SAID, shim.folder)") == "one /ota/1"
        lamp.publish("1.1.0", {"app.py": GOOD, "lib/words.py": b"SAID = 'two'\n"})
        board.off()
        board.on()
        assert "1.1.0" in lamp.hear("confirmed")
        told = shown(board, "import lib.words; print(lib.words.SAID, shim.folder, os.listdir('/ota/1'))")
        assert told == "two /ota/2 []"


def test_a_power_cut_in_the_middle_leaves_one_application(lamp: Lamp) -> None:
    lamp.publish("1.0.0", {"app.py": GOOD, "a.py": b"N = 1\n", "b.py": b"N = 1\n"})
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        big = bytes(range(256)) * 1200
        lamp.publish("1.1.0", {"app.py": GOOD, "a.py": b"N = 2\n", "b.py": b"N = 2\n", "big": big})
        for wait in (0.3, 0.9, 1.5):
            board.kill()
            board.on()
            time.sleep(wait)
        board.kill()
        before = lamp.shop.asked["/manifest.json"]
        board.on()
        lamp.hear("confirmed")
        lamp.polled(before)
        assert shown(board, "import a, b; print(a.N, b.N, os.stat(shim.folder + '/big')[6])") == f"2 2 {len(big)}"


@pytest.mark.parametrize(
    "broken, why",
    [
        (b"def step():\n    pass\ndef health():\n    return False\n", "unhealthy"),
        (b"import nothing_of_the_kind\n", "ImportError"),
        (b"def step():\n    raise ValueError('sensor')\n\ndef health():\n    return None\n", "sensor"),
    ],
)
def test_a_bad_application_is_left_and_the_reason_told(lamp: Lamp, broken: bytes, why: str) -> None:
    lamp.publish("1.0.0", {"app.py": GOOD})
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        lamp.publish("1.1.0", {"app.py": broken})
        board.off()
        board.on()
        assert why in lamp.hear("failed")
        assert shown(board, "print(shim.folder)") == "/ota/1"


def test_an_application_that_hangs_on_its_trial_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    lamp = Lamp(tmp_path, wdt_ms=1500, trials=2)
    lamp.publish("1.0.0", {"app.py": b"while True:\n    pass\n"})
    with VirtualBoard(lamp.flash) as board:
        assert "watchdog" in lamp.hear("failed")
        assert shown(board, "print(repr(shim.folder))") == "''"
    lamp.shop.loop.call_soon_threadsafe(lamp.shop.loop.stop)


def test_an_application_that_sleeps_and_never_says_whether_it_is_well_is_ended_by_its_wakes(tmp_path: Path) -> None:
    lamp = Lamp(tmp_path, trial_wakes=4, window_ms=50)
    lamp.publish("1.0.0", {"app.py": GOOD})
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        sleeps = b"import machine\nn = 0\ndef step():\n    global n\n    n += 1\n    if n > 2:\n"
        lamp.publish("1.1.0", {"app.py": sleeps + b"        machine.deepsleep(50)\ndef health():\n    return None\n"})
        assert "4 wakes from deep sleep" in lamp.hear("failed")
        assert shown(board, "print(shim.folder)") == "/ota/1"
    lamp.shop.loop.call_soon_threadsafe(lamp.shop.loop.stop)


def test_a_confirmed_application_that_never_yields_is_replaced_at_the_next_start(lamp: Lamp) -> None:
    once = b"n = 0\ndef step():\n    global n\n    n += 1\n    while n > 60:\n        print('stuck')\n"
    lamp.publish("1.0.0", {"app.py": once + b"def health():\n    return True\n"})
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        listen(board.port, b"stuck\r\n")
        lamp.publish("1.1.0", {"app.py": GOOD})
        board.off()
        board.on()
        assert "1.1.0" in lamp.hear("confirmed")


def test_firmware_and_files_are_one_update(lamp: Lamp) -> None:
    lamp.publish("1.0.0", {"app.py": GOOD, "w.py": b"N = 1\n"}, NEW)
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        slot = "import esp32, w; print(esp32.Partition(esp32.Partition.RUNNING).info()[4], w.N)"
        assert shown(board, slot) == "ota_1 1"
        bad = b"def step():\n    pass\ndef health():\n    return False\n"
        lamp.publish("1.1.0", {"app.py": bad, "w.py": b"N = 2\n"}, OLD)
        board.off()
        board.on()
        assert "unhealthy" in lamp.hear("failed")
        assert shown(board, slot) == "ota_1 1"


def test_a_board_without_ota_slots_takes_files(tmp_path: Path) -> None:
    lamp = Lamp(tmp_path, "4MiBplus")
    lamp.publish("1.0.0", {"app.py": GOOD, "w.py": b"N = 1\n"})
    with VirtualBoard(lamp.flash) as board:
        assert "1.0.0" in lamp.hear("confirmed")
        assert shown(board, "import w; print(w.N)") == "1"
        lamp.publish("1.1.0", {"app.py": GOOD}, NEW)
        board.off()
        board.on()
        assert "OTA variant" in lamp.hear("slots")
    lamp.shop.loop.call_soon_threadsafe(lamp.shop.loop.stop)


def test_a_board_with_nothing_but_a_file_system_takes_files_and_goes_back(tmp_path: Path) -> None:
    lamp = Lamp(tmp_path, layout="files")
    lamp.publish("1.0.0", {"app.py": GOOD, "w.py": b"N = 1\n"})
    with VirtualBoard(lamp.flash) as board:
        assert "1.0.0" in lamp.hear("confirmed")
        lamp.publish("1.1.0", {"app.py": b"def step():\n    pass\ndef health():\n    return False\n"})
        assert "1.1.0" in lamp.hear("armed")
        assert "unhealthy" in lamp.hear("failed")
        assert shown(board, "import w; print(w.N, shim.folder)") == "1 /ota/1"
        board.kill()
        lamp.shop.reports.clear()
        board.on()
        assert "unhealthy" in lamp.hear("failed"), "it was not forgotten"
        assert shown(board, "import w; print(w.N, shim.folder)") == "1 /ota/1"
    lamp.shop.loop.call_soon_threadsafe(lamp.shop.loop.stop)


def test_a_host_reaches_a_board_in_its_window_whatever_the_application_does(tmp_path: Path) -> None:
    lamp = Lamp(tmp_path)
    deaf = b"import micropython\nmicropython.kbd_intr(-1)\nn = 0\ndef step():\n    global n\n    n += 1\n"
    deaf += b"    while n > 60:\n        pass\ndef health():\n    return True\n"
    lamp.publish("1.0.0", {"app.py": deaf})
    with VirtualBoard(lamp.flash) as board:
        lamp.hear("confirmed")
        board.off()
        # Time enough for a host on a machine that is busy; the starts before would have waited as long.
        write_files(lamp.flash, {"/mpota.json": json.dumps({**lamp.settings, "window_ms": 60_000}).encode()})
        board.on()
        # Without the window it would be deaf by now.
        time.sleep(2)
        assert shown(board, "print(shim.folder)") == "/ota/1"
    lamp.shop.loop.call_soon_threadsafe(lamp.shop.loop.stop)
