"""Trials on an ESP32: what boots after every kind of failure, with each build of bootloader and application."""

from mpota.agent import Agent
from mpota.installer import install
from mpota.layout.esp32 import otadata
from mpota.store.flash import Region
from mpota_boot.errors import FlashError, NotNow, Refused
from mpota_boot.journal import Record
from mpota_host.chips.esp32.sim import esp_idf, soc
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, version

SLOT = 0x10000
OLD = image(30000, 1)
NEW = image(41232, 2)
SETTINGS = {"product": "demo", "room": 16384}


def chip(bootloader=True, application=True, slots=2, factory=False, runs="ota_0"):
    c = soc.Soc(soc.rows(SLOT, slots, factory), SETTINGS, None)
    c.bootloader.rollback = bootloader
    c.application.rollback = application
    c.write(c.row(runs).offset, OLD)
    return c


def update(board, maker=None):
    for _ in install(board, Ram((maker or Maker(NEW)).bytes()), None):
        pass


def boot(c, cause=soc.HARD):
    """A reset through the loader, and what boot.py does, with the resets that it asks for. The image that runs."""
    from mpota_boot import shim

    for _ in range(9):
        c.board = c.power_on(cause)
        try:
            shim.boot(lambda b=c.board: b)
        except soc.Reset:
            cause = soc.HARD
            continue
        assert shim.error is None, repr(shim.error)
        return c.started.name
    raise AssertionError("the board resets for ever")


def armed(**build):
    """A chip that runs OLD and was told to boot NEW."""
    c = chip(**build)
    boot(c, soc.PWRON)
    update(c.board)
    return c


def entries(c):
    return otadata.read(Region(c.flash, soc.OTADATA_AT, 0x2000))


def test_a_healthy_boot_confirms_and_stays():
    for bootloader in (True, False):
        for application in (True, False):
            c = armed(bootloader=bootloader, application=application)
            assert boot(c) == "ota_1"
            assert c.board.layout.on_trial().version == version(1, 1, 0)
            c.board.layout.confirm()
            assert c.board.layout.on_trial() is None
            assert c.board.layout.version() == version(1, 1, 0)
            for cause in (soc.PWRON, soc.WDT, soc.HARD):
                assert boot(c, cause) == "ota_1"


def test_an_ordinary_boot_writes_nothing():
    c = armed()
    boot(c)
    c.board.layout.confirm()
    for cause in (soc.PWRON, soc.HARD, soc.WDT, soc.SOFT):
        c.flash.trace = []
        boot(c, cause)
        assert c.flash.trace == []


def test_an_image_gets_three_boots_and_then_the_old_one_stays():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        seen = [boot(c, soc.WDT) for _ in range(6)]
        # Where the loader goes back, the old image arms again at once, in the same boot.
        assert seen == ["ota_1"] * 3 + ["ota_0"] * 3, (bootloader, seen)
        record, why = c.board.layout.failure()
        assert record.version == version(1, 1, 0) and why == "watchdog"
        raises(Refused, "failed", update, c.board)


def test_the_boots_of_a_trial_are_counted_before_the_image_runs():
    c = armed(bootloader=False)
    left = []
    for _ in range(3):
        boot(c)
        left.append(c.board.layout.on_trial().trials)
    assert left == [2, 1, 0]


def test_a_soft_reset_counts_nothing():
    from mpota_boot import shim

    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        boot(c)
        c.flash.trace = []
        for _ in range(9):
            board = c.run(soc.SOFT)
            shim.boot(lambda b=board: b)
            assert board._dog is not None, "a trial is watched, however it was entered"
        assert c.flash.trace == []
        board.layout.confirm()
        assert boot(c) == "ota_1"


def wake(c):
    """A wake from deep sleep: the loader starts what ran, and looks at nothing. The image that runs then."""
    from mpota_boot import shim

    board = c.board = c.run(soc.DEEPSLEEP)
    try:
        shim.boot(lambda: board)
    except soc.Reset:
        return boot(c)
    assert shim.error is None, repr(shim.error)
    return c.started.name


