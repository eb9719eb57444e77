"""Control page, database, store and manifest of a PIC32MZW1: the vendor's bytes, and what is no such thing."""

from hashlib import sha256

from mpota.layout.pic32.link import manifest
from mpota.layout.pic32.port import judge
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.control import Control
from mpota.layout.pic32.store.files import Folder, Stored, digest
from mpota_boot.errors import FlashError, Refused
from mpota_host.chips.pic32.sim.chip import Shelf
from mpota_host.sim.flash import SimFlash
from tests.chips.pic32 import pic32_maker as maker
from tests.expect import raises
from tests.scratch import Scratch

# What the vendor's own code wrote for two downloads.
TEXT = "wifi_ota_app_ver1.bin,FE,5,0x01," + "01" + "aa" * 31 + "\nwifi_ota_app_ver2.bin,FE,10,0x01," + "02" + "aa" * 31


def page():
    return Control(control.UNBOOTED, control.PRODUCTION, 0x12, maker.ADDRESS, (0xFF, 0xFE, 5000, sha256(b"x").digest()))


def test_a_page_reads_as_it_was_written():
    seen = Control.decode(page().encode())
    fields = seen.status, seen.kind, seen.version, seen.boot, seen.slot, seen.order, seen.size, seen.digest
    assert fields == (0xFC, 1, 0x12, maker.ADDRESS, 0xFF, 0xFE, 5000, sha256(b"x").digest()) and seen.sealed
    assert page().encode()[:16] == b"\xfc\xff\xfe\x01" + b"\x88\x13\0\0" + b"\x12\0\0\0" + b"\0\x20\0\xb0"


def test_every_bit_of_a_sealed_page_but_status_slot_and_order_is_sealed():
    data = page().encode()
    for i in range(3, 56):
        for bit in range(8):
            bad = bytearray(data)
            bad[i] ^= 1 << bit
            assert Control.decode(bad) is None, (i, bit)


def test_of_the_factorys_sealed_page_nothing_but_disabling_is_believed():
    page = bytearray(control.Control(0xF8, control.FACTORY, 1, 0xB0021000).encode())
    assert control.Control.decode(page).golden
    for kind in range(256):
        page[3] = kind
        found = control.Control.decode(page)
        assert (found is not None) == (kind in (control.PRODUCTION, control.FACTORY)), kind
        assert found is None or found.golden
    page = bytearray(control.Control(0xF8, control.PRODUCTION, 1, 0xB0021000).encode())
    assert not control.Control.decode(page).golden
    page[3] = control.FACTORY
    assert control.Control.decode(page) is None


def test_the_page_of_a_build_reads_and_one_set_bit_in_its_zeros_is_noticed():
    data = bytearray(maker.build())
    seen = Control.decode(data)
    assert (seen.status, seen.kind, seen.version, seen.size) == (0xFF, 3, 1, 0xFFFFFFFF) and seen.pristine()
    for i in range(48, 256):
        data[i] = 1
        assert Control.decode(data) is None, i
        data[i] = 0


def test_a_blank_page_is_none():
    assert Control.decode(b"\xff" * 256) is None


def test_status_and_order_only_lose_bits():
    flash = SimFlash(4096, prog_size=16, overwrite=((0, 4096),))
    flash.prog(0, page().encode())
    for change, status, tries in (
        (lambda: control.count(flash, control.read(flash)), 0xFC, 2),
        (lambda: control.validate(flash), 0xF8, 2),
        (lambda: control.disable(flash), 0xF0, 2),
    ):
        change()
        seen = control.read(flash)
        assert (seen.status, seen.tries()) == (status, tries)
    n = flash.ops
    control.validate(flash)
    control.disable(flash)
    assert flash.ops == n and control.read(flash).status == 0xF0


def test_the_vendors_database_reads_and_writes_byte_for_byte():
    rows = database.parse(TEXT)
    assert [(r.name, r.status, r.version) for r in rows] == [
        ("wifi_ota_app_ver1.bin", 0xFE, 5),
        ("wifi_ota_app_ver2.bin", 0xFE, 16),
    ]
    assert rows[0].digest == b"\x01" + b"\xaa" * 31
    assert database.encode(rows) == TEXT
    rows[1].mark(0xF8)
    assert database.encode(rows) == TEXT.replace("FE,10", "f8,10")
    assert database.encode([database.row("wifi_ota_app_ver1.bin", 5, rows[0].digest)]) == TEXT.split("\n")[0]


