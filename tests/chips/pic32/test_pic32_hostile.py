"""A stranger in the network of a PIC32MZW1: the names he gives, images that nobody signed, the same failure for ever.

He writes the manifest and serves every file; he has no key. What the store holds stays as it was until an image is
proven, and no image is fetched twice that failed by itself.
"""

from binascii import hexlify
from hashlib import sha256
from io import BytesIO

from mpota.layout.pic32 import events, loader, service
from mpota.layout.pic32.link import manifest
from mpota.layout.pic32.loader.programmer import Options
from mpota.layout.pic32.store import database
from mpota.layout.pic32.store.files import FACTORY_FILE
from mpota_boot.errors import LinkError
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_signer import bound, erased, sign
from tests.chips.pic32.test_pic32_layout import update
from tests.chips.pic32.test_pic32_loader import A, B, C, Deaf
from tests.chips.pic32.test_pic32_service import BEFORE, KEY, URL, Device, Net, Open, app, entry

EVIL = maker.image(66)
LONG = "wifi_ota_application.bin"
ROWS = (("a.bin", 2, "f8", A), (LONG, 1, "f8", C))
# What the last part of a URL can be, and what FAT would make of it.
NAMES = ["", ".", "..", "~", "n" * 200, "..\\..\\boot.py", "..%5C..%5Cboot.py", "a.bin?b=/c", "mpotaa"]
NAMES += "a.bin A.BIN a.bin. A.bin... a.hex WIFI_O~1.BIN Wifi_OTA_Application.BIN a_sign.txt A_SIGN.TXT".split()
NAMES += "factory_reset.bin FACTORY_RESET.BIN FACTOR~1.BIN factory_reset factory_image.bin FACTORY_IMAGE".split()
NAMES += "image_database.csv IMAGE_~1.CSV image_database.new IMAGE_DATABASE.OLD factory_image_digest.txt".split()


def signed(n, data, name="app.bin"):
    return entry(n, data, name, ', "Signature": "%s"' % sign(data) + bound(n, sha256(data).digest()))


def wrong(n, data, name="app.bin"):
    """An entry whose Digest is another image's."""
    return entry(n, data, name).replace(hexlify(sha256(data).digest()).decode(), "0" * 64)


def served(name, data, text):
    """A Device on a FAT that knows all its files by heart, and a server that answers every name with `data`."""
    net = Net().offer(text)
    net.fetch = lambda url: net.asked.append(url) or BytesIO(net.files["manifest.json"] if url == URL else data)
    device = Device(net, ROWS, maker.FatShelf())
    store = device.chip.store
    for name, text in (("a_sign.txt", b"A"), ("factory_image_sign.txt", b"F"), ("factory_image_digest.txt", b"")):
        store.put(name, text)
    device.before = dict(store.files)
    return device


def escaped(name):
    return name.replace("\\", "\\\\")


def test_nothing_in_the_store_is_written_over_whatever_the_url_is_called():
    for name in NAMES:
        url = escaped(name)
        for text, options, code in (
            (entry(9, EVIL, url), {"key": KEY}, "signature"),
            (wrong(9, EVIL, url), {"bare": True}, "digest"),
            (entry(9, EVIL, url), {}, "unsigned"),
        ):
            d = served(name, EVIL, text)
            for option in options:
                setattr(d.service, option, options[option])
            assert d.run() == "idle" and d.service.error.code == code, (name, d.service.error)
            assert d.chip.store.files == d.before, (name, code)
            assert maker.page(d.chip).status == 0xF8


def test_a_proven_image_goes_to_a_name_of_ours_and_leaves_every_other_file():
    for name in NAMES:
        d = served(name, B, signed(9, B, escaped(name)))
        d.service.key = KEY
        assert d.run() == "reset", (name, d.service.error)
        files = d.chip.store.files
        new = sorted(n for n in files if d.before.get(n) != files[n] and n not in ("mpotaa", "mpotab"))
        assert new == ["image1.bin", "image1_sign.txt", "image_database.csv"], (name, new)
        assert maker.rows(d.chip)[2] == ("image1.bin", "FE", "9") and files["image1_sign.txt"] == sign(B).encode()
        d.reset()
        assert maker.holds(d.chip, B), name


