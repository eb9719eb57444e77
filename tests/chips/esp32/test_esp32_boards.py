"""What some boards with an ESP32 are: a C2 wakes through the loader, a loader has no rollback, an NVS is shut."""

import sys
from hashlib import sha256

from mpota import console
from mpota.agent import Agent
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_boot.errors import FlashError, Refused
from mpota_host.chips.esp32.sim import soc
from tests.core.test_layout import SETTINGS, armed, boot, chip, update
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker

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


def made(size=41232, seed=2, low=0, high=0xFFFF, secure=0, idf=b""):
    """An image for these chip revisions, with this secure_version, made with this ESP-IDF."""
    data = bytearray(image(size, seed)[:-32])
    data[15:19] = bytes((low & 255, low >> 8, high & 255, high >> 8))
    data[0x24:0x28] = secure.to_bytes(4, "little")
    data[0x90:0xB0] = idf + bytes(32 - len(idf))
    # The checksum is over the bytes of the segments.
    check = 0xEF
    for c in data[32:-1][: size_of(data)]:
        check ^= c
    data[-1] = check
    return bytes(data) + sha256(data).digest()


def size_of(data):
    return int.from_bytes(data[28:32], "little")


def on(old, new):
    """A chip that runs `old` takes `new`: None, or the code of the refusal, before any erase."""
    c = soc.Soc(soc.rows(0x10000), SETTINGS, None)
    c.write(c.row("ota_0").offset, old)
    boot(c, soc.PWRON)
    c.flash.trace = []
    try:
        update(c.board, Maker(new))
    except Refused as e:
        assert not [one for one in c.flash.trace if one[0] == "erase" and one[1] >= soc.SLOTS_AT]
        return e.code
    assert boot(c) == "ota_1"


def test_an_image_for_other_revisions_of_the_chip_is_refused():
    for runs, new, code in (
        ((0, 199), (300, 399), "revision"),
        ((300, 399), (0, 199), "revision"),
        ((0, 399), (300, 399), None),
        # Before ESP-IDF 5 the highest was not there.
        ((0, 0), (300, 399), None),
        ((300, 399), (0, 0), None),
        ((0, 199), (0, 0xFFFF), None),
    ):
        assert on(made(30000, 1, *runs), made(41232, 2, *new)) == code, (runs, new)


def test_an_image_that_the_efuse_keeps_out_is_refused():
    for runs, new, code in ((2, 1, "secure"), (2, 2, None), (2, 3, None), (0, 0, None), (1, 0, "secure")):
        assert on(made(30000, 1, secure=runs), made(41232, 2, secure=new)) == code, (runs, new)


def test_an_interpreter_that_cannot_run_this_mpota_is_refused():
    for runs, new, code in (
        (b"v5.5.1", b"v4.4.4", "idf"),
        (b"v5.0.4", b"v4.0.2-dirty", "idf"),
        (b"v6.0", b"v3.3", "idf"),
        (b"v6.0", b"v5.0.4", None),
        (b"v5.5.1", b"v5.2.2", None),
        # What is on the board runs no mpota either: a payload.
        (b"v4.0.2", b"v4.2", None),
        (b"v5.5.1", b"", None),
        (b"v5.5.1", b"release-4", None),
        (b"", b"v4.2", None),
    ):
        assert on(made(30000, 1, idf=runs), made(41232, 2, idf=new)) == code, (runs, new)


def test_a_chip_that_encrypts_its_flash_is_refused_before_an_erase():
    c = chip()
    boot(c, soc.PWRON)
    sys.modules["esp"].encrypts = True
    c.flash.trace = []
    raises(Refused, "encrypted", update, c.board)
    assert not [one for one in c.flash.trace if one[0] == "erase" and one[1] >= soc.SLOTS_AT]
    sys.modules["esp"].encrypts = False
    update(c.board)
    assert boot(c) == "ota_1"