def test_a_final_newline_carriage_returns_and_quotes_are_read():
    for text in (TEXT + "\n", TEXT.replace("\n", "\r\n"), '"' + TEXT.replace(",FE", '",FE', 1)):
        assert [r.whole for r in database.parse(text)] == [True, True], text
    odd = database.row('a,"b".bin', 1, bytes(32))
    assert database.encode([odd]).startswith('"a,""b"".bin",FE,1,')
    assert database.parse(database.encode([odd]))[0].name == 'a,"b".bin'


def test_rows_that_lack_a_column_or_have_one_too_long_are_not_whole_and_not_written():
    rows = database.parse("a.bin,FE\n%s,FE,1,0x01,%s\nb.bin,%s,1,0x01,%s" % ("n" * 101, "0" * 64, "f" * 31, "0" * 64))
    assert [r.whole for r in rows] == [False] * 3
    assert not database.parse("a.bin,FE,1,0x01,12")[0].whole
    assert not database.parse("../a.bin,FE,1,0x01," + "0" * 64)[0].whole, "a name has no path in it"
    assert database.encode(rows + database.parse(TEXT)) == TEXT


def test_numbers_of_the_vendors_read_as_c_reads_them():
    pairs = (("FE", 254), ("0xfe", 254), (" f8", 248), ("10", 16), ("", 0), ("zz", 0), ("1g", 1), ("100", 256))
    assert [database.strtol(text) for text, _ in pairs] == [n for _, n in pairs]


def test_a_number_is_written_and_read_as_the_same_number():
    for n in (1, 9, 10, 16, 99, 100, 999):
        assert database.number(database.row("a", n, bytes(32)).version) == n
        assert database.number(database.coded(n)) == n
    assert database.number(0x1A) == 26


def test_a_database_is_the_old_one_or_the_new_one_wherever_the_power_goes():
    c = maker.chip()
    old = [maker.row("a%d.bin" % i, i + 1, b"%d" % i, "f8") for i in range(5)]
    database.save(c.store, old)
    new = old[1:] + [maker.row("b.bin", 9, b"b")]
    seen = set()
    for how in maker.cuts_of_store(c, lambda: database.save(c.store, new)):
        text = database.encode(database.load(c.store))
        assert text in (database.encode(old), database.encode(new)), how
        assert database.NEW not in c.store.files
        seen.add(text)
    assert len(seen) == 2


def test_bytes_that_are_no_ascii_are_kept():
    store = Shelf()
    text = b"caf\xe9.bin,FE,1,0x01," + b"ab" * 32
    store.put(database.NAME, text)
    database.save(store, database.load(store))
    assert store.get(database.NAME, 999) == text


def test_a_database_of_five_rows_survives_each_change():
    store = Shelf()
    rows = []
    for n in range(1, 6):
        rows.append(maker.row("application-%d.bin" % n, n, b"%d" % n))
        database.save(store, rows)
    assert len(store.get(database.NAME, 9999)) > 255
    for r in rows:
        r.mark(0xF0)
        database.save(store, rows)
    assert [r.fields for r in database.load(store)] == [r.fields for r in rows]


def test_a_file_of_the_store_is_a_flash():
    with Scratch() as root:
        store = Folder(root)
        target = Stored(store, "a.bin", 10000)
        assert target.size == 10000 and store.size("a.bin") is None
        target.erase(0, 4096)
        target.prog(0, b"x" * 4096)
        target.prog(4096, b"y" * 100)
        buf = bytearray(200)
        target.read(4000, memoryview(buf)[:196])
        assert buf == b"x" * 96 + b"y" * 100 + bytes(4)
        raises(FlashError, "store", target.read, 4100, buf)
        assert digest(store, "a.bin", bytearray(64)) == (sha256(b"x" * 4096 + b"y" * 100).digest(), 4196)
        assert digest(store, "b.bin", bytearray(64)) == (None, 0)
        # A new image does not end with what an older one had there.
        target.prog(0, b"z")
        assert store.get("a.bin", 9) == b"z" and store.names() == ["a.bin"] and store.room() > 0
        store.remove("a.bin")
        store.remove("a.bin")
        assert store.names() == []


def test_what_is_no_image_for_this_slot_is_refused_with_what_to_give():
    good = maker.image(1)
    judge(good[:4096], len(good), maker.ADDRESS)
    for code, head, size in (
        ("hex", b":020000040000FA\n" * 300, 9000),
        ("tiny", good[:100], 100),
        ("tiny", good[:4096], 4096),
        ("address", b"\xff" * 4096, 9000),
        ("address", b"<html>" * 700, 9000),
        ("address", maker.build().replace(b"\0\x20\0\xb0", b"\0\x10\x02\xb0"), 9000),
    ):
        assert "mpota pic32 pack" in str(raises(Refused, code, judge, head, size, maker.ADDRESS))


