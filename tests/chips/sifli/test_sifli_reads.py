"""A flash that is read wrongly once: what a start decides, and what it keeps, is as if it had been read rightly."""

from mpota.layout.sifli import loader
from mpota.layout.sifli.layout import Layout
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.store import progress
from mpota.version import text
from tests.chips.sifli import sifli_maker as maker
from tests.chips.sifli.test_sifli_session import BOTH, CODE, NEW, OLD, RES, At

FONT = maker.payload(5000, 41)
ALL = maker.Package([(0, 16, NEW), (3, 0, RES), (4, 16, FONT)], 1002000)


class Wrong:
    """A Flash whose read number `at` has one bit turned, in its first byte, its middle or its last one."""

    def __init__(self, flash, at, where):
        self.flash, self.at, self.where = flash, at, where
        self.reads = 0
        self.size, self.erase_size, self.prog_size, self.erased = flash.size, flash.erase_size, flash.prog_size, 255
        self.prog, self.erase = flash.prog, flash.erase

    def read(self, off, buf):
        self.flash.read(off, buf)
        if self.reads == self.at and len(buf):
            buf[(0, len(buf) // 2, len(buf) - 1)[self.where]] ^= 0x10
        self.reads += 1


def confirmed():
    """1.2.0 was brought by a phone, ran, and was confirmed."""
    at = At().begin(CODE)
    at.send(CODE, 0)
    at.ask(m.FINISH, 0)
    at.session.work()
    chip = maker.chip(memory=at.chip.flash)
    assert loader.manage(chip) == ""
    Layout(chip, chip.journal, 3).confirm()
    return at.chip.flash


def gone():
    """The same, but its place was erased by a cut install."""
    flash = confirmed()
    chip = maker.chip(memory=flash)
    chip.journal.put("user", b"")
    chip.user.erase(0, 4096)
    return flash


def installing():
    """All has come; the power went when the install had begun."""
    at = At().begin(ALL)
    for id in (0, 3, 4):
        at.send(ALL, id)
    at.session.up.keep(progress.INSTALL)
    return at.chip.flash


def forced():
    """A resource is half written."""
    at = At().begin(ALL)
    at.send(ALL, 0)
    at.start(ALL, 3)
    at.packets(ALL, 3, 1, 9)
    at.session.lost()
    return at.chip.flash


def told(flash):
    """What can be seen of a board: its records, its places."""
    chip = maker.chip(memory=flash)
    records = dict(chip.journal.records)
    # How far a download was says nothing that a phone does not ask anew; `reason` is told of what was given up.
    places = [maker.held(place, 0x3000) for place in (chip.user, chip.place(3), chip.place(4))]
    return records, places


def start(flash, at=-1, where=0):
    """One start; (why the manager stays, reads, writes)."""
    wrong = Wrong(flash, at, where)
    ops = flash.ops
    why = loader.manage(maker.chip(memory=wrong))
    return why, wrong.reads, flash.ops - ops


def test_no_single_wrong_read_at_a_start_changes_what_starts_or_what_is_kept():
    for make in (confirmed, gone, installing, forced):
        flash = make()
        before = flash.snapshot()
        good, reads, ops = start(flash)
        want = told(flash)
        assert reads > 3 and "failed" not in want[0]
        for at in range(reads):
            flash.restore(before)
            why, _, did = start(flash, at, at % 3)
            assert why == good and told(flash) == want, (make, at, why)
            # Nor is anything written for it on a board that is at rest.
            assert make is not confirmed or (did, ops) == (0, 0), (at, did)


def test_the_floor_outlives_a_wrong_read_and_the_records_written_behind_it():
    flash = confirmed()
    before = flash.snapshot()
    _, reads, _ = start(flash)
    for at in range(reads):
        flash.restore(before)
        chip = maker.chip(memory=Wrong(flash, at, 1))
        chip.journal.put("reason", b"whatever is written next")
        chip = maker.chip(memory=flash)
        assert text(Layout(chip, chip.journal, 3).floor()) == "1.2.0" and chip.journal.last("reason")


def test_a_kept_control_packet_that_is_read_wrongly_once_costs_no_resume():
    flash = At().begin(BOTH).chip.flash
    page = maker.chip(memory=flash).pages[1].start + maker.STATE[0] - maker.BASE

    class Page(Wrong):
        def read(self, off, buf):
            self.flash.read(off, buf)
            if off >= page and not self.reads:
                self.reads = 1
                buf[len(buf) - 1] ^= 1

    wrong = Page(flash, 0, 0)
    at = At(chip=maker.chip(memory=wrong), manager=False)
    assert wrong.reads and at.init(BOTH, m.RESUME) == 0


def test_an_image_that_is_read_wrongly_once_at_its_end_is_taken():
    at = At().begin(CODE)
    at.start(CODE, 0)
    at.packets(CODE, 0)
    area = at.session.up.target(CODE.control.images[0])
    keep, wrong = area.flash.read, []

    def read(off, buf):
        keep(off, buf)
        if not wrong:
            wrong.append(off)
            buf[0] ^= 1

    area.flash.read = read
    assert at.ask(m.END, 0, 0) == [(m.END_RSP, (0,))] and wrong
    assert OLD != NEW