def test_a_trial_that_only_sleeps_and_wakes_comes_to_its_end():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        left = boot(c) and c.board.layout.on_trial().trials
        for n in range(1, 50):
            assert wake(c) == "ota_1" and c.board._dog is not None
            assert c.board.layout.on_trial().trials == left, "a wake uses none of the boots"
            assert c.board.journal.last("wakes") == bytes((n,))
        assert wake(c) == "ota_0"
        assert c.board.layout.failure()[1] == "no verdict after 50 wakes from deep sleep"
        assert c.board.journal.last("wakes") is None
        for cause in (soc.PWRON, soc.HARD):
            assert boot(c, cause) == "ota_0"
        raises(Refused, "failed", update, c.board)


def test_a_wake_may_still_confirm():
    c = armed()
    boot(c)
    for _ in range(49):
        wake(c)
    c.board.layout.confirm()
    assert c.board.journal.last("wakes") is None
    for _ in range(99):
        assert wake(c) == "ota_1"
    assert c.board.layout.on_trial() is None and boot(c) == "ota_1"


def test_a_retreat_takes_the_old_image_back_and_keeps_the_reason():
    for bootloader in (True, False):
        for application in (True, False):
            c = armed(bootloader=bootloader, application=application)
            boot(c)
            c.board.layout.retreat("unhealthy")
            assert boot(c) == "ota_0"
            assert c.board.layout.failure()[1] == "unhealthy"
            for _ in range(3):
                assert boot(c) == "ota_0"
            raises(Refused, "failed", update, c.board)
            other = Maker(image(30000, 9))
            update(c.board, other)
            assert boot(c) == "ota_1"


def test_a_retreat_outside_a_trial_is_refused():
    c = chip()
    boot(c)
    raises(NotNow, "trial", c.board.layout.retreat, "no reason")


def test_pitfall_1_confirm_only_what_runs_and_boots():
    c = armed()
    raises(NotNow, "staged", c.board.layout.confirm)
    assert entries(c)[1].state == otadata.NEW


def test_pitfall_2_no_update_while_pending():
    c = armed(bootloader=False)
    boot(c)
    raises(NotNow, "trial", update, c.board)
    c = armed()
    boot(c)
    raises(NotNow, "trial", update, c.board)
    # Also when somebody else staged the image, and no record of a trial exists.
    c.board.journal.put("armed", b"")
    raises(NotNow, "trial", update, c.board)
    c.board.layout.confirm()
    update(c.board, Maker(image(33008, 4)))


def test_pitfall_3_never_the_slot_that_boots():
    c = chip()
    boot(c)
    c.write(c.row("ota_1").offset, NEW)
    c.board.layout.port.set_boot(1)
    raises(NotNow, "staged", update, c.board)


def test_pitfall_4_an_image_that_the_loader_refused_is_given_up():
    for bootloader in (True, False):
        for application in (True, False):
            c = armed(bootloader=bootloader, application=application)
            c.flash.erase(c.row("ota_1").offset + 4096, 4096)
            assert boot(c) == "ota_0"
            assert c.board.layout.failure()[1] == "the loader refused the image"
            slot, entry = c.board.layout.boots()
            assert slot == 0 and entry.state in (otadata.VALID, otadata.UNDEFINED)
            update(c.board, Maker(image(33008, 4)))
            assert boot(c) == "ota_1"


def test_pitfall_5_a_wake_from_deep_sleep_changes_nothing_that_is_staged():
    from mpota_boot import shim

    c = armed()
    board = c.run(soc.DEEPSLEEP)
    c.flash.trace = []
    shim.boot(lambda b=board: b)
    assert c.flash.trace == [] and c.started.name == "ota_0"
    assert boot(c) == "ota_1"


def test_pitfall_6_a_second_reset_before_the_confirm_is_one_more_trial():
    c = armed()
    assert boot(c) == "ota_1"
    assert boot(c, soc.PWRON) == "ota_1"
    c.board.layout.confirm()
    assert boot(c) == "ota_1"


def test_pitfall_9_new_that_stays_new_is_protected_by_the_shim():
    c = armed(bootloader=False, application=True)
    boot(c)
    assert entries(c)[1].state == otadata.NEW
    assert c.board.layout.on_trial().trials == 2