def test_a_name_of_ours_is_free_in_every_case_and_so_is_its_signature():
    rows = (("IMAGE1.BIN", 1, "f8", A), ("Image2.bin. ", 2, "f8", B), ("image3.img", 3, "f8", C))
    for store in (maker.CutShelf(), maker.FatShelf()):
        c = maker.chip(rows, store=store)
        layout = c.power_on().layout
        assert layout.free() == "image4.bin" and layout.incoming().name == "image4.bin"
    # A long name whose short one the row has.
    d = Device(Net(), (("IMAGE1~1.BIN", 2, "f8", A),), maker.FatShelf())
    d.chip.store.files["image1_of_the_lamp.bin"] = d.chip.store.files.pop("IMAGE1~1.BIN")
    assert d.board.layout.free() == "image1.bin"
    d.board.layout.tidy()
    assert "image1_of_the_lamp.bin" in d.chip.store.files and maker.holds(d.chip, A)


def test_a_file_that_a_row_names_in_another_way_is_kept_and_one_that_none_names_goes():
    for there, named in (
        ("A.BIN", "a.bin"),
        ("a.bin", "A.Bin"),
        ("a.bin", "a.bin."),
        ("a.bin", "a.bin  "),
        ("application_of_2024.bin", "APPLIC~1.BIN"),
    ):
        d = Device(Net(), ((named, 2, "f8", A),), maker.FatShelf())
        files = d.chip.store.files
        files[there] = files.pop(named)
        files["FACTORY_RESET.BIN"] = files.pop(FACTORY_FILE)
        files["OLD.BIN"] = files["OLD_SIGN.TXT"] = files["older.bin"] = b"x"
        files["diary.TXT"] = b"mine"
        d.board.layout.tidy()
        assert sorted(files) == sorted(["FACTORY_RESET.BIN", "diary.TXT", "image_database.csv", there]), (there, named)
        assert d.board.layout.port.row(d.board.layout.rows()).name == named
        # The loader finds it too.
        d.chip.flash.erase(maker.BASE, 4096)
        d.chip.load()
        assert maker.holds(d.chip, A), (there, named)


def test_two_rows_that_name_one_file_in_two_cases_lose_it_with_the_second():
    rows = (("run.bin", 3, "f8", B), ("a.bin", 2, "f8", A), ("A.BIN", 1, "f8", A), ("c.bin", 9, "f0", C))
    d = Open(Net(), rows, maker.FatShelf())
    for n, left in ((1, True), (2, False)):
        d.net.offer('{"Version": %d, "EraseVer": true}' % n)
        d.service.control(events.CHECK)
        d.run()
        assert ("a.bin" in d.chip.store.files) == left and events.ERASED in d.events, n


def test_a_first_boot_removes_images_in_every_case_and_nothing_else():
    c = maker.chip(factory=False, store=maker.FatShelf())
    c.flash.prog(maker.BASE, maker.build())
    c.flash.prog(maker.BASE + 4096, A[4096:] + b"\xff" * (-len(A) % 16))
    for name in ("OLD.BIN", "Old.bin", "FACTORY_RESET.BIN", "DIARY.TXT"):
        c.store.put(name, b"x")
    assert c.load().did == ["keeps the factory image"]
    assert sorted(c.store.files) == ["DIARY.TXT", "factory_image_digest.txt", "factory_reset.bin"]


def test_a_row_that_leaves_the_store_is_not_whole():
    digest = "0" * 64
    for name in ("../a.bin", "..\\a.bin", "\\a.bin", "", ".", "..", ". ."):
        assert not database.parse("%s,FE,1,0x01,%s" % (name, digest))[0].whole, name
    assert database.parse("a..b.bin,FE,1,0x01," + digest)[0].whole


