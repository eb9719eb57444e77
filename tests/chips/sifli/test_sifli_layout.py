"""The user program's side: an update is staged, armed by one record, judged, and taken back by the manager."""

from hashlib import sha256

from mpota.layout import sifli
from mpota.layout.sifli import loader
from mpota.layout.sifli.loader.install import WORN
from mpota.layout.sifli.store import table
from mpota_boot.errors import Corrupt, FlashError, NotNow, Refused
from mpota_boot.journal import Record, trial
from tests.chips.sifli import sifli_maker as maker
from tests.expect import raises

OLD, NEW, LAST = maker.payload(9000, 1), maker.payload(10000, 2), maker.payload(8000, 3)


class Board:
    def __init__(self, chip):
        self.chip = chip
        self.journal = chip.journal

    def port(self):
        return self.chip

    def setting(self, name, default, most):
        return default


class Part:
    kind, name = 1, "firmware"

    def __init__(self, data):
        self.size = len(data)
        self.sha = sha256(data).digest()


class Package:
    def __init__(self, data, number):
        self.id = b"release" + bytes((number,))
        self.version = bytes((0, 1, 0, number, 0, 0, 0, 0))
        self.components = [Part(data)]


def fresh(chip=None, areas=2):
    """A layout after a reset."""
    if chip is None:
        chip = maker.chip(maker.places(areas=areas))
        maker.provision(chip, OLD)
    else:
        chip = maker.chip(chip.places, chip.flash)
    return sifli.make(Board(chip))


