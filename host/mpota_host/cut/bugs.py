"""The seeded bugs, by name: small patches of device modules, put in while the module is imported.

Each is a mistake that somebody could make and that ordinary tests of ordinary updates would pass. Where no power cut,
hostile release or fault can show it, the test that does is named.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old`, which must be there once, becomes `new` in `module`. `test` is "module:function" of tests/."""

    name: str
    module: str
    old: str
    new: str
    test: str = ""


AGENT, SHIM = "mpota.agent", "mpota_boot.shim"
INSTALLER, WRITER, JOURNAL = "mpota.installer", "mpota.store.writer", "mpota_boot.journal"
CONTRACT = "mpota.layout.contract"
PACKAGE, TRUST = "mpota.pipe.package", "mpota.pipe.trust"
LAYOUT, SETTLE, OTADATA = "mpota.layout.esp32.layout", "mpota.layout.esp32.settle", "mpota.layout.esp32.otadata"
IMAGE = "mpota.layout.esp32.image"
DOG, MARK = "mpota_boot.dog", "mpota_boot.ports.mark"
# Where tests of the layout, of ports and of what some chips are lie.
LAYS, ROWS = "tests.core.test_layout:test_", "tests.core.test_ports:test_"
ON_CHIP = "tests.chips.esp32.test_esp32_boards:test_"

# No bug at all: what finds this one finds nothing.
CONTROL = Mutant("no bug", INSTALLER, "        yield done\n", "        yield done\n")

PROVE = "        for part in package.components:\n            prove(board, part, buf)\n"
ARM = "    board.layout.arm(package)\n"
LOAD = "        left = chunks.load()\n"
IDLE = "        if on_trial or trial(self.journal):\n            raise NotNow"
NOTE = "encode_progress(package.id, chunks.sha, chunks.length, chunks.at, chunks.index, chunks.i)"
PUT_ARMED = '        self.journal.put("armed", record.encode())\n'
SET_BOOT = "            self.port.set_boot(record.slot)\n"
AGAIN = "    record.trials -= 1\n    layout.put_armed(record)\n"
OTHER = "mpota_boot.ports.other"
TELLS = 'return word if word in ("power", "wake") else "unknown"'
SPENT = 'return self.keep("armed", record.encode())'
VALID = "        port.mark_valid()\n    slot, entry"

