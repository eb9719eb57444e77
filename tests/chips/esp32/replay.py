"""Cases recorded from ESP-IDF's C code, replayed through the ESP32 loader and the application's side.

It builds a flash with the case's table and otadata, calls one function, and compares what the case expects: nothing of
the record's format is computed here. Image checks are the case's own list of names that verify.
"""

import json

from mpota.layout.esp32 import loader, otadata, table
from mpota_boot.errors import Corrupt
from mpota_host.chips.esp32.sim import esp_idf
from mpota_host.sim.flash import SimFlash

SECTOR = 4096
OTADATA_AT = 0x9000
FIRST = 0x10000
SLOT = SECTOR  # no bytes of an image are looked at
PLACES = 18  # sixteen OTA slots, factory, test


class Given:
    """Image checks as a case gives them: names that verify (None = all) and anti-rollback versions by slot."""

    def __init__(self, ok, versions):
        self.ok = ok
        self.versions = versions

    def verify(self, flash, row):
        if self.ok is not None and table.name(row) not in self.ok:
            raise Corrupt("image", "the case says so")

    def secure_version(self, flash, row):
        if table.name(row) == "factory" or row.subtype & 0xF >= len(self.versions):
            return 0
        return self.versions[row.subtype & 0xF]


def rows(case):
    """The table of a case: otadata, the slots, factory, test."""
    found = [table.Row(table.DATA, table.OTADATA, OTADATA_AT, 2 * SECTOR, "otadata", 0)]
    kinds = [table.OTA_0 + i for i in range(case["ota_app_count"])]
    if case.get("factory"):
        kinds.append(table.FACTORY)
    if case.get("test"):
        kinds.append(table.TEST)
    for i, kind in enumerate(kinds):
        found.append(table.Row(table.APP, kind, FIRST + i * SLOT, SLOT, "a%d" % i, 0))
    return found


FLASH = SimFlash(FIRST + PLACES * SLOT)


class Board:
    """One case's table on the flash, and what is called on it."""

    def __init__(self, case):
        self.case = case
        self.rows = rows(case)
        self.flash = FLASH
        self.flash.erase(table.OFFSET, SECTOR)
        self.flash.prog(table.OFFSET, table.encode(self.rows))
        images = Given(case.get("bootable"), case.get("secure_versions", ()))
        self.options = loader.Options(images, case.get("rollback", True), case.get("efuse"))

    def load(self, sectors):
        """Put the two entries of a case in place."""
        self.flash.erase(OTADATA_AT, 2 * SECTOR)
        for i, text in enumerate(sectors):
            self.flash.prog(OTADATA_AT + i * SECTOR, bytes.fromhex(text))
        self.flash.trace = []

    def after(self):
        found = []
        for i in (0, 1):
            buf = bytearray(otadata.SIZE)
            self.flash.read(OTADATA_AT + i * SECTOR, buf)
            found.append("".join("%02x" % c for c in buf))
        return found

    def trace(self):
        """What happened to otadata, in the words of the cases."""
        words = []
        for op, off, n in self.flash.trace:
            sector = (off - OTADATA_AT) // SECTOR
            if OTADATA_AT <= off < OTADATA_AT + 2 * SECTOR:
                words.append("E%d" % sector if op == "erase" else "W%d+%d" % (sector, n))
        self.flash.trace = []
        return words

    def row(self, slot):
        return table.find(self.rows, table.APP, table.FACTORY if slot == -1 else table.OTA_0 + slot)

    def idf(self, running):
        return esp_idf.Idf(self.flash, running, self.case.get("idf", "5.5.2").split("-")[0], self.options)

    def boot(self):
        """Reset: what the loader says, in the words of the cases."""
        got = loader.boot(self.flash, self.options)
        self.running = got.row
        return {
            "boot": got.name or "none",
            "tried": got.tried,
            "selected_index": got.index,
            "trace": self.trace(),
            "after": self.after(),
            "efuse_after": self.options.efuse,
        }

    def call(self, op, slot, running):
        """One call of the application's side."""
        idf = self.idf(running)
        if op == "set_boot":
            code = idf.set_boot(self.row(slot))
        elif op == "begin":
            code = idf.begin(self.row(slot))
        else:
            code = getattr(idf, op)()
        return {"ret": code, "rebooted": idf.rebooted, "trace": self.trace(), "after": self.after()}


def compare(got, want):
    """None, or the fields that differ; only those that the case gives and the code answers."""
    wrong = [
        "%s is %s, wanted %s" % (k, json.dumps(got[k]), json.dumps(want[k]))
        for k in got
        if k in want and got[k] != want[k]
    ]
    return ", ".join(wrong) or None


def active(board):
    a, b = [otadata.decode(bytes.fromhex(text)) for text in board.after()]
    return otadata.active(a, b)


def boot(case):
    board = Board(case)
    if "before" in case:
        board.load(case["before"])
        name = board.boot()["boot"]
        if name != case["boot_if_not_started"]:
            return "before the write it starts %s, wanted %s" % (name, case["boot_if_not_started"])
    board.load(case["sectors"])
    now = active(board)
    got = board.boot()
    got["active"] = now
    return compare(got, case["expect"])


def call(case):
    board = Board(case)
    board.load(case["sectors"])
    now = active(board)
    got = board.call(case["op"], case["slot"], board.row(case["running"]))
    got["active"] = now
    if "next_boot" in case["expect"]:
        got["next_boot"] = board.boot()["boot"]
    return compare(got, case["expect"])


def query(case):
    board = Board(case)
    board.load(case["sectors"])
    running = board.row(case["running"])
    idf = board.idf(running)
    err, state = idf.state(board.row(case["slot"]))
    got = {"active": active(board), "state_err": err, "state": state, "rollback_possible": idf.rollback_possible()}
    found = {
        "boot_partition": idf.boot_partition(),
        "next_update": idf.next_update(running),
        "last_invalid": idf.last_invalid(),
    }
    for key, row in found.items():
        got[key] = "null" if row is None else table.name(row)
    got["trace"] = board.trace()
    got["after"] = board.after()
    return compare(got, case["expect"])


def scenario(case):
    board = Board(case)
    board.load(("ff" * otadata.SIZE,) * 2)
    for i, step in enumerate(case["steps"]):
        if step["op"] == "images_ok":
            board.options.images.ok = step["ok"]
            continue
        got = board.boot() if step["op"] == "boot" else board.call(step["op"], step.get("slot"), board.running)
        text = compare(got, step)
        if text:
            return "step %d (%s): %s" % (i, step["op"], text)
    return None


OPS = {
    "boot": boot,
    "boot_antirollback": boot,
    "powercut": boot,
    "scenario": scenario,
    "query": query,
    "set_boot": call,
    "mark_valid": call,
    "mark_invalid": call,
    "begin": call,
}


def replay(case):
    """None where the code does what the case recorded, else what differs."""
    return OPS[case["op"]](case)
