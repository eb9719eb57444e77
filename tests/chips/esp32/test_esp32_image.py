"""Images: what is refused by its first bytes and what instead, the length, and the bootloader's whole check."""

import struct

from mpota.layout.esp32 import image
from mpota.layout.esp32.loader import verify
from mpota_boot.errors import Corrupt, OtaError, Refused
from tests.chips.esp32 import image_maker as maker
from tests.expect import raises


class Rom:
    """Bytes to be read, and how often they were."""

    def __init__(self, data, size=None):
        self.data = bytes(data) + b"\xff" * ((size or 0) - len(data))
        self.size = len(self.data)
        self.reads = 0

    def read(self, off, buf):
        assert off + len(buf) <= self.size
        self.reads += 1
        buf[:] = self.data[off : off + len(buf)]


def judged(code, data, chip=0, total=0):
    text = str(raises(Refused, code, image.judge, data, chip, total))
    assert code == "chip" or "micropython.bin" in text, text
    return text


def test_what_is_no_application_is_refused_and_the_text_says_what_to_give():
    judged("empty", b"")
    judged("html", b"<!DOCTYPE html><html>")
    judged("html", b"\r\n  <html><head>")
    judged("text", b"# MicroPython\nimport machine\n")
    judged("blank", b"\xff" * 4096)
    judged("magic", b"\x7fELF\x01\x01\x01" + b"\0" * 60)
    judged("tiny", b"\xe9\x01")
    judged("magic", b"\0")


def test_an_application_for_this_chip_passes_with_as_few_bytes_as_judge_needs():
    image.judge(maker.image()[: image.NEEDS], 0)
    raises(Refused, "tiny", image.judge, maker.image()[: image.NEEDS - 1], 0)


def test_another_chips_image_is_refused_with_both_names():
    text = judged("chip", maker.image(chip=9), 0)
    assert "ESP32-S3" in text and text.endswith("is ESP32")
    assert "ESP32-number 77" in judged("chip", maker.image(chip=77), 5)


def test_pitfall_7_merged_images_and_bootloaders_are_named_as_such():
    for name in ("0608", "0831"):
        data = maker.firmware(name)
        assert "merged" in judged("merged", data[:0x7010])
        # A first chunk is too short for the table; the size tells.
        judged("merged", data[:4096], 0, len(data))
        judged("bootloader", data[:4096], 0, 0x5000)
        image.judge(data[maker.APP_IN_MERGED :][:4096], 0, len(data))


def test_a_real_image_walks_in_a_few_reads_and_verifies():
    for name, length in (("0608", 1427216), ("0831", 1495344)):
        app = maker.firmware(name)[maker.APP_IN_MERGED :]
        rom = Rom(app, 0x180000)
        assert image.walk(rom) == length
        assert rom.reads <= 17
        assert verify.verify(rom, 0) == length
        found = verify.desc(rom)
        assert found.idf.startswith("v4.") and found.secure_version == 0 and len(found.elf_sha256) == 32


def test_a_real_image_with_any_flipped_bit_is_refused():
    app = bytearray(maker.firmware("0608")[maker.APP_IN_MERGED :])
    # Header, first data, the middle, the checksum, the hash: one bit each.
    for off in (4, 30, 0x100, 700_001, len(app) - 33, len(app) - 32, len(app) - 1):
        app[off] ^= 0x10
        raises(OtaError, None, verify.verify, Rom(app), 0)
        app[off] ^= 0x10
    verify.verify(Rom(app), 0)


def test_every_byte_of_a_small_image_counts():
    data = maker.image()
    for i in range(len(data)):
        bad = data[:i] + bytes((data[i] ^ 1,)) + data[i + 1 :]
        if i == 23:
            continue  # hash_appended 0: the hash is then bytes behind the image
        raises(OtaError, None, verify.verify, Rom(bad, 8192), 0)


def test_without_an_appended_hash_only_the_checksum_protects():
    data = maker.image(hashed=0)
    assert verify.verify(Rom(data, 8192)) == len(data)
    assert not verify.head(data).hashed
    bad = data[:100] + bytes((data[100] ^ 1,)) + data[101:]
    assert "checksum" in str(raises(Corrupt, "checksum", verify.verify, Rom(bad, 8192)))
    # Two changes that cancel out pass: this is the format, not a fault of the check.
    cancel = data[:100] + bytes((data[100] ^ 1, data[101] ^ 1)) + data[102:]
    assert verify.verify(Rom(cancel, 8192)) == len(data)


def test_the_appended_hash_is_compared():
    data = maker.image()
    raises(Corrupt, "sha256", verify.verify, Rom(data[:-1] + bytes((data[-1] ^ 1,)), 8192))


