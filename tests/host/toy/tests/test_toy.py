"""An update of a toy chip by the shipped agent, from the offer to the verdict, and what its loader starts."""

import sys

from mpota.agent import Agent
from mpota.layout.toy import image, loader, port
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_boot.errors import Corrupt, FlashError, NotNow, Refused
from mpota_host.chips.toy.sim.chip import ToyBoard
from mpota_host.sim import reset
from mpota_host.sim.flash import PowerCut, SimFlash
from tests import packages
from tests.expect import raises

SETTINGS = {"layout": "toy", "product": "lamp", "room": 4096}
OLD, NEW = image.encode(b"old program " * 500), image.encode(b"new program " * 600)


class Chip:
    """A flash with OLD in slot 0; `on` goes through the loader and boot.py, and gives main.py's Board."""

    def __init__(self):
        self.flash = SimFlash(0xA000)
        self.slots = port.slots(self.flash)
        self.slots[0].prog(0, OLD + b"\xff" * (-len(OLD) % 4))

    def on(self, cause=reset.PWRON):
        """None where the loader starts nothing."""
        self.flash.power_on()
        running = loader.boot(self.flash)
        if running is None:
            return None
        sys.modules["machine"] = reset.Machine(cause)
        Board._dog = None
        try:
            shim.boot(lambda: ToyBoard(self.flash, running, SETTINGS))
        except reset.Reset:
            return self.on(reset.HARD)
        assert shim.error is None, shim.error
        return ToyBoard(self.flash, running, SETTINGS)


def release(data=NEW, version=(1, 1), layout=b"toy"):
    maker = packages.Maker(data, product=b"lamp")
    maker.layout = layout
    maker.version = packages.version(*version)
    return maker


def run(board, maker=None, health=None):
    """Steps up to a reset, or until there is nothing to do: the Agent."""
    agent = Agent(board, [packages.Ram(maker.bytes())] if maker else [], None, health)
    for _ in range(100):
        if agent.step() == "reset" or not agent.job:
            return agent
    raise AssertionError("no end")


def armed():
    """A Chip that waits for the reset into NEW."""
    chip = Chip()
    agent = run(chip.on(), release())
    assert agent.error is None, agent.error
    return chip


def error(maker, cls, code):
    """The agent's error for this release; nothing boots that did not boot before."""
    chip = Chip()
    agent = run(chip.on(), maker)
    assert isinstance(agent.error, cls) and agent.error.code == code, agent.error
    assert loader.boot(chip.flash) == 0
    return str(agent.error)


def test_an_update_is_on_trial_after_a_reset_and_stays_once_it_is_confirmed():
    chip = armed()
    board = chip.on(reset.HARD)
    assert board.running == 1 and board.layout.on_trial()
    assert run(board, None, lambda: True).error is None
    for _ in range(5):
        board = chip.on()
        assert board.running == 1 and board.layout.version() == packages.version(1, 1)
    assert board.layout.status()["updates"] is None


def test_an_unhealthy_image_goes_back_and_the_reason_is_kept():
    chip = armed()
    run(chip.on(reset.HARD), None, lambda: False)
    board = chip.on(reset.HARD)
    assert board.running == 0 and board.layout.failure()[1] == "unhealthy" and not board.layout.on_trial()
    assert run(board, release()).error.code == "failed"


def test_an_image_that_never_says_a_word_uses_its_trials_up():
    chip = armed()
    ran = [chip.on(reset.WDT).running for _ in range(5)]
    assert ran == [1, 1, 1, 0, 0]


def test_a_cut_before_the_loader_can_see_the_image_costs_no_byte_of_the_package():
    chip = armed()
    ops = chip.flash.ops
    chip = Chip()
    board = chip.on()
    chip.flash.cut, chip.flash.cut_at = ops, "before"
    try:
        run(board, release())
    except PowerCut:
        pass
    assert chip.flash.dead
    board = chip.on()
    assert board.running == 0 and board.layout.status()["trial"] is None
    wear = list(chip.flash.wear)
    run(board, release())
    assert chip.on(reset.HARD).running == 1 and chip.flash.wear[6:] == wear[6:], "no sector of the slot was erased"


def test_a_switch_that_fails_arms_nothing():
    chip = Chip()
    board = chip.on()
    journal = board.journal
    put = journal.put

    def failing(tag, data):
        if tag == "slot":
            raise FlashError("journal", "it is worn")
        put(tag, data)

    journal.put = failing
    agent = run(board, release())
    assert agent.error.code == "journal" and board.layout.status()["trial"] is None
    assert chip.on(reset.HARD).running == 0


def test_rollback_drops_what_waits_for_its_reset_and_ends_a_trial():
    for restart in (False, True):
        chip = armed()
        board = chip.on(reset.HARD) if restart else ToyBoard(chip.flash, 0, SETTINGS)
        if not restart:
            raises(NotNow, "staged", board.layout.confirm)
            raises(NotNow, "trial", board.layout.retreat, "x")
            raises(NotNow, "trial", board.layout.ready)
        board.layout.rollback("by hand")
        board = chip.on(reset.HARD)
        assert board.running == 0 and board.layout.failure()[1] == "by hand"
        raises(NotNow, "rollback", board.layout.rollback, "again")


def test_what_is_no_image_of_this_chip_is_refused_before_an_erase():
    assert "no header" in error(release(b"TOY2" + NEW[4:]), Refused, "image")
    assert "7216 bytes" in error(release(NEW + b"more"), Refused, "image")
    assert "no header" in error(release(b"TOY1"), Refused, "image")
    maker = release()
    maker.kind = 2
    assert "no files" in error(maker, Refused, "kind")


def test_a_program_that_is_not_its_headers_is_refused_before_it_is_armed():
    error(release(NEW[:-1] + b"?"), Corrupt, "image")


def test_every_bit_of_a_header_counts():
    for i in range(image.SIZE * 8):
        head = bytearray(NEW[: image.SIZE])
        head[i // 8] ^= 1 << i % 8
        assert image.length(head) == 0, i
    assert image.length(NEW) == len(NEW) and image.length(image.encode(b"")) == 0


def test_a_loader_passes_over_what_is_not_whole():
    chip = armed()
    chip.flash.cells.put(chip.slots[1].start + 5000, b"\0")
    board = chip.on(reset.HARD)
    assert board.running == 0 and "refused" in board.layout.failure()[1]
    # The agent names what runs, so the next boot does not look there.
    run(board)
    assert board.layout.chosen() == 0
    chip.flash.cells.put(chip.slots[0].start + 5000, b"\0")
    assert chip.on() is None


def test_a_trial_without_a_way_back_comes_to_its_end():
    chip = armed()
    chip.flash.cells.put(chip.slots[0].start + 5000, b"\0")
    for _ in range(4):
        board = chip.on(reset.WDT)
        assert board.running == 1
    assert board.layout.failure()[1] == "watchdog" and not board.layout.on_trial()
    run(board)
    assert board.layout.chosen() == 1
