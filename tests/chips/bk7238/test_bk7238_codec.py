"""The RBL header, code in flash with its CRCs and scrambler, and the partition table."""

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store import coded, table
from mpota_boot.errors import FlashError
from mpota_host.sim.flash import SimFlash
from tests.expect import raises


def header(**changed):
    head = rbl.Header(rbl.MAGIC, 0x402, 1600000000, b"app", b"1.0.1", rbl.SERIAL, 1, 2, 3, 4)
    for name in changed:
        setattr(head, name, changed[name])
    return head


def test_a_header_comes_back_as_it_went():
    data = header().encode()
    head = rbl.Header.decode(data)
    assert len(data) == rbl.SIZE and head.encode() == data
    assert (head.name, head.version, head.cipher, head.compression) == (b"app", b"1.0.1", rbl.AES, rbl.LZMA)


def test_each_flipped_bit_makes_a_header_none():
    data = header().encode()
    for i in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[i >> 3] ^= 1 << (i & 7)
        assert rbl.Header.decode(wrong) is None, i


def test_erased_flash_is_no_header():
    assert rbl.Header.decode(b"\xff" * rbl.SIZE) is None
    assert rbl.Header.decode(bytes(rbl.SIZE)) is None


def test_fnv_is_fnv_in_pieces_too():
    # Published values of FNV-1a, 32 bits.
    for data, value in ((b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)):
        whole, pieces = rbl.Fnv(), rbl.Fnv()
        whole.update(data)
        for c in data:
            pieces.update(bytes((c,)))
        assert whole.value == pieces.value == value


def code(key=None):
    flash = SimFlash(0x22000, prog_size=1)
    return flash, coded.Coded(flash, 0x10000, 0x10000, key)


TUYA = (0x510FB093, 0xA3CBEADC, 0x5993A17E, 0xC7ADEB03)


def test_code_reads_back_at_any_offset_scrambled_or_not():
    data = bytes([i * i % 251 for i in range(3000)])
    for key in (None, TUYA, (0, 0, 0, 0)):
        flash, view = code(key)
        view.prog(64, data)
        for off, n in ((64, 3000), (65, 1), (95, 2), (63, 40), (1087, 1026), (3063, 1)):
            buf = bytearray(n)
            view.read(off, buf)
            want = (bytes([0xFF] * 64) + data)[off : off + n]
            # What is erased is not scrambled; only its end is looked at.
            assert bytes(buf[max(0, 64 - off) :]) == want[max(0, 64 - off) :], (key, off, n)
        assert view.bad == 0
        raw = bytearray(32)
        flash.read(0x11000 + 68, raw)
        assert (bytes(raw) == data[:32]) == (key != TUYA)


def test_each_flipped_bit_of_code_is_counted():
    flash, view = code()
    view.prog(0, bytes(range(32)))
    raw = bytearray(34)
    flash.read(0x11000, raw)
    for i in range(8 * 34):
        wrong = bytearray(raw)
        wrong[i >> 3] ^= 1 << (i & 7)
        assert coded.gather(coded.TABLE, wrong, bytearray(32), 1) == 1, i
    assert coded.gather(coded.TABLE, b"\xff" * 34, bytearray(32), 1) == 0


def test_code_that_leaves_its_partition_is_refused_before_anything_changes():
    flash, view = code()
    for call in (
        lambda: view.read(0x10000, bytearray(1)),
        lambda: view.prog(0x10000, b"x"),
        lambda: view.prog(1, b"x"),
        lambda: view.erase(0xFFFF, 2),
        lambda: coded.Coded(flash, 0x10000, 0x1000),
    ):
        raises(FlashError, "bounds", call)
    assert flash.ops == 0


def test_an_erase_takes_every_sector_that_it_touches_and_no_other():
    for off, n, sectors in ((0, 1, 1), (0, 3840, 1), (0, 3872, 2), (0x10000 - 96, 96, 1), (0, 0x10000, 17)):
        flash, view = code()
        view.erase(off, n)
        hit = [i for i, wear in enumerate(flash.wear) if wear]
        assert len(hit) == sectors and hit[0] >= 17 and hit[-1] < 34, (off, n, hit)


def test_a_code_partition_is_clean_until_a_bit_turns_over():
    flash, view = code()
    view.prog(0, bytes(5000))
    assert view.clean(lambda: None)
    flash.cells.put(0x11000 + 4500, b"\x01")
    assert not view.clean(lambda: None)


def test_a_worn_cell_behind_the_code_does_not_make_it_unclean():
    # The code ends inside a KiB, with one, and with the partition.
    for n in (5000, 4096, 0x10000):
        for at in (0, 33, 34, 1087, 1088):
            flash, view = code()
            view.prog(0, bytes(n))
            behind = 0x11000 + (n + 31) // 32 * 34 + at
            if behind < 0x22000:
                flash.cells.put(behind, b"\xef")
            assert view.clean(lambda: None), (n, at)
            flash.cells.put(behind - at - 40, b"\xef")
            assert not view.clean(lambda: None), (n, at)


def test_the_table_is_found_in_the_loaders_image_wherever_it_ends():
    rows = table.entries(0x200000)
    assert rows[b"download"].offset + rows[b"download"].size == table.RADIO[0x200000]
    for at in (0, 959, 1000, 5000, 16384 - 192):
        flash = SimFlash(16384, prog_size=1)
        flash.prog(at, b"".join([rows[name].encode() for name in rows]))
        found = table.find(flash, bytearray(1024))
        assert set(found) == set(rows), at
        assert [name for name in rows if found[name] != rows[name]] == []


def test_each_flipped_bit_makes_an_entry_none_and_a_blank_image_has_no_table():
    data = table.entries(0x400000)[b"app"].encode()
    assert len(data) == table.SIZE and table.Entry.decode(data).code
    for i in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[i >> 3] ^= 1 << (i & 7)
        assert table.Entry.decode(wrong) is None, i
    assert table.find(SimFlash(16384), bytearray(1024)) == {}
