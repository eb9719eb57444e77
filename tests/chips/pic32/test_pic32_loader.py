"""The bootloader of a PIC32MZW1: the vendor's boots, and each place where the vendor's would lose a device."""

from hashlib import sha256

from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.control import DISABLED, PAGE, UNBOOTED, VALID
from mpota_boot.errors import FlashError
from tests import replay
from tests.chips.esp32.image_maker import ROOT
from tests.chips.pic32 import pic32_maker as maker

A, B, C = maker.image(1), maker.image(2, 8500), maker.image(3, 9999)
GOLDEN = maker.image(99)


def running(*rows, **options):
    """A chip on which the bootloader has started the best of the rows."""
    c = maker.chip(rows, **options)
    assert c.load().address == maker.ADDRESS
    c.flash.trace = []
    c.store.ops = 0
    return c


def seen(c):
    page = maker.page(c)
    return page and (page.status, page.kind, database.number(page.version))


def test_every_recorded_boot_agrees_or_is_safer_by_name():
    module = replay.vendor("pic32")
    found = list(replay.cases(ROOT + "/tests/vectors/pic32_boot.json"))
    agree, safer, differ, shown = replay.run(module, found)
    assert (agree, safer, differ) == (39, 3, 0), shown
    names = {module.replay(case) for case in found}
    assert names == {None, "factory-twice", "last-row-crash"}


def case(ctl, rows, out):
    keys = ("end", "ctl_status", "ctl_type", "ctl_version", "app_fill", "db_after")
    given = {"status": ctl[0], "type": 1, "version": ctl[1]}
    return {"name": "x", "ctl": given, "rows": rows, "factory": True, "out": dict(zip(keys, out))}


def test_two_differences_in_one_boot_are_safer_and_a_third_is_not():
    module = replay.vendor("pic32")
    # What the vendor's rules say: the best is bad and its row goes, and the page gets the status of the one behind.
    rows = [["a.bin", "FE", "9", "10", "bad"], ["b.bin", "F8", "4", "12", "ok"], ["c.bin", "f0", "16", "13", "ok"]]
    after = [["b.bin", "F8", "4"], ["c.bin", "f0", "16"]]
    assert module.replay(case(("f0", 1), rows, ("JUMP", "f0", 1, 4, "12", after))) == "row-deleted"
    assert "app_fill" in module.replay(case(("f0", 1), rows, ("JUMP", "f0", 1, 4, "13", after)))
    assert "ctl_status" in module.replay(case(("f0", 1), rows, ("JUMP", "fe", 1, 4, "12", after)))
    rows = [["a.bin", "f8", "100", "10", "ok"]]
    again = ("JUMP", "f8", 1, 0x100, "10", [["a.bin", "f8", "100"]])
    assert module.replay(case(("f8", 0x100), rows, again)) == "version-100"
    assert module.replay(case(("f0", 0x100), rows, again)) is None


def test_the_best_image_is_programmed_and_read_back():
    c = running(("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B))
    assert maker.holds(c, B) and seen(c) == (UNBOOTED, control.PRODUCTION, 3)
    page = maker.page(c)
    assert (page.tries(), page.size, page.digest) == (1, len(B), sha256(B).digest())


def test_an_ordinary_boot_writes_nothing():
    c = running(("a.bin", 2, "f8", A))
    assert seen(c) == (VALID, control.PRODUCTION, 2)
    for _ in range(3):
        assert c.load() == (maker.ADDRESS, 2, [])
    assert c.flash.trace == [] and c.store.ops == 0


def test_the_first_boot_keeps_the_factory_image_and_formats_nothing():
    c = maker.chip(factory=False)
    c.flash.prog(maker.BASE, maker.build())
    c.flash.prog(maker.BASE + PAGE, A[PAGE:] + b"\xff" * (-len(A) % 16))
    c.store.put("diary.txt", b"mine")
    for how in maker.cuts_of_store(c, c.load):
        assert c.load().address == maker.ADDRESS, how
        kept = c.store.files[golden.FACTORY_FILE]
        assert len(kept) == maker.SLOT and kept[:1] == b"\xf8" and kept[1 : len(A)] == A[1:], how
        assert seen(c) == (VALID, control.FACTORY, 1) and c.store.files["diary.txt"] == b"mine", how
    assert c.load().did == []


def test_debug_starts_whatever_the_status_is():
    c = running(("a.bin", 2, "f8", A))
    maker.put_page(c, UNBOOTED, 7, control.DEBUG)
    assert c.load().address == maker.ADDRESS and c.flash.trace == []


# The places where the vendor's own would lose a device, by the numbers of FORMAT.md.


def test_version_100_starts_without_being_programmed_again():
    c = running(("a.bin", 100, "f8", A), ("b.bin", 999, "F0", B))
    assert seen(c)[2] == 100 and maker.page(c).version == 0x100
    assert c.load().did == [] and c.flash.trace == []


def test_a_missing_file_gives_way_to_the_next_in_rank():
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B)))
    c.store.files.pop("b.bin")
    c.load()
    assert maker.holds(c, A) and maker.rows(c)[1][1] == "FE"
    # It is there again, so it has its rank again as soon as something asks for the ranking.
    c.store.put("b.bin", B)
    control.disable(maker.slot(c))
    c.load()
    assert maker.holds(c, B)