def test_bytes_behind_the_image_are_ignored():
    data = maker.image()
    assert verify.verify(Rom(data + b"anything at all, of any length", 8192), 0) == len(data) == image.walk(Rom(data))


def test_pitfall_10_an_image_longer_than_its_slot_is_refused_with_both_lengths():
    data = maker.image(body=b"\x11" * 8192)
    assert image.walk(Rom(data)) == len(data)
    text = str(raises(Corrupt, "image", image.walk, Rom(data[:8192])))
    assert "%d bytes in 8192" % len(data) in text
    raises(Corrupt, "image", image.walk, Rom(data[:-1]))
    raises(Corrupt, "image", verify.verify, Rom(data[:-1]))


def test_an_image_longer_than_what_the_package_brought_is_refused():
    data = maker.image()
    rom = Rom(data, 8192)
    assert image.walk(rom, len(data)) == len(data)
    text = str(raises(Corrupt, "image", image.walk, rom, len(data) - 1))
    assert "%d bytes in %d" % (len(data), len(data) - 1) in text


def test_headers_that_do_not_hang_together_are_refused():
    data = maker.image()

    def walk(bad):
        rom = Rom(bad, 8192)
        raises(Corrupt, "image", image.walk, rom)
        raises(Corrupt, "image", verify.verify, rom)
        return rom

    walk(b"\xe8" + data[1:])
    walk(data[:1] + b"\x00" + data[2:])
    walk(data[:1] + b"\x11" + data[2:])
    walk(data[:28] + struct.pack("<I", 17) + data[32:])
    walk(data[:28] + struct.pack("<I", 1 << 24) + data[32:])
    # A segment that ends where no other head fits, on the last line of the partition.
    rom = walk(data[:1] + b"\x02" + data[2:28] + struct.pack("<I", 8192 - 32 - 4) + data[32:])
    assert rom.reads < 17
    raises(Corrupt, "image", verify.head, b"\0" * 24)
    raises(Corrupt, "image", verify.head, b"\xe9\x20" + b"\0" * 22)


def test_chip_and_revision_are_held_against_the_header():
    data = maker.image(chip=5)
    rom = Rom(data)
    assert verify.verify(rom, 5) == verify.verify(rom) == verify.verify(rom, 5, 301)
    text = str(raises(Refused, "chip", verify.verify, rom, 0))
    assert "ESP32-C3" in text
    data = data[:15] + struct.pack("<HH", 100, 199) + data[19:]
    fixed = data[:-32] + maker.sha256(data[:-32]).digest()
    assert verify.verify(Rom(fixed), 5, 150)
    raises(Refused, "chip", verify.verify, Rom(fixed), 5, 99)
    raises(Refused, "chip", verify.verify, Rom(fixed), 5, 200)


def test_a_mapped_segment_must_lie_at_its_place_in_the_page():
    at = 24 + 8 + 256 + 64 + 8
    good = maker.image(segments=[(0x400D0000 + at, b"\1" * 32)])
    assert verify.verify(Rom(good, 8192), 0)
    bad = maker.image(segments=[(0x400D0000 + at + 16, b"\1" * 32)])
    assert "page" in str(raises(Corrupt, "image", verify.verify, Rom(bad, 8192), 0))
    ram = maker.image(segments=[(0x40080400, b"\1" * 32)])
    assert verify.verify(Rom(ram, 8192), 0)


def test_a_segment_in_the_bootloaders_own_memory_is_refused():
    for name in ("0608", "0831"):
        front = Rom(maker.firmware(name)[:0x10000])
        assert image.walk(front) < 0x7000
        assert "overlaps the bootloader" in str(raises(Corrupt, "image", verify.verify, front, 0))
    for address in (0x3FFF0000 - 32, 0x40080000 - 4):
        rom = Rom(maker.image(segments=[(address, b"\1" * 64)]), 8192)
        raises(Corrupt, "image", verify.verify, rom, 0)
    assert verify.verify(Rom(maker.image(segments=[(0x3FFF0000 - 64, b"\1" * 64)]), 8192), 0)


def test_the_description_is_read_and_its_absence_said():
    assert verify.desc(Rom(maker.image(secure_version=3))).secure_version == 3
    raises(Corrupt, "image", verify.desc, Rom(b"\xe9" + b"\0" * 300))


def test_fold_is_the_xor_of_all_bytes():
    for n in (0, 1, 2, 3, 4, 5, 31, 100, 4095, 4096):
        data = bytes((i * 7 + i // 256) & 0xFF for i in range(n))
        xor = 0
        for c in data:
            xor ^= c
        assert verify.fold(data) == xor, n
