"""Program flash that fails or rots under the bootloader of a PIC32MZW1: what is started is whole, or nothing is."""

from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import control
from mpota.layout.pic32.store.control import FACTORY, PAGE, VALID
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, running, seen

BEHIND = maker.BASE + PAGE


def rot(c, at=BEHIND + 100):
    """One cell of the code loses a charge."""
    buf = bytearray(16)
    at -= at % 16
    c.flash.read(at, buf)
    i = 0
    while not buf[i]:
        i += 1
    buf[i] &= buf[i] - 1
    c.flash.overwrite = ((maker.BASE, maker.SLOT),)
    c.flash.prog(at, buf)
    c.flash.overwrite = ((maker.BASE, PAGE),)
    c.flash.trace = []


def shipped():
    """A chip after its first boot: the factory image runs, under the page of its build."""
    c = maker.chip(factory=False)
    c.flash.prog(maker.BASE, maker.build())
    c.flash.prog(BEHIND, A[PAGE:] + b"\xff" * (-len(A) % 16))
    assert c.load().did == ["keeps the factory image"]
    return c


class Failing:
    """A flash of which the next `n` programs fail and say so."""

    def __init__(self, flash, n):
        self.flash = flash
        self.n = n
        self.size, self.erase_size, self.prog_size, self.erased = flash.size, 4096, 16, 0xFF
        self.read, self.erase = flash.read, flash.erase

    def prog(self, off, buf):
        if self.n:
            self.n -= 1
            raise OSError(5)
        self.flash.prog(off, buf)


def test_program_flash_that_rotted_is_programmed_again_from_the_store():
    c = running(("a.bin", 2, "f8", A))
    for at in (BEHIND, BEHIND + len(A) - PAGE - 1):
        rot(c, at)
        assert not maker.holds(c, A)
        assert c.load().did == ["the flash does not hold what was programmed", "programs a.bin"]
        assert maker.holds(c, A) and seen(c) == (VALID, control.PRODUCTION, 2)
        assert len([op for op in c.flash.trace if op[0] == "erase"]) == 2, "the page and one sector"
    assert c.load().did == []


def test_a_factory_image_that_rotted_is_restored_under_either_page():
    c = shipped()
    for _ in range(2):
        rot(c)
        assert "programs factory_reset.bin" in c.load().did
        assert maker.holds(c, A) and seen(c) == (VALID, FACTORY, 1) and maker.page(c).sealed
    assert c.load().did == []


def test_a_restored_factory_image_that_was_disabled_is_still_one_that_starts():
    # Restored: its page is one of ours, and its type is sealed with the rest.
    c = maker.chip()
    c.load()
    control.disable(maker.slot(c))
    page = maker.page(c)
    assert (page.status, page.kind, page.golden) == (control.DISABLED, control.PRODUCTION, True)
    assert c.power_on() is not None and seen(c) == (VALID, FACTORY, 1), "restored once more"
    control.disable(maker.slot(c))
    c.store.files = {}
    board = c.power_on()
    assert c.boots[-1].did == ["no other image"] and maker.holds(c, GOLDEN)
    assert board.layout.status()["running"] == "factory image"
    rot(c)
    assert c.load().address is None


def test_what_rotted_and_is_not_in_the_store_does_not_start():
    c = running(("a.bin", 2, "f8", A), factory=False)
    rot(c)
    c.store.files = {}
    got = c.load()
    assert got.address is None and got.did[-1] == "no image"
    # Of a page that is not ours nobody can tell; nor of one whose file is broken too.
    maker.put_page(c, VALID, 2, data=A)
    rot(c)
    assert c.load().address == maker.ADDRESS
    c = shipped()
    rot(c)
    c.store.files[golden.FACTORY_FILE] = c.store.files[golden.FACTORY_FILE][:-1]
    assert c.load().address == maker.ADDRESS


def test_a_flash_that_fails_once_or_twice_is_asked_again_and_then_another_image_runs():
    for n in (1, 2, 3):
        c = running(("a.bin", 2, "f8", A), ("b.bin", 3, "F0", B))
        rot(c)
        c.flash = Failing(c.flash, n)
        did = c.load().did
        assert len([words for words in did if words[:5] == "again"]) == min(n, 2), did
        assert maker.holds(c, A if n < 3 else GOLDEN)


def test_a_dead_cell_behind_the_end_of_an_image_harms_nobody():
    c = running(("a.bin", 2, "f0", A))
    assert maker.holds(c, GOLDEN)
    c = running(("a.bin", 2, "f8", A))
    real = c.flash.read
    dead = maker.BASE + PAGE + len(GOLDEN) - PAGE + 200

    def read(off, buf):
        real(off, buf)
        if off <= dead < off + len(buf):
            buf[dead - off] &= 0xFE

    c.flash.read = read
    c.store.remove("a.bin")
    control.disable(maker.slot(c))
    assert c.load().address == maker.ADDRESS and maker.holds(c, GOLDEN)
    assert c.load().did == []


class Deadpage:
    """A flash with a dead cell in what seals the page."""

    def __init__(self, flash):
        self.flash = flash
        self.size, self.erase_size, self.prog_size, self.erased = flash.size, 4096, 16, 0xFF
        self.prog, self.erase = flash.prog, flash.erase

    def read(self, off, buf):
        self.flash.read(off, buf)
        at = maker.BASE + 15 - off
        if 0 <= at < len(buf):
            buf[at] &= 0xEF


def test_an_image_whose_boots_cannot_be_counted_does_not_start_and_what_was_confirmed_does():
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B)))
    c.flash = Deadpage(c.flash)
    for _ in range(3):
        assert c.load().address == maker.ADDRESS and maker.holds(c, A)
    assert maker.rows(c)[1][1] == "FE", "it is not its fault"
