"""The seeded bugs of an ESP32: those of the core, and mistakes in its layout, its otadata and its NVS."""

from __future__ import annotations

from mpota_host.cut import bugs
from mpota_host.cut.bugs import INSTALLER, LAYS, SHIM, Mutant

HOME = "mpota.layout.esp32."
IMAGE = HOME + "image"
ON_CHIP = "tests.chips.esp32.test_esp32_boards:test_"
LAYOUT, SETTLE, OTADATA = (HOME + name for name in ("layout", "settle", "otadata"))
PUT_ARMED = 'self.journal.put("armed", record.encode())'
SET_BOOT = "self.port.set_boot(record.slot)"
COUNT = "record.trials -= 1"
AGAIN = "layout.put_armed(record)"

BURNT = 'if secure < burnt: raise Refused("secure", ...)'

MUTANTS = [
    *bugs.MUTANTS,
    # What a package brings, and where it goes.
    Mutant(
        "take another chip's image", LAYOUT, "admit", "image.judge(head, image.chip_of(mine), part.size)", "pass",
    ),
    Mutant("write to the slot that runs", LAYOUT, "free", "(port.running + 1) % n", "port.running % n"),
    # What other chips' stories do not show: a delta, a coarse sector, a journal in NVS.
    Mutant("take any base for a delta", INSTALLER, "_room", "digest(...) != part.base_sha", "digest(...) is None"),
    Mutant(
        "resume inside a sector", INSTALLER, "decode", "done % target.erase_size == 0 or done == part.size", "True",
    ),
    Mutant("a shim that raises", SHIM, "boot", "except Exception as e: ...", "except ValueError as e: ..."),
    # The switch.
    Mutant(
        "erase otadata before the switch", LAYOUT, "put_armed",
        SET_BOOT, "self.port.otadata.erase(0, 8192)\n" + SET_BOOT,
    ),
    Mutant("switch before the journal knows", LAYOUT, "put_armed", PUT_ARMED, SET_BOOT + "\n" + PUT_ARMED),
    Mutant(
        "do not look at otadata after the switch", LAYOUT, "put_armed", "slot != record.slot or ...", "False and ...",
        LAYS + "a_cut_before_otadata_was_written_arms_again",
    ),
    Mutant("believe a torn otadata entry", OTADATA, "valid", "... and self.crc == seal(self.seq)", "..."),
    # A read that fails once.
    Mutant("believe one failed read of the NVS", "mpota_boot.nvs", "NvsJournal._get", '"12"', '"1"'),
    # Trials.
    Mutant("forget the journal's order", "mpota_boot.nvs", "_begin", "for key in ...: ...", ""),
    Mutant(
        "count a trial after it", SETTLE, "_again",
        COUNT + "\n" + AGAIN, f'{AGAIN}\n{COUNT}\nlayout.keep("armed", record.encode())',
    ),
    Mutant("count no trial when arming again", SETTLE, "_again", COUNT, ""),
    Mutant(
        "arm a slot again unseen", SETTLE, "_again", "layout.digest(...) != record.sha", "layout.digest(...) is None",
        LAYS + "a_slot_that_no_longer_holds_the_package_is_not_armed_again",
    ),
    Mutant("find an open trial and do nothing", SETTLE, "settle", "_again(layout, record, why)", "False"),
    Mutant(
        "leave the old image on trial", SETTLE, "_again", "port.mark_valid()", "pass",
        LAYS + "an_old_image_that_the_loader_holds_for_new_is_marked_valid",
    ),
    Mutant("retreat without the switch", SETTLE, "_leave", "layout.port.set_boot(record.back)", "pass"),
    Mutant(
        "retreat and keep the trials", SETTLE, "retreat", "record.trials = 0", "",
        LAYS + "a_retreat_takes_the_old_image_back_and_keeps_the_reason",
    ),
    Mutant(
        "give a release up for one set_boot that failed", LAYOUT, "put_armed", "record.trials < 2", "True",
        LAYS + "a_set_boot_that_fails_once_is_tried_again_by_the_next_boot",
    ),
    Mutant(
        "try a set_boot for ever", LAYOUT, "arm", "max(before.trials - 1, 1)", "before.trials",
        LAYS + "a_set_boot_that_always_refuses_gives_the_release_up_after_its_trials",
    ),
    # The verdict.
    Mutant("confirm without the loader's mark", LAYOUT, "confirm", "entry.state != otadata.VALID", "not entry"),
    Mutant(
        "confirm while staged", LAYOUT, "confirm",
        "self._stands(entry and slot)", "self._stands(entry and self.port.running)",
        LAYS + "pitfall_1_confirm_only_what_runs_and_boots",
    ),
    # Firmware that this very chip cannot go on from.
    Mutant(
        "take an image for other revisions", IMAGE, "follows",
        "low > most or high < least", "low > most and high < least",
        ON_CHIP + "an_image_for_other_revisions_of_the_chip_is_refused",
    ),
    Mutant(
        "take what the eFuse keeps out", IMAGE, "follows",
        BURNT, BURNT.replace("secure < burnt", "0"),
        ON_CHIP + "an_image_that_the_efuse_keeps_out_is_refused",
    ),
    Mutant(
        "take an interpreter that runs no mpota", IMAGE, "follows",
        "0 < _idf(new) < 5 <= _idf(old)", "0 < _idf(new) < 1",
        ON_CHIP + "an_interpreter_that_cannot_run_this_mpota_is_refused",
    ),
    Mutant(
        "write to a flash that is encrypted", LAYOUT, "admit", "self.port.encrypted()", "0",
        ON_CHIP + "a_chip_that_encrypts_its_flash_is_refused_before_an_erase",
    ),
    Mutant(
        "believe every loader", SETTLE, "_judge_loader", 'layout.keep("loader", b"" if pending else b"0")', "pass",
        ON_CHIP + "status_names_a_loader_without_rollback",
    ),
]  # fmt: skip
