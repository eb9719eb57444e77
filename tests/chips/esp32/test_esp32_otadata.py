"""otadata entries: known crcs, every bit flipped, which one is in force, and the next number."""

import struct

from mpota.layout.esp32 import loader, otadata
from mpota_boot.errors import Refused
from mpota_host.chips.esp32.sim import esp_idf
from mpota_host.sim.flash import SimFlash
from tests.chips.esp32.image_maker import put
from tests.expect import raises


def test_known_crcs():
    assert otadata.seal(1) == 0x4743989A
    assert otadata.seal(2) == 0x55F63774


def test_an_entry_comes_back_with_its_label_and_a_wrong_crc():
    raw = struct.pack("<I20sII", 7, b"carried over for ev.", otadata.VALID, 0x12345678)
    entry = otadata.decode(raw)
    assert otadata.encode(entry) == raw
    assert not loader.sealed(entry) and not entry.valid()
    assert otadata.encode(otadata.Entry(1, otadata.VALID)) == b"\1\0\0\0" + b"\xff" * 20 + b"\2\0\0\0\x9a\x98\x43\x47"


def test_every_flipped_bit_of_seq_and_crc_is_refused():
    raw = otadata.encode(otadata.Entry(5, otadata.VALID))
    for i in list(range(4)) + list(range(28, 32)):
        for bit in range(8):
            entry = otadata.decode(raw[:i] + bytes((raw[i] ^ 1 << bit,)) + raw[i + 1 :])
            assert not entry.valid(), (i, bit)


def test_state_and_label_are_not_covered_by_the_crc():
    raw = otadata.encode(otadata.Entry(5, otadata.VALID))
    for i in range(4, 28):
        entry = otadata.decode(raw[:i] + bytes((raw[i] ^ 0x40,)) + raw[i + 1 :])
        assert loader.sealed(entry) and entry.valid()


def test_a_blank_entry_is_never_valid_even_with_its_crc():
    blank = otadata.decode(b"\xff" * otadata.SIZE)
    for entry in (blank, otadata.Entry(otadata.BLANK, otadata.VALID)):
        assert loader.blank(entry) and loader.dead(entry) and not entry.valid()


def test_failed_states_are_dead_and_unknown_ones_boot():
    for state in (otadata.INVALID, otadata.ABORTED):
        assert loader.dead(otadata.Entry(1, state))
    for state in (otadata.NEW, otadata.PENDING, otadata.VALID, otadata.UNDEFINED, 7, 0x80000000):
        assert otadata.Entry(1, state).valid()


def test_the_larger_number_is_in_force_and_the_first_in_a_tie():
    def entry(seq, state=otadata.VALID):
        return otadata.Entry(seq, state)

    assert otadata.active(entry(1), entry(2)) == 1
    assert otadata.active(entry(3), entry(2)) == 0
    assert otadata.active(entry(2), entry(2)) == 0
    # Unsigned, and no wrap: a huge number stays in force.
    assert otadata.active(entry(0xFFFFFFFE), entry(1)) == 0
    assert otadata.active(entry(9, otadata.ABORTED), entry(2)) == 1
    assert otadata.active(entry(9), otadata.decode(b"\xff" * 32)) == 0
    assert otadata.active(entry(9, otadata.INVALID), otadata.Entry(4, otadata.VALID, crc=0)) == -1


def test_slots_wrap_as_thirty_two_bits_do():
    assert [otadata.Entry(seq, 2).slot(3) for seq in (1, 2, 3, 4)] == [0, 1, 2, 0]
    assert otadata.Entry(0, 2).slot(16) == 15
    assert otadata.Entry(0, 2).slot(3) == 0xFFFFFFFF % 3


def test_the_next_number_is_the_least_that_names_the_slot():
    for n in (1, 2, 3, 5, 16):
        for slot in range(n):
            for seq in range(1, 40):
                got = esp_idf.next_seq(seq, slot, n)
                assert got >= seq and (got - 1) % n == slot and got - seq < n, (seq, slot, n, got)


def test_next_number_near_the_end_is_refused_and_does_not_spin():
    assert esp_idf.next_seq(0xFFFFFFFC, 0, 2) == 0xFFFFFFFD
    assert esp_idf.next_seq(0xFFFFFFFD, 1, 2) == 0xFFFFFFFE
    text = str(raises(Refused, "sequence", esp_idf.next_seq, 0xFFFFFFFE, 0, 2))
    assert "4294967294" in text
    raises(Refused, "sequence", esp_idf.next_seq, 0xFFFFFFFE, 0, 16)


def test_both_entries_are_read_from_their_sectors():
    flash = SimFlash(2 * otadata.SECTOR)
    put(flash, otadata.SECTOR, otadata.encode(otadata.Entry(4, otadata.NEW)))
    a, b = otadata.read(flash)
    assert loader.blank(a) and (b.seq, b.state) == (4, otadata.NEW)
    assert otadata.active(a, b) == 1
