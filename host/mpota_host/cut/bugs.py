"""The seeded bugs, by name: small patches of device modules, put in while the module is imported.

Each is a mistake that somebody could make and that ordinary tests of ordinary updates would pass. Where no power cut,
hostile release or fault can show it, the test that does is named. Here are those of the core, which the campaign of any
chip can be hunted with; a chip's own are in its cut/bugs.py.
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


AGENT, SHIM, BOARD = "mpota.agent", "mpota_boot.shim", "mpota_boot.board"
INSTALLER, WRITER, JOURNAL = "mpota.installer", "mpota.store.writer", "mpota_boot.journal"
CONTRACT = "mpota.layout.contract"
PACKAGE, TRUST = "mpota.pipe.package", "mpota.pipe.trust"
# Where tests of the layout lie.
LAYS = "tests.core.test_layout:test_"

# No bug at all: what finds this one finds nothing.
CONTROL = Mutant("no bug", INSTALLER, "        yield done\n", "        yield done\n")

PROVE = "        for part in package.components:\n            prove(board, part, buf)\n"
ARM = "    board.layout.arm(package)\n"
LOAD = "        left = chunks.load()\n"
IDLE = "        if on_trial or trial(self.journal):\n            raise NotNow"
NOTE = "encode_progress(package.id, chunks.sha, chunks.length, chunks.at, chunks.index, chunks.i)"
TELLS = 'word = "watchdog" if Board.bitten else "unknown"'
SPENT = 'return self.keep("armed", record.encode())'

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
    Mutant("take an image that is too large", INSTALLER, "if need > room:", "if not room:"),
    Mutant("take again what was given up", INSTALLER, "if failure and (", "if not 1 and ("),
    # Bytes in flash.
    Mutant("drop the last partial sector", WRITER, "while n %", "if n % 4096:\n        return\n    while n %"),
    Mutant("do not erase the first sector", WRITER, "if off % flash", "if off and off % flash"),
    Mutant("erase a sector too many", WRITER, "erase(off, flash.erase_size)", "erase(off, 2 * flash.erase_size)"),
    # Resume.
    Mutant("resume one chunk too far", INSTALLER, "min(chunks.index *", "min((chunks.index + bool(chunks.index)) *"),
    Mutant("resume from the package's beginning", INSTALLER, "src = link.open(at)", "src = link.open(0)"),
    Mutant("resume another package", INSTALLER, "where and where[0] == package.id:", "where:"),
    Mutant(
        "note a chunk before it is written", INSTALLER, LOAD, LOAD + f'        board.journal.put("progress", {NOTE})\n'
    ),
    # The switch.
    Mutant(
        "an update while one is on trial", CONTRACT, IDLE, IDLE.replace("trial(self.journal)", "0"),
        LAYS + "pitfall_2_no_update_while_pending",
    ),
    # Trials.
    Mutant("count no trial that the loader does not", CONTRACT, SPENT, "return True"),
    Mutant("forget to give up", CONTRACT, '        self.journal.put("failed", record.encode())\n', ""),
    Mutant(
        "count no wakes", "mpota.layout.contract", 'if n < most and self.keep("wakes", bytes((n,))):', "if n:",
        LAYS + "a_trial_that_only_sleeps_and_wakes_comes_to_its_end",
    ),
    # The verdict.
    Mutant("confirm without a record", CONTRACT, 'self.journal.put("running", record.encode())', "pass"),
    Mutant("confirm whatever health says", AGENT, "        if verdict:\n", "        if verdict is not None:\n"),
    Mutant(
        "forget what was confirmed in the floor", CONTRACT, "return max(low, running.version) if running else low",
        "return low", LAYS + "the_floor_rises_with_a_confirm_only",
    ),
    # Every boot.
    Mutant("no watchdog on a trial", SHIM, "            board.watch()\n", "            pass\n"),
    Mutant(
        "a soft reset counts as a boot", BOARD, '"SOFT": ""', '"SOFT": "soft"',
        LAYS + "a_soft_reset_counts_nothing",
    ),
    Mutant(
        "a reset that no port can tell counts nothing", BOARD, TELLS, 'word = ""',
        "tests.core.test_ports:test_a_trial_ends_by_resets_on_every_port",
    ),
    Mutant(
        "what cannot be told is the watchdog", BOARD, TELLS, 'word = "watchdog"',
        "tests.core.test_ports:test_a_healthy_application_is_never_in_rescue",
    ),
]  # fmt: skip