def test_pitfall_10_an_image_larger_than_the_slot_is_refused():
    c = chip()
    boot(c)
    raises(Refused, "size", update, c.board, Maker(image(SLOT + 16, 3)))


def test_a_slot_that_no_longer_holds_the_package_is_not_armed_again():
    c = armed()
    boot(c)
    c.flash.erase(c.row("ota_1").offset + 8192, 4096)
    assert boot(c) == "ota_0"
    assert c.board.layout.failure() is None
    assert c.board.journal.last("progress") is None
    update(c.board)
    assert boot(c) == "ota_1"


def test_a_cut_before_otadata_was_written_arms_again():
    c = chip()
    boot(c)
    board = c.board
    board.layout.port.set_boot = lambda slot: None
    raises(FlashError, "arm", update, board)
    assert boot(c) == "ota_1"


class Stubborn:
    """A set_boot that fails `times` times, in this run and in those that follow."""

    def __init__(self, c, times):
        self.c = c
        self.left = times

    def __enter__(self):
        self.real = real = esp_idf.Idf.set_boot

        def set_boot(idf, row):
            if row.subtype == 17 and self.left:
                self.left -= 1
                return esp_idf.VALIDATE_FAILED
            return real(idf, row)

        esp_idf.Idf.set_boot = set_boot
        return self

    def __exit__(self, *_):
        esp_idf.Idf.set_boot = self.real


def test_a_set_boot_that_fails_once_costs_a_try_and_the_next_poll_takes_another():
    c = chip()
    boot(c)
    with Stubborn(c, 1):
        raises(FlashError, "flash", update, c.board)
        assert c.board.layout.on_trial() is None and c.board.layout.failure() is None
        link = Ram(Maker(NEW).bytes())
        for _ in install(c.board, link, None):
            pass
        assert link.fetched < 1000, "the image is there, only its header is fetched again"
    assert boot(c) == "ota_1"
    assert c.board.layout.on_trial().trials == 2
    c.board.layout.confirm()
    assert boot(c) == "ota_1"


def test_a_set_boot_that_fails_once_is_tried_again_by_the_next_boot():
    c = chip()
    boot(c)
    with Stubborn(c, 1):
        raises(FlashError, "flash", update, c.board)
        assert boot(c, soc.PWRON) == "ota_1"
    assert c.board.layout.on_trial().trials == 2


def test_a_set_boot_that_fails_at_a_boot_too_is_tried_again_by_the_poll_after_it():
    from mpota_boot import shim

    c = chip()
    boot(c)
    with Stubborn(c, 2):
        raises(FlashError, "flash", update, c.board)
        board = c.power_on(soc.PWRON)
        shim.boot(lambda: board)
        assert isinstance(shim.error, FlashError) and c.started.name == "ota_0"
        update(board)
    assert boot(c) == "ota_1" and c.board.layout.on_trial().trials == 1


def test_a_set_boot_that_always_refuses_gives_the_release_up_after_its_trials():
    for polls in (True, False):
        c = chip()
        boot(c)
        with Stubborn(c, 99) as esp:
            tries = 0
            while c.board.layout.failure() is None:
                tries += 1
                assert tries < 9, "tried for ever"
                if polls or tries == 1:
                    raises(FlashError, "flash", update, c.board)
                else:
                    c.board = c.power_on(soc.PWRON)
                    raises(FlashError, "flash", c.board.layout.settle, "power")
            assert 99 - esp.left == tries == 3
            assert "-5379" in c.board.layout.failure()[1] or "VALIDATE" in c.board.layout.failure()[1]
            assert boot(c) == "ota_0"
            raises(Refused, "failed", update, c.board)
            c.board.layout.ready()
        c.board.layout.forget()
        update(c.board)
        assert boot(c) == "ota_1"


def test_another_release_has_all_its_trials_though_set_boot_refused_the_one_before():
    c = chip()
    boot(c)
    with Stubborn(c, 1):
        raises(FlashError, "flash", update, c.board)
        other = Maker(image(33008, 4))
        other.version = version(1, 2, 0)
        update(c.board, other)
    assert boot(c) == "ota_1" and c.board.layout.on_trial().trials == 3


