"""The main job on one chip in one process: the shipped board, layout and installer over the simulated ESP-IDF."""

from hashlib import sha256
from struct import pack

from mpota import console
from mpota.installer import install
from mpota.link import serial
from mpota_boot.errors import Corrupt, FlashError, LinkError, NotNow, Refused, UpToDate
from mpota_host.chips.esp32.sim import soc
from mpota_host.package import format as fmt
from mpota_host.sim.reset import Reset
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, chunk_at, version

SLOT = 0x11000
OLD = image(30000, 1)
NEW = image(41232, 2)
SETTINGS = {"product": "demo", "room": 16384}


def chip(settings=SETTINGS):
    """A board that runs OLD from ota_0 and trusts nobody in particular."""
    c = soc.Soc(soc.rows(SLOT), settings, None)
    c.write(c.row("ota_0").offset, OLD)
    return c


def run(board, link):
    """Install to the end; the number of chunks that were told and the package."""
    steps = install(board, link, board.keys())
    n = 0
    while True:
        try:
            if next(steps):
                n += 1
        except StopIteration as e:
            return n, e.value


def chunks_of(steps, n):
    """Go on until so many chunks were told."""
    while n:
        if next(steps):
            n -= 1


def erases(c):
    return [off for op, off, _ in c.flash.trace if op == "erase" and off >= soc.SLOTS_AT]


def refused(cls, code, data, settings=SETTINGS):
    """The package must be refused with no erase at all, and what runs must still start."""
    c = chip(settings)
    board = c.power_on()
    c.flash.trace = []
    e = raises(cls, code, run, board, Ram(data))
    assert c.flash.trace == [], c.flash.trace
    assert c.power_on() and c.started.name == "ota_0"
    return str(e)


def test_a_package_is_installed_and_boots():
    for deflate in (False, True):
        for chunk in (4096, 8192, 16384):
            c = chip()
            board = c.power_on()
            c.flash.trace = []
            steps, package = run(board, Ram(Maker(NEW, chunk, deflate=deflate).bytes()))
            # A sector at a time, whatever a chunk brings.
            assert steps == (len(NEW) + 4095) // 4096
            assert package.version == version(1, 1, 0)
            assert len(erases(c)) == (len(NEW) + 4095) // 4096
            assert c.image("ota_1", len(NEW)) == NEW
            c.power_on(soc.HARD)
            assert c.started.name == "ota_1"


def test_erases_are_those_of_the_image_and_one():
    c = chip()
    board = c.power_on()
    c.flash.trace = []
    run(board, Ram(Maker(NEW).bytes()))
    nvs = [off for op, off, _ in c.flash.trace if op == "erase" and off < soc.OTADATA_AT]
    others = [off for op, off, _ in c.flash.trace if op == "erase" and off >= soc.OTADATA_AT]
    assert len(others) == (len(NEW) + 4095) // 4096 + 1 and len(nvs) <= 3, (others, nvs)
    # arm is last: after the write to otadata nothing is changed.
    assert soc.OTADATA_AT <= c.flash.trace[-1][1] < soc.OTADATA_AT + 0x2000, c.flash.trace[-3:]


def test_nothing_on_offer_is_no_update():
    class Silent:
        def open(self, at=0):
            return None

    c = chip()
    assert run(c.power_on(), Silent()) == (0, None)


def test_a_truncated_package_never_arms_and_resumes():
    data = Maker(NEW).bytes()
    for cut in (0, 5, 15):
        refused(Refused, "format", data[:cut])
    for cut in (16, 100, 207):
        refused(LinkError, "short", data[:cut])
    for cut in (208, 300, 9000, len(data) - 1):
        c = chip()
        board = c.power_on()
        raises(LinkError, "short", run, board, Ram(data[:cut]))
        assert c.power_on() and c.started.name == "ota_0"
        run(board, Ram(data))
        c.power_on(soc.HARD)
        assert c.started.name == "ota_1"


def test_a_resume_fetches_the_header_and_one_chunk_again():
    for chunk in (4096, 16384):
        data = Maker(NEW, chunk).bytes()
        for dies in range(300, len(data) - 2000, 4099):
            c = chip()
            first = Ram(data, dies)
            raises(LinkError, "link", run, c.power_on(), first)
            board = c.power_on()
            again = Ram(data)
            run(board, again)
            extra = first.fetched + again.fetched - len(data)
            assert extra <= 208 + 4096 + chunk + 100, (chunk, dies, extra)
            assert c.image("ota_1", len(NEW)) == NEW


def test_closing_at_any_yield_is_safe_and_resumes():
    data = Maker(NEW).bytes()
    chunks = (len(NEW) + 4095) // 4096
    for stop in range(1, chunks + 1):
        c = chip()
        steps = install(c.power_on(), Ram(data), None)
        chunks_of(steps, stop)
        steps.close()
        board = c.power_on()
        assert c.started.name == "ota_0"
        assert run(board, Ram(data))[0] == chunks - stop


