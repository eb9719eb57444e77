"""A phone and a chip, message for message: both generations, lost and swapped packets, lost links, resume, restart."""

import pytest

from mpota.layout.sifli.link import messages as m
from mpota_boot.errors import Refused
from mpota_host.chips.sifli import packer
from mpota_host.chips.sifli.phone import carry
from mpota_host.chips.sifli.phone.carry import SerialWire
from mpota_host.chips.sifli.phone.play import load, named
from mpota_host.chips.sifli.sim.soc import Clock, Device
from mpota_host.sim.flash import PowerCut
from tests.chips.sifli.host.sifli_world import Choice, World, device, maker

OLD, NEW = maker.payload(9000, 1), maker.payload(20000, 2)
RES, FONT = maker.payload(12000, 3), maker.payload(5000, 4)


def full(fw=1002000, **given):
    return maker.Package([(0, 16, NEW), (3, 0, RES), (4, 0, FONT)], fw, **given)


def runs(device):
    """The program in its place."""
    user = device.chip.installed()
    return maker.held(device.chip.user, user.size) if user else None


def all_there(device, image=NEW):
    chip = device.chip
    assert not device.manager and device.start.address == chip.places["user"][0]
    assert runs(device) == image + bytes(-len(image) % 16) or runs(device) == image
    assert maker.held(chip.place(3), len(RES)) == RES and maker.held(chip.place(4), len(FONT)) == FONT


