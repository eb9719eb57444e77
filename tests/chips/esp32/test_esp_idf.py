"""What stands behind esp32.Partition: the C code's answers, errors and writes, and the pitfalls that follow."""

from mpota.layout.esp32 import loader, otadata, table
from mpota_host.chips.esp32.sim import esp_idf
from tests.chips.esp32 import image_maker as maker
from tests.chips.esp32.image_maker import FACTORY, NVS, OTA_0, OTA_1, OTADATA
from tests.expect import raises

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
NO_ROLLBACK = loader.Options(rollback=False)


def reset(flash, idf="5.5.2", options=None):
    """What runs after a reset: the loader's choice, and ESP-IDF around it."""
    return esp_idf.Idf(flash, loader.boot(flash, options).row, idf, options)


def fresh(rows=(NVS, OTADATA, OTA_0, OTA_1), idf="5.5.2", options=None):
    flash = maker.both(rows)
    return flash, reset(flash, idf, options)


def state(flash):
    pair = [otadata.decode(raw) for raw in maker.otadata_of(flash)]
    return [None if loader.blank(e) else (e.seq, e.state) for e in pair]


def oserror(code, call, *args):
    e = raises(OSError, None, call, *args)
    assert e.args == (-code, esp_idf.NAMES[code]), e.args


def test_constants_and_look_up():
    _, idf = fresh()
    P = idf.Partition
    assert (P.BOOT, P.RUNNING, P.TYPE_APP, P.TYPE_DATA) == (0, 1, 0, 1)
    assert P(P.RUNNING).info() == (0, 0x10, 0x10000, 0x10000, "ota_0", False)
    assert P(P.BOOT).info() == P("ota_0").info()
    assert P("nvs").info()[:2] == (1, 2)
    assert raises(OSError, None, P, "none").args[0] == 2
    raises(ValueError, None, P, 2)


def test_find_is_for_applications_by_default_and_may_find_nothing():
    _, idf = fresh()
    P = idf.Partition
    assert [p.info()[4] for p in P.find()] == ["ota_0", "ota_1"]
    assert [p.info()[4] for p in P.find(P.TYPE_DATA)] == ["nvs", "otadata", "vfs"]
    assert [p.info()[4] for p in P.find(P.TYPE_DATA, subtype=0)] == ["otadata"]
    assert [p.info()[4] for p in P.find(P.TYPE_APP, label="ota_1")] == ["ota_1"]
    assert P.find(P.TYPE_APP, 0x15) == [] and P.find(P.TYPE_APP, 0) == []
    assert P.find(P.TYPE_DATA, label="vfs", block_size=512)[0].ioctl(5, 0) == 512


def test_vfs_is_the_rest_of_the_flash_unless_the_table_has_one():
    _, idf = fresh()
    assert idf.Partition("vfs").info() == (1, 0x81, 0x30000, maker.SIZE - 0x30000, "vfs", False)
    for label in ("vfs", "ffat"):
        own = table.Row(table.DATA, 0x81, 0x40000, 0x10000, label, 0)
        _, idf = fresh((NVS, OTADATA, OTA_0, OTA_1, own))
        assert len(idf.Partition.find(1, 0x81)) == 1
    _, idf = fresh((NVS, OTADATA, OTA_0, table.Row(0, 0x11, 0x20000, maker.SIZE - 0x20000, "ota_1", 0)))
    assert idf.Partition.find(1, 0x81) == []


def test_writeblocks_without_offset_erases_and_with_one_does_not():
    flash, idf = fresh()
    part = idf.Partition("vfs")
    flash.trace = []
    part.writeblocks(1, b"\x55" * 4096)
    assert flash.trace == [("erase", 0x31000, 4096), ("prog", 0x31000, 4096)]
    part.ioctl(6, 2)
    flash.trace = []
    part.writeblocks(2, b"abcd", 0)
    part.writeblocks(2, b"efgh", 8)
    assert [op for op, _, _ in flash.trace] == ["prog", "prog"]
    buf = bytearray(12)
    part.readblocks(2, buf)
    assert buf == b"abcd\xff\xff\xff\xffefgh"
    part.readblocks(1, memoryview(buf)[:4], 4092)
    assert buf[:4] == b"\x55" * 4


