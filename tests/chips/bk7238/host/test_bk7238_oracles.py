"""ltchiptool and bk7231tools, the tools that users of this chip have, both ways: they read what mpota makes, and back.

What the two cannot do is a test as well, so that a version that can is noticed: neither knows lzma.
"""

import io
import random
import struct
from pathlib import Path

import pytest
from bk7231tools.analysis import rbl as bk_rbl
from bk7231tools.analysis.flash import FlashLayout, FlashPartition
from bk7231tools.analysis.utils import block_crc_check
from bk7231tools.crypto.code import BekenCodeCipher
from ltchiptool import Board, Family
from ltchiptool.soc.bk72xx.util import (
    RBL,
    BekenBinary,
    OTACompression,
    OTAEncryption,
    diff2ya_package,
    diff2ya_package_info,
)
from ltchiptool.util.detection import Detection

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.loader import copier
from mpota.layout.bk7238.store import scramble
from mpota_host.chips.bk7238 import opened, packer, verdict
from mpota_host.chips.bk7238.look import others, tables
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.package.read import explain
from tests.chips.bk7238 import board_maps
from tests.chips.bk7238.host.test_bk7238_files import FIRMWARE, in_flash
from tests.chips.bk7238.rbl_maker import application
from tests.chips.bk7238.test_bk7238_layout import SETTINGS
from tests.host.command import call

KEY, IV = rbl.KEY.decode(), rbl.IV.decode()
TUYA = "510fb093a3cbeadc5993a17ec7adeb03"
# Lengths around a block of AES, a block of code, and the loader's piece.
SIZES = (128, 129, 4095, 4096, 4112, 20001)
FLASH_APP = (0x11000, 0x121000)


def detected(tmp_path, data, chip):
    """What ltchiptool calls these bytes."""
    path = tmp_path / "file.bin"
    path.write_bytes(data)
    with path.open("rb") as f:
        return Detection.perform(f, Family.get(short_name=chip)).title


def ours(app, compress="none", crypt="aes", version="1.0.1"):
    return packer.pack(app, packer.Options(version, "app", compress, crypt, KEY, IV, 1600000000))


def theirs(app, compress="NONE", crypt="AES256", version="26.11.30-bk7238", **head):
    options = RBL(
        encryption=OTAEncryption[crypt], compression=OTACompression[compress], name="app", version=version, **head
    )
    return b"".join(BekenBinary().ota_package(io.BytesIO(app), options, key=KEY, iv=IV))


# --- RBL, both ways -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_ltchiptool_opens_our_packages(compress, size, tmp_path):
    app = application(size)
    data = ours(app, compress)
    head = RBL.deserialize(data[: rbl.SIZE])
    assert (head.name, head.version, head.raw_size, head.data_size) == ("app", "1.0.1", size, len(data) - rbl.SIZE)
    assert b"".join(BekenBinary().ota_unpackage(io.BytesIO(data[rbl.SIZE :]), head, key=KEY, iv=IV)) == app
    assert head.data_hash == packer.fnv1a(app)
    assert detected(tmp_path, data, "BK7238") == "Beken OTA"


def test_neither_tool_knows_lzma():
    data = ours(application(5000), "lzma")
    with pytest.raises(ValueError, match="4 is not a valid OTACompression"):
        RBL.deserialize(data[: rbl.SIZE])
    assert bk_rbl.Header.from_bytes(data[: rbl.SIZE]).algo & 0x400
    assert [one for one in bk_rbl.OTAAlgorithm if one & 0x400] == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compress", ["NONE", "GZIP"])
def test_ltchiptools_packages_are_judged_right_and_installed(compress, size, tmp_path):
    app = application(size)
    data = theirs(app, compress)
    assert [text for _, text in verdict.checks_for(data) if text] == []
    path = tmp_path / "x.rbl"
    path.write_bytes(data)
    assert call("bk7238", "verify", path) == 0
    it = sim.Chip(SETTINGS, None)
    it.write_loader()
    it.part(b"download").prog(0, data)
    assert it.boot().code == copier.DONE and it.image(size) == app


@pytest.mark.parametrize("compress", ["NONE", "GZIP"])
def test_ltchiptools_packages_without_a_cipher_and_of_other_chips_are_told(compress):
    app = application(5000)
    plain = theirs(app, compress, "NONE")
    # It pads nothing that is not encrypted.
    assert {name for name, text in verdict.checks_for(plain) if text} - {"sizes"} == {"algorithm"}
    head = rbl.Header.decode(plain[: rbl.SIZE])
    assert opened.told(plain, head, verdict.SECRET) == "5,000 bytes, whole: length and FNV-1a are right"
    for board in board_maps.recorded("boards"):
        mcu = Board(board)["build.mcu"]
        wrong = [name for name, text in verdict.checks_for(theirs(app, compress, version=f"26.11.30-{mcu}")) if text]
        assert wrong == ([] if mcu == "bk7238" else ["chip"]), (board, mcu)


@pytest.mark.parametrize("crypt", ["none", "aes"])
@pytest.mark.parametrize("compress", ["none", "gzip", "lzma"])
def test_bk7231tools_reads_our_headers_and_finds_their_bodies_whole(compress, crypt):
    data = ours(application(9000), compress, crypt)
    box = bk_rbl.Container.from_bytestream(io.BytesIO(data))
    head = box.header
    mine = rbl.Header.decode(data[: rbl.SIZE])
    seen = (head.name, head.version, head.algo, head.timestamp, head.hash, head.size_raw, head.size_package)
    assert seen == ("app", "1.0.1", mine.algo, mine.time, mine.hash, mine.raw, mine.body)
    # It rebuilds the padding of what is neither compressed nor encrypted as PKCS #7: so ours is.
    assert box.payload == data[rbl.SIZE :]
    assert head.to_bytes() == data[: rbl.SIZE]
    broken = bytearray(data)
    broken[200] ^= 1
    assert bk_rbl.Container.from_bytestream(io.BytesIO(bytes(broken))).payload is None


