"""What a person has in place of an RBL, or of an application; and the table of a board's own loader."""

import gzip
import json
import random
import re
import struct
from pathlib import Path

import pytest
from intelhex import IntelHex

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.store import table
from mpota_boot.errors import Refused
from mpota_host.chips.bk7238 import packer, prepare, verdict
from mpota_host.chips.bk7238.look import others, tables
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.chips.pic32 import hexfile
from mpota_host.package.read import explain
from tests.chips.bk7238 import board_maps
from tests.chips.bk7238.rbl_maker import application, linked, package
from tests.host.command import call

VECTORS = Path(__file__).resolve().parents[3] / "vectors/cases/vendors"
KEY, IV = rbl.KEY.decode(), rbl.IV.decode()


def stored(name):
    return gzip.decompress((VECTORS / f"{name}.gz").read_bytes())


def in_flash(image, coefficients=None, download=None, loader=True):
    """The front of a flash: loader and application with their CRCs."""
    it = sim.Chip({}, None)
    it.scrambler = coefficients
    if download:
        old = it.rows[b"download"]
        it.theirs[b"download"] = table.Entry(old.name, old.flash, old.offset, download)
    if loader:
        it.part(b"bootloader").prog(0, bytes(0xFF00))
        it.write_loader()
    it.write(image)
    end = 0x11000 + (len(image) + 31) // 32 * 34
    return bytes(it.flash.flash.cells.get(0, end))


def hexed(image):
    found = IntelHex()
    found.puts(0x11000, image.decode("latin1"))
    return hexfile.text(found)


def uf2(family):
    return struct.pack("<8sIIIIII", others.UF2, 0x2000, 0x11000, 256, 0, 1, family) + bytes(480)


APP = application(90000)
FIRMWARE = others.VECTORS + bytes(24) + struct.pack("<I", 0x10044) + random.Random(3).randbytes(5000)
UG = others.UG + b"26.11.30".ljust(12, b"\0") + struct.pack(">III", 9, 8, 7) + b"\xaa\x55\xaa\x55"
NAMED = {
    "UG": [stored("lt_ug.bin"), UG + package(APP), UG],
    "UF2": [stored("fw.uf2"), *[uf2(family) for family in others.FAMILIES]],
    "diff2ya": [stored("diff2ya.bin")],
    "diff2ya info": [others.MANAGED + bytes(68)],
    "QIO": [stored("qio-front.bin"), in_flash(APP), in_flash(FIRMWARE), in_flash(APP, tables.COEFFICIENTS)],
    "application": [FIRMWARE, APP, application(500, 0)],
}


@pytest.mark.parametrize("kind, i", [(kind, i) for kind in NAMED for i in range(len(NAMED[kind]))])
def test_a_file_of_a_release_is_named_by_every_command_that_is_given_it(kind, i, tmp_path, capsys):
    path = tmp_path / "file.bin"
    data = NAMED[kind][i]
    path.write_bytes(data)
    if kind != "application" or data[:8] == others.VECTORS or len(data) > 0x10000:
        assert explain(data).kind == kind and explain(data).ok
        assert "rbl" in explain(data).text.lower()
    assert call("bk7238", "verify", path) == 3
    assert "rbl" in capsys.readouterr().err.lower() and others.named(data).kind == kind
    out = tmp_path / "out.rbl"
    status = call("bk7238", "pack", "-f", path, "-v", "1", "-s", "aes", "-o", out)
    assert (status, out.exists()) == ((0, True) if kind == "application" else (3, False))
    with pytest.raises(Refused, match=r"(?i)rbl"):
        prepare.prepare(data)


def test_a_uf2_of_another_chip_asks_for_a_release_for_this_one():
    for family, chip in others.FAMILIES.items():
        text = others.named(uf2(family)).text
        assert chip in text and ("of the same release" in text) == (chip == "BK7238"), text


def test_what_only_resembles_such_a_file_is_not_called_one():
    noise = random.Random(4).randbytes(90000)
    code = in_flash(application(200000), loader=False)[0x11000:]
    assert explain(code).kind == "BK72xx code" and len(code) > 0x11000 + 68
    for data in (
        noise,
        bytes(90000),
        b"\xff" * 90000,
        uf2(0x12345678),
        others.UG + bytes(40),
        noise[:0x11000] + b"\xff" * 400,
        linked(noise, 0x10000 + len(noise)),
        linked(noise, 0xFFFC),
        linked(noise, 0x10100)[:127],
        b"",
    ):
        assert others.of_release(data) is None and others.guessed(data) is None, data[:8]
    # Other chips are asked first: an application is guessed by four bytes alone.
    assert explain(package(linked(bytes(4000), 0x10004))).kind == "RBL package"


