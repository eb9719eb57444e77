"""The loader as a whole: a flash with a table, otadata and real image checks, reset after reset."""

from mpota.layout.esp32 import loader, otadata, table
from mpota_host.sim.flash import PowerCut
from tests import replay
from tests.chips.esp32 import image_maker as maker
from tests.chips.esp32.image_maker import FACTORY, NVS, OTA_0, OTA_1, OTADATA

OLD_BUILD = loader.Options(rollback=False)


def entry(seq, state):
    return otadata.encode(otadata.Entry(seq, state))


def state(flash):
    """seq and state of either sector, None for a blank one."""
    pair = [otadata.decode(raw) for raw in maker.otadata_of(flash)]
    return [None if loader.blank(e) else (e.seq, e.state) for e in pair]


def put_entries(flash, *entries):
    flash.erase(OTADATA.offset, OTADATA.size)
    for i, raw in enumerate(entries):
        if raw:
            flash.prog(OTADATA.offset + i * otadata.SECTOR, raw)
    flash.trace = []


def starts(flash, options=None):
    return loader.boot(flash, options).name


def test_a_fresh_board_without_factory_writes_its_first_entry():
    flash = maker.both()
    got = loader.boot(flash)
    assert (got.name, got.row, got.index, got.tried) == ("ota_0", OTA_0, 0, ["ota_0"])
    assert state(flash) == [(1, otadata.VALID), None]
    assert flash.trace == [("erase", 0xD000, 4096), ("prog", 0xD000, 32)]
    assert starts(flash) == "ota_0" and len(flash.trace) == 2


def test_a_fresh_board_with_factory_writes_nothing():
    flash = maker.both((NVS, OTADATA, OTA_0, OTA_1, FACTORY))
    assert starts(flash) == "factory" and not flash.trace


def test_a_table_without_otadata_starts_factory():
    flash = maker.both((NVS, FACTORY, OTA_0))
    assert starts(flash) == "factory" and not flash.trace


def test_otadata_of_one_sector_or_a_bad_table_starts_nothing():
    small = table.Row(table.DATA, table.OTADATA, 0xD000, 0x1000, "otadata", 0)
    got = loader.boot(maker.both((small, OTA_0, OTA_1)))
    assert got.name is None and got.row is None and got.tried == []
    flash = maker.board()
    flash.erase(table.OFFSET, 4096)
    assert loader.boot(flash).name is None


def test_no_image_that_verifies_means_reset_for_ever():
    flash = maker.board()
    put_entries(flash, entry(1, otadata.VALID))
    got = loader.boot(flash)
    assert got.name is None and got.tried == ["ota_0", "ota_1"] and not flash.trace


def test_the_table_may_lie_elsewhere():
    flash = maker.both()
    raw = bytearray(table.AREA)
    flash.read(table.OFFSET, raw)
    flash.erase(table.OFFSET, 4096)
    flash.prog(0x40000, raw)
    assert starts(flash) is None
    assert starts(flash, loader.Options(table_off=0x40000)) == "ota_0"


def test_an_update_is_on_trial_then_confirmed_or_taken_back():
    flash = maker.both()
    put_entries(flash, entry(1, otadata.VALID), entry(2, otadata.NEW))
    assert starts(flash) == "ota_1"
    assert state(flash) == [(1, otadata.VALID), (2, otadata.PENDING)]
    assert starts(flash) == "ota_0"
    assert state(flash) == [(1, otadata.VALID), (2, otadata.ABORTED)]
    flash.trace = []
    assert starts(flash) == "ota_0" and not flash.trace


def test_an_image_for_another_chip_does_not_start():
    flash = maker.board(images=[(OTA_0, maker.image()), (OTA_1, maker.image(chip=9))])
    put_entries(flash, entry(2, otadata.VALID))
    assert starts(flash, loader.Options(loader.Images(0))) == "ota_0"
    assert starts(flash, loader.Options(loader.Images(9))) == "ota_1"