def test_a_truncated_row_is_passed_over():
    c = maker.chip((("a.bin", 2, "f8", A),))
    whole = c.store.files[database.NAME]
    for n in range(len(whole)):
        c.store.files[database.NAME] = b"b.bin,FE,9,0x01" + b"\n" + whole[:n]
        assert c.load().address == maker.ADDRESS, n
        assert maker.holds(c, GOLDEN), n
        c.flash.erase(maker.BASE, PAGE)
    c.store.files[database.NAME] = b"b.bin,FE,9,0x01\n" + whole
    c.load()
    assert maker.holds(c, A)


def test_a_missing_factory_image_is_a_clear_state():
    c = maker.chip(factory=False)
    got = c.load()
    assert got.address is None and got.did == ["no image"]
    c = running(("a.bin", 2, "f8", A), factory=False)
    control.disable(maker.slot(c))
    c.store.files = {}
    got = c.load()
    assert got.address == maker.ADDRESS and got.did == ["no other image"] and maker.holds(c, A)


def test_a_factory_image_that_is_not_whole_is_not_programmed():
    c = running(("a.bin", 2, "F8", A))
    good = c.store.files[golden.FACTORY_FILE]
    short = [good[:n] for n in (0, 1, 17, 47, 48, 255)]
    for bad in [good[:-1], b"\xff" + good[1:], good[:3] + b"\x01" + good[4:]] + short:
        c.store.files[golden.FACTORY_FILE] = bad
        control.disable(maker.slot(c))
        c.store.files.pop(database.NAME, None)
        assert c.load().did == ["no other image"] and maker.holds(c, A)
    c.store.files[golden.FACTORY_FILE] = good
    c.store.files[golden.FACTORY_DIGEST] = bytes(32)
    assert c.load().did == ["no other image"]
    c.store.files[golden.FACTORY_DIGEST] = sha256(good).digest()
    c.load()
    assert maker.holds(c, GOLDEN) and seen(c) == (VALID, control.FACTORY, 1)
    # Half a digest is none.
    c.store.files[golden.FACTORY_DIGEST] = b"half"
    c.flash.erase(maker.BASE, maker.SLOT)
    assert c.load().did == ["programs factory_reset.bin"]


def test_a_page_gets_the_status_of_the_row_that_was_chosen():
    c = running(("a.bin", 2, "f8", A), ("b.bin", 9, "f0", B))
    assert seen(c) == (VALID, control.PRODUCTION, 2)


def test_nothing_is_erased_for_a_file_that_is_not_what_its_row_says():
    c = running(("a.bin", 2, "f8", A))
    rows = database.load(c.store) + [maker.row("b.bin", 3, B)]
    database.save(c.store, rows)
    c.store.put("b.bin", B[:-1] + b"\0")
    control.disable(maker.slot(c))
    c.flash.trace = []
    c.load()
    assert maker.holds(c, A) and seen(c) == (VALID, control.PRODUCTION, 2)
    assert [t for t in c.flash.trace if t[0] == "erase"] == [("erase", maker.BASE, PAGE)]


def test_a_bad_image_is_marked_and_stays():
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B)))
    c.store.files["b.bin"] = B[:-1] + b"\0"
    c.load()
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("b.bin", "f0", "3")] and "b.bin" in c.store.files


def test_the_last_image_being_bad_leads_to_the_factory_image():
    c = maker.chip((("b.bin", 3, "FE", B),))
    c.store.files["b.bin"] = b"short"
    c.load()
    assert maker.holds(c, GOLDEN) and maker.rows(c) is None
    # Why stays known.
    assert [(r.name, r.status) for r in database.told(c.store)] == [("b.bin", DISABLED)]


def test_the_factory_image_is_restored_once():
    c = maker.chip((("b.bin", 3, "FE", B),))
    c.store.files["b.bin"] = b"short"
    c.load()
    assert seen(c) == (VALID, control.FACTORY, 1)
    c.flash.trace = []
    assert c.load().did == [] and c.flash.trace == []


