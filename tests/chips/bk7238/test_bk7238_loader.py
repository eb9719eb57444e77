"""The BK7238 loader: what it installs, what it refuses before any erase, and what a cut or a bad flash leaves.

The vendor's own results are in replay.py; here are the gates around the copier, and where it is safer.
"""

from mpota.layout.bk7238 import loader, rbl
from mpota.layout.bk7238.loader import copier
from mpota.layout.bk7238.store import table
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.sim.flash import PowerCut, SimFlash
from tests.chips.bk7238.rbl_maker import application, gzipped, linked, made, package

SETTINGS = {"product": "lamp"}
OLD, NEW = application(5003, 1), application(9001, 2)


def chip(staged=b"", old=OLD):
    """A chip that runs `old`, with bytes in `download`."""
    it = sim.Chip(SETTINGS, None)
    it.write_loader()
    it.write(old)
    if staged:
        it.part(b"download").prog(0, staged)
    it.flash.flash.trace = []
    return it


def erased(it):
    return [op for op, off, n in it.flash.flash.trace if op == "erase"]


def refuses(staged, code, word="", old=OLD):
    """The loader does nothing to the flash, says why, and starts what was there."""
    it = chip(staged, old)
    got = it.boot()
    assert (got.code, got.starts) == (code, True), (got.code, got.why)
    assert word in got.why, got.why
    assert not it.flash.flash.trace and it.image(len(old)) == old


def test_a_package_is_installed_its_header_saved_and_its_place_freed():
    for algo in (rbl.AES, rbl.AES | rbl.GZIP):
        staged = package(NEW, algo)
        it = chip(staged)
        got = it.boot()
        assert (got.code, got.starts) == (copier.DONE, True), got.why
        assert it.image(len(NEW)) == NEW
        assert loader.saved(it.part(b"app"))[0] == staged[: rbl.SIZE]
        assert loader.staged(it.part(b"download"))[1] is None
        it.flash.flash.trace = []
        again = it.boot()
        assert again.code == copier.NONE and again.starts and not it.flash.flash.trace


def test_a_chip_with_coefficients_runs_what_was_scrambled():
    it = sim.Chip(SETTINGS, None)
    it.scrambler = (0x510FB093, 0xA3CBEADC, 0x5993A17E, 0xC7ADEB03)
    it.write_loader()
    it.write(OLD)
    assert it.boot().starts
    it.part(b"download").prog(0, package(NEW))
    assert it.boot().code == copier.DONE and it.image(len(NEW)) == NEW


def test_nothing_staged_or_a_torn_header_is_no_upgrade():
    refuses(b"", copier.NONE, "nothing")
    refuses(bytes((0,)) + package(NEW)[1:], copier.NONE, "nothing")


def test_the_same_package_again_is_a_no_op_and_an_older_one_installs():
    it = chip(package(NEW))
    assert it.boot().code == copier.DONE
    it.part(b"download").erase(0, 0x4000)
    it.part(b"download").prog(0, package(NEW))
    it.flash.flash.trace = []
    got = it.boot()
    assert got.code == copier.NONE and "installed" in got.why and not it.flash.flash.trace
    it.part(b"download").erase(0, 0x4000)
    it.part(b"download").prog(0, package(OLD, version=b"0.9"))
    assert it.boot().code == copier.DONE and it.image(len(OLD)) == OLD


def test_the_bootloader_is_never_replaced_and_other_names_need_a_partition():
    refuses(package(NEW, name=b"bootloader"), copier.CHECK, "bootloader")
    refuses(package(NEW, name=b"nobody"), copier.GENERAL, "nobody")
    refuses(package(NEW, name=b"download"), copier.GENERAL, "download")


def test_a_package_in_plain_is_refused():
    refuses(package(NEW, 0), copier.CHECK, "encrypted")


def test_a_wrong_body_crc_is_refused():
    staged = bytearray(package(NEW))
    staged[-1] ^= 1
    refuses(bytes(staged), copier.CHECK, "CRC")


def test_sizes_below_the_loops_of_the_vendors_loader_are_refused_before_anything_is_read():
    refuses(package(application(127)), copier.CHECK, "127")
    refuses(package(NEW, body=16), copier.CHECK, "16 of body")
    refuses(package(NEW, body=0xAE000), copier.CHECK)
    assert chip(package(application(128))).boot().code == copier.DONE


def test_what_does_not_fit_the_application_or_cannot_be_decoded_is_refused():
    refuses(package(NEW, raw=0x110000 - 95), copier.CHECK)
    for algo in (rbl.QUICKLZ, rbl.FASTLZ):
        refuses(package(NEW, algo | rbl.AES), copier.ALGORITHM)


