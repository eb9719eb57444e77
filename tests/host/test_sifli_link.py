"""A phone and a chip, message for message: both generations, lost and swapped packets, lost links, resume, restart."""

import pytest

from tests.host.sifli_world import Choice, World, device, maker

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


@pytest.mark.parametrize("flags", [1, 17, 0, 16])
def test_every_form_of_the_user_program_is_installed(flags):
    at = device(OLD)
    world = World(at, maker.Package([(0, flags, NEW)], 1002000))
    assert world.run(), world.phone.error
    plain = bytearray(runs(at))
    if flags & 1:
        plain = bytearray(maker.encrypted(bytes(plain)))
    assert plain[: len(NEW)] == NEW and not at.manager
