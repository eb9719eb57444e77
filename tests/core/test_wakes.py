"""Wakes from deep sleep end a trial on the vendors' chips too. See test_layout for an ESP32, test_ports for ports."""

from mpota_boot import shim
from mpota_boot.journal import trial
from mpota_host.chips.esp32.sim import soc
from mpota_host.sim.reset import Reset
from tests.chips.bk7238 import test_bk7238_layout as bk7238
from tests.chips.bk7238.rbl_maker import package
from tests.chips.pic32 import test_pic32_layout as pic32
from tests.chips.pic32.test_pic32_loader import A, B
from tests.chips.sifli import sifli_maker
from tests.chips.sifli import test_sifli_layout as sifli

WAKES = 50
WHY = "no verdict after %d wakes from deep sleep"


def test_a_bk7238_gives_the_image_up():
    it = bk7238.chip()
    release = bk7238.release(package(bk7238.NEW), 1, 1)
    state, _ = bk7238.run(bk7238.boot(it), release.bytes())
    assert state == "reset" and bk7238.boot(it).layout.on_trial()
    n = 0
    while trial(it.run(soc.DEEPSLEEP).journal):
        n += 1
        assert n <= WAKES
        try:
            shim.boot(lambda: it.run(soc.DEEPSLEEP))
        except soc.Reset:
            bk7238.boot(it)
    assert n == WAKES and it.run(soc.DEEPSLEEP).layout.failure()[1] == WHY % WAKES


def test_a_pic32_starts_the_image_before():
    c, board = pic32.chip(("a.bin", 2, "f8", A))
    pic32.update(board, B)
    board = c.power_on("reset")
    n = 0
    while board.layout.on_trial():
        n += 1
        assert n <= WAKES + 1
        try:
            shim.boot(lambda b=board: b)
        except Reset:
            board = c.power_on("reset")
        board.why = "wake"
    # The first start was a reset.
    assert n == WAKES + 1 and board.layout.failure()[1] == WHY % WAKES
    assert pic32.maker.holds(c, A)


def test_a_sifli_takes_the_program_before_back():
    layout = sifli.fresh()
    layout = sifli.stage(layout, sifli.NEW, 1)
    start, layout = sifli.restart(layout)
    assert start.name == "user" and layout.on_trial()
    for n in range(1, WAKES):
        assert not layout.woke(WAKES), n
    assert layout.woke(WAKES) and layout.failure()[1] == WHY % WAKES
    start, layout = sifli.restart(layout)
    assert start.name == "user" and sifli_maker.held(layout.port.user, 9000) == sifli.OLD
    assert layout.journal.last("wakes") is None


def test_a_wake_of_an_image_that_is_not_on_trial_counts_nothing():
    c, board = pic32.chip(("a.bin", 2, "f8", A))
    assert not board.layout.woke(1) and board.journal.last("wakes") is None
    assert c