def test_an_image_that_does_not_fit_is_refused_before_anything_is_erased():
    big = maker.image(4, maker.SLOT)
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", big)))
    c.load()
    assert maker.holds(c, A) and maker.rows(c)[1][1] == "f0"
    tiny = maker.chip((("a.bin", 2, "FE", maker.build()),))
    tiny.load()
    assert maker.holds(tiny, GOLDEN)


def test_an_unconfirmed_image_has_three_boots_and_then_the_next_in_rank_runs():
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B)))
    ran = []
    for _ in range(5):
        c.load()
        ran.append(database.number(c.boots[-1].version))
    assert ran == [3, 3, 3, 2, 2]
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("b.bin", "f0", "3")]
    # It was programmed once, and each boot after that cost one write.
    assert len([b for b in c.boots if "programs b.bin" in b.did]) == 1


def test_a_page_of_the_vendors_bootloader_is_programmed_again_so_that_boots_can_be_counted():
    c = maker.chip((("b.bin", 3, "FE", B),))
    maker.put_page(c, UNBOOTED, 3, data=B)
    assert c.load().did == ["programs b.bin"] and maker.page(c).tries() == 1


def test_a_confirmation_that_was_cut_between_row_and_page_is_finished():
    c = running(("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B))
    rows = database.load(c.store)
    rows[1].mark(VALID)
    database.save(c.store, rows)
    c.flash.trace = []
    assert c.load().did == [] and seen(c) == (VALID, control.PRODUCTION, 3)
    assert [t[0] for t in c.flash.trace] == ["prog"]


def test_a_cut_while_an_image_is_programmed_never_leads_to_the_factory_image():
    c = running(("a.bin", 2, "f8", A))
    database.save(c.store, database.load(c.store) + [maker.row("b.bin", 3, B)])
    c.store.put("b.bin", B)
    control.disable(maker.slot(c))
    torn = 0
    for how in maker.cuts_of_flash(c, c.load):
        got = c.load()
        assert got.address == maker.ADDRESS and (maker.holds(c, B) or maker.holds(c, A)), how
        assert len(maker.rows(c)) == 2, how
        torn += 1
    assert torn > 20


def test_a_cut_while_the_factory_image_is_programmed_is_repeated():
    c = running(("a.bin", 2, "f8", A))
    c.store.files.pop(database.NAME)
    control.disable(maker.slot(c))
    for how in maker.cuts_of_flash(c, c.load):
        assert c.load().address == maker.ADDRESS and maker.holds(c, GOLDEN), how
        assert seen(c) == (VALID, control.FACTORY, 1), how


def test_a_blank_page_leads_to_the_best_image_of_the_store():
    c = running(("a.bin", 2, "f8", A))
    c.flash.erase(maker.BASE, PAGE)
    c.load()
    assert maker.holds(c, A) and seen(c) == (VALID, control.PRODUCTION, 2) and len(maker.rows(c)) == 1


def test_a_page_that_names_another_slot_is_as_good_as_blank():
    c = running(("a.bin", 2, "f8", A))
    page = maker.page(c)
    page.boot += 0x1000
    c.flash.erase(maker.BASE, PAGE)
    c.flash.prog(maker.BASE, page.encode())
    assert c.load().did == ["programs a.bin"]


class Deaf:
    """A store that cannot be read."""

    def __init__(self, store, names):
        self.store = store
        self.deaf = names

    def __getattr__(self, name):
        return getattr(self.store, name)

    def open(self, name, mode):
        if name in self.deaf:
            raise OSError(5)
        return self.store.open(name, mode)

    def get(self, name, most):
        if name in self.deaf:
            raise OSError(5)
        return self.store.get(name, most)

    def put(self, name, data):
        if name in self.deaf:
            raise OSError(28)
        self.store.put(name, data)


def test_without_its_store_a_device_starts_what_lies_in_its_flash():
    c = running(("a.bin", 2, "f8", A))
    good, c.store = c.store, Deaf(c.store, (database.NEW, database.NAME))
    got = c.load()
    assert got.address == maker.ADDRESS and got.did[-1] == "no other image" and c.flash.trace == []
    c.store = good
    assert c.load().did == []


class Failing:
    """A flash that cannot be read."""

    erase_size, prog_size, erased = 4096, 16, 0xFF

    def __init__(self, flash):
        self.size = flash.size

    def read(self, off, buf):
        raise FlashError("flash", "an uncorrectable bit")


def test_a_factory_image_or_a_flash_that_cannot_be_read_is_a_clear_state():
    c = running(("a.bin", 2, "f8", A))
    c.store.remove("a.bin")
    control.disable(maker.slot(c))
    get, files = c.store.get, dict(c.store.files)

    def deaf(name, most):
        if name == golden.FACTORY_FILE:
            raise OSError(5)
        return get(name, most)

    c.store.get = deaf
    got = c.load()
    assert got.address == maker.ADDRESS and got.did[-1] == "no other image" and maker.holds(c, A)
    assert c.store.files == files, "nothing is given up for it"
    flash, c.flash = c.flash, Failing(c.flash)
    got = c.load()
    assert got.address is None and "uncorrectable" in got.did[0]
    c.flash, c.store.get = flash, get
    assert c.load().address == maker.ADDRESS and maker.holds(c, GOLDEN)


def test_a_file_that_cannot_be_read_today_is_not_marked():
    c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B)))
    good, c.store = c.store, Deaf(c.store, ("b.bin",))
    c.load()
    c.store = good
    assert maker.holds(c, A) and maker.rows(c) == [("a.bin", "f8", "2"), ("b.bin", "FE", "3")]
    c = maker.chip((("b.bin", 3, "FE", B),))
    good, c.store = c.store, Deaf(c.store, ("b.bin",))
    c.load()
    c.store = good
    assert maker.holds(c, GOLDEN) and maker.rows(c) == [("b.bin", "FE", "3")], "the database stays"