def test_a_program_may_start_and_end_anywhere():
    _, idf = fresh()
    part = idf.Partition("vfs")
    part.writeblocks(0, b"odd", 5)
    buf = bytearray(12)
    part.readblocks(0, buf)
    assert buf == b"\xff" * 5 + b"odd" + b"\xff" * 4


def test_writes_that_do_not_fit_change_nothing():
    flash, idf = fresh()
    part = idf.Partition("ota_1")
    ops = flash.ops
    oserror(0x104, part.writeblocks, 0, b"x" * 4095)
    oserror(0x104, part.writeblocks, 15, b"x" * 8192)
    oserror(0x102, part.writeblocks, 17, b"x" * 4096)
    oserror(0x104, part.writeblocks, 15, b"x" * 8, 4092)
    oserror(0x104, part.readblocks, 16, bytearray(1))
    oserror(0x102, part.readblocks, 16, bytearray(1), 1)
    oserror(0x104, part.ioctl, 6, 16)
    assert flash.ops == ops


def test_small_blocks_go_through_a_sector_of_cache():
    flash, idf = fresh()
    idf.Partition("vfs").writeblocks(0, b"\x11" * 8192)
    small = idf.Partition("vfs", 512)
    flash.trace = []
    small.writeblocks(7, b"\x22" * 1024)
    assert flash.trace == [
        ("erase", 0x30000, 4096),
        ("prog", 0x30000, 4096),
        ("erase", 0x31000, 4096),
        ("prog", 0x31000, 4096),
    ]
    buf = bytearray(2048)
    small.readblocks(6, buf)
    assert buf == b"\x11" * 512 + b"\x22" * 1024 + b"\x11" * 512


def test_ioctl_answers_as_the_c_code():
    _, idf = fresh()
    part = idf.Partition("ota_0")
    assert [part.ioctl(op, 0) for op in (1, 2, 3, 4, 5, 7)] == [0, 0, 0, 16, 4096, None]
    small = idf.Partition("ota_1", 512)
    assert (small.ioctl(4, 0), small.ioctl(5, 0), small.ioctl(6, 0)) == (128, 512, -22)
    assert idf.Partition("ota_1", 65536).ioctl(5, 0) == 0


def test_a_read_only_partition_is_not_written():
    locked = table.Row(table.DATA, 0x81, 0x40000, 0x10000, "vfs", 2)
    _, idf = fresh((NVS, OTADATA, OTA_0, OTA_1, locked))
    part = idf.Partition("vfs")
    oserror(0x10D, part.writeblocks, 0, b"x" * 4096)
    oserror(0x10D, part.writeblocks, 0, b"x" * 4, 0)
    assert not part.info()[5]


def test_writing_what_runs_or_below_the_data_aborts_and_changes_nothing():
    flash, idf = fresh()
    ops = flash.ops
    raises(esp_idf.Abort, None, idf.Partition(idf.Partition.RUNNING).writeblocks, 0, b"x" * 4096)
    raises(esp_idf.Abort, None, idf.Partition("ota_0").ioctl, 6, 15)
    raises(esp_idf.Abort, None, idf.Partition("ota_0").writeblocks, 0, b"x" * 4, 0)
    low = table.Row(table.DATA, 0x40, 0x8000, 0x1000, "table", 0)
    raises(esp_idf.Abort, None, idf.erase, low, 0, 4096)
    assert flash.ops == ops and not issubclass(esp_idf.Abort, Exception)


def test_set_boot_names_the_slot_and_the_reset_enters_it():
    flash, idf = fresh()
    idf.Partition("ota_1").set_boot()
    assert state(flash) == [(1, VALID), (2, NEW)]
    assert idf.Partition(0).info()[4] == "ota_1" and idf.Partition(1).info()[4] == "ota_0"
    idf = reset(flash)
    assert idf.running == OTA_1 and state(flash)[1] == (2, PENDING)
    idf.Partition.mark_app_valid_cancel_rollback()
    assert state(flash) == [(1, VALID), (2, VALID)]
    ops = flash.ops
    idf.Partition.mark_app_valid_cancel_rollback()
    assert flash.ops == ops


def test_an_application_built_without_rollback_writes_undefined():
    flash, idf = fresh(options=NO_ROLLBACK)
    idf.Partition("ota_1").set_boot()
    assert state(flash)[1] == (2, otadata.UNDEFINED)