def test_a_package_that_came_half_way_begins_again_after_a_download():
    d = Open(app(B).offer(entry(3, B)))
    journal = d.board.layout.journal
    journal.put("progress", b"half")
    assert d.run() == "reset" and journal.last("progress") is None
    # A manifest without an image touches nothing of it.
    d = Device(Net().offer())
    journal = d.board.layout.journal
    journal.put("progress", b"half")
    assert d.run() == "idle" and journal.last("progress") == b"half"


# Images that nobody signed.


def test_without_a_key_nothing_is_installed_or_even_fetched():
    d = Device(app(EVIL).offer(entry(3, EVIL)))
    assert d.run() == "idle" and d.events == [4, 7] and d.net.asked == [URL]
    assert d.service.error.code == "unsigned"
    assert "`service_key`" in str(d.service.error) and "`bare`" in str(d.service.error)
    assert d.service.control(events.CHECK) == events.SUCCESS and d.run() == "idle"
    # Not by parameters, not with auto_update off, not with something that looks like a signature.
    for more in ("", sign(EVIL)):
        d.service.set_parameters("http://h/app.bin", 3, hexlify(sha256(EVIL).digest()).decode(), more)
        assert d.service.control(events.INITIATE) == events.SUCCESS and d.run() == "idle"
        assert d.events[-2:] == [16, 18] and d.service.error.code == "unsigned"
    d = Device(app(EVIL).offer(entry(3, EVIL)), auto_update=False)
    assert d.run() == "idle" and d.events == [4, 7] and d.service.control(events.INITIATE) == events.FAILURE
    assert d.net.asked == [URL] and sorted(d.chip.store.files) == BEFORE
    assert maker.rows(d.chip) == [("a.bin", "f8", "2")] and maker.page(d.chip).status == 0xF8


def test_a_board_whose_settings_say_so_takes_what_nobody_signed():
    d = Device(app(B).offer(entry(3, B)), bare=True)
    assert d.run() == "reset"
    # With a key every image is signed, whatever `bare` says.
    d = Device(app(B).offer(entry(3, B)), bare=True, key=KEY)
    assert d.run() == "idle" and d.service.error.code == "signature" and d.net.asked == [URL]


def test_a_signature_is_judged_before_the_download():
    good = sign(B)
    for key, bare, text in (
        (KEY, False, ""),
        (KEY, False, sign(A)),
        (KEY, False, good[:-4]),
        (KEY, False, "!" * 88),
        (KEY[32:] + KEY[:32], False, good),
        (KEY[:63], True, good),
        (b"", True, ""),
        (None, True, good),
    ):
        more = ', "Signature": "%s"' % text + (bound(3, sha256(B).digest()) if key else "")
        d = Device(app(B).offer(entry(3, B, more=more)), key=key, bare=bare)
        assert d.run() == "idle" and d.events == [4, 7] and d.net.asked == [URL], text
        assert d.service.error.code == ("signature" if key != b"" else "unsigned"), text
    d = Device(app(B).offer(signed(3, B)), key=KEY)
    assert d.run() == "reset" and d.events == [4, 6, 16, 17, 19, 20, 25]
    # The signature is of these bytes: others do not pass for them.
    d = Device(app(EVIL).offer(signed(3, B)), key=KEY)
    assert d.run() == "idle" and d.service.error.code == "digest" and sorted(d.chip.store.files) == BEFORE


def test_the_bootloader_takes_every_signature_that_the_service_takes():
    good = sign(B)
    assert len(good) == 88 and good[-3] in "AQgw" and good[-2:] == "=="
    # Four bits of the last character count for nothing.
    odd = good[:-3] + chr(ord(good[-3]) + 1) + "=="
    for text, taken in (
        (good, True),
        (good + "\\r\\n", True),
        (good[:76] + "\\n" + good[76:], True),
        (good[:40] + "  " + good[40:], False),
        (good[:40] + "!" + good[40:], False),
        ("\\u00e9" + good, False),
        (" " + good, False),
        (odd, False),
        (good + " " * 9, False),
    ):
        more = ', "Signature": "%s"' % text + bound(3, sha256(B).digest())
        d = Device(app(B).offer(entry(3, B, more=more)), key=KEY)
        d.chip.store.put("a_sign.txt", sign(A).encode())
        assert d.run() == ("reset" if taken else "idle"), (text, d.service.error)
        if taken:
            loader.boot(maker.slot(d.chip), d.chip.store, Options(maker.BASE, key=KEY))
            assert maker.holds(d.chip, B) and maker.rows(d.chip)[1][1] == "FE"
        else:
            assert d.events == [4, 7] and d.net.asked == [URL], text
    assert "97 characters" in str(d.service.error)


