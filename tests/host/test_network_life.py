"""The shipped main.py and its network in virtual time: routers that come late, stored networks, wires, clocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpota_host.chips.files.sim.soc import Plain
from tests.cases.rig import NOW, Bare
from tests.host.test_recipes import MANIFEST, board_with, program

APP = "print('started')\ndef step():\n    print('working')\n"
# One that never gives its turn back.
QUIET = "def step():\n    pass\n"
STUCK = "import time\nprint('started')\nwhile True:\n    time.sleep(1)\n"
NOTHING: dict[str, str] = {"/m.json": "HTTP/1.1 304 Not Modified\r\n\r\n"}
EMPTY = {"mpota": 1, "packages": []}
NONE_NEWER = {"/m.json": f"HTTP/1.1 200 OK\r\n\r\n{json.dumps(EMPTY)}"}


def store(board: Bare, *pairs: tuple[bytes, bytes]) -> None:
    """What `mpota flash --wifi` stores."""
    Plain(str(board.folder), board.settings)
    from mpota.store.pair import encode

    tags = [tag + place for place in ("", "2", "3", "4") for tag in ("ssid", "psk")]
    data = [one for pair in pairs for one in pair]
    board.write("ota/wifia", encode(1, {tag: one for tag, one in zip(tags, data, strict=False) if one}))


@pytest.mark.parametrize("port", ["esp32", "rp2"])
def test_an_application_that_keeps_its_turn_is_asked_about_first_however_long_the_joining_takes(
    tmp_path: Path, port: str
) -> None:
    board = Bare(tmp_path / "board", port, STUCK, manifest=MANIFEST)
    life = board.live((60_000, "stop"), server=NONE_NEWER, join_ms=4000)
    assert life.all("asked", "/m.json") and life.says("started"), life
    assert life.all("asked")[0][0] < life.says("started")[0] <= 6500, life


def test_a_network_that_is_not_in_the_air_holds_no_application_back(tmp_path: Path) -> None:
    board = Bare(tmp_path / "board", "rp2", APP, manifest=MANIFEST)
    life = board.live((60_000, "stop"), server=NONE_NEWER, networks=("other",))
    assert life.says("started")[0] <= 1500 and not life.all("asked"), life


def test_stored_networks_are_joined_in_their_order_and_those_in_the_air_first(tmp_path: Path) -> None:
    board = Bare(tmp_path / "board", "rp2", APP, manifest=MANIFEST)
    store(board, (b"one", b"12345678"), (b"two", b""), (b"any", b"secret78"))
    life = board.live((60_000, "stop"), server=NONE_NEWER)
    assert [said for _, said in life.all("join")] == ["any"] and life.all("asked"), life
    life = board.live((60_000, "stop"), server=NONE_NEWER, networks=("two", "any"))
    assert [said for _, said in life.all("join")] == ["two"] and len(life.all("scan")) == 1, life


def test_a_hidden_network_is_joined_without_a_scan_that_shows_it(tmp_path: Path) -> None:
    board = Bare(tmp_path / "board", "rp2", APP, manifest=MANIFEST)
    store(board, (b"one", b""), (b"two", b""))
    life = board.live((120_000, "stop"), server=NONE_NEWER, radio="late", late_ms=5000, networks=("two",))
    assert [said for _, said in life.all("join")] == ["one", "two"] and life.all("asked"), life


@pytest.mark.parametrize("window_ms", [1, 999])
def test_a_short_window_has_no_scan(tmp_path: Path, window_ms: int) -> None:
    board = Bare(tmp_path / "board", "rp2", APP, manifest=MANIFEST, window_ms=window_ms)
    life = board.live((60_000, "stop"), server=NONE_NEWER, join_ms=4000)
    assert not life.all("scan") and life.says("started")[0] <= 1010 and life.all("asked"), life


def test_a_trial_has_no_scan_and_is_confirmed_when_the_network_comes(tmp_path: Path) -> None:
    board = Bare(tmp_path / "board", "rp2", manifest=MANIFEST)
    board.release({"app.py": APP})
    life = board.live((300_000, "stop"), first="reset", server=NONE_NEWER, radio="late", late_ms=60_000)
    assert not life.all("scan") and not life.bites() and life.all("asked"), life
    assert Plain(str(board.folder), board.settings).power_on("power").layout.on_trial() is None


def test_a_trial_that_sleeps_between_its_turns_hears_its_link(tmp_path: Path) -> None:
    board = board_with(tmp_path, program("deepsleep"), window_ms=1)
    board.release({"app.py": APP})
    life = board.live((600_000, "stop"), first="reset", boots=3, server=NONE_NEWER)
    assert life.all("asked"), life
    found = Plain(str(board.folder), board.settings).power_on("power").layout
    assert found.on_trial() is None and found.version() == bytes((0, 2, 0, 0, 0, 0, 0, 0)), life


@pytest.mark.parametrize("port", ["esp32", "rp2"])
@pytest.mark.parametrize("networks, join_ms", [(("any",), 4000), (("other",), 100)])
def test_an_application_that_sleeps_starts_within_two_seconds_of_each_wake(
    tmp_path: Path, port: str, networks: tuple[str, ...], join_ms: int
) -> None:
    board = board_with(tmp_path, program("deepsleep"))
    board.port = port
    life = board.live((600_000, "stop"), boots=4, server=NONE_NEWER, networks=networks, join_ms=join_ms)
    begins = [at for at, _ in life.all("boot")]
    firsts = [min(at for at in life.says("working") if at >= begin) - begin for begin in begins]
    assert len(firsts) == 4 and max(firsts[1:]) < 2000, (firsts, life)
    # Switched on, it waits for a network that is here; awake it goes on joining beside the application.
    assert (firsts[0] > 4000) == (join_ms == 4000), firsts
    assert len(life.all("asked")) == (4 if join_ms == 4000 else 0), life


def test_a_link_that_missed_the_network_is_asked_soon_after_it_came(tmp_path: Path) -> None:
    board = Bare(tmp_path / "board", "esp32", QUIET, manifest=MANIFEST)
    life = board.live((315_000, "stop"), server=NONE_NEWER, radio="late", late_ms=300_000)
    assert 300_000 <= life.all("asked")[0][0] <= 310_000, life
    board = Bare(tmp_path / "fleet", "esp32", QUIET, manifest=MANIFEST, spread_ms=90_000)
    life = board.live((405_000, "stop"), server=NONE_NEWER, radio="late", late_ms=300_000)
    assert 300_000 <= life.all("asked")[0][0] <= 400_000, life


@pytest.mark.parametrize("radio", ["raises", "missing", "absent"])
def test_a_radio_that_fails_is_what_the_agent_says(tmp_path: Path, radio: str) -> None:
    board = board_with(tmp_path, "while True:\n    runner.turn()\n    print(runner.agent.error)\n    board.pause()\n")
    life = board.live((60_000, "stop"), radio=radio)
    said = {text for _, text in life.all("say") if text not in ("working", "None")}
    assert said and all("network does not start" in one for one in said), said
    assert life.says("working"), life


def test_a_rescue_keeps_the_network(tmp_path: Path) -> None:
    board = Bare(tmp_path / "board", "rp2", "raise ValueError\n", manifest=MANIFEST)
    life = board.live((120_000, "stop"), server=NONE_NEWER, radio="late", late_ms=60_000)
    assert life.all("traceback") and life.all("asked"), life


@pytest.mark.parametrize("port", ["esp32", "mimxrt", "stm32"])
def test_a_wire_that_comes_late_is_used(tmp_path: Path, port: str) -> None:
    board = Bare(tmp_path / "board", port, APP, ssid=False, manifest=MANIFEST, lan={"phy_type": "PHY_LAN8720"})
    life = board.live((60_000, "stop"), server=NONE_NEWER, radio="wire", join_ms=3000)
    assert [said for _, said in life.all("lan")] == ["phy_type 1"], life
    assert life.all("asked")[0][0] < life.says("started")[0] <= 4500, life
    life = board.live((60_000, "stop"), server=NONE_NEWER, radio="none")
    assert life.says("started")[0] <= 6500 and not life.all("asked"), "a cable that is out"


EVB = {"spi": {"id": 0, "sck": 18, "mosi": 19, "miso": 16}, "cs": 17, "reset": 20, "int": 21}
PHY = {"phy_type": "PHY_W5500", "phy_addr": 0, "spi": {"id": 1, "sck": 13}, "cs": 14, "int": 10}


@pytest.mark.parametrize(
    "port, lan, kind, said",
    [
        ("rp2", True, "wiznet", ""),
        ("rp2", EVB, "wiznet", "spi 0 (miso pin 16, mosi pin 19, sck pin 18), pin 17, pin 20, pin 21"),
        ("esp32", PHY, "lan", "cs pin 14, int pin 10, phy_addr 0, phy_type 102, spi spi 1 (sck pin 13)"),
    ],
)
def test_a_chip_on_spi_is_a_wire_too(tmp_path: Path, port: str, lan: object, kind: str, said: str) -> None:
    board = Bare(tmp_path / "board", port, APP, ssid=False, manifest=MANIFEST, lan=lan)
    life = board.live((60_000, "stop"), server=NONE_NEWER, radio="wire", join_ms=3000)
    assert life.all(kind)[0][1] == said and len(life.all(kind)) == 1, life
    assert life.all("asked")[0][0] < life.says("started")[0] <= 4500, life


def test_a_wire_that_is_described_wrongly_ends_nothing(tmp_path: Path) -> None:
    board = board_with(tmp_path, "while True:\n    runner.turn()\n    print(runner.agent.error)\n    board.pause()\n")
    board.write("mpota.json", json.dumps({**board.settings, "lan": {"phy_type": "PHY_NONE"}}))
    life = board.live((60_000, "stop"), radio="wire")
    assert life.says("working") and any("PHY_NONE" in text for _, text in life.all("say")), life


@pytest.mark.parametrize("port", ["esp32", "rp2", "stm32", "mimxrt"])
def test_the_clock_of_every_port_is_set_when_the_network_is_there(tmp_path: Path, port: str) -> None:
    board = Bare(
        tmp_path / "board", port, "import time\ndef step():\n    print(time.localtime()[0])\n", manifest=MANIFEST
    )
    life = board.live((60_000, "stop"), server=NONE_NEWER)
    assert [said for _, said in life.all("clock")] == ["2026-07-01"] and life.says("2026"), life
    assert life.all("look-up", "pool.ntp.org at 10.0.0.1:53"), life
    life = board.live((60_000, "stop"), server=NONE_NEWER, time=NOW - 900_000_000)
    assert not life.all("clock") and len(life.all("time")) > 2, "a server that is wrong by 28 years"