def test_pitfall_4_a_rejected_image_leaves_its_trace_in_otadata():
    flash = maker.board(images=[(OTA_0, maker.image()), (OTA_1, maker.image()[:-1])])
    put_entries(flash, entry(1, otadata.VALID), entry(2, otadata.NEW))
    got = loader.boot(flash)
    assert (got.name, got.index, got.tried) == ("ota_0", 1, ["ota_1", "ota_0"])
    # What runs is not what otadata names, and says so by PENDING now and ABORTED after the next reset.
    assert state(flash)[1] == (2, otadata.PENDING)
    assert starts(flash) == "ota_0"
    assert state(flash)[1] == (2, otadata.ABORTED)


def test_pitfall_5_a_wake_from_deep_sleep_starts_what_ran_and_leaves_the_staged_image():
    flash = maker.both()
    put_entries(flash, entry(1, otadata.VALID), entry(2, otadata.NEW))
    ops = flash.ops
    got = loader.wake(OTA_0)
    assert (got.name, got.row, got.tried) == ("ota_0", OTA_0, [])
    assert flash.ops == ops and state(flash)[1] == (2, otadata.NEW)
    assert starts(flash) == "ota_1"


def test_pitfall_6_a_second_reset_before_confirmation_takes_the_update_back():
    flash = maker.both()
    put_entries(flash, entry(1, otadata.VALID), entry(2, otadata.NEW))
    assert [starts(flash) for _ in range(3)] == ["ota_1", "ota_0", "ota_0"]


def test_pitfall_9_a_bootloader_without_rollback_leaves_new_as_it_is():
    flash = maker.both()
    put_entries(flash, entry(1, otadata.VALID), entry(2, otadata.NEW))
    for _ in range(3):
        assert starts(flash, OLD_BUILD) == "ota_1"
    assert state(flash)[1] == (2, otadata.NEW) and not flash.trace


def test_anti_rollback_refuses_the_older_and_burns_up_to_the_newer():
    images = [(OTA_0, maker.image(secure_version=1)), (OTA_1, maker.image(secure_version=3))]
    flash = maker.board(images=images)
    put_entries(flash, entry(1, otadata.VALID), entry(2, otadata.VALID))
    options = loader.Options(efuse=2)
    assert starts(flash, options) == "ota_1" and options.efuse == 3
    # The field of a C2 has 4 bits: a version beyond it cannot be burnt.
    narrow = loader.Options(efuse=2, efuse_bits=2)
    assert starts(flash, narrow) == "ota_1" and narrow.efuse == 2
    assert starts(flash, loader.Options(efuse=4)) is None


def test_anti_rollback_from_untouched_otadata_burns_too():
    flash = maker.board(images=[(OTA_0, maker.image(secure_version=2)), (OTA_1, maker.image(secure_version=5))])
    options = loader.Options(efuse=1)
    assert starts(flash, options) == "ota_0" and options.efuse == 2
    assert state(flash) == [(1, otadata.VALID), None]


def test_an_image_without_description_fails_anti_rollback():
    flash = maker.board(images=[(OTA_1, maker.image())])
    put_entries(flash, entry(1, otadata.VALID))
    options = loader.Options(efuse=0)
    assert starts(flash, options) == "ota_1" and options.efuse == 0


def test_a_cut_in_any_write_of_the_loader_starts_an_image_at_the_next_reset():
    for first, second, allowed in (
        ((1, otadata.VALID), (2, otadata.NEW), ("ota_0", "ota_1")),
        ((1, otadata.VALID), (2, otadata.PENDING), ("ota_0",)),
        (None, None, ("ota_0",)),
    ):
        for n in (1, 2):
            for where in ("before", "inside", "after"):
                flash = maker.both()
                put_entries(flash, first and entry(*first), second and entry(*second))
                flash.cut = flash.ops + n
                flash.cut_at = where
                try:
                    loader.boot(flash)
                    raise AssertionError("the power stayed on")
                except PowerCut:
                    flash.power_on()
                assert starts(flash) in allowed, (first, second, n, where)


def test_every_recorded_case_agrees():
    module = replay.vendor("esp32")
    found = replay.cases(maker.ROOT + "/tests/vectors/esp32_otadata.json.gz")
    agree, _, differ, shown = replay.run(module, found)
    assert (agree, differ) == (4700, 0), shown