def test_an_otadata_that_never_names_the_image_gives_it_up_after_its_trials():
    c = chip()
    boot(c)
    c.board.layout.port.set_boot = lambda slot: None
    for _ in range(3):
        raises(FlashError, "arm", update, c.board)
    raises(Refused, "failed", update, c.board)
    assert "otadata names slot 0" in c.board.layout.failure()[1]


def test_status_asks_without_writing_while_an_arming_waits_for_its_next_try():
    c = chip()
    boot(c)
    with Stubborn(c, 1):
        raises(FlashError, "flash", update, c.board)
    c.flash.trace = []
    assert "not armed" in c.board.layout.status()["updates"] and c.flash.trace == []


def test_with_three_slots_the_one_after_the_running_one_is_written():
    c = armed(slots=3)
    boot(c)
    c.board.layout.confirm()
    third = Maker(image(33008, 4))
    third.version = version(1, 2, 0)
    update(c.board, third)
    assert boot(c) == "ota_2"
    c.board.layout.retreat("unhealthy")
    assert boot(c) == "ota_1"


def test_from_factory_the_first_slot_is_written_and_a_retreat_leads_back():
    for bootloader in (True, False):
        c = chip(bootloader=bootloader, factory=True, runs="factory")
        boot(c)
        update(c.board)
        assert boot(c) == "ota_0"
        c.board.layout.retreat("unhealthy")
        assert boot(c) == "factory"
        assert c.board.layout.failure()[1] == "unhealthy"
        update(c.board, Maker(image(33008, 4)))
        assert boot(c) == "ota_0"
        c.board.layout.confirm()
        assert boot(c) == "ota_0"


def test_after_a_flash_over_usb_the_version_is_unknown():
    c = armed()
    boot(c)
    c.board.layout.confirm()
    c.write(c.row("ota_1").offset, image(35008, 8))
    boot(c)
    assert c.board.layout.version() is None
    assert c.board.layout.floor() == version(1, 1, 0)


def test_the_floor_rises_with_a_confirm_only():
    c = armed()
    assert c.board.layout.floor() == bytes(8)
    boot(c)
    assert c.board.layout.floor() == bytes(8)
    c.board.layout.confirm()
    assert c.board.layout.floor() == version(1, 1, 0)
    # Rolled back by hand to the unknown version before it, the floor stays.
    c.board.layout.rollback("by hand")
    assert boot(c) == "ota_0"
    c.board.layout.confirm()
    assert c.board.layout.floor() == version(1, 1, 0)
    raises(Refused, "failed", update, c.board)


def test_rollback_says_when_there_is_nothing_to_go_back_to():
    c = chip()
    boot(c)
    raises(NotNow, "rollback", c.board.layout.rollback, "by hand")
    c = armed()
    boot(c)
    c.board.layout.rollback("by hand")
    assert boot(c) == "ota_0" and c.board.layout.failure()[1] == "by hand"


def test_status_says_what_runs_boots_failed_and_why():
    c = armed()
    facts = c.board.layout.status()
    assert facts["running"] == "app0" and facts["boots"] == "app1" and facts["trial"]["trials"] == 3
    boot(c)
    facts = c.board.layout.status()
    assert facts["running"] == "app1" and facts["state"] == "pending" and facts["trial"]["runs"]
    c.board.layout.retreat("no-link")
    boot(c)
    facts = c.board.layout.status()
    assert facts["failed"] == {"version": "1.1.0", "reason": "no-link"} and facts["updates"] is None