THREE = (("a.bin", 3, "f8", A), ("b.bin", 2, "f8", B), ("c.bin", 1, "f8", C))
STRANGE = '{"Version": %d, "EraseVer": true%s}'


def test_a_manifest_of_a_stranger_erases_nothing():
    # Nobody signed it, or it is signed for another number, another product, another image, or as an offer.
    good = sha256(C).digest()
    for options, more, code in (
        ({}, "", "unsigned"),
        ({"key": b""}, bound(1, erase=1), "unsigned"),
        ({"key": KEY}, "", "signature"),
        ({"key": KEY, "bare": True}, "", "signature"),
        ({"key": KEY}, bound(2, erase=1), "signature"),
        ({"key": KEY}, bound(1, erase=0), "signature"),
        ({"key": KEY}, bound(1, good, erase=1), "signature"),
        ({"bare": True}, bound(1, erase=1), "signature"),
    ):
        d = Device(Net().offer(STRANGE % (1, more)), THREE, **options)
        assert d.run() == "idle" and d.events == [4, 26, 7] and d.service.error.code == code, more
        assert len(maker.rows(d.chip)) == 3 and "c.bin" in d.chip.store.files
    d = Device(Net().offer(STRANGE % (1, bound(1, product="lamp", erase=1))), THREE, key=KEY)
    assert d.run() == "idle" and d.events == [4, 7] and d.service.error.code == "product"
    # What is signed for this device under the name of another one.
    other = STRANGE % (1, bound(1, product="lamp", erase=1).replace('"lamp"', '"demo"'))
    d = Device(Net().offer(other), THREE, key=KEY)
    assert d.run() == "idle" and d.events == [4, 26, 7] and d.service.error.code == "signature"


def test_a_manifest_of_the_vendors_erases_neither_what_runs_nor_the_last_way_back():
    erase = '{"Version": %d, "EraseVer": true}'
    options = {"key": KEY, "vendor_manifest": True}
    d = Device(Net(), THREE, **options)
    d.net.offer(erase % 3, erase % 2, erase % 1)
    assert d.run() == "idle" and d.events == [4, 26, 27, 26, 7]
    assert maker.rows(d.chip) == [("a.bin", "f8", "3"), ("c.bin", "f8", "1")]
    assert d.service.error.code == "erase" and "EntrySignature" in str(d.service.error)
    assert FACTORY_FILE in d.chip.store.files and "c.bin" in d.chip.store.files
    # A file that is not whole is no way back, and one that is disabled is none either: it may go.
    d = Device(Net(), THREE, **options)
    d.chip.store.files["c.bin"] = C[:-1]
    d.net.offer(erase % 2)
    assert d.run() == "idle" and d.events == [4, 26, 7] and len(maker.rows(d.chip)) == 3
    d = Device(Net(), THREE[:2] + (("c.bin", 1, "f0", C),), **options)
    d.net.offer(erase % 1)
    assert d.run() == "idle" and d.events == [4, 27, 7] and len(maker.rows(d.chip)) == 2
    # Whoever lets anybody in lets anybody erase.
    d = Device(Net(), THREE[:2], bare=True)
    d.net.offer(erase % 2)
    assert d.run() == "idle" and d.events == [4, 27, 7] and maker.rows(d.chip) == [("a.bin", "f8", "3")]