def test_set_boot_of_factory_erases_otadata():
    flash, idf = fresh((NVS, OTADATA, OTA_0, OTA_1, FACTORY))
    assert idf.running == FACTORY
    idf.Partition("ota_0").set_boot()
    assert state(flash) == [(1, NEW), None]
    idf.Partition("factory").set_boot()
    assert state(flash) == [None, None]
    oserror(-1, idf.Partition.mark_app_valid_cancel_rollback)


def test_a_table_without_otadata_says_not_found():
    flash = maker.both((NVS, FACTORY))
    idf = reset(flash)
    oserror(0x105, idf.Partition.mark_app_valid_cancel_rollback)
    oserror(0x105, idf.Partition("factory").set_boot)
    assert raises(OSError, None, idf.Partition, 0).args[0] == 2
    assert raises(OSError, None, idf.Partition("factory").get_next_update).args[0] == 2
    assert not idf.rollback_possible() and idf.last_invalid() is None


def test_set_boot_refuses_what_is_no_slot():
    _, idf = fresh()
    oserror(0x1503, idf.Partition("nvs").set_boot)
    _, idf = fresh((NVS, OTADATA, OTA_0, table.Row(0, 0x12, 0x20000, 0x10000, "ota_2", 0)))
    # The gap: ota_2 exists, and is not one of the slots.
    oserror(0x102, idf.Partition("ota_2").set_boot)


def test_next_update_goes_round_and_with_one_slot_stays():
    _, idf = fresh((NVS, OTADATA, OTA_0, OTA_1, FACTORY))
    assert idf.Partition("ota_0").get_next_update().info()[4] == "ota_1"
    assert idf.Partition("ota_1").get_next_update().info()[4] == "ota_0"
    assert idf.Partition("factory").get_next_update().info()[4] == "ota_0"
    _, idf = fresh((NVS, OTADATA, OTA_0))
    assert idf.Partition("ota_0").get_next_update().info()[4] == "ota_0"


def test_anti_rollback_erases_an_image_that_is_too_old():
    options = loader.Options(efuse=2)
    flash = maker.board(images=[(OTA_0, maker.image(secure_version=2)), (OTA_1, maker.image(secure_version=1))])
    idf = reset(flash, options=options)
    oserror(0x1504, idf.Partition("ota_1").set_boot)
    buf = bytearray(16)
    idf.Partition("ota_1").readblocks(0, buf)
    assert buf == b"\xff" * 16


def test_a_sequence_number_near_the_end_hangs_the_chip():
    flash, _ = fresh()
    flash.erase(OTADATA.offset, 4096)
    flash.prog(OTADATA.offset, otadata.encode(otadata.Entry(0xFFFFFFFE, VALID)))
    idf = reset(flash)
    assert idf.running == OTA_1
    raises(esp_idf.Abort, None, idf.Partition("ota_0").set_boot)


def test_begin_erases_what_was_asked_and_forgets_the_other_entry():
    flash, idf = fresh()
    idf.Partition("ota_1").set_boot()
    idf = reset(flash)
    assert idf.begin(OTA_0, 5000) == esp_idf.ROLLBACK_INVALID_STATE
    assert idf.begin(OTA_1) == esp_idf.PARTITION_CONFLICT and idf.begin(NVS) == esp_idf.INVALID_ARG
    idf.mark_valid()
    flash.trace = []
    assert idf.begin(OTA_0, 5000) == esp_idf.OK
    assert flash.trace == [("erase", 0x10000, 4096), ("erase", 0x11000, 4096), ("erase", 0xD000, 4096)]
    assert state(flash) == [None, (2, VALID)]
    flash.trace = []
    assert idf.begin(OTA_0, esp_idf.SEQUENTIAL) == esp_idf.OK and flash.trace == []


def test_mark_invalid_resets_into_the_other_image_where_there_is_one():
    flash, idf = fresh()
    assert idf.mark_invalid() == esp_idf.ROLLBACK_FAILED and not idf.rebooted
    idf.Partition("ota_1").set_boot()
    idf = reset(flash)
    assert idf.rollback_possible() and idf.mark_invalid() == esp_idf.OK and idf.rebooted
    assert state(flash) == [(1, VALID), (2, INVALID)]
    idf = reset(flash)
    assert idf.running == OTA_0 and idf.last_invalid() == OTA_1 and idf.state(OTA_1) == (esp_idf.OK, INVALID)