@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize("user_first", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_an_upgrade_goes_through_user_program_manager_and_back(newer, user_first, apart):
    at = device(OLD, apart=apart, user_first=user_first)
    world = World(at, full(), choice=Choice(newer))
    assert world.run()
    all_there(at)
    assert world.connections == 2


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("newer", [True, False])
def test_lost_repeated_and_swapped_packets_cost_time_only(seed, newer):
    at = device(OLD)
    world = World(at, full(), seed, loss=5, repeats=3, swaps=3, choice=Choice(newer))
    assert world.run(), world.phone.error
    all_there(at)


@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize("cut", range(0, 24000, 3000))
def test_what_pack_makes_for_both_cores_is_sent_by_the_phone_and_lies_where_the_map_says(newer, cut, tmp_path):
    lcpu = maker.payload(6000, 31)
    options = packer.Options(maker.ROOT, maker.PUBLIC, maker.sign, dfu_id=1, fw_ver=1002000)
    given = [packer.Given("app", NEW, 16, 0), packer.Given("lcpu", lcpu, 16, 1), packer.Given("res", RES, 0, 3)]
    for name, data in packer.pack(given, options).items():
        (tmp_path / name).write_bytes(data)
    upgrade = load(tmp_path, {})
    assert [image.id for image in sorted(upgrade.images, key=lambda i: i.id)] == [0, 1, 3]
    places = maker.places()
    places["lcpu"] = (places["font"][0] + places["font"][1], 0x4000)
    at = Device(maker.flash(places), places, maker.efuse(), Clock())
    maker.provision(at.chip, OLD)
    at.power_on()
    package = maker.Package([], 1002000)
    package.packet, package.records = upgrade.packet, {image.id: image.records for image in upgrade.images}
    world = World(at, package, choice=Choice(newer))
    if cut:
        # The link is lost once, at some time of the upgrade.
        while at.clock.ms < cut and not world.phone.done:
            world.step()
        world.drop()
    assert world.run(), world.phone.error
    assert maker.held(at.chip.place(1), len(lcpu)) == lcpu and maker.held(at.chip.place(3), len(RES)) == RES
    assert runs(at)[: len(NEW)] == NEW and not at.manager


@pytest.mark.parametrize("flags", [1, 17, 0, 16])
def test_every_form_of_the_user_program_is_installed(flags):
    at = device(OLD)
    world = World(at, maker.Package([(0, flags, NEW)], 1002000))
    assert world.run(), world.phone.error
    plain = bytearray(runs(at))
    if flags & 1:
        plain = bytearray(maker.encrypted(bytes(plain)))
    assert plain[: len(NEW)] == NEW and not at.manager


# Links that are lost, power that goes.


def halfway(at, package, packets, **given):
    """A world in which so many packets have been sent."""
    world = World(at, package, **given)
    seen = 0
    feed = at.feed

    def count(message):
        nonlocal seen
        seen += message[:2] == b"\x0a\0"
        feed(message)

    at.feed = count
    for _ in range(2000):
        if seen < packets:
            world.step()
    assert seen >= packets
    at.feed = feed
    return world


@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize("packets", [3, 25, 45, 60, 70])
def test_a_lost_link_costs_at_most_a_sector_and_a_window(newer, packets):
    at = device(OLD)
    package = full()
    world = halfway(at, package, packets, choice=Choice(newer))
    sent = world.wire["up"]
    world.drop()
    assert world.run() and world.phone.resumed
    all_there(at)
    whole = sum(len(r) for records in package.records.values() for r in records)
    again = world.wire["up"] - whole - 3 * len(package.packet)
    assert again < (8 + 8 + 20) * 560, (again, sent)


@pytest.mark.parametrize("newer", [True, False])
def test_a_forced_restart_begins_with_the_first_packet(newer):
    at = device(OLD)
    package = full()
    world = halfway(at, package, 30, choice=Choice(newer, resume=False))
    world.drop()
    assert world.run() and not world.phone.resumed
    all_there(at)
    assert world.wire["up"] > sum(len(r) for records in package.records.values() for r in records) + 28 * 560


def test_a_staged_program_that_is_lost_leaves_the_old_one_running_and_the_phone_gets_error_10():
    at = device(OLD)
    world = halfway(at, maker.Package([(0, 16, NEW)], 1002000), 20, choice=Choice(False))
    world.drop()
    world.up_at = 1 << 40
    for _ in range(200):
        world.step()
    assert not at.manager and runs(at) == OLD
    codes = []
    feed = world.phone.feed
    world.phone.feed = lambda message: (codes.append(message[4]) if message[0] == m.INIT_RSP else None, feed(message))
    world.up_at = world.clock.ms
    assert world.run() and codes == [10]
    assert runs(at)[: len(NEW)] == NEW


def test_resources_that_are_lost_keep_the_manager_over_resets_until_they_are_there():
    at = device(OLD)
    package = maker.Package([(3, 0, RES), (4, 0, FONT)], 1002000)
    world = halfway(at, package, 10)
    world.drop()
    for _ in range(3):
        at.power_on()
        assert at.manager and at.start.why == "force"
    assert world.run()
    assert not at.manager and maker.held(at.chip.place(3), len(RES)) == RES


def test_another_package_after_a_lost_one_begins_afresh():
    for newer in (True, False):
        at = device(OLD)
        world = halfway(at, full(), 30, choice=Choice(newer))
        world.drop()
        other = World(at, full(1003000), choice=Choice(newer))
        assert other.run() and not other.phone.resumed
        all_there(at)


def test_a_manager_that_nobody_comes_to_goes_back_after_thirty_seconds():
    at = device(OLD)
    world = World(at, full())
    while not at.manager:
        world.step()
    world.drop()
    world.up_at = 1 << 40
    since = world.clock.ms
    while at.manager:
        world.step()
    assert 29000 < world.clock.ms - since < 32000 and runs(at) == OLD


@pytest.mark.parametrize("silent", ["phone", "chip"])
def test_one_end_that_falls_silent_is_found_out_by_the_other(silent):
    at = device(OLD)
    world = halfway(at, full(), 30)
    if silent == "phone":
        world.phone.take = lambda: None
        world.phone.tick = lambda: None
        end = world.clock.ms + 20000
        while world.linked and world.clock.ms < end:
            world.step()
        assert not world.linked and world.clock.ms < end
    else:
        at.feed = lambda message: None
        at.take = lambda: None
        at.session.tick = lambda: None
        end = world.clock.ms + 60000
        while not world.phone.hang_up and world.clock.ms < end:
            world.step()
        assert world.clock.ms < end and world.phone.error == "no answer"


def cut_at(at, world, op, seed, where="inside"):
    """Let the power go at the op-th operation from here; True where it did before the phone was done."""
    flash = at.flash
    flash.ops, flash.seed = 0, seed
    flash.cut, flash.cut_at = op, where
    try:
        world.run()
        return False
    except PowerCut:
        return True
    finally:
        flash.power_on()


CUTS = [*range(1, 40, 4), *range(40, 140, 11)]


@pytest.mark.parametrize("apart,flags", [(True, 16), (False, 16), (True, 17)])
def test_a_power_cut_anywhere_ends_in_a_whole_upgrade(apart, flags):
    package = maker.Package([(0, flags, NEW), (3, 0, RES), (4, 16, FONT)], 1002000)
    hit = 0
    for i, op in enumerate(CUTS):
        at = device(OLD, apart=apart)
        world = World(at, package, choice=Choice(bool(i % 2)))
        if not cut_at(at, world, op, i, ("before", "inside", "after")[i % 3]):
            continue
        hit += 1
        at.power_on()
        again = World(at, package, choice=Choice(bool(i % 2)))
        assert again.run(), (op, again.phone.error)
        text = runs(at)
        text = maker.encrypted(text) if flags & 1 else text
        assert text[: len(NEW)] == NEW and maker.held(at.chip.place(3), len(RES)) == RES
        assert maker.held(at.chip.place(4), len(FONT)) == FONT
    assert hit > 10


def test_a_cut_while_it_is_installed_installs_again_without_the_phone():
    for op in (3, 5, 7, 9, 11, 13):
        at = device(OLD)
        world = World(at, full())
        while world.phone.phase != "finish":
            world.step()
        assert cut_at(at, world, op, op)
        at.power_on()
        all_there(at)


def test_a_program_that_never_confirms_is_taken_back_after_its_trials():
    at = device(OLD, healthy=False)
    assert World(at, full()).run()
    assert runs(at)[: len(NEW)] == NEW
    seen = 0
    while runs(at) != OLD:
        at.power_on()
        seen += 1
        assert not at.manager and seen < 5
    assert seen == 3 and maker.held(at.chip.place(3), len(RES)) == RES


def test_without_an_older_program_a_bad_one_ends_in_the_manager():
    at = device(healthy=False)
    assert World(at, maker.Package([(0, 16, NEW)], 1002000)).run()
    for _ in range(4):
        at.power_on()
    assert at.manager and at.start.why == "force"
    at.healthy = True
    assert World(at, maker.Package([(0, 16, OLD)], 1003000)).run()
    assert runs(at)[: len(OLD)] == OLD and not at.manager


# What a link carries.


def carried(loss=0):
    at = device(OLD, room=0x20000)
    package = maker.Package([(3, 0, maker.payload(120000, 7))], 1002000)
    world = World(at, package, 1, loss=loss)
    assert world.run()
    return world, 120000


def test_nearly_all_bytes_are_the_images():
    world, size = carried()
    both = world.wire["up"] + world.wire["down"]
    assert world.wire["up"] / both >= 0.97 and size / both >= 0.88


def test_one_packet_lost_in_a_hundred_costs_little():
    clean, _ = carried()
    bad, _ = carried(loss=1)
    assert bad.wire["up"] < clean.wire["up"] * 1.05


@pytest.mark.parametrize("text", ["clock", "clock=", "clock=x", "clock=256", "clock=²", "clock=-1"])
def test_an_id_that_is_none_is_refused(text):
    with pytest.raises(Refused, match="NAME=ID"):
        named([text])
    assert named(["clock=8"]) == {"clock": 8}


class Late:
    """A wire on which these come, a portion a read."""

    def __init__(self, *portions):
        self.left = list(portions)

    def read(self, timeout_s):
        return self.left.pop(0) if self.left else b""

    def write(self, data):
        assert data == carry.HELLO


def test_a_chip_that_answers_late_answers_every_greeting_and_none_is_taken_for_an_end(monkeypatch):
    monkeypatch.setattr(carry, "ANSWER_S", 0.1)
    wire = Late(b"", carry.HELLO, b"", carry.HELLO, b"", carry.HELLO)
    link = carry.Link(wire)
    link.owed = 2
    assert link.greet(20) and not wire.left and not link.owed
    # Those that a chip never got are not waited for.
    link.owed = 2
    wire.left = [carry.HELLO]
    assert link.greet(20)
    # An answer, and an end right behind it.
    link.owed, wire.left = 0, [carry.HELLO * 2]
    assert not link.greet(20)
    assert not link.greet(0.01), "nobody answers"


def test_a_serial_wire_needs_no_select():
    """Windows has none for serial ports, nor has a port that pyserial makes of a URL."""
    wire = SerialWire("loop://", 921600)
    assert wire.read(0) == b"" and wire.read(0.05) == b""
    wire.write(b"x" * 900)
    seen = b""
    while len(seen) < 900:
        came = wire.read(1)
        assert came
        seen += came
    assert seen == b"x" * 900 and wire.read(0) == b""
    wire.close()