def stage(layout, program, number):
    data = maker.com(program)
    package = Package(data, number)
    part = package.components[0]
    target = layout.target(part)
    layout.admit(part, data[:4096])
    target.erase(0, (len(data) + 4095) // 4096 * 4096)
    target.prog(0, data + b"\xff" * (-len(data) % 4))
    layout.check(part)
    layout.arm(package)
    return fresh(layout.port)


def restart(layout):
    start = loader.boot(layout.port)
    layout = fresh(layout.port)
    return start, layout


def program(layout, n=8000):
    return maker.held(layout.port.user, n)


def test_an_update_is_staged_beside_what_a_retreat_needs_and_installed_at_the_reset():
    layout = fresh()
    assert layout.target(Part(b"")) is layout.port.slots[1] and layout.running(Part(b"")) is layout.port.slots[0]
    layout = stage(layout, NEW, 2)
    assert program(layout) == OLD[:8000] and trial(layout.journal)
    raises(NotNow, "trial", layout.ready)
    start, layout = restart(layout)
    assert start.name == loader.USER and program(layout) == NEW[:8000]
    assert layout.on_trial().trials == 2 and not layout.settle("reset")
    layout.confirm()
    layout = fresh(layout.port)
    layout.ready()
    assert layout.version()[3] == 2 and layout.floor()[3] == 2 and layout.status()["running"] == "area 1"
    assert layout.target(Part(b"")) is layout.port.slots[0]


def test_an_image_that_is_never_confirmed_has_three_boots():
    layout = stage(fresh(), NEW, 2)
    for boot in range(3):
        _, layout = restart(layout)
        assert program(layout) == NEW[:8000], boot
    _, layout = restart(layout)
    assert program(layout) == OLD[:8000] and layout.failure()[1] == "no confirm"


def test_a_retreat_brings_the_old_program_back_with_its_reason():
    layout = stage(fresh(), NEW, 2)
    raises(NotNow, "trial", layout.retreat, "too soon")
    _, layout = restart(layout)
    layout.retreat("unhealthy")
    _, layout = restart(layout)
    assert program(layout) == OLD[:8000] and layout.failure()[1] == "unhealthy" and layout.version()[3] == 1
    layout.forget()
    layout.ready()


def test_a_rollback_puts_the_program_before_this_one_on_trial():
    layout = fresh()
    raises(NotNow, "rollback", layout.rollback, "by hand")
    layout = stage(layout, NEW, 2)
    _, layout = restart(layout)
    layout.confirm()
    layout = fresh(layout.port)
    layout.rollback("by hand")
    _, layout = restart(layout)
    assert program(layout) == OLD[:8000] and layout.on_trial()
    layout.confirm()
    layout = fresh(layout.port)
    layout.port.slots[1].erase(0, 4096)
    raises(NotNow, "rollback", layout.rollback, "again")


def test_a_rollback_of_a_trial_ends_it():
    layout = stage(fresh(), NEW, 2)
    layout.rollback("dropped")
    _, layout = restart(layout)
    assert program(layout) == OLD[:8000] and not trial(layout.journal)


def test_what_cannot_be_installed_is_refused_before_anything_is_erased():
    layout = fresh()
    part = Part(b"")
    for code, head in (
        ("com", b"<html>" + bytes(20)),
        ("com", b""),
        ("com", bytes(20)),
        ("size", (0x8001).to_bytes(4, "little") + (10240).to_bytes(4, "little") + bytes(20)),
    ):
        raises(Refused, code, layout.admit, part, head)
    layout.target(part).prog(0, maker.com(NEW)[:8])
    raises(Corrupt, "decode", layout.check, Part(maker.com(NEW)))


def test_a_delta_needs_a_program_that_is_known():
    chip = maker.chip()
    raises(Refused, "base", fresh(chip).running, Part(b""))


def test_a_place_that_holds_nothing_stops_updates_by_name():
    layout = stage(fresh(), NEW, 2)
    erase = layout.port.flash.erase

    def stuck(off, n):
        if off < layout.port.user.start or off >= layout.port.user.start + layout.port.user.size:
            erase(off, n)

    layout.port.flash.erase = stuck
    layout.port.flash.overwrite = ((0, layout.port.flash.size),)
    prog = layout.port.flash.prog
    layout.port.flash.prog = lambda off, buf: None if off >= 0xB000 else prog(off, buf)
    _, layout = restart(layout)
    layout.port.flash.erase, layout.port.flash.prog = erase, prog
    assert layout.journal.last("reason")[8:] == WORN
    refused = raises(FlashError, "flash", layout.ready)
    assert layout.status()["updates"] == str(refused)


def test_bits_that_turned_in_the_program_are_healed_from_its_area():
    layout = fresh()
    layout.port.flash.overwrite = ((0, layout.port.flash.size),)
    layout.port.user.prog(400, bytes(4))
    assert program(layout) != OLD[:8000]
    start, layout = restart(layout)
    assert start.name == loader.USER and program(layout) == OLD[:8000]


def test_a_staged_image_that_is_damaged_is_given_up_and_the_old_program_stays():
    layout = stage(fresh(), NEW, 2)
    layout.port.flash.overwrite = ((0, layout.port.flash.size),)
    layout.port.slots[1].prog(800, bytes(4))
    _, layout = restart(layout)
    assert program(layout) == OLD[:8000] and layout.failure()[1] == "the staged image is not whole"


def test_files_alone_are_counted_by_the_user_program():
    layout = fresh()
    record = layout.new(b"thefiles", b"f" * 32, bytes(8), 9, layout.port.running)
    assert record.slot == record.back == 0
    layout.journal.put("armed", record.encode())
    for turn in (2, 1, 0):
        start, layout = restart(layout)
        assert start.name == loader.USER and not layout.settle("reset") and layout.on_trial().trials == turn
    layout.settle("reset")
    assert not layout.on_trial() and layout.failure()


def test_with_one_area_a_bad_program_ends_in_the_manager():
    chip = maker.chip(maker.places(areas=1))
    layout = stage(fresh(chip), NEW, 2)
    assert layout.status()["retreats"] is False and fresh().status()["retreats"] is True
    for boot in range(3):
        start, layout = restart(layout)
        assert start.name == loader.USER, boot
    start, layout = restart(layout)
    assert (start.name, start.why) == (loader.MANAGER, "force")


def test_the_table_tells_the_new_program_where_a_cut_hurts_nobody():
    places = maker.places()
    for apart in (True, False):
        chip = maker.chip(places, maker.flash(places, apart=apart))
        maker.provision(chip, OLD)
        layout = fresh(chip)
        for number, image in ((2, NEW), (3, LAST)):
            layout = stage(layout, image, number)
            _, layout = restart(layout)
            layout.confirm()
            layout = fresh(layout.port)
        seen = table.header(layout.port.table, table.IMG_HCPU2).length
        assert seen == (len(LAST) if apart else len(NEW))


def test_the_chip_starts_nothing_by_a_table_that_is_not_whole():
    places = maker.places()
    for change in (
        lambda flash: flash.prog(0, bytes(4)),
        lambda flash: flash.prog(table.RUNNING_AT + 8, bytes(4)),
        lambda flash: flash.erase(0x2000, 0x1000),
        lambda flash: flash.prog(table.PLACES_AT + 16 * 10 + 8, bytes(4)),
    ):
        chip = maker.chip(places, maker.flash(places))
        chip.flash.overwrite = ((0, chip.flash.size),)
        change(chip.flash)
        raises(Refused, "table", loader.boot, chip)
    memory = maker.flash(places, apart=False)
    memory.erase(0x1000, 0x1000)
    raises(Refused, "table", loader.boot, maker.chip(places, memory))
    encrypted = maker.flash(places)
    encrypted.overwrite = ((0, encrypted.size),)
    head = table.Header(4096, 512, 3, b"k" * 32, b"s" * 256, b"v" * 20)
    encrypted.erase(0x2000, 0x1000)
    whole = maker.table_bytes(places)
    encrypted.prog(0x2000, table.encode_header(head) * 4 + whole[0x2800:0x2C10])
    assert loader.rom(encrypted, maker.BASE, maker.efuse()) == places["manager"][0]
    raises(Refused, "table", loader.rom, encrypted, maker.BASE, bytes(128))


def test_a_map_with_a_place_that_leaves_the_flash_is_refused_at_once():
    for name in ("res", "manager", "user"):
        places = maker.places()
        memory = maker.flash(places)
        places[name] = (maker.BASE + memory.size - 4096, 8192)
        raises(FlashError, "bounds", maker.chip, places, memory)


def test_a_map_whose_places_overlap_is_refused_at_once_and_names_both():
    def refusal(change):
        places = maker.places()
        memory = maker.flash(places)
        change(places)
        return str(raises(Refused, "map", maker.chip, places, memory))

    def into(name, other, off):
        def change(places):
            places[name] = (places[other][0] + off, 0x1000)

        return change

    for name, other, off in (
        ("res", "font", 0x7000),
        ("font", "state", 0),
        ("manager", "table", 0x4000),
        ("lcpu", "user", 0),
    ):
        said = refusal(into(name, other, off))
        assert name in said and other in said, said
    # A file system that the map names, and the two areas.
    said = refusal(into("fs_region", "res", 0x1000))
    assert "fs_region" in said and "res" in said
    assert "upgrade" in refusal(
        lambda places: places["upgrade"].append(places["upgrade"][0]) or places["upgrade"].pop(1)
    )
    places = maker.places()
    places["kvdb_ble_region"] = (places["font"][0] + places["font"][1], 0x1000)
    assert maker.chip(places, maker.flash(places)).place(4)


def test_a_journals_sector_that_holds_anothers_data_refuses_updates_and_starts_the_program():
    places = maker.places()
    for sector in (0, 1):
        memory = maker.flash(places)
        at = places["state"][0] - maker.BASE + sector * 4096
        memory.prog(at + 512, b"calibrated..")
        start = loader.boot(maker.chip(places, memory))
        assert start.name == loader.USER
        chip = maker.chip(places, memory)
        layout = sifli.make(Board(chip))
        text = str(raises(Refused, "foreign", layout.ready))
        assert "0x%x" % at in text and layout.status()["updates"] == text
        assert memory.cells.get(at + 512, 12) == b"calibrated.."


def test_a_record_of_the_workshop_is_one():
    chip = maker.chip()
    maker.provision(chip, OLD)
    assert Record.decode(chip.journal.last("running")).back == -1