def test_trouble_with_one_erasure_is_told_once_and_again_when_somebody_asks():
    d = Device(Net(), THREE, key=KEY)
    d.net.offer(STRANGE % (1, ""), erased(77))
    assert d.run() == "idle" and d.events == [4, 26, 26, 7]
    d.board.ms += 60000
    assert d.run() == "idle" and d.events == [4, 26, 26, 7, 4, 7]
    assert d.service.control(events.CHECK) == events.SUCCESS and d.run() == "idle"
    assert d.events[6:] == [4, 26, 26, 7]
    # Of so many the memory is bounded.
    for n in range(200, 300):
        d.net.offer(STRANGE % (n, ""))
        d.board.ms += 60000
        assert d.run() == "idle" and len(d.service.erased) <= manifest.ERASES


def test_a_manifest_that_erases_one_number_for_ever_costs_one_look_a_step():
    d = Device(Net(), THREE, key=KEY, vendor_manifest=True)
    d.chip.store.files["c.bin"] = C[:-1]
    d.net.offer(*['{"Version": %d, "EraseVer": true}' % (2 - i % 2 * i) for i in range(60) if i % 2 * i < 2])
    store = d.board.layout.port.files
    real, opened = store.open, []

    def open(name, mode):
        opened.append(name)
        return real(name, mode)

    store.open = open
    assert d.run() == "idle" and d.events == [4, 26, 27, 7] and opened.count("c.bin") == 1


# The same failure for ever.


def polls(d, n):
    """As many periods; how often the image was asked for."""
    for _ in range(n):
        d.board.ms += 60000
        assert d.run() == "idle"
    return len([url for url in d.net.asked if url != URL])


def test_an_image_that_failed_by_itself_is_fetched_once():
    for data, text, code in (
        (C, entry(3, B), "digest"),
        (b":10" + bytes(9000), entry(3, B), "hex"),
        (b"short", entry(3, B), "tiny"),
        (b"<html>" + bytes(9000), entry(3, B), "address"),
        (maker.image(5, maker.SLOT), entry(3, B), "size"),
        (maker.image(5, maker.SLOT), signed(3, B), "size"),
    ):
        key = KEY if "Signature" in text else None
        d = Device(app(data).offer(text), key=key, bare=key is None)
        assert polls(d, 61) == 1, code
        assert d.service.error.code == "failed" and code in str(d.service.error)
        assert d.events[-4:] == [4, 7] * 2 and sorted(d.chip.store.files) == BEFORE


def test_what_failed_is_fetched_again_when_its_entry_changes_after_a_reset_and_by_hand():
    d = Open(app(C).offer(entry(3, B)))
    assert polls(d, 3) == 1
    d.net.offer(entry(3, B, "app.bin?2"))
    d.net.files["app.bin?2"] = C
    assert polls(d, 3) == 2
    d.net.offer(entry(4, B))
    assert polls(d, 3) == 3
    assert d.service.control(events.CHECK) == events.SUCCESS and d.run() == "idle"
    assert polls(d, 3) == 4
    d.reset()
    assert polls(d, 3) == 5
    d.service.set_parameters("http://h/app.bin", 4, hexlify(sha256(B).digest()).decode())
    assert d.service.control(events.INITIATE) == events.SUCCESS and d.run() == "idle"
    assert d.service.error.code == "failed" and polls(d, 1) == 5
    d.net.files["app.bin"] = B
    assert d.service.control(events.CHECK) == events.SUCCESS and d.run() == "reset"


def test_a_wrong_signature_is_computed_once():
    from mpota.layout.pic32.pipe import p256

    more = ', "Signature": "%s"' % sign(A) + bound(3, sha256(B).digest())
    d = Device(app(B).offer(entry(3, B, more=more)), key=KEY)
    real = p256.verify
    n = []
    p256.verify = lambda *args: n.append(1) or real(*args)
    try:
        assert polls(d, 9) == 0 and len(n) == 2
    finally:
        p256.verify = real


def test_a_link_that_fails_is_asked_again_each_time():
    d = Open(Net().offer(entry(3, B)))
    assert polls(d, 5) == 5 and d.service.error.code == "http"

    def reset(url):
        raise OSError(104)

    fetch, d.service.fetch = d.service.fetch, lambda url: fetch(url) if url == URL else reset(url)
    for _ in range(5):
        polls(d, 1)
        assert d.events[-1] == 18
    d.service.fetch = fetch
    d.net.files["app.bin"] = B
    d.board.ms += 60000
    assert d.run() == "reset"