def test_another_package_does_not_resume_the_first():
    c = chip()
    raises(LinkError, "link", run, c.power_on(), Ram(Maker(NEW).bytes(), 20000))
    third = image(33008, 3)
    run(c.power_on(), Ram(Maker(third).bytes()))
    assert c.image("ota_1", len(third)) == third


def worn(c):
    """How often each sector of the slot was erased since the trace was cut."""
    found = {}
    for off in erases(c):
        found[off] = found.get(off, 0) + 1
    return found


def test_a_sector_is_not_erased_again_for_bytes_that_it_holds():
    for chunk, stands in ((4096, 4), (8192, 4)):
        c = chip()
        # The same image, in another package.
        raises(LinkError, "link", run, c.power_on(), Ram(Maker(NEW, chunk, deflate=True).bytes(), 20000))
        c.flash.trace = []
        run(c.power_on(), Ram(Maker(NEW, chunk).bytes()))
        assert len(erases(c)) == 11 - stands and max(worn(c).values()) == 1
        assert c.image("ota_1", len(NEW)) == NEW
        c.power_on(soc.HARD)
        assert c.started.name == "ota_1"


def test_a_sector_with_one_other_byte_is_written_again():
    for at in (0, 127, 128, 4095, 4096, 16383):
        other = bytearray(NEW)
        other[at] ^= 1
        if not at:
            other[0] = NEW[0]
            other[24] ^= 1
        c = chip()
        raises(LinkError, "link", run, c.power_on(), Ram(Maker(bytes(other)).bytes(), 20000))
        c.flash.trace = []
        run(c.power_on(), Ram(Maker(NEW).bytes()))
        assert len(erases(c)) == 11 - 3 and c.image("ota_1", len(NEW)) == NEW


def test_a_sector_that_a_cut_may_have_torn_is_erased_whatever_it_holds():
    for other in (False, True):
        c = chip()
        raises(LinkError, "link", run, c.power_on(), Ram(Maker(NEW).bytes(), 20000))
        # What the power ended is whole to look at.
        c.write(c.row("ota_1").offset, NEW)
        c.flash.trace = []
        run(c.power_on(), Ram(Maker(NEW, deflate=other).bytes()))
        assert len(erases(c)) == 11 - 4
    # Nor is anything believed of an update that is complete: its slot is another one's by now.
    c = chip()
    run(c.power_on(), Ram(Maker(NEW).bytes()))
    c.power_on(soc.HARD).layout.confirm()
    c.write(c.row("ota_0").offset, image(41232, 3))
    two = Maker(image(41232, 3))
    two.version = version(1, 2, 0)
    c.flash.trace = []
    run(c.power_on(), Ram(two.bytes()))
    assert len(erases(c)) == 11


def test_a_package_is_begun_over_another_once_an_hour():
    c = chip()
    board = c.power_on()
    one, two = Maker(NEW), Maker(image(41232, 3))
    raises(LinkError, "link", run, board, Ram(one.bytes(), 6000))
    raises(LinkError, "link", run, board, Ram(two.bytes(), 6000))
    c.flash.trace = []
    for n in range(10):
        words = str(raises(Refused, "begun", run, board, Ram(one.bytes())))
        assert "--forget" in words
        if n == 4:
            # Also after a reset.
            board = c.power_on()
        board.layout.awake()
    assert erases(c) == []
    raises(LinkError, "link", run, board, Ram(one.bytes(), 6000))
    assert worn(c) == {erases(c)[0]: 1}
    # What was begun goes on all the time, and then nothing is half here.
    raises(Refused, "begun", run, board, Ram(two.bytes()))
    run(board, Ram(one.bytes()))
    assert board.journal.last("begun") is None


def test_a_person_may_begin_over_what_was_begun():
    c = chip()
    board = c.power_on()
    one, two = Maker(NEW), Maker(image(41232, 3))
    for maker in (one, two):
        raises(LinkError, "link", run, board, Ram(maker.bytes(), 6000))
    raises(Refused, "begun", run, board, Ram(one.bytes()))
    board.layout.forget()
    run(board, Ram(one.bytes()))


class Pushed(Ram):
    """The line of `push`, over bytes."""

    def progress(self, done, size):
        pass

    def bye(self):
        pass


def test_a_push_is_never_held_for_another_package():
    c = chip()
    board = c.power_on()
    one, two = Maker(NEW), Maker(image(41232, 3))
    for maker in (one, two):
        raises(LinkError, "link", run, board, Ram(maker.bytes(), 6000))
    raises(Refused, "begun", run, board, Ram(one.bytes()))
    line = Pushed(one.bytes())
    real = serial.console
    serial.console = lambda *pair: line
    try:
        raises(Reset, None, console.push, board)
    finally:
        serial.console = real
    assert line.reports[0][0] == "armed", line.reports