def test_a_size_that_lies_is_refused_in_the_first_pass():
    for more in (-100, -1, 1, 100):
        fnv = rbl.Fnv()
        fnv.update(NEW[: len(NEW) + more])
        for algo in (rbl.AES, rbl.AES | rbl.GZIP):
            it = chip(package(NEW, algo, raw=len(NEW) + more, hash=fnv.value))
            assert it.boot().code in (copier.CHECK, copier.VERIFY) and not erased(it), more


def test_a_wrong_hash_key_or_iv_is_refused_in_the_first_pass():
    refuses(package(NEW, hash=1), copier.VERIFY)
    for secret in ((b"F" * 32, rbl.IV), (rbl.KEY, b"F" * 16)):
        for algo in (rbl.AES, rbl.AES | rbl.GZIP):
            it = chip(package(NEW, algo))
            it.secret = secret
            got = it.boot()
            assert got.code in (copier.VERIFY, copier.CHECK) and got.starts and not erased(it)


def test_an_image_with_crcs_or_linked_elsewhere_is_refused():
    flash = sim.Chip(SETTINGS, None)
    flash.write(NEW)
    raw = bytearray(9010 // 32 * 34)
    flash.flash.read(0x11000, raw)
    refuses(package(bytes(raw)), copier.VERIFY)
    for word in (0xFFFF, 0x120001, 0):
        refuses(package(linked(NEW, word)), copier.VERIFY)
    for word in (0x10000, 0x120000):
        assert chip(package(linked(NEW, word))).boot().code == copier.DONE


def test_what_only_our_own_packages_have_of_lzma_is_no_lzma_of_this_family():
    """Props that say "plain bytes follow", and a range coder whose first byte is not 0."""
    for props, first in ((255, 0), (225, 0), (0x5D, 1)):
        stream = bytes((props, 0, 0, 1, 0)) + b"\xff" * 8 + bytes((first,)) + NEW
        head, body = made(NEW, stream, rbl.AES | rbl.LZMA)
        refuses(head.encode() + body, copier.VERIFY)


def test_an_image_that_fills_its_partition_up_to_the_header_is_installed_and_one_byte_more_is_not():
    rows = {
        b"bootloader": table.Entry(b"bootloader", table.CODE, 0, 0x10000),
        b"app": table.Entry(b"app", table.CODE, 0x10000, 0x10000),
        b"download": table.Entry(b"download", table.DATA, 0x22000, 0x11000),
    }
    most = 0x10000 - rbl.SIZE
    for size, algo in ((most, rbl.AES), (most - 1, rbl.AES | rbl.GZIP), (most + 1, rbl.AES)):
        image = application(size, 2)
        staged = package(image, algo)
        it = sim.Chip(SETTINGS, None, None, rows, 0x33000)
        it.write_loader()
        it.write(OLD)
        it.part(b"download").prog(0, staged)
        got = it.boot()
        assert got.starts and got.code == (copier.CHECK if size > most else copier.DONE), (size, got.why)
        if size <= most:
            assert it.image(size) == image and loader.saved(it.part(b"app"))[0] == staged[: rbl.SIZE]


def test_a_package_that_fills_download_to_the_last_byte_is_installed():
    rows = table.entries(sim.SIZE)
    rows[b"download"] = table.Entry(b"download", table.DATA, 0x1DB000, 0x5000)
    image = application(0x5000 - rbl.SIZE - 1, 2)
    staged = package(image)
    assert len(staged) == 0x5000
    it = sim.Chip(SETTINGS, None, None, rows)
    it.write_loader()
    it.write(OLD)
    it.part(b"download").prog(0, staged)
    assert it.boot().code == copier.DONE and it.image(len(image)) == image


def test_padding_of_any_packer_is_read_as_the_vendors_loader_does():
    # Nobody padded, and what ends the image does not look like it.
    image = application(4096, 3)[:-1] + b"\x55"
    head, body = made(image, image, rbl.AES, pad=False)
    it = chip(head.encode() + body)
    assert it.boot().code == copier.DONE and it.image(4096) == image
    # It does look like it: the hash says no, as there.
    image = image[:-1] + b"\x01"
    head, body = made(image, image, rbl.AES, pad=False)
    refuses(head.encode() + body, copier.VERIFY)


def test_memory_that_does_not_suffice_and_parts_that_cannot_be_read_have_codes():
    it = chip(package(NEW))
    parts = {name: it.part(name) for name in it.theirs}
    head = loader.staged(parts[b"download"])[1]
    options = loader.Options(parts)
    keep = copier.Unpacker

    def dry(*_):
        raise MemoryError

    copier.Unpacker = dry
    try:
        assert loader.copy(parts[b"download"], head, parts[b"app"], options) == (copier.MEMORY, False)
    finally:
        copier.Unpacker = keep
    head.raw = 0xAF000
    head.body = 0xAE001
    assert loader.copy(parts[b"download"], head, parts[b"app"], options) == (copier.READ, False)
    assert loader.boot(loader.Options({})).code == copier.GENERAL
    assert loader.boot(loader.Options({b"app": parts[b"app"]})).code == copier.CHECK


def test_an_application_that_rotted_is_not_started():
    for staged in (b"", package(NEW)):
        it = chip(staged)
        it.boot()
        cell = it.flash.flash.cells
        cell.put(0x11000 + 700, bytes((cell.get(0x11000 + 700, 1)[0] ^ 4,)))
        assert not it.boot().starts


def test_an_application_that_came_by_wire_over_an_old_header_is_started():
    it = chip(package(NEW))
    assert it.boot().code == copier.DONE
    # A flashing tool erases what it writes, not the header far behind it.
    app = it.part(b"app")
    app.erase(0, len(OLD))
    app.prog(0, OLD)
    assert loader.saved(app)[1] is not None and it.boot().starts and it.image(len(OLD)) == OLD


class Bad(sim.Wire):
    """A flash of which some operations fail, or do nothing."""

    def __init__(self, flash, op, numbers):
        super().__init__(flash)
        self.op = op
        self.numbers = numbers
        self.n = 0

    def _fails(self, op):
        if op == self.op:
            self.n += 1
            if self.n in self.numbers:
                raise sim.FlashError("flash", "worn")

    def read(self, off, buf):
        self._fails("read")
        super().read(off, buf)

    def prog(self, off, buf):
        self._fails("prog")
        super().prog(off, buf)

    def erase(self, off, n):
        self._fails("erase")
        super().erase(off, n)


def test_a_flash_that_fails_once_is_tried_again_and_one_that_fails_for_good_starts_nothing():
    for op, most in (("erase", 4), ("prog", 11)):
        for i in range(1, most + 1):
            it = chip(package(NEW))
            it.flash = Bad(it.flash.flash, op, (i,))
            got = it.boot()
            assert (got.code, got.starts) == (copier.DONE, True), (op, i, got.why)
            assert it.image(len(NEW)) == NEW
    for op, code in (("erase", copier.ERASE), ("prog", copier.WRITE)):
        it = chip(package(NEW))
        it.flash = Bad(it.flash.flash, op, range(1, 99))
        got = it.boot()
        assert (got.code, got.starts) == (code, False), (op, got.code)
        # The package is still there.
        it.flash = sim.Wire(it.flash.flash)
        assert it.boot().code == copier.DONE and it.image(len(NEW)) == NEW


def test_a_flash_that_cannot_be_read_starts_nothing_and_never_ends_the_loader():
    clean = chip(package(NEW))
    clean.flash = Bad(clean.flash.flash, "read", ())
    assert clean.boot().code == copier.DONE
    assert clean.flash.n > 30
    for i in range(1, clean.flash.n + 1, 3):
        it = chip(package(NEW))
        it.flash = Bad(it.flash.flash, "read", range(i, 999))
        got = it.boot()
        assert (got.code, got.starts) == (copier.READ, False), (i, got.code)
        it.flash = sim.Wire(it.flash.flash)
        assert it.boot().starts and it.image(len(NEW)) == NEW, i


def test_a_write_that_did_not_stay_is_found_on_the_read_back():
    it = chip(package(NEW))
    flash = it.flash.flash
    keep = flash.prog

    def spoil(off, buf):
        keep(off, bytes((buf[0] & 0x7E,)) + bytes(buf[1:]) if off < 0x12000 else buf)

    flash.prog = spoil
    got = it.boot()
    assert (got.code, got.starts) == (copier.VERIFY, False)
    del flash.prog
    assert it.boot().code == copier.DONE


def test_a_cut_anywhere_in_an_install_ends_with_the_new_image():
    clean = chip(package(NEW))
    clean.flash.flash.ops = 0
    clean.boot()
    total = clean.flash.flash.ops
    assert total > 10
    for cut in range(1, total + 1):
        for at in ("before", "inside", "after"):
            it = chip(package(NEW))
            flash = it.flash.flash
            flash.ops, flash.cut, flash.cut_at, flash.seed = 0, cut, at, cut
            try:
                it.boot()
                raise AssertionError("no cut at %d" % cut)
            except PowerCut:
                pass
            flash.cut = None
            flash.power_on()
            assert it.boot().starts and it.image(len(NEW)) == NEW, (cut, at)


def test_a_gzip_member_of_several_blocks_is_installed_whole():
    image = application(70001, 4)
    assert len(gzipped(image)) > 70001
    it = chip(package(image, rbl.AES | rbl.GZIP))
    assert it.boot().code == copier.DONE and it.image(len(image)) == image
    assert isinstance(it.flash.flash, SimFlash)