STRANGERS = {
    "ELF": b"\x7fELF\1\1\1" + bytes(9) + random.Random(2).randbytes(3000),
    "Intel HEX": hexed(APP[:9000]),
    "S-record": b"S00600004844521B\r\nS1130000" + b"0" * 400,
    "UF2": uf2(0x12345678),
    "gzip": gzip.compress(APP),
    "zip": b"PK\3\4" + bytes(400),
    "xz": b"\xfd7zXZ\0" + bytes(400),
    "RBL package": package(APP),
    "package": b"MPOT" + bytes(400),
    "QIO": in_flash(APP),
    "not linked": random.Random(5).randbytes(20000),
    "CRCs between": in_flash(APP)[0x11000:],
    "too large": application(0x110000),
    "another chip": application(20000),
}


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("crypt", ["aes", "none"])
def test_pack_writes_nothing_of_what_is_no_application_unless_it_is_forced(kind, crypt, tmp_path, capsys):
    path, out = tmp_path / "file.bin", tmp_path / "out.rbl"
    path.write_bytes(STRANGERS[kind])
    version = "1.0.1-bk7231n" if kind == "another chip" else "1.0.1"
    given = ["bk7238", "pack", "-f", path, "-v", version, "-s", crypt, "-o", out]
    assert call(*given) == 3 and not out.exists()
    said = capsys.readouterr().err
    words = {"not linked": "linked", "CRCs between": "plain", "too large": "sizes", "another chip": "bk7231n"}
    assert words.get(kind, kind) in said, said
    assert call(*given, "--force") == 0 and out.exists()
    assert "the loader will refuse it" in capsys.readouterr().err


def test_what_the_letters_ask_for_stays_a_note(tmp_path, capsys):
    path, out = tmp_path / "app.bin", tmp_path / "out.rbl"
    path.write_bytes(APP)
    for letters, word in ((["-s", "none"], "algorithm"), (["-s", "aes", "-p", "user"], "name")):
        assert call("bk7238", "pack", "-f", path, "-v", "1", *letters, "-o", out) == 0
        assert f"the loader will refuse it: {word}" in capsys.readouterr().err


def test_a_hex_whose_first_line_is_none_is_not_called_one():
    for data in (b":", b":zz\n", b":0000000\n", b":00000001FE\n", b":10000000\n", ":00000001FF\n".encode("utf-16")):
        assert not others._is_hex(data), data
    assert others._is_hex(b"\r\n:00000001FF\r\n") and others._is_hex(b":00000001FF")


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def big(tmp_path):
    """A package that fits the vendor's download, and LibreTiny's not."""
    path = tmp_path / "big.rbl"
    path.write_bytes(packer.pack(application(690240 - 16), packer.Options("1.0.1", "app", "none", "aes", KEY, IV)))
    assert path.stat().st_size == 690336
    return path


@pytest.mark.parametrize("option", ["--table", "--board"])
def test_verify_goes_by_the_table_that_is_named(option, big, tmp_path, capsys):
    loader = tmp_path / "loader.bin"
    whole = tmp_path / "dump.bin"
    whole.write_bytes(in_flash(APP, download=0xA6000).ljust(0x200000, b"\xff"))
    for coefficients in (None, tables.COEFFICIENTS):
        data = in_flash(APP, coefficients, 0xA6000)[:0x11000]
        loader.write_bytes(data)
        assert call("bk7238", "verify", big, option, loader) == 3, coefficients
        assert "690336 bytes, `download` has 679936" in capsys.readouterr().out
        assert tables.rows_in(data)[b"download"].size == 0xA6000
    for place in (whole, "generic-bk7238", "XH-WB3S"):
        assert call("bk7238", "verify", big, option, place) == 3
        assert "`download` has 679936" in capsys.readouterr().out
    loader.write_bytes(in_flash(APP)[:0x11000])
    assert call("bk7238", "verify", big, option, loader, "-k", KEY, "-i", IV) == 0
    assert call("bk7238", "verify", big, "--json") == 0