def test_bk7231tools_finds_what_the_loader_installed_in_a_dump():
    app = application(9000)
    data = ours(app)
    it = sim.Chip(SETTINGS, None)
    it.write_loader()
    it.part(b"download").prog(0, data)
    dump = bytes(it.flash.flash.cells.get(0, sim.SIZE))
    assert bk_rbl.find_rbl_containers_indices(io.BytesIO(dump)) == [0x132000]
    assert it.boot().code == copier.DONE
    dump = bytes(it.flash.flash.cells.get(0, sim.SIZE))
    start, size = FLASH_APP
    assert bk_rbl.find_rbl_containers_indices(io.BytesIO(dump)) == [start + size - 102]
    layout = FlashLayout("sdk", [FlashPartition("app", size - 102, start, 0x10000)], True)
    stream = io.BytesIO(dump)
    stream.seek(start + size - 102)
    head = bk_rbl.Container.from_bytestream(stream, layout).header
    assert head.to_bytes() == data[: rbl.SIZE]


# --- code in flash --------------------------------------------------------------------------------------------------


def test_crcs_of_code_are_those_of_both_tools():
    app = application(20001)
    mine = in_flash(app)[0x11000:]
    assert b"".join(BekenBinary().crc(app + b"\xff" * 31)) == mine
    assert b"".join(BekenBinary().uncrc(mine))[: len(app)] == app
    for at in range(0, len(mine), 34):
        assert block_crc_check(mine[at : at + 32], mine[at + 32 : at + 34])
    assert not block_crc_check(mine[:32], mine[66:68])


def test_the_cipher_of_code_is_ltchiptools_with_tuyas_coefficients():
    data = random.Random(1).randbytes(8192)
    words = tables.COEFFICIENTS
    assert "%08x%08x%08x%08x" % words == TUYA
    for at in (0, 0x10000, 0x1FFE0, 0xFFE00):
        mine = bytearray(data)
        scramble.scramble(mine, at, words)
        assert b"".join(BekenBinary(TUYA).crypt(at, data)) == mine
        assert BekenCodeCipher(words).encrypt(data, at) == mine
        assert BekenCodeCipher(words).decrypt(bytes(mine), at) == data


def test_ltchiptool_knows_our_flash_with_tuyas_coefficients_as_an_application(tmp_path):
    data = in_flash(FIRMWARE, tables.COEFFICIENTS)
    assert data[0x11000:].startswith(others.SCRAMBLED)
    assert detected(tmp_path, data[0x11000:], "BK7231T") == "Beken CRC/UA App"
    assert detected(tmp_path, FIRMWARE, "BK7231T").startswith("Raw ARM Binary")


def test_an_application_as_ltchiptool_packs_it_for_flash_is_code_and_behind_a_loader_a_qio():
    app = application(90000)
    head = RBL(name="app", version="1.0-bk7238", container_size=0x108700)
    flash = b"".join(BekenBinary(bytes(16)).package(io.BytesIO(app), 0x10000, len(app), head))
    assert explain(flash).kind == "BK72xx code"
    mine = in_flash(app)
    assert flash.startswith(mine[0x11000:])
    assert explain(mine[:0x11000] + flash).kind == "QIO"


# --- files of a release ---------------------------------------------------------------------------------------------


def test_ltchiptools_other_files_are_named(tmp_path):
    app = application(5000)
    info = diff2ya_package_info(0x12C000, 30000)
    for kind, data in (("diff2ya", b"".join(diff2ya_package(io.BytesIO(app)))), ("diff2ya info", info)):
        assert explain(data).kind == kind
    # The UG header as ltchiptool's elf2bin writes it: sums of the package's bytes, and of the header's.
    package = theirs(app, "GZIP")
    head = b"\x55\xaa\x55\xaa" + b"26.11.30".ljust(12, b"\0") + struct.pack(">II", len(package), sum(package))
    ug = head + struct.pack(">I", sum(head)) + b"\xaa\x55\xaa\x55" + package
    assert explain(ug).kind == "UG" and "begins at byte 32" in explain(ug).text
    assert explain(ug[32:]).kind == "RBL package" and explain(ug[32:]).ok


def test_the_families_of_uf2_files_are_ltchiptools():
    wanted = {f.id: f.short_name for f in Family.get_all() if f.is_child_of("beken-72xx") and f.id}
    assert wanted == others.FAMILIES


# --- maps -----------------------------------------------------------------------------------------------------------


def regions(board):
    """The flash of a board as ltchiptool gives it: (offset, bytes) by name."""
    return {name: [int(n, 16) for n in text.split("+")] for name, text in board["flash"].items()}


def test_the_recorded_maps_are_ltchiptools():
    import ltchiptool

    names = [path.stem for path in (Path(ltchiptool.__file__).parent / "boards").glob("*.json")]
    found = {name: Board(name) for name in names}
    beken = {name: board for name, board in found.items() if board.family.is_child_of("beken-72xx")}
    assert sorted(beken) == sorted(board_maps.recorded("boards")) and len(beken) == 29
    for name, board in beken.items():
        row = board_maps.recorded("boards")[name]
        seen = {
            "chip": board.family.short_name,
            "takes": board["build.bkota.format"],
            "loader": board["build.bkboot_version"],
        }
        assert {**row, **seen} == row, name
        assert regions(board) == board_maps.recorded("maps")[row["map"]], name
