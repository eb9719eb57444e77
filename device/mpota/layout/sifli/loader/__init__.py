"""What runs at a reset, in two steps: the chip looks at the flash table, and the manager there decides what starts.

The chip's step is the vendor's: nothing but the magic, the address of a header, the place it names and its flags count.
The manager's step is this project's: it finishes what a cut left, counts the boots of a trial, goes back where one is
over, and starts the user program or stays to wait for a phone. Every write of it may be done twice.
"""

from collections import namedtuple
from gc import collect

from mpota.layout.sifli.loader.install import WORN, fits, install
from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.port import wanted
from mpota.layout.sifli.store import progress, table
from mpota.store.writer import digest
from mpota_boot.errors import Corrupt, FlashError, OtaError, Refused
from mpota_boot.journal import Record, trial

USER, MANAGER = "user", "manager"
# The program to start, its address, and why the manager stays: it may go back by itself ("wait") or not ("force").
Start = namedtuple("Start", ("name", "address", "why"))


def rom(flash, base, efuse):
    """The address that the chip jumps to; Refused where it stops with an error."""
    table.check(flash)
    id = table.running(flash, table.HCPU_CORE, base)
    if id is None:
        raise Refused("table", "the flash table names no image for this core")
    place = table.place(flash, id)
    # Erased flags have every bit.
    buf = bytearray(2)
    flash.read(table.header_at(id) + 6, buf)
    if buf[0] & table.ENC and signed.key_hash(table.public_key(flash)) != efuse[16:24]:
        raise Refused("table", "flash id %d is encrypted for another key" % id)
    if buf == b"\xff\xff":
        raise Refused("table", "flash id %d has no header, and no key that could decrypt it" % id)
    return place.xip


def boot(chip):
    """The whole way from a reset; a Start. Refused where the chip itself starts nothing."""
    address = rom(chip.table, chip.base, chip.efuse)
    manager = chip.places["manager"][0]
    if address != manager:
        raise Refused("table", "the chip starts %08x, the manager is at %08x" % (address, manager))
    why = manage(chip)
    return Start(MANAGER, manager, why) if why else Start(USER, chip.places["user"][0], "")


def manage(chip):
    """Why the manager stays, "" where the user program is to start."""
    now = progress.load(chip)
    if now.state == progress.PREPARE_START or (now.state == progress.TRAN_START and not now.force):
        return "wait"
    if now.state != progress.INSTALL and (now.force or now.state in (progress.TRAN_START, progress.FORCE_UPDATE)):
        return _force(chip, now)
    buf = bytearray(chip.flash.erase_size)
    collect()
    if now.state == progress.INSTALL:
        from mpota.layout.sifli.loader.finish import finish

        try:
            finish(chip, buf)
        except (OtaError, OSError):
            return _force(chip, now)
        now = progress.load(chip)
        collect()
    return "" if settle(chip, buf) and not now.force else _force(chip, now)


def _force(chip, now):
    now.state = progress.FORCE_UPDATE
    try:
        progress.save(chip, now)
    except FlashError:
        pass  # it waits all the same
    return "force"


def settle(chip, buf):
    """Install the program that the journal wants into its place; is there one to start?"""
    journal = chip.journal
    record = trial(journal)
    user = whole(chip, buf)
    if record and user and user.sha == record.sha:
        if record.trials:
            record.trials -= 1
            _keep(journal, "armed", record.encode())
            return True
        give_up(journal, record, b"no confirm")
        record = None
    elif record and record.slot == record.back:
        record = None  # the application's files are on trial, which is the user program's business
    if record:
        if _try(chip, record, buf):
            _count(journal)
            return True
        give_up(journal, record, WORN if fits(chip, record, buf) else b"the staged image is not whole")
        user = None
    return _stay(chip, user, buf)


def whole(chip, buf):
    """The User whose program lies in its place as it was installed, or None: bits may have turned since."""
    user = chip.installed()
    return user if user and digest(chip.user, user.size, buf, chip.feed) == user.digest else None


def put_in_place(chip, buf):
    """In the manager, before the reset: install the image that was just armed. False where that failed."""
    record = trial(chip.journal)
    user = chip.installed()
    return record is None or (user is not None and user.sha == record.sha) or _try(chip, record, buf)


def _count(journal):
    """The boot after an install is the first one of its trial."""
    record = trial(journal)
    if record and record.trials:
        record.trials -= 1
        _keep(journal, "armed", record.encode())


def _stay(chip, user, buf):
    """The image that was confirmed last, installed again where something else took its place."""
    journal = chip.journal
    record = wanted(journal)
    if record:
        if (user and user.sha == record.sha) or (record.slot >= 0 and _try(chip, record, buf)):
            return True
        # Nothing else is bootable: start the rejected image if it is intact.
        return whole(chip, buf) is not None
    failed = Record.decode(journal.last("failed"))
    if user:
        return failed is None or user.sha != failed.sha
    # Nothing is known of a board that was never updated, and nothing has touched its program.
    return failed is None and chip.installed() is None


def _try(chip, record, buf):
    """Install; twice, for a flash that fails once. False where the staged image is not whole."""
    for turn in (0, 1):
        try:
            install(chip, record, buf)
            return True
        except Corrupt:
            return False
        except (FlashError, OSError):
            if turn:
                return False
    return False


def give_up(journal, record, why):
    """The end of a trial that failed."""
    reason = journal.last("reason")
    if not reason or reason[:8] != record.id:
        _keep(journal, "reason", record.id + why)
    _keep(journal, "failed", record.encode())


def _keep(journal, tag, data):
    try:
        journal.put(tag, data)
    except FlashError:
        pass  # a journal that keeps nothing must not keep a board from starting