def test_pack_goes_by_it_too(big, tmp_path, capsys):
    app, out = tmp_path / "app.bin", tmp_path / "out.rbl"
    app.write_bytes(application(690240 - 16))
    given = ["bk7238", "pack", "-f", app, "-v", "1.0.1", "-s", "aes", "-o", out]
    assert call(*given, "--table", "generic-bk7238") == 3 and not out.exists()
    assert "`download` has 679936" in capsys.readouterr().err
    assert call(*given) == 0 and out.exists()


@pytest.mark.parametrize(
    "name, words",
    [
        ("t1-3s", "takes diff2ya files and no RBL"),
        ("cb3s", "has a BK7231N, this is for a BK7238"),
        ("wb2l", "has a BK7231T"),
        ("generic-bk7252", "has a BK7251"),
        ("nothing", "neither a loader's file nor a board: generic-bk7238, xh-wb3s"),
    ],
)
def test_a_board_that_takes_no_such_package_is_named(name, words, big, capsys):
    assert call("bk7238", "verify", big, "--table", name) == 3
    assert words in capsys.readouterr().err


def test_a_file_without_a_table_is_no_loader(big, tmp_path, capsys):
    path = tmp_path / "x.bin"
    half = sim.Chip({}, None)
    half.part(b"bootloader").prog(0xFF00, half.rows[b"app"].encode())
    for data, words in (
        (b"", "app and download"),
        (APP, "app and download"),
        (package(APP), "app and download"),
        (b"01PE" * 500, "app and download"),
        (bytes(half.flash.flash.cells.get(0, 0x11000)), "no partition table with download:"),
    ):
        path.write_bytes(data)
        assert call("bk7238", "verify", big, "--table", path) == 3
        assert words in capsys.readouterr().err.replace("\n", "")


def test_the_boards_are_those_of_ltchiptool():
    named = {"BK7238": [*tables.BOARDS, *tables.TUYA], **{k: v.split() for k, v in tables.OTHERS.items()}}
    assert {chip: sorted(boards) for chip, boards in named.items()} == {
        chip: sorted(name for name, board in board_maps.recorded("boards").items() if board["chip"] == chip)
        for chip in {board["chip"] for board in board_maps.recorded("boards").values()}
    }
    for name in tables.BOARDS:
        assert board_maps.recorded("boards")[name]["takes"] == "rbl"
        regions = board_maps.recorded("maps")[board_maps.recorded("boards")[name]["map"]]
        rows = tables.of(name)
        for part in ("app", "download", "bootloader"):
            low, high = rows[part.encode()].ends
            assert [low, high - low] == regions[part], part
    assert {board_maps.recorded("boards")[name]["takes"] for name in tables.TUYA} == {"diff2ya"}


@pytest.mark.parametrize("version", ["1.17.5-bk7231n", "1.17.5-BK7231T", "OpenBK7231N_1.17", "26.11.30-bk7252"])
def test_verify_of_another_chips_firmware_names_the_chip(version, tmp_path, capsys):
    path = tmp_path / "x.rbl"
    path.write_bytes(packer.pack(APP, packer.Options(version, "app", "gzip", "aes", KEY, IV)))
    assert call("bk7238", "verify", path) == 3
    out = capsys.readouterr().out
    assert out.startswith("do not install it: chip: ") and re.search(r"is for a bk72\d\d\w?, this is a bk7238", out)
    assert call("bk7238", "verify", path, "--json") == 3
    assert json.loads(capsys.readouterr().out)["failed"] == ["chip"]
    with pytest.raises(Refused, match="chip"):
        prepare.prepare(path.read_bytes())
    assert verdict.sentence("sizes", "x") == "the loader would not install it: sizes: x"


def test_verify_takes_the_letters_for_key_and_iv_as_pack_does(tmp_path, capsys):
    app, out = tmp_path / "app.bin", tmp_path / "out.rbl"
    app.write_bytes(application(20000))
    own = ["-k", "K" * 32, "-i", "I" * 16]
    assert call("bk7238", "pack", "-f", app, "-v", "1", "-c", "gzip", "-s", "aes", *own, "-o", out) == 0
    capsys.readouterr()
    assert call("bk7238", "verify", out, *own) == 0
    assert "a loader with this key and IV installs it" in capsys.readouterr().out
    assert call("bk7238", "verify", out) == 5
    for wrong in (["-k", "short"], ["-i", "\u00e9" * 16], ["-k", "K" * 31], ["-i", ""]):
        for command in (["bk7238", "verify", out], ["bk7238", "pack", "-f", app, "-v", "1"]):
            assert call(*command, *wrong) == 3
            assert "ASCII characters" in capsys.readouterr().err
