"""What some boards with an ESP32 are: a C2 wakes through the loader, a loader has no rollback, an NVS is shut."""

import sys

from mpota import console
from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_boot.errors import FlashError
from mpota_host.chips.esp32.sim import soc
from tests.core.test_layout import armed, boot, chip, update
from tests.expect import raises

NO_ROLLBACK = "bootloader: without rollback"


def wake(c):
    """An ESP32-C2 wakes, and what boot.py does. The image that runs."""
    board = c.board = c.wake(fast_memory=False)
    try:
        shim.boot(lambda: board)
    except soc.Reset:
        return boot(c)
    assert shim.error is None, repr(shim.error)
    return c.started.name


def test_a_c2_wakes_into_a_staged_slot_and_the_trial_has_an_end():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        for _ in range(49):
            assert wake(c) == "ota_1" and c.board.layout.on_trial(), "a wake starts what is staged"
            assert not c.board.layout.pending() and c.board._dog is not None
        assert wake(c) == "ota_0"
        assert c.board.layout.failure()[1] == "no verdict after 50 wakes from deep sleep"
        for again in (boot(c), wake(c)):
            assert again == "ota_0"


def test_a_c2_confirms_what_it_woke_into():
    c = armed()
    assert wake(c) == "ota_1"
    c.board.layout.confirm()
    assert wake(c) == "ota_1" and boot(c) == "ota_1" and c.board.layout.on_trial() is None
    assert c.board.layout.status()["findings"] == []


def test_a_c2_leaves_what_it_woke_into():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        assert wake(c) == "ota_1"
        c.board.layout.retreat("unhealthy")
        assert boot(c) == "ota_0" and wake(c) == "ota_0"


def test_resets_after_a_c2s_wake_end_the_trial():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        assert wake(c) == "ota_1"
        seen = [boot(c) for _ in range(5)]
        assert seen[0] == "ota_1" and seen[3:] == ["ota_0"] * 2, seen


def test_a_c2_without_an_update_wakes_into_what_slept():
    c = chip()
    boot(c)
    c.flash.trace = []
    assert wake(c) == "ota_0" and c.flash.trace == []
    c = chip(factory=True, runs="factory")
    assert boot(c) == "factory" and wake(c) == "factory"


def findings(c):
    return c.board.layout.status()["findings"]


def test_status_names_a_loader_without_rollback():
    for build in ({"bootloader": False}, {"application": False}):
        c = armed(**build)
        assert findings(c) == []
        boot(c)
        assert findings(c)[0].startswith(NO_ROLLBACK) and len(findings(c)) == 1
        c.board.layout.confirm()
        boot(c)
        assert findings(c), "it stays so when the trial is over"


def test_a_loader_with_rollback_is_named_by_nobody_and_a_new_one_is_believed():
    c = armed()
    boot(c)
    c.board.layout.confirm()
    assert findings(c) == []
    c = armed(bootloader=False)
    boot(c)
    c.board.layout.retreat("unhealthy")
    boot(c)
    assert findings(c)
    # Somebody gave the board another bootloader over USB.
    c.bootloader.rollback = True
    c.board.layout.forget()
    update(c.board)
    assert boot(c) == "ota_1" and findings(c) == []


class Shut:
    """esp32.NVS of a partition that does not mount: ESP_ERR_NVS_NOT_INITIALIZED."""

    def __init__(self, name):
        raise OSError(-4353)


def test_a_board_whose_nvs_does_not_open_starts_and_says_so():
    c = chip()
    boot(c)
    sys.modules["esp32"].NVS = Shut
    Board.fault = None
    board = soc.SocBoard(c.settings, None)
    shim.boot(lambda: board)
    assert shim.error is None and board.journal.last("armed") is None
    agent = Agent(board, [], [])
    assert agent.step() == "idle"
    assert "-4353" in console.status(board)["boot_error"]
    raises(FlashError, "journal", board.journal.put, "armed", b"1")
    raises(FlashError, "journal", update, board)
    assert boot(c) == "ota_0", "nothing was armed"