def test_nvs_lives_on_its_partition():
    flash, idf = fresh()
    idf.NVS("mpota").set_i32("n", 5)
    assert reset(flash).NVS("mpota").get_i32("n") == 5
    assert all(0x9000 <= off < 0xD000 for op, off, n in flash.trace if n not in (32, 4096) or off != 0xD000)
    _, idf = fresh((OTADATA, OTA_0, OTA_1))
    assert idf.NVS is None


def test_pitfall_1_confirming_after_set_boot_takes_the_trial_from_the_staged_image():
    flash, idf = fresh()
    idf.Partition("ota_1").set_boot()
    idf.Partition.mark_app_valid_cancel_rollback()
    # The entry in force is the staged one: it is marked, though ota_0 runs.
    assert state(flash) == [(1, VALID), (2, VALID)]
    assert [reset(flash).running for _ in range(2)] == [OTA_1, OTA_1]


def test_pitfall_2_an_update_while_on_trial_costs_the_only_way_back():
    flash, idf = fresh()
    idf.Partition("ota_1").set_boot()
    idf = reset(flash)
    idf.Partition("ota_0").set_boot()
    assert state(flash) == [(3, NEW), (2, PENDING)]
    assert reset(flash).running == OTA_0 and state(flash) == [(3, PENDING), (2, ABORTED)]
    assert reset(flash).running == OTA_0 and state(flash) == [(3, ABORTED), (2, ABORTED)]
    assert reset(flash).running == OTA_0


def test_pitfall_3_set_boot_of_the_slot_in_force_depends_on_the_version():
    after = {}
    for idf_version in ("5.5.2", "master"):
        flash, idf = fresh(idf=idf_version)
        idf.Partition("ota_1").set_boot()
        idf = reset(flash, idf_version)
        idf.Partition.mark_app_valid_cancel_rollback()
        idf.Partition("ota_1").set_boot()
        after[idf_version] = state(flash)
        assert reset(flash, idf_version).running == OTA_1
    # The older one writes the same number over the entry of ota_0, the way back; the newer one keeps that.
    assert after == {"5.5.2": [(2, NEW), (2, VALID)], "master": [(1, VALID), (2, NEW)]}


def test_pitfall_4_a_blind_confirm_blesses_an_image_that_never_ran():
    flash, idf = fresh()
    idf.Partition("ota_1").set_boot()
    flash.erase(OTA_1.offset, 4096)
    idf = reset(flash)
    assert idf.running == OTA_0 and idf.Partition(0).info()[4] == "ota_1"
    idf.Partition.mark_app_valid_cancel_rollback()
    assert state(flash)[1] == (2, VALID)
    assert reset(flash).running == OTA_0 and state(flash)[1] == (2, VALID)


def test_pitfall_7_set_boot_of_a_merged_image_fails_and_writes_nothing():
    for name in ("0608", "0831"):
        flash = maker.board(images=[(OTA_0, maker.image())])
        maker.put(flash, OTA_1.offset, maker.firmware(name)[:0x10000])
        idf = reset(flash)
        ops = flash.ops
        oserror(0x1503, idf.Partition("ota_1").set_boot)
        assert flash.ops == ops


def test_pitfall_8_a_slot_can_be_erased_a_sector_at_a_time():
    flash, idf = fresh()
    part = idf.Partition("ota_1")
    flash.trace = []
    for n in range(part.ioctl(4, 0)):
        part.ioctl(6, n)
    assert flash.trace == [("erase", 0x20000 + i * 4096, 4096) for i in range(16)]


def test_pitfall_9_an_old_bootloader_under_a_new_application_gives_no_protection():
    flash = maker.both()
    idf = esp_idf.Idf(flash, loader.boot(flash, NO_ROLLBACK).row)
    idf.Partition("ota_1").set_boot()
    for _ in range(3):
        row = loader.boot(flash, NO_ROLLBACK).row
        # The sign: NEW after a reset, while what runs is what otadata names.
        assert row == OTA_1 and state(flash)[1] == (2, NEW)
        assert esp_idf.Idf(flash, row).boot_partition() == row