def test_every_journal_record_corrupted_in_turn_still_reaches_main():
    from mpota_boot import shim

    tags = ("armed", "running", "failed", "reason", "floor", "progress", "wakes", "soft")
    for tag in tags:
        for bad in (b"\xff" * Record.SIZE, b"x", bytes(Record.SIZE), b"\xa5" * Record.SIZE, b"\xff" * 128):
            for trial in (True, False):
                c = armed()
                boot(c)
                if not trial:
                    c.board.layout.confirm()
                c.board.journal.put(tag, bad)
                for _ in range(9):
                    c.board = c.power_on(soc.HARD)
                    try:
                        shim.boot(lambda b=c.board: b)
                        break
                    except soc.Reset:
                        pass
                else:
                    raise AssertionError("main.py is never reached: %s %r" % (tag, bad))
                Agent(c.board, [], None).step()
                # And updates are not over: once nothing is on trial, the next one is taken.
                if c.board.layout.on_trial():
                    c.board.layout.confirm()
                third = Maker(image(33008, 4))
                third.version = b"\xff" * 8
                update(c.board, third)


def test_a_board_whose_old_image_has_rotted_stays_on_the_new_one_and_takes_updates():
    for bootloader in (True, False):
        for application in (True, False):
            c = armed(bootloader=bootloader, application=application)
            boot(c)
            c.flash.erase(c.row("ota_0").offset + 4096, 4096)
            try:
                c.board.layout.retreat("unhealthy")
            except FlashError:
                pass
            for _ in range(4):
                assert boot(c) == "ota_1"
            assert c.board.layout.on_trial() is None and c.board.layout.failure()[1] == "unhealthy"
            third = Maker(image(33008, 4))
            third.version = version(1, 2)
            update(c.board, third)
            assert boot(c) == "ota_0"


def test_an_old_image_that_the_loader_holds_for_new_is_marked_valid():
    c = armed()
    boot(c)
    # Power went between the mark and the record: the state is valid, the trial is open, and the shim counts.
    c.board.layout.port.mark_valid()
    for _ in range(4):
        running = boot(c)
    assert running == "ota_0"
    slot, entry = c.board.layout.boots()
    assert slot == 0 and entry.state == otadata.VALID
    update(c.board, Maker(image(33008, 4)))
    assert boot(c) == "ota_1"


def test_a_rollback_of_what_waits_for_its_restart_is_final():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        c.board.layout.rollback("by hand")
        assert boot(c) == "ota_0" and c.board.layout.failure()[1] == "by hand"
        c.board.layout.ready()


def test_a_rollback_never_boots_what_was_given_up():
    c = armed()
    boot(c)
    c.board.layout.retreat("unhealthy")
    boot(c)
    raises(NotNow, "rollback", c.board.layout.rollback, "by hand")
    assert boot(c) == "ota_0" and c.board.layout.failure()[1] == "unhealthy"


def test_a_rollback_that_cannot_be_leaves_the_running_image_in_honour():
    c = armed()
    boot(c)
    c.board.layout.confirm()
    c.flash.erase(c.row("ota_0").offset + 4096, 4096)
    raises(FlashError, None, c.board.layout.rollback, "by hand")
    assert c.board.layout.version() == version(1, 1, 0)
    assert c.board.layout.failure()[0].id == b"rollback"
    assert boot(c) == "ota_1"


def test_a_rollback_that_fails_has_its_own_reason_and_not_that_of_one_before():
    c = armed()
    boot(c)
    c.board.layout.confirm()
    c.board.journal.put("reason", b"rollback" + b"of long ago")
    c.board.layout.rollback("by hand")
    assert boot(c) == "ota_0"
    c.board.layout.retreat("unhealthy")
    assert boot(c) == "ota_1"
    record, why = c.board.layout.failure()
    assert (record.id, why) == (b"rollback", "unhealthy")


def test_a_rollback_with_three_slots_goes_to_the_image_before():
    c = armed(slots=3)
    boot(c)
    c.board.layout.confirm()
    third = Maker(image(33008, 4))
    third.version = version(1, 2)
    update(c.board, third)
    assert boot(c) == "ota_2"
    c.board.layout.confirm()
    c.board.layout.rollback("by hand")
    assert boot(c) == "ota_1"


def test_a_rollback_to_factory_needs_no_trial():
    c = chip(factory=True, runs="factory")
    boot(c)
    update(c.board)
    boot(c)
    c.board.layout.confirm()
    c.board.layout.rollback("by hand")
    assert boot(c) == "factory"