MUTANTS = [
    # The order of an update.
    Mutant("arm before verify", INSTALLER, PROVE, "    " + ARM + PROVE),
    Mutant("skip the read-back", INSTALLER, "if seen != part.sha:", "if part.sha is None:"),
    Mutant("compare one byte of the image's digest", INSTALLER, "seen != part.sha", "seen[:1] != part.sha[:1]"),
    Mutant("compare most of the image's digest", INSTALLER, "seen != part.sha", "seen[:31] != part.sha[:31]"),
    Mutant("compare most of a chunk's digest", PACKAGE, "h.digest() != self.sha", "h.digest()[:31] != self.sha[:31]"),
    Mutant("compare no chunk's digest", PACKAGE, "h.digest() != self.sha", "self.sha is None"),
    Mutant("take unsigned packages", PACKAGE, "if keys is not None:", "if keys is not None and algorithm:"),
    Mutant("believe every signature", TRUST, "if verify(public, sig, digest):", "if sig:"),
    Mutant("trust every key", TRUST, 'raise Refused("key"', 'return Refused("key"'),
    Mutant("take another product's package", INSTALLER, '_same("product", package.product, board.product)', "pass"),
    Mutant("take another chip's image", LAYOUT, "image.judge(head, image.chip_of(mine), part.size)", "pass"),
    Mutant("take an image that is too large", INSTALLER, "if need > room:", "if not room:"),
    Mutant("take any base for a delta", INSTALLER, "!= part.base_sha:", "is None:"),
    Mutant("take again what was given up", INSTALLER, "if failure and (", "if not 1 and ("),
    # Bytes in flash.
    Mutant("drop the last partial sector", WRITER, "while n %", "if n % 4096:\n        return\n    while n %"),
    Mutant("do not erase the first sector", WRITER, "if off % flash", "if off and off % flash"),
    Mutant("erase a sector too many", WRITER, "erase(off, flash.erase_size)", "erase(off, 2 * flash.erase_size)"),
    Mutant("write to the slot that runs", LAYOUT, "(port.running + 1) % n", "port.running % n"),
    # Resume.
    Mutant("resume one chunk too far", INSTALLER, "min(chunks.index *", "min((chunks.index + bool(chunks.index)) *"),
    Mutant("resume from the package's beginning", INSTALLER, "src = link.open(at)", "src = link.open(0)"),
    Mutant("resume another package", INSTALLER, "where and where[0] == package.id:", "where:"),
    Mutant("resume inside a sector", INSTALLER, "if done % target.erase_size == 0 or done == part.size:", "if True:"),
    Mutant(
        "note a chunk before it is written", INSTALLER, LOAD, LOAD + f'        board.journal.put("progress", {NOTE})\n'
    ),
    # The switch.
    Mutant(
        "erase otadata before the switch", LAYOUT, SET_BOOT, "            self.port.otadata.erase(0, 8192)\n" + SET_BOOT
    ),
    Mutant(
        "switch before the journal knows", LAYOUT, PUT_ARMED, "        self.port.set_boot(record.slot)\n" + PUT_ARMED,
    ),
    Mutant(
        "do not look at otadata after the switch", LAYOUT, "if slot != record.slot or entry.state",
        "if False and entry.state", LAYS + "a_cut_before_otadata_was_written_arms_again",
    ),
    Mutant("believe a torn otadata entry", OTADATA, " and self.crc == seal(self.seq)", ""),
    Mutant(
        "an update while one is on trial", CONTRACT, IDLE, IDLE.replace("trial(self.journal)", "0"),
        LAYS + "pitfall_2_no_update_while_pending",
    ),
    # Trials.
    Mutant("forget the journal's order", "mpota_boot.nvs", 'for key in "abc":', 'for key in "":'),
    Mutant(
        "count a trial after it", SETTLE, AGAIN,
        '    layout.put_armed(record)\n    record.trials -= 1\n    layout.keep("armed", record.encode())\n',
    ),
    Mutant("count no trial that the loader does not", CONTRACT, SPENT, "return True"),
    Mutant("count no trial when arming again", SETTLE, AGAIN, "    layout.put_armed(record)\n"),
    Mutant(
        "arm a slot again unseen", SETTLE, "record.size) != record.sha:",
        "record.size) is None:", LAYS + "a_slot_that_no_longer_holds_the_package_is_not_armed_again",
    ),
    Mutant("forget to give up", CONTRACT, '        self.journal.put("failed", record.encode())\n', ""),
    Mutant("find an open trial and do nothing", SETTLE, "return _again(layout, record, why)", "return False"),
    Mutant(
        "leave the old image on trial", SETTLE, VALID, VALID.replace("port.mark_valid()", "pass"),
        LAYS + "an_old_image_that_the_loader_holds_for_new_is_marked_valid",
    ),
    Mutant("retreat without the switch", SETTLE, "layout.port.set_boot(record.back)", "pass"),
    Mutant(
        "retreat and keep the trials", SETTLE, "    record.trials = 0\n", "",
        LAYS + "a_retreat_takes_the_old_image_back_and_keeps_the_reason",
    ),
    Mutant(
        "give a release up for one set_boot that failed", LAYOUT,
        "            if record.trials < 2:\n", "            if True:\n",
        LAYS + "a_set_boot_that_fails_once_is_tried_again_by_the_next_boot",
    ),
    Mutant(
        "try a set_boot for ever", LAYOUT, "record.trials = max(before.trials - 1, 1)", "record.trials = before.trials",
        LAYS + "a_set_boot_that_always_refuses_gives_the_release_up_after_its_trials",
    ),
    Mutant(
        "count no wakes", CONTRACT, 'if n < most and self.keep("wakes", bytes((n,)) + spent[1:]):', "if n:",
        LAYS + "a_trial_that_only_sleeps_and_wakes_comes_to_its_end",
    ),
    # The verdict.
    Mutant("confirm without the loader's mark", LAYOUT, "if entry.state != otadata.VALID:", "if not entry:"),
    Mutant("confirm without a record", CONTRACT, 'self.journal.put("running", record.encode())', "pass"),
    Mutant(
        "confirm while staged", LAYOUT, "self._stands(entry and slot)", "self._stands(entry and self.port.running)",
        LAYS + "pitfall_1_confirm_only_what_runs_and_boots",
    ),
    Mutant("confirm whatever health says", AGENT, "        if verdict:\n", "        if verdict is not None:\n"),
    Mutant(
        "forget what was confirmed in the floor", CONTRACT, "return max(low, running.version) if running else low",
        "return low", LAYS + "the_floor_rises_with_a_confirm_only",
    ),
    # Every boot.
    Mutant("no watchdog on a trial", SHIM, "            board.watch()\n", "            pass\n"),
    Mutant("a shim that raises", SHIM, "except Exception as e:", "except ValueError as e:"),
    Mutant(
        "a soft reset counts as a boot", OTHER, '"SOFT": ""', '"SOFT": "soft"',
        LAYS + "a_soft_reset_counts_nothing",
    ),
    Mutant(
        "a reset that no port can tell counts nothing", OTHER, TELLS, TELLS.replace("unknown", ""),
        "tests.core.test_ports:test_a_trial_ends_by_resets_on_every_port",
    ),
    Mutant(
        "what cannot be told is the watchdog", OTHER, TELLS, 'return word if word == "power" else "watchdog"',
        "tests.core.test_ports:test_a_healthy_application_is_never_in_rescue",
    ),
    # Ports and their watchdogs.
    Mutant(
        "count a trial's time in this start alone", AGENT, "if self.trial and self.kept < spent < _PARTS:", "if 0:",
        ROWS + "a_trial_ends_by_time_over_all_its_starts_on_every_port",
    ),
    Mutant(
        "forget that a run has begun", MARK, "machine.mem32[at] = had | (run if more == 1 else dog)", "pass",
        ROWS + "each_port_tells_what_it_can_and_no_more",
    ),
    Mutant(
        "feed no watchdog that cannot be relaxed", DOG, "        dog.feed()  #", "        pass  #",
        ROWS + "nobody_at_the_prompt_is_reset_by_the_watchdog_of_a_trial_that_is_over",
    ),
    Mutant(
        "feed the watchdog of a trial by a timer", DOG, "        Board._feeder.deinit()\n", "",
        ROWS + "the_watchdog_of_a_trial_ends_a_hang_also_after_a_soft_reset",
    ),
    Mutant(
        "forget a watchdog at a soft reset", MARK, 'return "" if had else board.cause(), had == 3',
        'return "" if had else board.cause(), False',
        ROWS + "nobody_at_the_prompt_is_reset_by_the_watchdog_of_a_trial_that_is_over",
    ),
    # Firmware that this very chip cannot go on from.
    Mutant(
        "take an image for other revisions", IMAGE, "if low > most or high < least:", "if low > most and high < least:",
        ON_CHIP + "an_image_for_other_revisions_of_the_chip_is_refused",
    ),
    Mutant(
        "take what the eFuse keeps out", IMAGE, "if secure < burnt:", "if secure < burnt and not burnt:",
        ON_CHIP + "an_image_that_the_efuse_keeps_out_is_refused",
    ),
    Mutant(
        "take an interpreter that runs no mpota", IMAGE, "if 0 < _idf(new) < 5 <= _idf(old):", "if 0 < _idf(new) < 1:",
        ON_CHIP + "an_interpreter_that_cannot_run_this_mpota_is_refused",
    ),
    Mutant(
        "write to a flash that is encrypted", LAYOUT, "if self.port.encrypted():", "if 0:",
        ON_CHIP + "a_chip_that_encrypts_its_flash_is_refused_before_an_erase",
    ),
    Mutant(
        "believe every loader", SETTLE, 'layout.keep("loader", b"" if pending else b"0")', "pass",
        ON_CHIP + "status_names_a_loader_without_rollback",
    ),
]  # fmt: skip
