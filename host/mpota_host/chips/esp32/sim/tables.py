"""The partition tables that MicroPython ships for the ESP32, as (flash size, rows) by name.

A row is (type, subtype, offset, size, label, flags), in the order of MicroPython's partitions-*.csv. The file system of
most of them is not a row: MicroPython takes the flash behind the last one.
"""

Row = tuple[int, int, int, int, str, int]

MIB = 1 << 20


def _rows(nvs: int, *apps: Row) -> list[Row]:
    """The rows that most tables begin with; with two applications otadata lies between nvs and phy_init."""
    rows: list[Row] = [(1, 2, 0x9000, nvs, "nvs", 0)]
    if len(apps) > 1:
        rows.append((1, 0, 0xD000, 0x2000, "otadata", 0))
    return [*rows, (1, 1, 0xF000, 0x1000, "phy_init", 0), *apps]


def _two(slot: int) -> list[Row]:
    return _rows(0x4000, (0, 16, 0x10000, slot, "ota_0", 0), (0, 17, 0x10000 + slot, slot, "ota_1", 0))


TABLES: dict[str, tuple[int, list[Row]]] = {
    "2MiB": (2 * MIB, _rows(0x6000, (0, 0, 0x10000, 0x160000, "factory", 0))),
    "4MiBplus": (4 * MIB, _rows(0x6000, (0, 0, 0x10000, 0x1F0000, "factory", 0))),
    "4MiB-ota": (4 * MIB, _two(0x180000)),
    "8MiBplus-ota": (8 * MIB, _two(0x270000)),
    "8MiB-ota": (8 * MIB, _two(0x200000)),
    "arduino-nano": (
        16 * MIB,
        [
            (1, 2, 0x9000, 0x5000, "nvs", 0),
            (1, 0, 0xE000, 0x2000, "otadata", 0),
            (0, 16, 0x10000, 0x300000, "app0", 0),
            (0, 17, 0x310000, 0x300000, "app1", 0),
            (1, 0x81, 0x610000, 0x960000, "ffat", 0),
            (0, 0, 0xF70000, 0x80000, "factory", 0),
            (1, 3, 0xFF0000, 0x10000, "coredump", 0),
        ],
    ),
}