def entry(n, **more):
    text = '{"Version": %d, "URL": "http://h/%d.bin", "Digest": "%s"' % (n, n, "ab" * 32)
    return text + "".join([', "%s": %s' % (k, more[k]) for k in more]) + "}"


def parse(*entries, **options):
    return manifest.parse(('{"ota": [%s]}' % ", ".join(entries)).encode(), **options)


def test_the_highest_version_of_a_manifest_wins_and_the_last_one_only_where_that_is_asked_for():
    assert parse(entry(3), entry(7), entry(5)).offer.number == 7
    assert parse(entry(3), entry(7), entry(5), last_entry=True).offer.number == 5
    assert parse(last_entry=True).offer is None and parse().offer is None
    offer = parse(entry(3, Signature='"c2ln"')).offer
    assert (offer.url, offer.digest, offer.signature) == ("http://h/3.bin", b"\xab" * 32, "c2ln")


def test_keys_count_whatever_their_case():
    text = (
        b'{"OTA": [%s]}' % entry(3).replace("Version", "vErSiOn").replace("URL", "url").replace("Dig", "dIG").encode()
    )
    assert manifest.parse(text).offer.number == 3
    assert "two fields" in parse('{"version": 1, "VERSION": 2}').wrong[0]


def test_an_entry_that_is_wrong_is_left_out_and_named():
    for bad, words in (
        (entry(0), "Version is 0"),
        (entry(1000), "Version is 1000"),
        (entry(9).replace("9,", '"9",', 1), "version is str"),
        (entry(9).replace("9,", "true,", 1), "version is bool"),
        (entry(9).replace("http:", "ftp:"), "URL is"),
        (entry(9).replace("http://h/", "http://" + "h" * 300), "URL is"),
        (entry(9).replace("http://h/", "http://h/ "), "URL is"),
        (entry(9).replace("http://h/", "http://h/\\r\\nX:"), "URL is"),
        (entry(9).replace("http://h/", "http://h/\u00e9"), "URL is"),
        (entry(9).replace("ab", "zz"), "Digest"),
        (entry(9).replace("abab", "", 1), "Digest"),
        (entry(9).replace("Digest", "Other"), "digest is missing"),
        (entry(9, EraseVer='"yes"'), "erasever is str"),
        (entry(9, EraseVer="1"), "erasever is int"),
        ("7", "is int"),
    ):
        found = parse(entry(3), bad)
        assert found.offer.number == 3 and len(found.wrong) == 1 and "entry 2: " in found.wrong[0], bad
        assert words in found.wrong[0], found.wrong


def test_versions_to_erase_need_no_image():
    found = parse('{"Version": 4, "EraseVer": true}', '{"Version": 4, "EraseVer": true}', entry(3, EraseVer="false"))
    assert [one.number for one in found.erase] == [4] and found.offer.number == 3 and not found.wrong


def test_what_is_no_manifest_is_refused():
    for text in (b"", b"[]", b"{}", b'{"ota": 1}', b'{"ota": {"Version": 1}}', b"<html>", b'{"ota": [', b"[" * 8000):
        raises(Refused, "manifest", manifest.parse, text)
    assert str(raises(Refused, "manifest", manifest.parse, b'{"ota": ["\xff"]}')) != "no manifest: "


def test_what_is_nested_without_end_is_no_manifest():
    for deep in (b"[", b'{"a":'):
        text = b'{"ota": [' + deep * 1300 + b"]}"
        raises(Refused, "manifest", manifest.parse, text)
        whole = b'{"ota": [' + deep * 1300 + b"1" + {b"[": b"]"}.get(deep, b"}") * 1300 + b"]}"
        try:
            assert manifest.parse(whole).offer is None
        except Refused as e:
            assert e.code == "manifest"


def test_a_manifest_above_the_limit_is_refused():
    text = b'{"ota": [%s]}' % ", ".join([entry(i) for i in range(1, 70)]).encode()
    assert len(text) > manifest.MOST
    assert "8192" in str(raises(Refused, "manifest", manifest.read, bytearray(text[:8193]), 8193))
    assert manifest.read(bytearray(text + bytes(9)), len(text)).offer.number == 69
    just = text[:8100].rpartition(b", {")[0] + b"]}"
    assert manifest.read(bytearray(just + b" " * (8193 - len(just))), 8192).offer.number > 40
