"""The seeded bugs of application files. `test` is the story that shows the bug soonest, in cuts in cuts too."""

from __future__ import annotations

from mpota_host.cut.bugs import AGENT, ARM, CONTRACT, INSTALLER, JOURNAL, LOAD, NOTE, PROVE, SHIM, Mutant

TREE, TREES, PAIR, LAYOUT = "mpota.store.tree", "mpota.store.trees", "mpota.store.pair", "mpota.layout.files.layout"
# From the read-back to the switch.
CHECK = "except FlashError: ...\nfinally: ..."
INDENTED = "try:\n    ...\n    "
ENTRIES = "try:\n    for name, _, _ in self.entries(): ...\nexcept Refused: ..."
MODE = 'mode if at or mode == "rb" else "wb"'
KEPT = 'self.journal.put("running", record.encode())'
MINE, COPY = ('self.old.path + "/" + own', 'self.new.path + "/" + own')
TAKE = f"_drop({COPY})\n_copy({MINE}, {COPY}, buf)"
UPDATER = "mpota_boot.updater"
FRONT = 'sys.path.insert(0, path + "/lib")\nsys.path.insert(0, path)'
SOFT = "(armed == failed or not on_trial())"

MUTANTS = [
    # The order of an update.
    Mutant("arm before check", INSTALLER, "install", f"{INDENTED}{PROVE}\n{CHECK}\n{ARM}",
           f"{INDENTED}{ARM}\n    {PROVE}\n{CHECK}"),
    Mutant("skip the read-back", INSTALLER, "prove", "seen != part.sha", "part.sha is None"),
    Mutant("do not look at the files before arming", TREES, "check", "self.new.check()", ""),
    Mutant("make no empty files", TREE, "Tree.check", "not size and not apart", "False"),
    Mutant("do not copy what is protected", TREES, "check", "for own in self.protected: ...", "for own in (): ..."),
    Mutant("copy the folders of what is protected without their files", TREES, "_copy", "os.listdir(src)", "()"),
    # Where the bytes go.
    Mutant("write into the tree that runs", TREES, "__init__", "2 if now == 1 else 1", "now or 1"),
    Mutant("leave what an earlier update left", TREE, "begin", "self.free()", ""),
    Mutant("forget to close a file", TREE, "_move",
           f"with open(path, {MODE}) as f: ...", f"if f := open(path, {MODE}): ..."),
    Mutant("truncate at every write", TREE, "_move", MODE, 'mode if mode == "rb" else "wb"'),
    Mutant("count no resource in the room", TREES, "target(self)", "... + end + whole", "... + self.new.there()"),
    # Writes that FAT's medium makes in another order.
    Mutant("take a copy of the right length for a whole one", TREES, "check", TAKE,
           f"if _bytes({MINE}, 1) != _bytes({COPY}, 1):\n    " + TAKE.replace("\n", "\n    "), "update-fat"),
    # Resume.
    Mutant("resume one byte too far", INSTALLER, "decode",
           "chunks.out", "chunks.out + bool(chunks.out)"),
    Mutant("resume one chunk too far", INSTALLER, "decode",
           "chunks.out", "chunks.out + chunks.package.room * bool(chunks.out)"),
    Mutant("note a chunk before it is written", INSTALLER, "decode(board, package)",
           LOAD, f'{LOAD}\nboard.journal.put("progress", {NOTE})'),
    # What goes when.
    Mutant("free before the confirm", CONTRACT, "kept", KEPT, "self.place().free()\n" + KEPT, "update"),
    Mutant("free what runs", TREES, "free", "self.new.free()", "self.old.free()"),
    Mutant("free nothing", CONTRACT, "kept", "record.tree & 15 != record.tree >> 4", "not record.tree"),
    Mutant("remove the list first", TREE, "Tree.free",
           "self.entries()", '[*self.entries(), _remove(self.path + "/" + LIST)][:-1]'),
    Mutant("write into the list before it is freed", TREE, "Tree.free", ENTRIES,
           'with open(self.path + "/" + LIST, "r+b") as f: f.write(b"mpfl")\n' + ENTRIES),
    Mutant("do not finish a confirm that a cut stopped", LAYOUT, "heal", "self.place().free()", ""),
    # The journal in two files.
    Mutant("write to the journal's newer file", PAIR, "put", '"ab"[number & 1]', '"ab"[number >> 1 & 1]'),
    Mutant("no CRC in the journal", PAIR, "decode", "... or crc32(body, crc32(data[:10])) != crc", "..."),
    Mutant("count no records of the journal", PAIR, "put", "number = self.number + 1", "number = self.number or 1"),
    Mutant("believe the journal's older file", PAIR, "_load", "found and found[0] > self.number", "found"),
    # Trials.
    Mutant("count a trial after it", CONTRACT, "spend", 'self.keep("armed", record.encode())', "True"),
    Mutant(
        "believe a journal's first read", PAIR, "FileJournal.__init__",
        "if not self._load(name): ...", "self._load(name)",
        "tests.core.test_pair:test_one_wrong_read_of_either_file_or_of_both_is_not_believed",
    ),
    Mutant(
        "write over a journal that reads well again", PAIR, "FileJournal.put",
        'self._load("ab"[self.number + 1 & 1])', "pass",
        "tests.core.test_pair:test_a_file_that_reads_well_again_is_not_written_over_with_older_records",
    ),
    Mutant("believe one wrong read of what was written", PAIR, "FileJournal.put",
           "self._read(name) != image and self._read(name) != image", "self._read(name) != image"),
    Mutant("forget to give up", CONTRACT, "count_boot", "self.give_up(record, why)", "pass"),
    Mutant("no watchdog on a trial", SHIM, "_settle", "board.watch()", "pass"),
    Mutant("a boot that writes", SHIM, "boot", "try: ...\nfinally: _enter(board)",
           'try: ...\nfinally: board.journal.put("progress", b"")\n_enter(board)'),
    # A watchdog's reset instead of a cut.
    Mutant("take a reset by the watchdog for a verdict", CONTRACT, "count_boot",
           "if not self.spend(record): self.give_up(record, why)",
           'if why == "watchdog" or not self.spend(record): self.give_up(record, why)'),
    Mutant("finish a confirm after a power-on alone", AGENT, "__init__",
           'cause not in ("", "wake")', 'cause == "power"'),
    # Where the NVS moves a page, and a cut in its last erase takes the journal.
    Mutant("keep no second copy of a trial", "mpota_boot.spare", "put", "tag in COPIED", "tag in COPIED[:-2]",
           "both-move"),
    # Firmware and files.
    Mutant("switch the files whatever firmware runs", JOURNAL, "tree", SOFT, "armed == failed", "both-soft"),
    Mutant("keep the new files after a retreat", JOURNAL, "tree", SOFT, "not armed"),
    # A release that brings mpota itself.
    Mutant("leave the folders above one that a cut has removed", TREE, "_empty", "except OSError: pass",
           "except OSError: return", "self-ends"),
    Mutant("drop the modules of most subpackages", UPDATER, "_drop",
           'name == "wiring" or ...', 'name == "wiring" or (... and ".layout." not in name)', "self"),
    Mutant("keep a wiring that has lib's modules", UPDATER, "_drop", 'name == "wiring" or ...', "...", "self"),
    Mutant("keep the journals of classes that are gone", UPDATER, "_drop", "Board._memories.clear()", "pass",
           "tests.core.test_updater:test_journals_in_files_are_opened_again_by_the_copy_that_runs"),
    Mutant("the tree's lib before the tree", SHIM, "_enter", FRONT, "\n".join(reversed(FRONT.split("\n"))), "self"),
    Mutant("a rescue by the release's own mpota", UPDATER, "choose", "not wanted(...)", "True", "self-rescue"),
    Mutant("let an mpota run that cannot be imported", UPDATER, "choose", "_start(board.home)", "pass", "self-broken"),
    Mutant("try the agent and the runner alone", UPDATER, "_start", 'line[:11] == b"from mpota."', "0", "self-half"),
    Mutant("leave open what was imported before the failure", UPDATER, "choose",
           "why = e\n_drop()", "why = e", "self-broken"),
    Mutant("do not hold lib's mpota open in a rescue", UPDATER, "choose", '__import__("mpota.agent")', "pass",
           "tests.core.test_updater:test_in_a_rescue_lib_s_copy_is_open_before_the_tree_is_in_front"),
    Mutant("confirm an mpota whose links did not answer", AGENT, "_judge", "self.renewed or not self.health",
           "not self.health", "self-deaf"),
    Mutant("judge the new mpota by one tree", "mpota_boot.rescue", "renewed", '... or exists(board.root + "/2/mpota")',
           "...", "self-deaf"),
    Mutant("a manifest that mpota cannot read is no verdict", AGENT, "_asked", 'self.fault = "updater: %r" % e',
           "pass", "self-blind"),
    Mutant("keep the application of an mpota that cannot run", "mpota.runner", "_start",
           "trial and isinstance(shim.own, Exception)", "0",
           "tests.core.test_updater:test_a_copy_that_cannot_run_is_taken_back_by_lib_s_runner"),
    Mutant("take an mpota in the tree's lib", "mpota.store.listing", "_hides", "in_lib or not folder", "not folder",
           "tests.core.test_tree:test_paths_that_leave_the_tree_or_hide_the_board_are_refused"),
    Mutant("arm the firmware alone", CONTRACT, "fresh",
           "record.tree = self.place().next | record.tree & 0xF0", "pass"),
]  # fmt: skip
