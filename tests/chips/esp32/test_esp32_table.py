"""The partition table: the tool's own bytes, the seal, the end, and where application and bootloader disagree."""

import json

from mpota.layout.esp32 import table
from mpota_boot.errors import Refused
from mpota_host.sim.flash import SimFlash
from tests.chips.esp32.image_maker import NVS, OTA_0, OTA_1, OTADATA, ROOT, put
from tests.expect import raises

CHIP = 0x1000000


class Rom:
    """A flash chip of 16 MiB of which only the table is there to be read."""

    size = CHIP

    def __init__(self, data):
        self.data = data + b"\xff" * (table.AREA - len(data))

    def read(self, off, buf):
        off -= table.OFFSET
        buf[:] = self.data[off : off + len(buf)]


def vectors():
    with open(ROOT + "/tests/vectors/esp32_partition_tables.json") as f:
        found = json.load(f)["tables"]
    assert len(found) >= 7
    return found


def refused(data, as_bootloader=False):
    return str(raises(Refused, "table", table.decode, Rom(data), table.OFFSET, as_bootloader))


def sealed():
    return table.encode([NVS, OTADATA, OTA_0, OTA_1])


def test_the_tools_tables_decode_to_their_rows_and_encode_to_their_bytes():
    for name, case in vectors().items():
        raw = bytes.fromhex(case["hex"])
        for as_bootloader in (False, True):
            rows = table.decode(Rom(raw), table.OFFSET, as_bootloader)
            assert [list(row) for row in rows] == case["entries"], name
        made = table.encode(rows)
        assert made[: len(raw)] == raw and len(made) == table.AREA, name
        assert made[len(raw) :] == b"\xff" * (table.AREA - len(raw)), name


def test_every_flipped_bit_of_rows_and_seal_is_refused_by_both_readers():
    raw = sealed()
    end = 5 * table.SIZE
    for i in range(end):
        for bit in range(8):
            bad = raw[:i] + bytes((raw[i] ^ 1 << bit,)) + raw[i + 1 :]
            # The fourteen bytes after EB EB are read by nobody.
            if 4 * table.SIZE + 2 <= i < 4 * table.SIZE + 16:
                continue
            refused(bad)
            refused(bad, True)


def test_only_the_bootloader_takes_a_table_without_a_seal():
    raw = sealed()[: 4 * table.SIZE]
    assert len(table.decode(Rom(raw), table.OFFSET, True)) == 4
    assert "no MD5 row" in refused(raw)


def test_an_empty_table_is_refused():
    assert "0 partition rows" in refused(b"")
    assert "starts with ffff, wanted 50aa" in refused(b"", True)


def test_rows_after_the_seal_count_for_the_bootloader_alone():
    raw = sealed()
    extra = table.encode([table.Row(table.APP, 0x12, 0x30000, 0x10000, "ota_2", 0)])[: table.SIZE]
    raw = raw[: 5 * table.SIZE] + extra
    assert len(table.decode(Rom(raw))) == 4
    assert len(table.decode(Rom(raw), table.OFFSET, True)) == 5


def test_the_bootloader_refuses_a_row_that_is_neither():
    raw = sealed()[: 5 * table.SIZE] + b"\0" * table.SIZE
    assert len(table.decode(Rom(raw))) == 4
    assert "row 5 starts with 0000" in refused(raw, True)


def test_a_second_seal_is_refused_by_the_bootloader():
    raw = sealed()[: 5 * table.SIZE]
    refused(raw + raw[4 * table.SIZE :], True)


def test_ninety_six_rows_without_end_are_refused_by_the_bootloader():
    row = sealed()[: table.SIZE]
    assert "no end in 96 rows" in refused(row * 96, True)
    assert len(table.decode(Rom(row * 95), table.OFFSET, True)) == 95


def test_a_row_that_leaves_the_flash_is_refused():
    raw = table.encode([table.Row(table.APP, 0x10, CHIP - 0x1000, 0x2000, "ota_0", 0)])
    assert "ends at 0x1001000, the flash at 0x1000000" in refused(raw)
    refused(table.encode([table.Row(table.APP, 0x10, 0xFFFFF000, 0x2000, "ota_0", 0)]))


def test_a_label_may_fill_its_field_and_no_more():
    row = table.Row(table.DATA, 0x81, 0x10000, 0x1000, "sixteen_letters_", 0)
    assert table.decode(Rom(table.encode([row]))) == [row]
    long = table.Row(table.DATA, 0x81, 0x10000, 0x1000, "seventeen_letters", 0)
    raises(Refused, "table", table.encode, [long])


def test_a_label_that_is_no_text_is_refused():
    raw = sealed()
    assert "not text" in refused(raw[:12] + b"\xff\xfe\xfd\0" + raw[16:])


def test_more_rows_than_fit_are_refused():
    raises(Refused, "table", table.encode, [NVS] * 95)
    assert len(table.encode([NVS] * 94)) == table.AREA


def test_a_gap_ends_the_slots_of_the_application_but_not_the_bootloaders_count():
    gap = [OTA_0, table.Row(table.APP, 0x12, 0x30000, 0x10000, "ota_2", 0)]
    assert table.slots(gap) == [OTA_0]
    assert table.app_count(gap) == 2
    assert table.slots([OTA_1, OTA_0]) == [OTA_0, OTA_1]
    full = [table.Row(table.APP, 0x10 + i, 0x10000, 0x1000, "", 0) for i in range(17)]
    assert len(table.slots(full)) == table.app_count(full) == 16


def test_places_are_named_by_subtype_not_by_label():
    rows = [
        table.Row(*entry)
        for entry in vectors()["ARDUINO_NANO_ESP32/partitions-app3M_fat9M_fact512k_16MiB.csv"]["entries"]
    ]
    names = [(table.name(row), row.label) for row in rows if row.type == table.APP]
    assert names == [("ota_0", "app0"), ("ota_1", "app1"), ("factory", "factory")]
    assert table.name(table.Row(table.APP, table.TEST, 0, 0, "x", 0)) == "test"
    assert table.find(rows, table.APP, 0x15) is None


def test_a_table_is_read_from_a_simulated_flash():
    flash = SimFlash(0x30000)
    put(flash, table.OFFSET, sealed())
    assert table.decode(flash) == [NVS, OTADATA, OTA_0, OTA_1]