def test_a_flipped_bit_in_a_chunk_stops_before_it_is_decoded():
    for deflate in (False, True):
        data = bytearray(Maker(NEW, deflate=deflate).bytes())
        for i in (0, 3, 10):
            off, length = chunk_at(data, i)
            for at in (off, off + 31, off + 35, off + 36, off + length - 1):
                data[at] ^= 0x10
                c = chip()
                board = c.power_on()
                raises(Corrupt, "chunk", run, board, Ram(data))
                assert len(erases(c)) <= 1 + i, "nothing of a forged chunk is written"
                data[at] ^= 0x10
                run(board, Ram(data))
                assert c.image("ota_1", len(NEW)) == NEW


def test_chunks_swapped_repeated_or_left_out_are_refused():
    maker = Maker(NEW)
    chunks = maker.chunks()
    head = maker.header(chunks)
    for order in ((1, 0, 2), (0, 0, 1), (0, 2, 1), (0, 2, 3)):
        rest = list(order) + list(range(3, len(chunks)))
        c = chip()
        raises(Corrupt, "chunk", run, c.power_on(), Ram(head + b"".join(chunks[i] for i in rest)))
        assert c.power_on() and c.started.name == "ota_0"


def test_a_chunk_that_decodes_to_another_length_is_refused():
    for piece in (0, 5, -1):
        for change in (lambda p: p + b"x", lambda p: p[:-1]):
            maker = Maker(NEW)
            maker.pieces[piece] = change(maker.pieces[piece])
            c = chip()
            raises(Corrupt, None, run, c.power_on(), Ram(maker.bytes()))
            assert c.power_on() and c.started.name == "ota_0"


def test_a_chain_that_promises_no_chunk_or_one_too_many_is_refused():
    # (chunk, bytes and sectors that it promises of the next one)
    early = ((3, 0, 0), (3, 35, 1), (3, 4096 + 97, 1), (10, 100, 1))
    for i, length, sectors in early + ((3, 4131, 0), (3, 4131, 17), (9, 307, 2)):
        maker = Maker(NEW)
        chunks = maker.chunks()
        after = None
        for k in range(len(chunks) - 1, -1, -1):
            if after:
                chunks[k] = after + chunks[k][35:]
            if k == i:
                chunks[k] = chunks[k][:32] + pack("<HB", length, sectors) + chunks[k][35:]
            after = pack(fmt.LINK, sha256(chunks[k]).digest(), len(chunks[k]), maker.sectors(k))
        c = chip()
        raises(Corrupt, "chain", run, c.power_on(), Ram(maker.header(chunks) + b"".join(chunks)))
        assert c.power_on() and c.started.name == "ota_0"


def test_a_package_that_is_withdrawn_is_asked_for_later():
    c = chip()
    data = Maker(NEW).bytes()
    raises(LinkError, "link", run, c.power_on(), Ram(data, 20000))

    class Withdrawn(Ram):
        def open(self, at=0):
            return None if at else Ram.open(self)

    raises(LinkError, "gone", run, c.power_on(), Withdrawn(data))
    run(c.power_on(), Ram(data))


def test_a_deflate_stream_that_is_broken_short_or_long_is_refused():
    for change in (lambda p: p[:-9], lambda p: p + b"\0" * 9, lambda p: b"\7" + p[1:], lambda p: p[:5]):
        maker = Maker(NEW, deflate=True)
        maker.pieces[1] = change(maker.pieces[1])
        c = chip()
        raises(Corrupt, "decode", run, c.power_on(), Ram(maker.bytes()))
        assert c.power_on() and c.started.name == "ota_0"


def test_a_signed_header_that_is_wrong_is_refused_with_no_erase():
    for field, value, code in (
        ("room", 5, "format"),
        ("room", 0, "format"),
        ("spare", 1, "format"),
        ("fields", {b"Robo": b""}, "field"),
        ("fields", {b"Chan": b"\xff"}, "format"),
        ("flags", 1, "format"),
        ("size", 0, "format"),
        ("stages", b"\x09", "stage"),
        ("kind", 7, "kind"),
        ("product", b"\xff\xfe", "format"),
        ("format", 1, "format"),
        ("algorithm", 2, "format"),
    ):
        maker = Maker(NEW)
        setattr(maker, field, value)
        refused(Refused, code, maker.bytes())
    maker = Maker(NEW)
    maker.pieces[0] = bytes(4096 + 62)
    refused(Refused, "format", maker.bytes())


def test_a_window_that_no_decoder_takes_is_refused():
    for wbits in (1, 4, 16, 200):
        maker = Maker(NEW, deflate=True)
        maker.wbits = wbits
        refused(Refused, "format", maker.bytes())


