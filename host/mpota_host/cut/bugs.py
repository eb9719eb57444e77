"""The seeded bugs, by name: small patches of device modules, put in while the module is imported.

Each is a mistake that somebody could make and that ordinary tests of ordinary updates would pass. Where no power cut,
hostile release or fault can show it, the test that does is named. Here are those of the core, which the campaign of any
chip can be hunted with; a chip's own are in its cut/bugs.py.

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


AGENT, SHIM = "mpota.agent", "mpota_boot.shim"
INSTALLER, WRITER, JOURNAL = "mpota.installer", "mpota.store.writer", "mpota_boot.journal"
CONTRACT, GIVEN = "mpota.layout.contract", "mpota.layout.given"
PACKAGE, TRUST = "mpota.pipe.package", "mpota.pipe.trust"
DOG, MARK = "mpota_boot.dog", "mpota_boot.ports.mark"
# Where tests of the layout and of ports lie.
LAYS, ROWS = "tests.core.test_layout:test_", "tests.core.test_ports:test_"
GAVE, TAKES = "tests.core.test_given:test_", "tests.core.test_installer:test_"

# No bug at all: what finds this one finds nothing.
CONTROL = Mutant("no bug", INSTALLER, "decode", "done += n", "done += n")

PROVE = "for part in package.components: prove(board, part, buf)"
ARM = "board.layout.arm(package)"
LOAD = "yield from chunks.loading()"
NOTE = "encode_progress(package.id, *chunks.place())"
SIGNED = "\n    if not algorithm: ...\n    ..."
OTHER = "mpota_boot.ports.other"
TELLS = 'word if word in ("power", "wake") else "unknown"'

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
        "compare most of a chunk's digest", PACKAGE, "loading",
        "h.digest() != self.sha", "h.digest()[:31] != self.sha[:31]",
    ),
    Mutant("compare no chunk's digest", PACKAGE, "loading", "h.digest() != self.sha", "self.sha is None"),
    Mutant(
        "take unsigned packages", PACKAGE, "reading",
        "if keys is not None:" + SIGNED, "if keys is not None and algorithm:" + SIGNED,
    ),
    Mutant("believe every signature", TRUST, "check", "(yield from verifying(public, sig, digest))", "sig"),
    Mutant("trust every key", TRUST, "check", 'raise Refused("key", ...)', 'return Refused("key", ...)'),
    Mutant(
        "take another product's package", INSTALLER, "admit",
        '_same("product", package.product, board.product)', "pass",
    ),
    Mutant("take an image that is too large", INSTALLER, "_room", "need > room", "not room"),
    Mutant("take again what was given up", INSTALLER, "admit", "if wrong: ...", "if not 1: ..."),
    Mutant(
        "keep no second copy of what a lost NVS must not undo", "mpota_boot.spare", "put", "tag in COPIED", "not tag",
        "tests.core.test_journal:test_a_lost_nvs_reads_the_second_copy_and_the_first_put_takes_it_over",
    ),
    Mutant(
        "remember only what was given up last", GIVEN, "known", "others[: MOST - 1]", "others[:0]",
        GAVE + "the_last_four_are_refused_and_the_fifth_is_forgotten",
    ),
    Mutant(
        "take a missing network for a verdict", GIVEN, "known", "_unjudged(journal, record.id)", "journal is None",
        GAVE + "who_missed_only_the_network_waits_longer_each_time",
    ),
    Mutant(
        "keep no word of an attempt that failed", AGENT, "_tried",
        "tried.failed(self.board, self.links[self.turn], error)", "pass",
        "tests.core.test_tried:test_status_says_when_what_was_asked_code_sentence_and_how_often",
    ),
    Mutant(
        "count no wake", AGENT, "__init__",
        'cause not in ("", "power") and not self.trial', "0",
        GAVE + "a_board_counts_its_hours_awake_and_its_wakes",
    ),
    Mutant(
        "hold an application back for a network at each wake", "mpota.runner", "_window",
        'cause in ("power", "watchdog")', "cause",
        "tests.core.test_runner:test_a_start_that_may_be_a_wake_holds_no_application_back_for_a_network",
    ),
    Mutant(
        "blame an image for a network that does not answer", CONTRACT, "_doing", "doing == b\"import\"", "doing",
        GAVE + "a_watchdog_that_ends_a_question_to_the_network_is_no_verdict_and_a_hang_later_is_one",
    ),
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
    Mutant(
        "erase a sector again for bytes that it holds", INSTALLER, "decode",
        "holds = done + n <= chunks.stands and n == target.erase_size", "holds = 0",
        TAKES + "a_sector_is_not_erased_again_for_bytes_that_it_holds",
    ),
    Mutant(
        "leave a sector for most of its bytes", INSTALLER, "decode",
        "not holds or digest(...) != sha256(piece).digest()", "not holds",
        TAKES + "a_sector_with_one_other_byte_is_written_again",
    ),
    Mutant(
        "believe a sector that a cut may have torn", INSTALLER, "decode",
        "holds = done + n <= chunks.stands and n == target.erase_size", "holds = n == target.erase_size",
        TAKES + "a_sector_that_a_cut_may_have_torn_is_erased_whatever_it_holds",
    ),
    Mutant(
        "begin over what was begun whenever another package comes", INSTALLER, "decode",
        "if chunks.stands: ...", "pass",
        TAKES + "a_package_is_begun_over_another_once_an_hour",
    ),
    # Resume.
    Mutant(
        "resume one chunk too far", INSTALLER, "decode",
        "chunks.out", "chunks.out + chunks.package.room * bool(chunks.out)",
    ),
    Mutant("resume from the package's beginning", INSTALLER, "_reopen", "opened(link, at)", "opened(link, 0)"),
    Mutant("resume another package", INSTALLER, "resume", "where and where[0] == package.id", "where"),
    Mutant(
        "note a chunk before it is written", INSTALLER, "decode(board, package)",
        LOAD, f'{LOAD}\nboard.journal.put("progress", {NOTE})',
    ),
    # The switch.
    Mutant(
        "an update while one is on trial", CONTRACT, "idle", "on_trial or trial(self.journal)", "on_trial or 0",
        LAYS + "pitfall_2_no_update_while_pending",
    ),
    # Trials.
    Mutant(
        "count no trial that the loader does not", CONTRACT, "spend", 'self.keep("armed", record.encode())', "True",
    ),
    Mutant("forget to give up", CONTRACT, "give_up", 'self.journal.put("failed", record.encode())', ""),
    Mutant(
        "count no wakes", CONTRACT, "woke", 'n < most and self.keep("wakes", bytes((n,)) + spent[1:])', "n",
        LAYS + "a_trial_that_only_sleeps_and_wakes_comes_to_its_end",
    ),
    # The verdict.
    Mutant("confirm without a record", CONTRACT, "kept", 'self.journal.put("running", record.encode())', "pass"),
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
    Mutant(
        "a soft reset counts as a boot", OTHER, "cause", '{...: ..., "SOFT": ""}', '{...: ..., "SOFT": "soft"}',
        LAYS + "a_soft_reset_counts_nothing",
    ),
    Mutant(
        "a reset that no port can tell counts nothing", OTHER, "cause", TELLS, TELLS.replace("unknown", ""),
        "tests.core.test_ports:test_a_trial_ends_by_resets_on_every_port",
    ),
    Mutant(
        "what cannot be told is the watchdog", OTHER, "cause", TELLS, 'word if word == "power" else "watchdog"',
        "tests.core.test_ports:test_a_healthy_application_is_never_in_rescue",
    ),
    # Ports and their watchdogs.
    Mutant(
        "count a trial's time in this start alone", AGENT, "_late", "self.trial and self.kept < spent < _PARTS", "0",
        ROWS + "a_trial_ends_by_time_over_all_its_starts_on_every_port",
    ),
    Mutant(
        "forget that a run has begun", MARK, "hold", "machine.mem32[at] = had | (run if more == 1 else dog)", "pass",
        ROWS + "each_port_tells_what_it_can_and_no_more",
    ),
    Mutant(
        "feed no watchdog that cannot be relaxed", DOG, "relax", "dog.feed()", "pass",
        ROWS + "nobody_at_the_prompt_is_reset_by_the_watchdog_of_a_trial_that_is_over",
    ),
    Mutant(
        "feed the watchdog of a trial by a timer", DOG, "watch", "Board._feeder.deinit()", "pass",
        ROWS + "the_watchdog_of_a_trial_ends_a_hang_also_after_a_soft_reset",
    ),
    Mutant(
        "forget a watchdog at a soft reset", MARK, "begin", "had == 3", "False",
        ROWS + "nobody_at_the_prompt_is_reset_by_the_watchdog_of_a_trial_that_is_over",
    ),
]  # fmt: skip
