"""The vendor's release out of Intel HEX: as hex2bin makes it, with a bootloader in one file, and what inspect says."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from intelhex import IntelHex

from mpota.layout.pic32 import loader
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.pipe import p256
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.files import Folder
from mpota.pipe.package import Package
from mpota.store.flash import Region
from mpota_boot.errors import Refused
from mpota_host.chips.pic32 import hexfile
from mpota_host.chips.pic32.binfile import LAYOUTS, binary, build_page, factory
from mpota_host.chips.pic32.sim import machine
from mpota_host.chips.pic32.sim.chip import Shelf
from mpota_host.command.cli import cli
from mpota_host.package.read import explain
from mpota_host.registry import prepare
from mpota_host.sim.flash import SimFlash

START, SIZE = LAYOUTS["3.7"]
ADDRESS = 0xB0021000
CODE = random.Random(7).randbytes(70001)


def hex_of(*pieces: tuple[int, bytes]) -> bytes:
    found = IntelHex()
    for at, data in pieces:
        found.puts(at, data.decode("latin1"))
    return hexfile.text(found)


def app(code: bytes = CODE, fuses: bytes = b"\x11\x22\x33\x44") -> bytes:
    """What a build gives: control page, code with a gap, startup in boot flash, configuration words."""
    page = build_page(ADDRESS)
    return hex_of((START, page), (START + 4096, code[:5000]), (START + 9500, code[5404:]), (0x1FC55E88, fuses))


BOOT = hex_of((0x10000000, CODE[:3000]), (0x1FC004B0, CODE[:600]), (0x1FC55E88, b"\x11\x22\x33\x44"))


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=True)


def test_the_bin_has_gaps_of_ff_and_ends_at_the_highest_byte() -> None:
    data = hexfile.binary(hexfile.load(app()), hexfile.slot_of("3.7"))
    assert data[:4096] == build_page(ADDRESS) and data[:4] == b"\xff\xff\xff\x03"
    assert data[4096:9096] == CODE[:5000] and data[9096:9500] == b"\xff" * 404 and data[9500:] == CODE[5404:]
    whole = hexfile.factory(hexfile.load(app()), hexfile.slot_of("3.7"))
    assert whole == factory(data[4096:], ADDRESS, SIZE) and len(whole) == 0xDF000 and whole[0] == 0xF8


def test_what_lies_outside_the_slot_is_dropped() -> None:
    text = hex_of((START - 4, b"before"), (START, build_page(ADDRESS)), (START + SIZE - 2, b"end!"))
    data = hexfile.binary(hexfile.load(text), hexfile.slot_of("3.7"))
    assert len(data) == SIZE and data[-2:] == b"en" and data[:2] == b"\xff\xff"


def test_the_layout_of_3_6_1_has_its_own_slot() -> None:
    text = hex_of((0x10018000, build_page(0xB0019000)), (0x10019000, CODE))
    data, notes, facts = prepare("pic32", text)
    assert data == binary(CODE, 0xB0019000) and facts == {"address": "0xb0019000", "release": "3.6.1"} and notes
    assert hexfile.slot_of("3.6.1").size == 0xE5000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b":0400000300000000F9\n:00000001FF\n", "type 03"),
        (b":020000021000EC\n", "type 02"),
        (b":0400000510000000E7\n", "type 05"),
        (b":0400000000000000FF\n", "checksum"),
        (b":04000000FC\n:00000001FF\n", "ecord"),
        (b"hello\n", "no record"),
    ],
)
def test_records_that_hex2bin_does_not_take_give_no_file(text: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        hexfile.load(text)


def test_a_hex_without_the_slot_is_refused() -> None:
    for text in (BOOT, hex_of((START + 4096, CODE))):
        with pytest.raises(Refused) as caught:
            prepare("pic32", text)
        assert caught.value.code == "slot"
    with pytest.raises(Refused):
        hexfile.binary(hexfile.load(BOOT), hexfile.slot_of("3.7"))
    with pytest.raises(Refused, match="a slot has"):
        prepare("pic32", binary(bytes(SIZE), ADDRESS))


def test_one_hex_has_both_and_boots_as_its_own_factory_image() -> None:
    both = hexfile.unify(hexfile.load(BOOT), hexfile.load(app()))
    flash = SimFlash(1 << 20, prog_size=16, overwrite=((0x20000, 4096),))
    for low, high in both.segments():
        if low >> 24 == 0x10:
            data = bytes(both.tobinarray(start=low, size=high - low))
            pad = (low & 15) * b"\xff" + data
            flash.prog(low - 0x10000000 - (low & 15), pad + b"\xff" * (-len(pad) % 16))
    store = Shelf()
    got = loader.boot(Region(flash, 0x20000, SIZE), store)
    assert got.address == ADDRESS and got.did == ["keeps the factory image"]
    assert store.files[golden.FACTORY_FILE] == hexfile.factory(hexfile.load(app()), hexfile.slot_of("3.7"))


def test_bytes_that_conflict_are_refused_by_their_address() -> None:
    clash = hexfile.load(hex_of((START, build_page(ADDRESS)), (0x10000010, b"\x00\x01")))
    with pytest.raises(Refused, match=f"0x10000010 \\({CODE[16]:02x} and 00\\)"):
        hexfile.unify(hexfile.load(BOOT), clash)
    with pytest.raises(Refused, match="and 2995 more"):
        other = bytes(c ^ 1 for c in CODE[:3000])
        hexfile.unify(hexfile.load(BOOT), hexfile.load(hex_of((0x10000000, other))))


def test_configuration_words_that_differ_are_refused_unless_the_bootloaders_are_kept() -> None:
    odd = hexfile.load(app(fuses=b"\x11\x22\x99\x44"))
    with pytest.raises(Refused, match="0x1fc55e8a \\(33 and 99\\)"):
        hexfile.unify(hexfile.load(BOOT), odd)
    both = hexfile.unify(hexfile.load(BOOT), odd, keep_fuses=True)
    assert both[0x1FC55E8A] == 0x33
    same = hexfile.unify(hexfile.load(BOOT), hexfile.load(app()))
    assert [same[0x1FC55E88 + i] for i in range(4)] == [0x11, 0x22, 0x33, 0x44]


def test_pack_writes_the_release_and_finds_the_hex_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "dist" / "lamp" / "production"
    out.mkdir(parents=True)
    assert run("pic32", "pack").exit_code != 0
    (out / "lamp.hex").write_bytes(app())
    (tmp_path / "dist" / "lamp" / "debug.hex").write_bytes(BOOT)
    (tmp_path / "boot.hex").write_bytes(BOOT)
    options = ("--bootloader", "boot.hex", "--version", 3, "--url", "http://h/ota/", "-o", "shelf")
    done = run("pic32", "pack", *options)
    assert done.exit_code == 0, done.output
    data = (tmp_path / "shelf" / "lamp.bin").read_bytes()
    assert f'"Digest":"{sha256(data).hexdigest()}"' in done.output.replace("\n", "")
    names = sorted(p.name for p in (tmp_path / "shelf").iterdir())
    assert names == ["factory_reset.bin", "lamp-factory.hex", "lamp.bin", "manifest.json"]
    entry = json.loads((tmp_path / "shelf" / "manifest.json").read_text())["ota"]
    assert entry == [
        {"Version": 3, "URL": "http://h/ota/lamp.bin", "Digest": sha256(data).hexdigest(), "EraseVer": False}
    ]
    for n in (2, 4, 3):
        done = run("pic32", "pack", "--version", n, "--url", "http://h", "-o", "shelf", "--json")
        assert done.exit_code == 0, done.output
    assert json.loads(done.output)["Digest"] == sha256(data).hexdigest()
    entries = json.loads((tmp_path / "shelf" / "manifest.json").read_text())["ota"]
    assert [e["Version"] for e in entries] == [2, 3, 4], "the newest is last, where older services look"
    assert run("pic32", "pack", "--version", 1000).exit_code != 0
    assert run("pic32", "pack", "--start", "x").exit_code == 2


def test_pack_with_a_key_signs_and_prints_what_the_boards_settings_take(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "p256.pem").write_bytes(key.private_bytes(*form))
    (tmp_path / "lamp.hex").write_bytes(app())
    words = ("--version", 3, "--url", "http://h", "--key", tmp_path / "p256.pem", "-o", tmp_path)
    done = run("pic32", "pack", tmp_path / "lamp.hex", *words)
    assert done.exit_code == 0, done.output
    public = bytes.fromhex(next(line for line in done.output.splitlines() if "service_key" in line).split()[1])
    entry = json.loads((tmp_path / "manifest.json").read_text())["ota"][0]
    assert p256.verify_text(public, entry["Signature"], bytes.fromhex(entry["Digest"]))


def test_a_signed_package_of_a_hex_is_a_package_like_others(tmp_path: Path) -> None:
    (tmp_path / "lamp.hex").write_bytes(app())
    out = tmp_path / "lamp.mpota"
    words = ("--unsigned", "--product", "lamp", "--version", "1.0.0", "--compress", "none", "-o", out)
    done = run("pack", tmp_path / "lamp.hex", "--layout", "pic32", *words)
    assert done.exit_code == 0, done.output
    from io import BytesIO

    package = Package.read(BytesIO(out.read_bytes()), None, bytearray(4096))
    data = hexfile.binary(hexfile.load(app()), hexfile.slot_of("3.7"))
    assert package.layout == "pic32" and package.components[0].sha == sha256(data).digest()


def test_inspect_explains_each_of_the_vendors_files(tmp_path: Path) -> None:
    data = binary(CODE, ADDRESS)
    row = database.row("lamp.bin", 12, sha256(data).digest())
    text = database.encode([row]).encode()
    manifest = b'{"ota": [{"Version": 3, "URL": "http://h/a", "Digest": "%s"}, {}]}' % (b"ab" * 32)
    for given, kind, ok in (
        (data, "application", True),
        (factory(CODE, ADDRESS, SIZE), "factory image", True),
        (build_page(ADDRESS), "control page", True),
        (text, "image database", True),
        (text + b"\nbad,FE", "image database", False),
        (manifest, "manifest", False),
        (b'{"ota": 3}', "manifest", False),
        (app(), "Intel HEX", True),
        (b":zz", "Intel HEX", False),
    ):
        report = explain(given)
        assert (report.kind, report.ok) == (kind, ok), report
    facts = explain(data).facts
    assert facts["boot"] == "0xb0021000" and facts["digest"] == sha256(data).hexdigest() and facts["release"] == "3.7"
    assert explain(text).facts["images"] == [{"name": "lamp.bin", "status": "fe", "number": 12}]
    assert explain(manifest).facts["takes"] == 3


def test_inspect_of_program_flash_says_what_its_page_says_and_whether_the_code_is_whole() -> None:
    page = control.Control(control.VALID, control.PRODUCTION, 0x12, ADDRESS, (0xFF, 0xFE, 4096 + len(CODE), bytes(32)))
    page.code = sha256(CODE).digest()
    for code, words in ((CODE, "whole"), (b"x" + CODE[1:], "not what was programmed")):
        data = bytes(0x20000) + page.encode() + b"\xff" * (4096 - 256) + code
        report = explain(data + b"\xff" * (0x100000 - len(data)))
        assert report.kind == "flash dump" and report.facts["status"] == "f8" and report.facts["version"] == 0x12
        assert report.tables[0].rows[-1] == ("code", f"{len(CODE):,} bytes, {words}")
    blank = b"\xff" * machine.SIZE
    assert "programs next" in explain(blank).text


def test_inspect_of_a_store_says_what_comes_first_and_which_file_is_not_its_rows(tmp_path: Path) -> None:
    data = binary(CODE, ADDRESS)
    rows = [database.row("a.bin", 2, sha256(data).digest(), "f8"), database.row("b.bin", 3, bytes(32))]
    (tmp_path / "a.bin").write_bytes(data)
    (tmp_path / "b.bin").write_bytes(data)
    (tmp_path / database.NAME).write_text(database.encode(rows))
    done = run("inspect", tmp_path)
    assert done.exit_code == 0 and "a.bin comes first" in done.output and "not what its row" in done.output
    # Cut while the database was written: what is whole beside it counts.
    shelf = Folder(str(tmp_path))
    rows[1] = database.row("c.bin", 3, sha256(data).digest())
    database.save(shelf, rows)
    text = (tmp_path / database.NAME).read_bytes()
    (tmp_path / database.NEW).write_bytes(b"%08x\n" % crc32(text) + text)
    (tmp_path / database.NAME).write_bytes(text[:50])
    (tmp_path / "c.bin").write_bytes(data)
    done = run("inspect", tmp_path)
    assert done.exit_code == 0 and "c.bin comes first" in done.output
    assert (tmp_path / database.NEW).exists(), "a look changes nothing"
    (tmp_path / database.NEW).unlink()
    (tmp_path / database.NAME).write_bytes(b"")
    done = run("inspect", tmp_path, "--json")
    assert done.exit_code == 5 and json.loads(done.output)["first"] is None
    (tmp_path / database.NAME).unlink()
    done = run("inspect", tmp_path)
    assert isinstance(done.exception, Refused) and "no kind that mpota knows" in str(done.exception)


def test_inspect_of_a_store_says_whether_the_factory_image_is_whole(tmp_path: Path) -> None:
    image = factory(CODE, ADDRESS, SIZE)
    (tmp_path / golden.FACTORY_DIGEST).write_bytes(sha256(image).digest())
    for data, words in (
        (image, "the factory image comes first"),
        (image[:-1] + b"\0", "not what its digest says"),
        (b"\xff" + image[1:], "not a factory image"),
        (b"", "not a factory image"),
    ):
        (tmp_path / golden.FACTORY_FILE).write_bytes(data)
        done = run("inspect", tmp_path)
        assert words in done.output and done.exit_code == (0 if data == image else 5)
    (tmp_path / golden.FACTORY_DIGEST).unlink()
    (tmp_path / golden.FACTORY_FILE).write_bytes(image[:-1])
    assert "913,407 bytes, no slot" in run("inspect", tmp_path).output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (app().rsplit(b":", 1)[0], "was cut"),
        (b"", "was cut"),
        (BOOT + app(), "two files in one"),
        (hex_of((START, build_page(ADDRESS))), "an image of 4,096 bytes"),
        (hex_of((START, build_page(0xB0019000)), (START + 4096, CODE)), "0xb0019000"),
        (hex_of((START, CODE)), "no control page"),
        (hex_of((START, build_page(ADDRESS)), (START + SIZE - 2, b"end!")), "goes on behind 0x100ff000"),
    ],
)
def test_what_no_board_could_start_is_not_packed(text: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "lamp.hex").write_bytes(text)
    out = tmp_path / "shelf"
    done = run("pic32", "pack", tmp_path / "lamp.hex", "--version", 2, "--url", "http://h", "-o", out)
    assert isinstance(done.exception, Refused) and words in str(done.exception) and not out.exists()


@pytest.mark.parametrize(
    "text", ["[]", "x", '{"ota": 5}', '{"ota": [1]}', '{"ota": [{}]}', '{"ota": [{"Version": "x"}]}']
)
def test_a_manifest_of_another_shape_is_refused_and_kept(text: str, tmp_path: Path) -> None:
    (tmp_path / "lamp.hex").write_bytes(app())
    (tmp_path / "manifest.json").write_text(text)
    given = ("pic32", "pack", tmp_path / "lamp.hex", "--version", 2, "--url", "http://h", "-o", tmp_path)
    done = run(*given)
    assert isinstance(done.exception, Refused) and "is no manifest" in str(done.exception)
    assert (tmp_path / "manifest.json").read_text() == text
    (tmp_path / "manifest.json").write_text('{"OTA": [{"version": 7}, {"VERSION": 2}], "more": 1}')
    assert run(*given).exit_code == 0
    made = json.loads((tmp_path / "manifest.json").read_text())
    assert [sorted(e) for e in made["OTA"]] == [["Digest", "EraseVer", "URL", "Version"], ["version"]] and made["more"]


def test_a_url_and_a_slot_that_no_board_takes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lamp.hex").write_bytes(app())
    given = ("pic32", "pack", tmp_path / "lamp.hex", "-o", tmp_path / "shelf")
    for url in ("", "ftp://h", "http://h/" + "a" * 250):
        done = run(*given, "--version", 2, "--url", url)
        assert isinstance(done.exception, Refused) and "give --url" in str(done.exception)
    for more in (("--size", 0), ("--size", -1), ("--start", 5), ("--start", "0x10020000", "--size", 4096)):
        assert run(*given, *more).exit_code == 2
    assert not (tmp_path / "shelf").exists()
    spaced = (tmp_path / "lamp.hex").rename(tmp_path / "my lamp.hex")
    assert run("pic32", "pack", spaced, "-o", tmp_path, "--version", 2, "--url", "http://h").exit_code == 0
    assert "http://h/my%20lamp.bin" in (tmp_path / "manifest.json").read_text()