def test_a_package_of_two_firmwares_is_refused():
    maker = Maker(NEW)
    chunks = maker.chunks()
    head = bytearray(maker.header(chunks))
    record = bytes(head[fmt.RECORDS :])
    head[6:8] = pack("<H", 52 + 2 * len(record))
    head[65] = 2
    refused(Refused, "format", bytes(head) + record + b"".join(chunks) * 2)


def test_what_is_not_for_this_board_is_refused_with_no_erase():
    for field, value, code in (
        ("product", b"other", "product"),
        ("layout", b"bk7238", "layout"),
        ("fields", {b"Chan": b"canary"}, "channel"),
    ):
        maker = Maker(NEW)
        setattr(maker, field, value)
        assert "b'" not in refused(Refused, code, maker.bytes())
    c = chip()
    board = c.power_on()
    board._settings = {"product": "demo", "room": 8192}
    c.flash.trace = []
    assert "--room" in str(raises(Refused, "room", run, board, Ram(Maker(NEW, 16384).bytes())))
    assert c.flash.trace == []
    assert str(SLOT) in refused(Refused, "size", Maker(image(SLOT + 16, 2)).bytes())


def test_unsigned_is_refused_where_keys_are_trusted():
    c = chip()
    board = c.power_on()
    board.trusted = []
    c.flash.trace = []
    raises(Refused, "unsigned", run, board, Ram(Maker(NEW).bytes()))
    assert c.flash.trace == []


def test_what_is_no_package_is_refused_with_a_sentence():
    for data in (b"", b"<!DOCTYPE html><html>" * 40, OLD, b"hello, world\n" * 50, b"\xff" * 5000, bytes(5000)):
        refused(Refused, "format", data)


def test_firmware_that_is_none_is_refused_before_the_first_erase():
    boot = bytearray(image(30000, 5))
    boot[0x20:0x24] = b"\0\0\0\0"
    merged = bytes(boot[:0x7000]) + b"\xaa\x50" + bytes(0x1000) + OLD
    for firmware, code in (
        (b"<html>" * 1000, "html"),
        (b"text, and more of it. " * 300, "text"),
        (b"\xff" * 9000, "blank"),
        (bytes(9000), "magic"),
        (bytes(boot[:0x4000]), "bootloader"),
        (merged, "merged"),
        (image(30000, 2, 9), "chip"),
    ):
        words = refused(Refused, code, Maker(firmware).bytes())
        assert len(words) > 20, words


def test_the_whole_image_is_read_back_before_arm():
    maker = Maker(NEW)
    maker.sha = sha256(b"another").digest()
    c = chip()
    raises(FlashError, "readback", run, c.power_on(), Ram(maker.bytes()))
    assert c.power_on() and c.started.name == "ota_0"
    # A flash that lies about one byte is found too, and the next try starts at the first chunk.
    c = chip()
    board = c.power_on()
    steps = install(board, Ram(Maker(NEW).bytes()), None)
    chunks_of(steps, 11)
    c.flash.prog(c.row("ota_1").offset + 41984, bytes(4))
    c.flash.erase(c.row("ota_1").offset + 8192, 4096)
    raises(FlashError, "readback", next, steps)
    link = Ram(Maker(NEW).bytes())
    assert run(board, link)[0] == 11 and link.opened == [0]


def test_the_running_version_is_a_no_op_and_older_ones_are_refused():
    c = chip()
    run(c.power_on(), Ram(Maker(NEW).bytes()))
    board = c.power_on(soc.HARD)
    board.layout.confirm()
    board = c.power_on()
    c.flash.trace = []
    raises(UpToDate, "current", run, board, Ram(Maker(NEW).bytes()))
    old = Maker(image(30000, 7))
    old.version = version(1, 0, 9)
    words = str(raises(Refused, "floor", run, board, Ram(old.bytes())))
    assert "1.0.9" in words and "1.1.0" in words
    assert c.flash.trace == []


def test_no_second_update_while_one_waits_or_is_on_trial():
    c = chip()
    board = c.power_on()
    run(board, Ram(Maker(NEW).bytes()))
    raises(NotNow, "trial", run, board, Ram(Maker(NEW).bytes()))
    board = c.power_on(soc.HARD)
    raises(NotNow, "trial", run, board, Ram(Maker(NEW).bytes()))


def test_a_table_without_two_slots_says_which_firmware_has_them():
    for slots, factory in ((1, False), (0, True)):
        rows = soc.rows(SLOT, slots, factory)
        if not slots:
            rows = [r for r in rows if r.label != "otadata"]
        c = soc.Soc(rows, SETTINGS, None)
        c.write(rows[-1].offset, OLD)
        words = str(raises(Refused, "slots", run, c.power_on(), Ram(Maker(NEW).bytes())))
        assert "OTA" in words
