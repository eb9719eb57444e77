"""The seeded bugs, by name: small patches of device modules, put in while the module is imported.

Each is a mistake that somebody could make and that ordinary tests of ordinary updates would pass. Where no power cut,
hostile release or fault can show it, the test that does is named.

    Mutant("skip the read-back", INSTALLER, "prove", "seen != part.sha", "part.sha is None")

reads: in the function prove() of the installer, one expression becomes another. Local variables may have other names
there, and lines other breaks: cut/patch says what a fragment matches, and what `...` in it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """In `function` of `module` the fragment `old`, which must be there once, becomes `new`; see cut/patch.

    `function` is "" for a module's own level, "Class.function" where two classes of the module have one of that name.
    `test` is "module:function" of tests/.
    """

    name: str
    module: str
    function: str
    old: str
    new: str
    test: str = ""


AGENT, SHIM, BOARD = "mpota.agent", "mpota_boot.shim", "mpota_boot.board"
INSTALLER, WRITER, JOURNAL = "mpota.installer", "mpota.store.writer", "mpota_boot.journal"
CONTRACT = "mpota.layout.contract"
PACKAGE, TRUST = "mpota.pipe.package", "mpota.pipe.trust"
LAYOUT, SETTLE, OTADATA = "mpota.layout.esp32.layout", "mpota.layout.esp32.settle", "mpota.layout.esp32.otadata"
# Where tests of the layout lie.
LAYS = "tests.core.test_layout:test_"

# No bug at all: what finds this one finds nothing.
CONTROL = Mutant("no bug", INSTALLER, "decode", "yield done", "yield done")

PROVE = "for part in package.components: prove(board, part, buf)"
ARM = "board.layout.arm(package)"
LOAD = "left = chunks.load()"
NOTE = "encode_progress(package.id, chunks.sha, chunks.length, chunks.at, chunks.index, chunks.i)"
SIGNED = "\n    if not algorithm: ...\n    ..."
PUT_ARMED = 'self.journal.put("armed", record.encode())'
SET_BOOT = "self.port.set_boot(record.slot)"
COUNT = "record.trials -= 1"
AGAIN = "layout.put_armed(record)"
TELLS = '"watchdog" if Board.bitten else "unknown"'

# Of esp32, and of what every layout shares.
MUTANTS = [
    # The order of an update.
    Mutant("arm before verify", INSTALLER, "install", PROVE, ARM + "\n" + PROVE),
    Mutant("skip the read-back", INSTALLER, "prove", "seen != part.sha", "part.sha is None"),
    Mutant(
        "compare one byte of the image's digest", INSTALLER, "prove",
        "seen != part.sha", "seen[:1] != part.sha[:1]",
    ),
    Mutant(
        "compare most of the image's digest", INSTALLER, "prove",
        "seen != part.sha", "seen[:31] != part.sha[:31]",
    ),
    Mutant(
        "compare most of a chunk's digest", PACKAGE, "load",
        "h.digest() != self.sha", "h.digest()[:31] != self.sha[:31]",
    ),
    Mutant("compare no chunk's digest", PACKAGE, "load", "h.digest() != self.sha", "self.sha is None"),
    Mutant(
        "take unsigned packages", PACKAGE, "Package.read",
        "if keys is not None:" + SIGNED, "if keys is not None and algorithm:" + SIGNED,
    ),
    Mutant("believe every signature", TRUST, "check", "verify(public, sig, digest)", "sig"),
    Mutant("trust every key", TRUST, "check", 'raise Refused("key", ...)', 'return Refused("key", ...)'),
    Mutant(
        "take another product's package", INSTALLER, "admit",
        '_same("product", package.product, board.product)', "pass",
    ),
    Mutant(
        "take another chip's image", LAYOUT, "admit", "image.judge(head, image.chip_of(mine), part.size)", "pass",
    ),
    Mutant("take an image that is too large", INSTALLER, "_room", "need > room", "not room"),
    Mutant("take any base for a delta", INSTALLER, "_room", "digest(...) != part.base_sha", "digest(...) is None"),
    Mutant("take again what was given up", INSTALLER, "admit", "failure and ...", "not 1 and ..."),
    # Bytes in flash.
    Mutant(
        "drop the last partial sector", WRITER, "put",
        "while n % flash.prog_size: ...", "if n % 4096: return\nwhile n % flash.prog_size: ...",
    ),
    Mutant(
        "do not erase the first sector", WRITER, "put",
        "off % flash.erase_size == 0", "off and off % flash.erase_size == 0",
    ),
    Mutant(
        "erase a sector too many", WRITER, "put",
        "flash.erase(off, flash.erase_size)", "flash.erase(off, 2 * flash.erase_size)",
    ),
    Mutant("write to the slot that runs", LAYOUT, "free", "(port.running + 1) % n", "port.running % n"),
    # Resume.
    Mutant(
        "resume one chunk too far", INSTALLER, "decode",
        "chunks.index * chunks.chunk", "(chunks.index + bool(chunks.index)) * chunks.chunk",
    ),
    Mutant("resume from the package's beginning", INSTALLER, "_reopen", "link.open(at)", "link.open(0)"),
    Mutant("resume another package", INSTALLER, "resume", "where and where[0] == package.id", "where"),
    Mutant(
        "resume inside a sector", INSTALLER, "decode", "done % target.erase_size == 0 or done == part.size", "True",
    ),
    Mutant(
        "note a chunk before it is written", INSTALLER, "decode(board, package)",
        LOAD, f'{LOAD}\nboard.journal.put("progress", {NOTE})',
    ),
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
    Mutant(
        "an update while one is on trial", CONTRACT, "idle", "on_trial or trial(self.journal)", "on_trial or 0",
        LAYS + "pitfall_2_no_update_while_pending",
    ),
    # Trials.
    Mutant("forget the journal's order", JOURNAL, "NvsJournal.put", '"abc"', '""'),
    Mutant(
        "count a trial after it", SETTLE, "_again",
        COUNT + "\n" + AGAIN, f'{AGAIN}\n{COUNT}\nlayout.keep("armed", record.encode())',
    ),
    Mutant(
        "count no trial that the loader does not", CONTRACT, "spend", 'self.keep("armed", record.encode())', "True",
    ),
    Mutant("count no trial when arming again", SETTLE, "_again", COUNT, ""),
    Mutant(
        "arm a slot again unseen", SETTLE, "_again", "layout.digest(...) != record.sha", "layout.digest(...) is None",
        LAYS + "a_slot_that_no_longer_holds_the_package_is_not_armed_again",
    ),
    Mutant("forget to give up", CONTRACT, "give_up", 'self.journal.put("failed", record.encode())', ""),
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
    Mutant(
        "count no wakes", CONTRACT, "woke", 'n < most and self.keep("wakes", bytes((n,)))', "n",
        LAYS + "a_trial_that_only_sleeps_and_wakes_comes_to_its_end",
    ),
    # The verdict.
    Mutant("confirm without the loader's mark", LAYOUT, "confirm", "entry.state != otadata.VALID", "not entry"),
    Mutant("confirm without a record", CONTRACT, "kept", 'self.journal.put("running", record.encode())', "pass"),
    Mutant(
        "confirm while staged", LAYOUT, "confirm",
        "self._stands(entry and slot)", "self._stands(entry and self.port.running)",
        LAYS + "pitfall_1_confirm_only_what_runs_and_boots",
    ),
    Mutant(
        "confirm whatever health says", AGENT, "_judge",
        "if verdict:\n    layout.confirm()\n    ...", "if verdict is not None:\n    layout.confirm()\n    ...",
    ),
    Mutant(
        "forget what was confirmed in the floor", CONTRACT, "floor",
        "max(low, running.version) if running else low", "low",
        LAYS + "the_floor_rises_with_a_confirm_only",
    ),
    # Every boot.
    Mutant("no watchdog on a trial", SHIM, "_settle", "board.watch()", "pass"),
    Mutant("a shim that raises", SHIM, "boot", "except Exception as e: ...", "except ValueError as e: ..."),
    Mutant(
        "a soft reset counts as a boot", BOARD, "cause", '{...: ..., "SOFT": ""}', '{...: ..., "SOFT": "soft"}',
        LAYS + "a_soft_reset_counts_nothing",
    ),
    Mutant(
        "a reset that no port can tell counts nothing", BOARD, "cause", TELLS, '""',
        "tests.core.test_ports:test_a_trial_ends_by_resets_on_every_port",
    ),
    Mutant(
        "what cannot be told is the watchdog", BOARD, "cause", TELLS, '"watchdog"',
        "tests.core.test_ports:test_a_healthy_application_is_never_in_rescue",
    ),
]  # fmt: skip