def test_a_flash_that_does_not_keep_what_is_written_starts_nothing_that_is_not_whole():
    c = maker.chip((("a.bin", 2, "f8", A),))
    good = c.flash.prog
    c.flash.prog = lambda off, buf: good(off, bytes(len(buf)) if off == maker.BASE + PAGE else buf)
    got = c.load()
    assert got.address is None and any("readback" in text or "does not hold" in text for text in got.did)
    c.flash.prog = good
    c.load()
    # The factory image could not be programmed either, and now the best one can.
    assert maker.holds(c, A)


class Dice:
    """Numbers that look thrown, the same on both interpreters."""

    seed = 1

    def below(self, n):
        self.seed = (self.seed * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.seed >> 8) % n


def spoiled(data, dice):
    """Some bytes changed, taken out, or put in."""
    data = bytearray(data)
    for _ in range(1 + dice.below(5)):
        i = dice.below(len(data) or 1)
        more = (b'"', b",", b"\n", b"0x", b"-1", b"\xff\xfe", b"x" * 200, b"../a")[dice.below(8)]
        kind = dice.below(3)
        data = data[:i] + (more if kind else b"") + data[i + (dice.below(30) if kind < 2 else 0) :]
    return bytes(data)


def test_whatever_page_database_and_files_hold_the_bootloader_comes_to_an_end_with_a_whole_image_or_none():
    dice = Dice()
    ends = set()
    for _ in range(300):
        c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "FE", B)))
        files = c.store.files
        files[golden.FACTORY_DIGEST] = sha256(files[golden.FACTORY_FILE]).digest()
        if dice.below(2):
            c.load()
        for name in (database.NAME, "a.bin", "b.bin", golden.FACTORY_FILE, golden.FACTORY_DIGEST):
            if not dice.below(3):
                files[name] = spoiled(files.get(name, b""), dice)
        if not dice.below(4):
            files[database.NEW] = spoiled(files.get(database.NAME, b""), dice)
        buf = bytearray(PAGE)
        c.flash.read(maker.BASE, buf)
        c.flash.erase(maker.BASE, PAGE)
        page = spoiled(buf[:256], dice)[:256]
        c.flash.prog(maker.BASE, page + b"\xff" * (256 - len(page)) + buf[256:])
        got = c.load()
        ends.add(got.address is None)
        assert got.address is None or maker.holds(c, A) or maker.holds(c, B) or maker.holds(c, GOLDEN), got
    assert ends == {False, True}


def test_a_downloaded_row_alone_begins_no_program_mode():
    # Somebody wrote it into the database; the page of what runs says F8, and so does its row.
    c = maker.chip((("a.bin", 2, "f8", A),))
    c.power_on()
    c.store.put("b.bin", B)
    rows = [maker.row("a.bin", 2, A, "f8"), maker.row("b.bin", 7, B)]
    c.store.put(database.NAME, database.encode(rows).encode())
    assert c.load().did == [] and maker.holds(c, A)
    control.disable(maker.slot(c))
    assert c.load().did == ["programs b.bin"] and maker.holds(c, B)
