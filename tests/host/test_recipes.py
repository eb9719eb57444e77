"""The programs of host/README.md, "Your application", on a bare board: each as it stands there."""

import re

import pytest

from mpota_host.sources import root
from tests.cases.rig import Bare

PAGE = (root() / "host/README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.split("### Your application")[1].split("### ")[0], re.S)
MANIFEST = "http://127.0.0.1:1/m.json"
LOOP = "while True:\n    runner.turn()\n    print(runner.agent.error)\n    board.pause()\n"
APP = "def step():\n    print('working')\n"
# Half of the battery's voltage is at the pin.
ADC = """class ADC:
    def __init__(self, pin):
        pass
    def read_uv(self):
        return %d
"""


def program(word: str) -> str:
    (found,) = [text for text in PROGRAMS if word in text]
    return found


def board_with(tmp_path, end: str, **settings) -> Bare:
    """A board whose main.py ends with this."""
    board = Bare(tmp_path / "board", app=APP, manifest=MANIFEST, **settings)
    shipped = (board.folder / "main.py").read_text()
    board.write("main.py", shipped[: shipped.index("while True:")] + end)
    return board


def test_an_event_loop_gives_the_agent_its_turns(tmp_path):
    life = board_with(tmp_path, program("runner.task"), poll_ms=5000).live((60_000, "stop"), server={})
    assert life.says("working") and len(life.all("asked")) > 5, life


def test_a_board_that_sleeps_asks_and_works_at_each_start(tmp_path):
    life = board_with(tmp_path, program("deepsleep"), window_ms=1).live((600_000, "stop"), boots=5, server={})
    assert len(life.all("asked")) >= 4 and life.says("working"), life


@pytest.mark.parametrize("mv, asked", [(3400, False), (3600, True)])
def test_a_low_battery_puts_an_update_off(tmp_path, mv, asked):
    board = board_with(tmp_path, LOOP, poll_ms=5000)
    board.write("wiring.py", program("def later").replace("from machine import ADC", ADC % (mv * 500)))
    life = board.live((60_000, "stop"), server={})
    assert bool(life.all("asked")) == asked, life
    assert bool(life.says("the battery has 3400 mV, wanted 3500")) != asked, life
