"""The vendor's service of a PIC32MZW1, a rollback and a factory reset, with the power failing at every operation."""

from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.store import control
from mpota.layout.pic32.store.control import FACTORY, VALID
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C, running, seen
from tests.chips.pic32.test_pic32_service import URL, Net, entry


def turn(c, net, why):
    """One power-on: the service until it rests; its last word."""
    service = Service(c.power_on(why), net.fetch, URL)
    service.bare = True
    said = "busy"
    while said in ("busy", "trial"):
        said = service.step()
    return said


def life(c, net):
    """A check, a download, a restart, a confirmation."""
    for why in ("power", "reset", "reset", "reset"):
        if turn(c, net, why) != "reset":
            return


def served(what):
    net = Net(**{"app.bin": B}).offer(entry(3, B))
    c = maker.chip((("a.bin", 2, "f8", A),))
    c.power_on()
    n = 0
    for how in what(c, lambda: life(c, net)):
        n += 1
        assert c.power_on() is not None and (maker.holds(c, A) or maker.holds(c, B)), how
        life(c, net)
        life(c, net)
        assert maker.holds(c, B) and seen(c) == (VALID, control.PRODUCTION, 3), how
        assert [r[1:] for r in maker.rows(c)] == [("f8", "2"), ("f8", "3")], how
    return n


def test_an_update_by_the_service_is_whole_wherever_the_power_goes():
    assert served(maker.cuts_of_store) > 15
    assert served(maker.cuts_of_flash) > 20


def ends(what, rows, call):
    """What runs after each cut of `call(layout)`: names of the images."""
    c = maker.chip(rows)
    c.power_on()
    seen = set()
    for how in what(c, lambda: call(c.power_on().layout)):
        assert c.power_on() is not None, how
        found = [name for name, data in (("A", A), ("B", B), ("golden", GOLDEN)) if maker.holds(c, data)]
        assert len(found) == 1, how
        seen.add(found[0])
        # What was asked for is done in the end, by asking again.
        if found == ["B"]:
            call(c.power_on().layout)
            c.power_on("reset")
            assert not maker.holds(c, B), how
    return seen


BOTH = (maker.cuts_of_store, maker.cuts_of_flash)
ROWS = (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B))


def test_a_rollback_that_is_cut_leaves_the_one_image_or_the_other():
    got = [ends(what, ROWS, lambda layout: layout.rollback("by hand")) for what in BOTH]
    assert got[0] | got[1] == {"A", "B"}


def test_a_factory_reset_that_is_cut_leaves_the_image_or_the_factory_image():
    got = [ends(what, ROWS, lambda layout: layout.factory_reset()) for what in BOTH]
    assert got[0] | got[1] == {"B", "golden"}


def test_one_number_has_one_row():
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "f0", B)))
    net = Net(**{"app.bin": C}).offer(entry(3, C))
    c.power_on()
    life(c, net)
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("image1.bin", "f8", "3")] and maker.holds(c, C)


def test_a_first_boot_with_code_up_to_the_end_of_the_slot_keeps_a_page_that_starts():
    c = maker.chip(factory=False)
    c.flash.prog(maker.BASE, maker.build())
    code = bytes([1 + i % 200 for i in range(maker.SLOT - 4096)])
    c.flash.prog(maker.BASE + 4096, code)
    assert c.load().did == ["keeps the factory image"] and seen(c) == (VALID, FACTORY, 1)
    assert c.load().did == [] and c.store.files[golden.FACTORY_FILE][4096:] == code


def test_the_row_that_replaced_another_is_the_one_that_is_confirmed():
    c = running(("a.bin", 2, "f8", A), ("b.bin", 1, "f8", B), settings={"images": 2})
    net = Net(**{"app.bin": C}).offer(entry(3, C))
    life(c, net)
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("image1.bin", "f8", "3")]
    net = Net(**{"app.bin": B}).offer(entry(4, B))
    life(c, net)
    assert [r[1:] for r in maker.rows(c)] == [("f8", "4"), ("f8", "3")] and maker.holds(c, B)
