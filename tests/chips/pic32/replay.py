"""Boots that the vendor's bootloader did, replayed through ours: the control page, the database, what was programmed.

A case gives the page before, the rows and the state of each file; the outcome is judged by the page, the first byte of
code in flash, the rows, and how it ended. Where the vendor's own outcome loses a device, a predicate over the case's
input and the vendor's outcome says so by name; ours must then have ended well.
"""

import json
from hashlib import sha256

from mpota.layout.pic32 import loader
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import control, database
from mpota_host.chips.pic32.sim.chip import Shelf
from mpota_host.sim.flash import SimFlash

SLOT = 0x4000
ADDRESS = 0xB0021000
CODE = 5000
OLD, FACTORY = "ee", "fa"
FLASH = SimFlash(SLOT, prog_size=16, overwrite=((0, 4096),))


def fill(text, n=CODE):
    return bytes.fromhex(text) * n


def image(text):
    """A .bin: the page of a build, then code."""
    return build().encode() + fill(text)


def build(status=control.BLANK):
    """A page as a build has it, 4096 bytes: zeros where nothing is."""
    page = control.Control(status, control.FACTORY, 1, ADDRESS)
    return Page(page.encode()[:48] + bytes(4096 - 48))


class Page:
    def __init__(self, data):
        self.data = data

    def encode(self):
        return self.data


def shelf(case):
    """The store of a case."""
    store = Shelf()
    rows = []
    for name, status, version, text, state in case["rows"]:
        data = image(text)
        rows.append(",".join((name, status, version, "0x01", "".join("%02x" % c for c in sha256(data).digest()))))
        if state != "missing":
            store.put(name, data if state == "ok" else data[:-1] + b"\x00")
    store.put(database.NAME, "\n".join(rows).encode())
    if case["factory"]:
        whole = build(control.VALID).encode() + fill(FACTORY)
        store.put(golden.FACTORY_FILE, whole + b"\xff" * (SLOT - len(whole)))
    return store


def before(case):
    """The flash of a case: its page, zeros in what is reserved, over an application that is none of the images."""
    given = case["ctl"]
    rest = 0, 0, CODE + 4096, bytes(32)
    page = control.Control(int(given["status"], 16), given["type"], given["version"], ADDRESS, rest)
    FLASH.power_on()
    FLASH.erase(0, SLOT)
    FLASH.prog(0, page.encode()[:48] + bytes(4096 - 48))
    FLASH.prog(4096, fill(OLD, SLOT - 4096))


def outcome(case):
    """What our loader makes of a case, in the words of the cases, and the whole state of the database."""
    before(case)
    store = shelf(case)
    got = loader.boot(FLASH, store, loader.Options())
    page = control.read(FLASH)
    code = bytearray(CODE)
    FLASH.read(4096, code)
    rows = database.load(store)
    return {
        "end": "JUMP" if got.address == ADDRESS else "NOTHING",
        "ctl_status": page and "%02x" % page.status,
        "ctl_type": page and page.kind,
        "ctl_version": page and page.version,
        "app_fill": "%02x" % code[0] if min(code) == max(code) else "torn",
        "db_after": None if rows is None else [row.fields[:3] for row in rows],
    }


def single_row_removed(case, got):
    """Removing the only row left is undefined in the vendor's parser."""
    return case["out"]["end"] == "CRASH" and (got["end"], got["app_fill"], got["ctl_type"]) == ("JUMP", FACTORY, 3)


def factory_twice(case, got):
    """The vendor types the factory image as an application after a bad one, so the next boot restores it again."""
    wanted = dict(case["out"])
    bad = [row for row in case["rows"] if row[4] == "bad"]
    typed = wanted.pop("ctl_type"), got["ctl_type"]
    return bad and typed == (1, 3) and wanted["app_fill"] == FACTORY and all(got[k] == wanted[k] for k in wanted)


def row_deleted(case, got):
    """The vendor deletes the row of a bad image; here it stays, disabled. All else is the same."""
    wanted = dict(case["out"])
    after, mine = wanted.pop("db_after"), got["db_after"]
    if not after or not mine:
        return False
    kept = [row for row in mine if row[1] != "f0" or row in after]
    if stale(case, wanted["ctl_status"], got["ctl_status"]):
        wanted.pop("ctl_status")
    return len(kept) < len(mine) and kept == after and all(got[k] == wanted[k] for k in wanted)


def stale(case, theirs, mine):
    """Has the vendor's page the status of a row, and ours one that an image gets that was chosen?"""
    found = ["%02x" % (int(row[1], 16) & control.UNBOOTED) for row in case["rows"]]
    return theirs != mine and mine in ("fc", "f8") and theirs in found


def missing_file(case, got):
    """The vendor goes to the factory image where the best file is missing; here the next in rank starts."""
    gone = [row for row in case["rows"] if row[4] == "missing"]
    return (
        gone and case["out"]["app_fill"] == FACTORY and got["end"] == "JUMP" and got["app_fill"] not in (FACTORY, OLD)
    )


def other_status(case, got):
    """The vendor gives the page the status of a row that it did not choose."""
    wanted = dict(case["out"])
    status = wanted.pop("ctl_status"), got["ctl_status"]
    return stale(case, status[0], status[1]) and all(got[k] == wanted[k] for k in wanted)


def version_100(case, got):
    """The vendor looks for a row by 8 bits, and so ranks where a number from 100 up is; here what is valid starts."""
    given = case["ctl"]
    of = [row[1].lower() for row in case["rows"] if database.strtol(row[2]) == given["version"]]
    left = given["status"] == got["ctl_status"] == "f8" and got["app_fill"] == OLD
    wide = [row for row in case["rows"] if database.strtol(row[2]) > 0xFF]
    return wide and of[-1:] == ["f8"] and left and got["ctl_version"] == given["version"]


# Each is numbered in FORMAT.md and has a test of its own.
SAFER = {
    "row-deleted": row_deleted,
    "last-row-crash": single_row_removed,
    "factory-twice": factory_twice,
    "missing-file": missing_file,
    "other-status": other_status,
    "version-100": version_100,
}


def replay(case):
    """None where the outcome is the vendor's, the name of a rule of SAFER where it knows why not, else what differs."""
    got = outcome(case)
    wrong = [k for k in sorted(got) if got[k] != case["out"][k]]
    if not wrong:
        return None
    for name in sorted(SAFER):
        if SAFER[name](case, got):
            return name
    return ", ".join(["%s is %s, wanted %s" % (k, json.dumps(got[k]), json.dumps(case["out"][k])) for k in wrong])
