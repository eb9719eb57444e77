"""The delta stages on the integers of an ESP32, and inside their buffers: their own viper code, run by viper32.py."""

from pathlib import Path

import pytest

from mpota.pipe import delta as plain
from mpota.pipe import xtensa
from tests.core import test_delta, test_xtensa
from tests.host import viper32
from tests.host.test_delta_encoder import decode
from tests.host.test_xtensa_match import NEW, OLD, plan

PLACES = ((plain, "patch"), (plain, "number"), (xtensa, "patch"), (xtensa, "follow"))


def put(monkeypatch, bits=32, change=lambda text: text):
    """Put the viper functions, changed or as they are, on a machine of `bits` bits."""
    for module in (plain, xtensa):
        path = Path(module.__file__)
        names = viper32.load(path, bits, change(path.read_text()))
        for place, name in PLACES:
            if place is module and name in names and name != "patch":
                monkeypatch.setattr(place, name, names[name])
        if module is plain:
            monkeypatch.setattr(plain, "patch", names["patch"])
            monkeypatch.setattr(xtensa, "patch", names["patch"])


@pytest.fixture
def board(monkeypatch):
    put(monkeypatch)


@pytest.mark.parametrize("predict", [False, True])
def test_a_firmware_is_decoded_on_32_bits_and_inside_the_buffers(monkeypatch, predict):
    made = plan(OLD, NEW, predict)
    put(monkeypatch)
    assert decode(OLD, made.pieces, xtensa) == NEW


def shared(module):
    return [name for name in dir(module) if name.startswith("test_")]


@pytest.mark.parametrize("name", shared(test_delta) + shared(test_xtensa))
def test_the_shared_tests_hold_on_32_bits_and_inside_the_buffers(board, name):
    (getattr(test_delta, name, None) or getattr(test_xtensa, name))()


# Each is a bound that is off by a little.
BEYOND = {
    "        if z >= end:": "        if z > end + 20:",
    "            if g >= stop:": "            if g > stop + 3000:",
    "        if i >= int(s[6]):": "        if i > int(s[6]) + 3000:",
    "    while p < n:": "    while p <= n:",
    "and e <= n and low": "and e <= n + 2 and low",
    "k = 1 if w > n else": "k = 1 if w > n + 2 else",
    "& 255)\n        c = COARSE": "& 1023)\n        c = COARSE",
    "& 511)\n": "& 1023)\n",
}


@pytest.mark.parametrize("right", BEYOND)
def test_a_bound_that_is_off_is_found(monkeypatch, right):
    texts = [Path(module.__file__).read_text() for module in (plain, xtensa)]
    assert sum(text.count(right) for text in texts) == 1
    made = plan(OLD, NEW)
    put(monkeypatch, change=lambda text: text.replace(right, BEYOND[right]))
    # Outside is an AssertionError, and so is what a shared test says.
    with pytest.raises((AssertionError, ValueError)):
        for module in (test_delta, test_xtensa):
            for name in shared(module):
                getattr(module, name)()
        assert decode(OLD, made.pieces, xtensa) == NEW