def test_updates_go_on_after_the_confirmed_image_has_rotted():
    for bootloader in (True, False):
        c = armed(bootloader=bootloader)
        boot(c)
        c.board.layout.confirm()
        c.flash.erase(c.row("ota_1").offset + 4096, 4096)
        assert boot(c) == "ota_0"
        raises(NotNow, "staged", c.board.layout.ready)
        Agent(c.board, [], None)
        third = Maker(image(33008, 4))
        third.version = version(1, 2)
        update(c.board, third)
        assert boot(c) == "ota_1"


def test_the_same_image_armed_again_is_a_trial_again():
    c = armed()
    boot(c)
    c.board.layout.confirm()
    c.board.layout.forget()
    # Flashed anew over USB: the old image in ota_0 and blank otadata, the journal as it was.
    c.write(c.row("ota_0").offset, OLD)
    c.flash.erase(soc.OTADATA_AT, 0x2000)
    boot(c)
    maker = Maker(NEW)
    update(c.board, maker)
    assert boot(c) == "ota_1" and c.board.layout.on_trial()


def test_forget_waits_for_the_end_of_a_trial():
    c = armed()
    raises(NotNow, "trial", c.board.layout.forget)
    boot(c)
    raises(NotNow, "trial", c.board.layout.forget)
    c.board.layout.retreat("unhealthy")
    boot(c)
    c.board.layout.forget()
    assert c.board.layout.failure() is None
    update(c.board)


def test_an_old_reason_is_not_the_reason_of_the_next_failure():
    c = armed()
    boot(c)
    c.board.layout.retreat("no-link")
    boot(c)
    c.board.layout.forget()
    update(c.board)
    for _ in range(4):
        boot(c, soc.WDT)
    assert c.board.layout.failure()[1] == "watchdog"


def test_a_failure_that_passes_does_not_end_the_way_back():
    c = armed(bootloader=False)
    boot(c)
    port = c.board.layout.port
    real, left = port.set_boot, [FlashError("flash", "an erase failed")]

    def once(slot):
        if left:
            raise left.pop()
        real(slot)

    port.set_boot = once
    c.board.layout.retreat("unhealthy")
    assert boot(c) == "ota_0"


def test_a_journal_that_keeps_nothing_holds_up_no_retreat():
    def full(tag, data):
        raise FlashError("journal", "NVS is full")

    for verdict in (True, False):
        c = armed(bootloader=False)
        boot(c)
        c.board.journal.put = full
        if verdict:
            c.board.layout.retreat("unhealthy")
        else:
            assert c.board.layout.settle("watchdog")
        assert c.power_on(soc.HARD) and c.started.name == "ota_0"


def test_a_journal_that_keeps_nothing_is_found_before_the_first_erase():
    def full(tag, data):
        raise FlashError("journal", "NVS is full")

    c = chip()
    boot(c)
    c.board.journal.put = full
    c.flash.trace = []
    raises(FlashError, "journal", update, c.board)
    assert c.flash.trace == []


def test_a_board_with_otadata_and_no_slots_says_so():
    rows = [r for r in soc.rows(SLOT, 1, True) if r.subtype != 16]
    c = soc.Soc(rows, SETTINGS, None)
    c.write(rows[-1].offset, OLD)
    boot(c)
    assert "OTA variant" in c.board.layout.status()["updates"]


def test_settings_that_are_nonsense_are_the_defaults():
    for nonsense in ({"room": "many", "trials": 300, "wdt_ms": "60", "poll_ms": -1, "trial_ms": 1 << 40}, {}):
        c = armed()
        c.settings = nonsense
        boot(c)
        board = c.board
        assert board.room == 4096 and board.layout.trials == 3 and board._dog.timeout == 60000
        agent = Agent(board, [], None)
        assert agent.step() == "trial"
        board.ms += 600000
        assert agent.step() == "reset"


def test_the_shim_survives_a_board_that_cannot_be_made():
    from mpota_boot import shim

    def broken():
        raise OSError(5)

    shim.boot(broken)
    assert isinstance(shim.error, OSError)
    shim.error = None