def test_a_store_that_fails_is_tried_a_few_times_and_no_more():
    d = Open(app(B).offer(entry(3, B)))
    port = d.board.layout.port
    port.files = Deaf(port.files, ("image1.bin",))
    assert polls(d, 9) == service.TRIES and "(store)" in str(d.service.error)
    d = Device(app(B).offer(signed(3, B)), key=KEY)
    port = d.board.layout.port
    port.files = Deaf(port.files, ("image1_sign.txt",))
    assert polls(d, 9) == service.TRIES and "(store)" in str(d.service.error)


def test_a_file_that_cannot_be_read_back_is_said_and_not_armed():
    d = Open(app(B).offer(entry(3, B)))
    store = d.board.layout.port.files
    real = store.open

    def open(name, mode):
        if name == "image1.bin" and mode == "rb":
            raise OSError(5)
        return real(name, mode)

    store.open = open
    assert d.run() == "idle" and d.events[-1] == 21 and d.service.error.code == "store"
    store.open = real
    assert polls(d, 0) == 1 and d.service.control(events.CHECK) == events.SUCCESS and d.run() == "reset"


def test_what_failed_is_remembered_for_a_few_entries_only():
    d = Open(Net())
    for n in range(3, 20):
        d.net.offer(wrong(n, B, "%d.bin" % n))
        d.net.files["%d.bin" % n] = B
        polls(d, 1)
        assert len(d.service.refused) <= service.FAILED
    assert d.service.refused[-1][1:] == (service.TRIES, "digest")


# A server that is slow.


class Drip:
    """A Source that gives `n` bytes of `data` each `ms` of the board's clock."""

    def __init__(self, board, data, n, ms):
        self.board, self.data, self.n, self.ms = board, data, n, ms

    def readinto(self, buf):
        self.board.ms += self.ms
        n = min(len(buf), self.n, len(self.data))
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        return n

    def close(self):
        pass


def dripping(n, ms):
    """(Device, fetch): every body comes in drops."""
    d = Open(app(B).offer(entry(3, B)))
    fetch = d.service.fetch
    d.service.fetch = lambda url: Drip(d.board, fetch(url).read(), n, ms)
    return d, fetch


def longest(d):
    """(last word, the longest step in ms of the clock)."""
    said, most = "busy", 0
    while said == "busy":
        began = d.board.ms
        said = d.service.step()
        most = max(most, d.board.ms - began)
    return said, most


def test_a_server_that_drips_costs_the_application_no_turn_and_comes_to_an_end():
    d, fetch = dripping(1, 9000)
    assert longest(d) == ("idle", 9000) and d.events == [4, 5] and d.service.error.code == "slow"
    assert d.board.ms < service.SLOW_MS + 20000
    # The image drips, the manifest does not.
    drip = d.service.fetch
    d.service.fetch = lambda url: fetch(url) if url == URL else drip(url)
    for _ in range(3):
        d.board.ms += 60000
        assert longest(d) == ("idle", 9000) and d.events[-1] == 18
        assert isinstance(d.service.error, LinkError) and d.service.error.code == "slow"
    # A link that is only slow is fast enough: 4 KiB in half a minute.
    d, _ = dripping(512, 3000)
    assert longest(d)[0] == "reset" and d.events == [4, 6, 16, 17, 19, 20, 25]
    # An application that takes its time is no server that does.
    d, _ = dripping(512, 300)
    while d.service.step() == "busy":
        d.board.ms += 50000
    assert d.events == [4, 6, 16, 17, 19, 20, 25]
    # Nobody waits for a turn longer than one wait of the link and a little.
    d, _ = dripping(100, 20)
    assert longest(d) == ("reset", service.STEP_MS + 20)


def test_a_download_waits_while_a_package_is_armed():
    d = Open(app(C).offer(entry(9, C)))
    update(d.board, B)
    assert d.run() == "idle" and d.service.error.code == "trial"
    d.reset()
    assert maker.holds(d.chip, B) and FACTORY_FILE in d.chip.store.files
