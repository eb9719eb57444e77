"""Images of the small core: placed by the map, staged until all has come, installed with a program or without one."""

from mpota.layout.sifli import loader
from mpota.layout.sifli.link import codes as g
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.loader.finish import complete
from mpota.layout.sifli.store import control
from mpota_boot.journal import trial
from mpota_host.sim.flash import PowerCut
from tests.chips.sifli import sifli_maker as maker
from tests.chips.sifli.test_sifli_session import NEW, OLD, At, refused

LCPU, PATCH = maker.payload(5000, 21), maker.payload(3000, 22)


def places(*names):
    """The map of a chip whose small core has a place for these, behind everything else."""
    found = maker.places()
    at = found["font"][0] + found["font"][1]
    for name in names:
        found[name] = (at, 0x2000)
        at += 0x2000
    return found


MAP = places("lcpu", "patch")


def fresh(flash=None):
    chip = maker.chip(MAP, flash or maker.flash(MAP, size=0x48000))
    if flash is None:
        maker.provision(chip, OLD)
    return chip


def brought(at, package, ids):
    """The manager's session, up to the end of the last image."""
    at.begin(package)
    for id in ids:
        assert at.send(package, id) == [(m.END_RSP, (0,))]
    return at


def installed(at):
    at.session.feed(m.encode(m.FINISH, 0))
    at.session.work()
    assert at.heard() == [(m.FINISH_IND, (0,))]
    return maker.chip(MAP, at.chip.flash)


def held(chip, id, data):
    return maker.held(chip.place(id), len(data)) == data


def test_an_image_of_the_small_core_goes_where_the_map_says():
    for flags in (0, 16):
        package = maker.Package([(0, 16, NEW), (1, flags, LCPU), (2, flags, PATCH)], 1002000)
        at = brought(At(chip=fresh()), package, (0, 1, 2))
        for id in (1, 2):
            # Whatever its flags: a radio whose code is half there brings nothing more.
            assert maker.held(at.chip.place(id), 0x2000) == b"\xff" * 0x2000
        assert at.session.up.now.force == 0
        chip = installed(at)
        assert held(chip, 1, LCPU) and held(chip, 2, PATCH)
        assert loader.boot(chip).name == loader.USER and held(chip, 0, NEW)
        assert trial(chip.journal).sha == chip.installed().sha


def test_an_image_of_the_small_core_alone_is_a_package_too():
    package = maker.Package([(1, 16, LCPU)], 1002000)
    chip = installed(brought(At(chip=fresh()), package, (1,)))
    assert held(chip, 1, LCPU) and loader.boot(chip).name == loader.USER and held(chip, 0, OLD)


def test_a_chip_whose_map_has_no_place_for_it_answers_as_the_vendors_without_one():
    for id, there in ((1, ("patch",)), (2, ("lcpu",)), (1, ()), (2, ())):
        chip = maker.chip(places(*there), maker.flash(places(*there), size=0x48000))
        maker.provision(chip, OLD)
        refused(g.PARAMETER, At(chip=chip), maker.Package([(id, 16, LCPU)], 1002000))
        assert chip.place(id) == 0


def test_an_image_of_the_small_core_is_held_to_its_place_and_the_area():
    large = maker.payload(0x2001, 23)
    refused(g.NO_SPACE, At(chip=fresh()), maker.Package([(1, 0, large)], 1002000))
    room = maker.payload(0x2000 - 64, 24)
    # All that is staged has to fit its area together, compressed or not.
    program = maker.payload(0x5F00, 25)
    refused(g.NO_SPACE, At(chip=fresh()), maker.Package([(0, 16, program), (1, 0, room), (2, 0, room)], 1002000))
    assert At(chip=fresh()).init(maker.Package([(0, 16, NEW), (1, 0, room), (2, 0, room)], 1002000)) == 0


def test_an_encrypted_image_of_the_small_core_is_refused_since_nothing_would_decrypt_it():
    for id in (control.LCPU, control.PATCH):
        for flags in (1, 17):
            refused(g.USER_REJECT, At(chip=fresh()), maker.Package([(id, flags, PATCH)], 1002000))


def test_an_image_that_decodes_to_more_than_its_place_changes_nothing():
    at = At(chip=fresh())
    # Its stored form has to be smaller than its place, or it is refused at once.
    data = maker.com(LCPU, total=0x2001)
    data += bytes(-len(data) % 16)
    package = maker.Package([(0, 16, NEW), (1, 0, data)], 1002000)
    package.control.images[1].flags = 16
    package.packet = maker.control.write(package.control, maker.ROOT, maker.signed.key_hash(maker.PUBLIC), maker.sign)
    at = brought(at, package, (0, 1))
    at.session.feed(m.encode(m.FINISH, 0))
    at.session.work()
    assert at.heard() == [(m.FINISH_IND, (g.FW_INVALID,))]
    assert maker.held(at.chip.place(1), 0x2000) == b"\xff" * 0x2000 and held(at.chip, 0, OLD)


def test_a_cut_anywhere_in_the_install_ends_in_all_of_it_without_a_phone():
    """A manager whose radio is half written has no phone to ask."""
    package = maker.Package([(0, 16, NEW), (1, 0, LCPU), (2, 16, PATCH)], 1002000)
    ready = brought(At(chip=fresh()), package, (0, 1, 2)).chip.flash
    start, before = ready.snapshot(), ready.ops
    assert complete(fresh(ready)) == g.OK and held(fresh(ready), 1, LCPU)
    ops = ready.ops - before
    assert ops > 12
    for op in range(1, ops + 1):
        for where in ("before", "inside", "after"):
            ready.restore(start)
            ready.cut, ready.cut_at = ready.ops + op, where
            try:
                complete(fresh(ready))
            except PowerCut:
                pass
            ready.power_on()
            for _turn in range(2):
                name, _, why = loader.boot(fresh(ready))
            chip = fresh(ready)
            if why == "wait":
                # Before the install was noted: everything is as it was.
                assert held(chip, 0, OLD) and maker.held(chip.place(1), 0x2000) == b"\xff" * 0x2000
                continue
            assert name == loader.USER and held(chip, 0, NEW) and held(chip, 1, LCPU) and held(chip, 2, PATCH), (
                op,
                where,
            )
