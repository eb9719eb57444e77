"""The seeded bugs of application files. `test` is the story that shows the bug soonest, in cuts in cuts too."""

from __future__ import annotations

from mpota_host.cut.bugs import ARM, CONTRACT, INSTALLER, JOURNAL, LOAD, NOTE, PROVE, SHIM, SPENT, Mutant

TREE, TREES, PAIR, LAYOUT = "mpota.store.tree", "mpota.store.trees", "mpota.store.pair", "mpota.layout.files.layout"
ENTRIES = "            for name, _, _ in self.entries():\n"
# From the read-back to the switch.
BLOCK = (
    PROVE
    + (
        "    except FlashError:\n"
        "        # What was written does not stand: from the beginning, next time.\n"
        '        board.journal.put("progress", b"")\n'
        "        raise\n    finally:\n        src.close()\n"
    )
    + ARM
)
OWN = "for own in self.protected:\n                # What lies"
KEPT = '        self.journal.put("running", record.encode())\n'

MUTANTS = [
    # The order of an update.
    Mutant("arm before check", INSTALLER, BLOCK, "    " + ARM + BLOCK.replace(ARM, "")),
    Mutant("skip the read-back", INSTALLER, "if seen != part.sha:", "if part.sha is None:"),
    Mutant("do not look at the files before arming", TREES, "            self.new.check()\n", ""),
    Mutant("make no empty files", TREE, "if not size and not apart:", "if False:"),
    Mutant("do not copy what is protected", TREES, OWN, OWN.replace("self.protected", "()")),
    Mutant(
        "copy the folders of what is protected without their files", TREES,
        "for name in os.listdir(src):", "for name in ():",
    ),
    # Where the bytes go.
    Mutant("write into the tree that runs", TREES, "self.next = 2 if now == 1 else 1", "self.next = now or 1"),
    Mutant("leave what an earlier update left", TREE, "        self.free()\n        self.begun", "        self.begun"),
    Mutant("forget to close a file", TREE, 'with open(path, mode if at or mode == "rb" else "wb") as f:',
           'if f := open(path, mode if at or mode == "rb" else "wb"):'),
    Mutant("truncate at every write", TREE, 'mode if at or mode == "rb" else "wb"', 'mode if mode == "rb" else "wb"'),
    Mutant("count no resource in the room", TREES, "+ end + whole", "+ self.new.there()"),
    # Resume.
    Mutant(
        "resume one byte too far", INSTALLER, "done = min(chunks.index * chunks.chunk, part.size)",
        "done = min(chunks.index * chunks.chunk + bool(chunks.index), part.size)",
    ),
    Mutant("resume one chunk too far", INSTALLER, "min(chunks.index *", "min((chunks.index + bool(chunks.index)) *"),
    Mutant(
        "note a chunk before it is written", INSTALLER, LOAD, LOAD + f'        board.journal.put("progress", {NOTE})\n'
    ),
    # What goes when.
    Mutant("free before the confirm", CONTRACT, KEPT, "        self.place().free()\n" + KEPT, "update"),
    Mutant("free what runs", TREES, "        self.new.free()\n", "        self.old.free()\n"),
    Mutant("free nothing", CONTRACT, "if record.tree & 15 != record.tree >> 4:", "if not record.tree:"),
    Mutant("remove the list first", TREE, ENTRIES,
           '            for name, _, _ in [*self.entries(), _remove(self.path + "/" + LIST)][:-1]:\n'),
    Mutant("write into the list before it is freed", TREE, "        try:\n" + ENTRIES,
           '        with open(self.path + "/" + LIST, "r+b") as f:\n            f.write(b"mpfl")\n'
           "        try:\n" + ENTRIES),
    Mutant("do not finish a confirm that a cut stopped", LAYOUT, "            self.place().free()\n", ""),
    # The journal in two files.
    Mutant("write to the journal's newer file", PAIR, 'name = "ab"[number & 1]', 'name = "ab"[number >> 1 & 1]'),
    Mutant("no CRC in the journal", PAIR, " or crc32(body, crc32(data[:10])) != crc", ""),
    Mutant("count no records of the journal", PAIR, "number = self.number + 1", "number = self.number or 1"),
    Mutant("believe the journal's older file", PAIR, "if found and found[0] > self.number:", "if found:"),
    # Trials.
    Mutant("count a trial after it", CONTRACT, SPENT, "return True"),
    Mutant("forget to give up", CONTRACT, "            self.give_up(record, why)\n", "            pass\n"),
    Mutant("no watchdog on a trial", SHIM, "            board.watch()\n", "            pass\n"),
    Mutant("a boot that writes", SHIM, "        _enter(board)\n    except",
           '        board.journal.put("progress", b"")\n        _enter(board)\n    except'),
    # Firmware and files.
    Mutant("switch the files whatever firmware runs", JOURNAL, "(armed == failed or not on_trial())", "armed == failed",
           "both-soft"),
    Mutant("keep the new files after a retreat", JOURNAL, "(armed == failed or not on_trial())", "not armed"),
    Mutant("arm the firmware alone", CONTRACT, "record.tree = self.place().next | record.tree & 0xF0", "pass"),
]  # fmt: skip
