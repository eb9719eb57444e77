"""BK7238, PIC32MZW1 and SiFli: the files and command lines that their users have. Each test states what is right."""

import gzip
import io
import json
import os
import random
import re
import sys
import types
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from intelhex import IntelHex

import mpota_boot.board
from mpota.agent import Agent
from mpota.layout.bk7238.store import table
from mpota.layout.bk7238.store.coded import Coded
from mpota.layout.pic32 import events
from mpota.layout.pic32.loader.programmer import Options
from mpota.layout.pic32.pipe import p256
from mpota.layout.pic32.service import Service
from mpota.layout.sifli.link import messages as m
from mpota.store.flash import Region
from mpota_boot.errors import OtaError
from mpota_host.chips.bk7238 import packer as bk_packer
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.chips.pic32 import hexfile, packer
from mpota_host.chips.pic32.binfile import LAYOUTS, build_page
from mpota_host.sim.flash import SimFlash
from tests.cases import rig_hostile as rig
from tests.chips.bk7238 import rbl_maker
from tests.chips.bk7238.test_bk7238_layout import NEW as BK_NEW
from tests.chips.bk7238.test_bk7238_layout import OLD as BK_OLD
from tests.chips.bk7238.test_bk7238_layout import release
from tests.chips.pic32 import pic32_maker
from tests.chips.pic32.test_pic32_layout import update
from tests.chips.pic32.test_pic32_loader import A, B, C
from tests.chips.sifli.test_sifli_session import At
from tests.host.command import call
from tests.packages import Ram

MINUTE_MS = 60000
VECTORS = rig.ROOT / "tests/vectors/cases/vendors"


def fails_today(reason):
    """Mark a case that fails today; `reason` says what happens instead."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


def vector(name):
    return gzip.decompress((VECTORS / (name + ".gz")).read_bytes())


@pytest.fixture(autouse=True)
def _one_board_at_a_time(monkeypatch):
    rig.restored(monkeypatch)


@pytest.fixture
def say(capfd):
    """Runs a command: (exit status, all that it printed)."""

    def run(*args):
        capfd.readouterr()
        status = call(*args)
        said = capfd.readouterr()
        assert "Traceback" not in said.err, said.err
        return status, said.out + said.err

    return run


# --- BK7238: the journal and the calibration ------------------------------------------------------------------------

TLV = b"TLV\0" + bytes(range(1, 253)) * 3


class _Module(sim.ChipModule):
    SIZE = sim.SIZE


def _bk7238(monkeypatch, tmp_path, it):
    """A Board of the shipped wiring over the flash of a simulated chip."""
    monkeypatch.setitem(sys.modules, "chip", _Module(it.flash.flash, True))
    source = (rig.ROOT / "device/mpota/layout/bk7238/wiring.py").read_text()
    found = {"__name__": "wiring"}
    monkeypatch.setattr(mpota_boot.board.Board, "root", str(tmp_path))
    monkeypatch.setattr(mpota_boot.board.Board, "_memories", {})
    exec(compile(source, "wiring.py", "exec"), found)  # the file that a board runs
    board = found["Board"]()
    board._settings = {"product": "lamp", "layout": "bk7238", "room": 4096}
    board.radio = lambda: (True, -60)
    board.keys = lambda: None
    board.ticks_ms = lambda: 0
    board.since = lambda then: 0
    board.cause = lambda: "power"
    return found, board


def _tuya(at):
    it = sim.Chip({"product": "lamp", "room": 4096}, None)
    it.write_loader()
    it.write(BK_OLD)
    it.flash.prog(at, TLV)
    return it


def _bytes_at(it, at, n):
    buf = bytearray(n)
    it.flash.read(at, buf)
    return bytes(buf)


JOURNAL = (0x1E2000, 0x1E3000)
FOREIGN = [
    pytest.param(what, at, id="%s-%x" % (what, at))
    for what in ("boot", "update", "broken", "other-table")
    for at in JOURNAL
]


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize(("what", "at"), FOREIGN)
def test_no_foreign_sector_is_erased(monkeypatch, tmp_path, what, at):
    """vendors/01-bk7238-journal-erases-rf. Right: a foreign sector (0x1E3000: RF calibration of a Tuya T1) stays."""
    it = _tuya(at)
    if what == "other-table":
        # Tuya's own loader has no partition table there.
        it.part(b"bootloader").erase(0, 0x10000)
    for life in (1, 2, 3):
        data = bytearray(release(rbl_maker.package(BK_NEW), 1, life if what == "broken" else 1).bytes())
        if what == "broken":
            data[len(data) // 2] ^= 1
        it.boot()
        board = _bk7238(monkeypatch, tmp_path, it)[1]
        agent = Agent(board, [] if what == "boot" else [Ram(bytes(data))], None, lambda: True)
        for _ in range(60):
            if agent.step() == "reset":
                break
    assert _bytes_at(it, at, len(TLV)) == TLV, "0x%x holds %r" % (at, _bytes_at(it, at, 16))


@pytest.mark.case
@pytest.mark.first_aid
def test_a_chip_without_foreign_data_takes_the_update(monkeypatch, tmp_path):
    """vendors/01-bk7238-journal-erases-rf. Right: with blank journal sectors the update is installed."""
    it = _tuya(0x1E5000)
    agent = Agent(_bk7238(monkeypatch, tmp_path, it)[1], [Ram(release(rbl_maker.package(BK_NEW), 1, 1).bytes())], None)
    for _ in range(60):
        if agent.step() == "reset":
            return
    raise AssertionError("the update is not installed: %r" % agent.error)


# --- BK7238: files on the PC ----------------------------------------------------------------------------------------

RELEASE = {
    "diff2ya": ("diff2ya.bin", "diff2ya"),
    "ug": ("lt_ug.bin", "UG"),
    "qio": ("qio-front.bin", "QIO"),
    "uf2": ("fw.uf2", "UF2"),
}


def _of_release(tmp_path, what):
    """(a file of a release, the word that its users have for it)."""
    if what == "raw":
        name, word, data = "app_raw.bin", "application", rbl_maker.application(40000)
    else:
        name, word = RELEASE[what]
        data = vector(name)
    path = tmp_path / name
    path.write_bytes(data)
    return path, word


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize("what", [*RELEASE, "raw"])
def test_a_file_of_a_release_is_named_with_the_one_to_give(tmp_path, say, what, command):
    """vendors/12-bk-files-of-a-release. Right: the file is named, and the answer says that the .rbl is needed."""
    path, word = _of_release(tmp_path, what)
    given = ("bk7238",) if command == "verify" else ()
    _, said = say(*given, command, path)
    said = said.replace(str(path), "FILE")
    assert word.lower() in said.lower(), said
    assert "rbl" in said.lower(), said


def _loader(download):
    """A loader whose table has a `download` of so many bytes, as it lies in flash."""
    flash = SimFlash(0x11000, prog_size=1)
    code = Coded(flash, 0, 0x10000)
    rows = dict(table.entries(sim.SIZE))
    old = rows[b"download"]
    rows[b"download"] = table.Entry(old.name, old.flash, old.offset, download)
    code.prog(0, bytes(0xFF00))
    code.prog(0xFF00, b"".join([rows[name].encode() for name in (b"download", b"app", b"bootloader")]))
    found = bytearray(0x11000)
    Region(flash, 0, 0x11000).read(0, found)
    return bytes(found)


def _rbl(raw, version="1.0.1", compress="none"):
    return bk_packer.pack(raw, bk_packer.Options(version, "app", compress, "aes", *_SECRET))


_SECRET = ("0123456789ABCDEF0123456789ABCDEF", "0123456789ABCDEF")


@pytest.mark.case
@pytest.mark.vendors
def test_verify_goes_by_the_table_of_the_boards_own_loader(tmp_path, say):
    """vendors/13-bk-verify-other-table. Right: 690,336 bytes do not fit the download of LibreTiny's table, 679,936."""
    big, loader = tmp_path / "big.rbl", tmp_path / "loader.bin"
    big.write_bytes(_rbl(random.Random(1).randbytes(690240 - 16)))
    assert big.stat().st_size == 690336
    loader.write_bytes(_loader(0xA6000))
    status, said = say("inspect", loader)
    assert status == 0 and "0x0a6000" in said, said
    key, iv = _SECRET
    status, said = say("bk7238", "verify", "-k", key, "-i", iv, "--table", loader, big)
    assert status in (3, 5) and re.search("679,?936|0xa6000", said, re.I), said


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize("chip", ["bk7231n", "bk7231t", "bk7238"])
def test_an_rbl_of_another_chip_is_not_called_installable(tmp_path, say, chip):
    """vendors/finding-13. Right: a version that ends in -bk7231n or -bk7231t is for another chip."""
    path = tmp_path / "app.rbl"
    path.write_bytes(_rbl(rbl_maker.application(20000), "1.17.5-" + chip))
    status, said = say("bk7238", "verify", "-k", _SECRET[0], "-i", _SECRET[1], path)
    assert (status == 0) == (chip == "bk7238"), said


def _no_application(kind):
    if kind == "elf":
        return b"\x7fELF\1\1\1" + bytes(9) + random.Random(2).randbytes(30000)
    if kind == "hex":
        found = IntelHex()
        found.puts(0x11000, random.Random(3).randbytes(9000).decode("latin1"))
        return hexfile.text(found)
    if kind == "uf2":
        return vector("fw.uf2")
    return _rbl(rbl_maker.application(20000))


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize("kind", ["elf", "hex", "uf2", "rbl"])
def test_pack_of_what_is_no_application_fails(tmp_path, say, kind):
    """vendors/finding-14. Right: `pack` of an ELF, HEX, UF2 or RBL exits with 3, so that a CI stops."""
    path = tmp_path / ("app." + kind)
    path.write_bytes(_no_application(kind))
    out = tmp_path / "out.rbl"
    status, said = say("bk7238", "pack", "-f", path, "-v", "1.0.1", "-p", "app", "-s", "aes", "-o", out)
    assert status == 3, said


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("sta home secret", "join home secret"),
        ("http_ota http://192.168.1.2/bk7238_ota.bin", "fetch http://192.168.1.2/bk7238_ota.bin"),
    ],
    ids=["sta", "http_ota"],
)
def test_the_lines_of_the_vendors_page_are_typed_as_they_stand(monkeypatch, tmp_path, line, wanted):
    """vendors/finding-16. Right: the console takes `sta SSID PASSWORD` and `http_ota URL` (wiring.command(line))."""
    wiring, _ = _bk7238(monkeypatch, tmp_path, _tuya(0x1E5000))
    heard = []
    monkeypatch.setitem(sys.modules, "network", _network(heard))
    monkeypatch.setitem(wiring, "http_ota", lambda url: heard.append("fetch " + url))
    command = wiring.get("command")
    assert callable(command), "the wiring has no command()"
    command(line)
    assert wanted in heard, heard


def _network(heard):
    module = types.ModuleType("network")

    class WLAN:
        def __init__(self, _):
            pass

        def active(self, *_):
            return True

        def isconnected(self):
            return bool(heard)

        def connect(self, *names):
            heard.append("join " + " ".join([n if isinstance(n, str) else n.decode() for n in names]))

    module.STA_IF, module.WLAN = 0, WLAN
    return module


# --- PIC32MZW1: the service -----------------------------------------------------------------------------------------


def _pic32(monkeypatch, rows, minutes=10, key=True, **files):
    world = rig.World(monkeypatch, minutes * MINUTE_MS)
    web = rig.Store(world, **files)
    return world, web, rig.pic32(rows, key), rig.Application(lambda: world.wait(1000))


ROWS = (("a.bin", 2, "f8", A),)


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize("what", ["digest", "signature", "no-key"])
def test_what_cannot_be_taken_is_not_fetched_at_each_poll(monkeypatch, what):
    """vendors/02-pic32-wrong-digest-storm. Right: an image that failed is not downloaded again in 61 polls."""
    world, web, c, app = _pic32(monkeypatch, ROWS, 61, key=what != "no-key")
    web.files["app.bin"] = B
    found = rig.offered(3, B, digest_of=C if what == "digest" else None)
    if what == "signature":
        found["Signature"] = packer.sign(C, rig.PRIVATE)
    web.offer(found)
    rig.pic32_life(monkeypatch, world, c, app)
    assert pic32_maker.holds(c, A)
    assert web.asked.count("app.bin") <= 2, "%d downloads" % web.asked.count("app.bin")


@pytest.mark.case
@pytest.mark.vendors
def test_a_signature_without_a_key_is_refused_before_the_download(monkeypatch):
    """vendors/02-pic32-wrong-digest-storm. Right: without a service_key a signed entry is not downloaded."""
    world, web, c, app = _pic32(monkeypatch, ROWS, 5, key=False)
    web.files["app.bin"] = B
    web.offer(rig.offered(3, B))
    rig.pic32_life(monkeypatch, world, c, app)
    assert "app.bin" not in web.asked and pic32_maker.holds(c, A)


@pytest.mark.case
@pytest.mark.vendors
def test_a_version_that_runs_is_taken_back(monkeypatch):
    """vendors/10-pic32-erasever-running, vendors/finding-7. Right: EraseVer of the running image is a rollback."""
    world, web, c, app = _pic32(monkeypatch, (("a.bin", 2, "f8", A), ("c.bin", 3, "f8", C)))
    assert c.power_on() and pic32_maker.holds(c, C)
    web.offer(rig.erased(3))
    rig.pic32_life(monkeypatch, world, c, app)
    c.power_on("reset")
    assert pic32_maker.holds(c, A), pic32_maker.rows(c)


@pytest.mark.case
@pytest.mark.vendors
def test_a_version_that_is_withdrawn_and_offered_is_not_taken(monkeypatch):
    """vendors/10-pic32-erasever-running. Right: an image that the same manifest erases is not installed."""
    world, web, c, app = _pic32(monkeypatch, ROWS)
    web.files["app.bin"] = B
    web.offer(rig.erased(3), rig.offered(3, B))
    rig.pic32_life(monkeypatch, world, c, app)
    assert web.asked.count("manifest.json") > 3
    assert pic32_maker.holds(c, A), pic32_maker.rows(c)


@pytest.mark.case
@pytest.mark.vendors
def test_a_pushed_image_starts_behind_a_bootloader_with_a_key():
    """vendors/04-pic32-push-secure-boot. Right: a pushed image starts, or is refused before it is stored."""
    c = pic32_maker.chip(ROWS)
    c.store.put("a_sign.txt", packer.sign(A, rig.PRIVATE).encode())
    c.options = Options(pic32_maker.BASE, key=rig.PUBLIC)
    board = c.power_on()
    assert pic32_maker.holds(c, A)
    try:
        update(board, B)
    except OtaError:
        assert pic32_maker.rows(c) == [("a.bin", "f8", "2")]
        return
    c.power_on("reset")
    assert pic32_maker.holds(c, B), "%r, %r" % (c.boots[-1].did, pic32_maker.rows(c))


# --- PIC32MZW1: files on the PC -------------------------------------------------------------------------------------

START, SIZE = LAYOUTS["3.7"]
ADDRESS = 0xB0021000
CODE = random.Random(7).randbytes(9001)


def hex_of(*pieces):
    found = IntelHex()
    for at, data in pieces:
        found.puts(at, data.decode("latin1"))
    return hexfile.text(found)


def app_hex(fuses_at=0x1FC55E88, fuses=b"\x08\x22\x33\x44", base=0, address=ADDRESS, code=CODE):
    """A build's HEX: control page, code, configuration words."""
    return hex_of((START + base, build_page(address)), (START + base + 4096, code), (fuses_at, fuses))


BOOT = hex_of((0x10000000, CODE[:3000]), (0x1FC55E88, b"\x08\x22\x33\x44"))


def _project(tmp_path, **files):
    """A folder with these files; __ stands for /."""
    for name, data in files.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


@pytest.mark.case
@pytest.mark.vendors
def test_a_build_with_its_loadable_bootloader_is_packed_without_a_name(monkeypatch, tmp_path, say):
    """vendors/05-pic32-unified-hex. Right: without a name `pack` skips *unified.hex, as hex2bin does."""
    folder = tmp_path / "dist/pic32mzw1/production"
    folder.mkdir(parents=True)
    (folder / "proj.X.production.hex").write_bytes(app_hex())
    both = hexfile.unify(hexfile.load(BOOT), hexfile.load(app_hex()))
    (folder / "proj.X.production.unified.hex").write_bytes(hexfile.text(both))
    monkeypatch.chdir(tmp_path)
    status, said = say("pic32", "pack", "-o", "out")
    assert status == 0, said
    (made,) = (tmp_path / "out").glob("*.bin")
    assert made.read_bytes() == hexfile.binary(hexfile.load(app_hex()), hexfile.slot_of("3.7"))


def _shapes():
    text = app_hex()
    end = b":00000001FF"
    lines = text.split(b"\n")
    return {
        "plain": text,
        "blank-end": text + b"\n",
        "blank-end-crlf-ctrl-z": text.replace(b"\n", b"\r\n") + b"\r\n\x1a",
        "ctrl-z": text + b"\x1a",
        "blank-middle": text.replace(b"\n", b"\n\n", 1),
        "same-byte-twice": b"\n".join([*lines[:2], *lines[1:]]),
        "start-record": text.replace(end, b":0400000510000000E7\n" + end),
    }


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param("plain"),
        pytest.param("blank-end"),
        pytest.param("blank-end-crlf-ctrl-z"),
        pytest.param("ctrl-z"),
        pytest.param("blank-middle"),
    ],
)
def test_empty_lines_and_a_ctrl_z_of_a_hex_count_for_nothing(tmp_path, say, shape):
    """vendors/06-pic32-hex-blank-last-line. Right: `pack` ignores empty lines and Ctrl-Z, as srec_cat does."""
    _packs(tmp_path, say, shape)


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize("shape", ["same-byte-twice", "kseg0"])
def test_a_hex_that_the_vendors_tool_takes_is_taken(tmp_path, say, shape):
    """vendors/finding-9. Right: a byte given twice with one value, and a boot address in KSEG0, are accepted."""
    _packs(tmp_path, say, shape)


@pytest.mark.case
@pytest.mark.vendors
def test_a_start_record_is_refused_by_its_type(tmp_path, say):
    """vendors/finding-9. Right: a record of type 05 is refused, as hex2bin does, and its type is named."""
    (tmp_path / "app.hex").write_bytes(_shapes()["start-record"])
    status, said = say("pic32", "pack", tmp_path / "app.hex", "-o", tmp_path / "out")
    assert status == 3 and "05" in said and not (tmp_path / "out").exists(), said


def _packs(tmp_path, say, shape):
    text = app_hex(address=ADDRESS - 0x20000000) if shape == "kseg0" else _shapes()[shape]
    (tmp_path / "app.hex").write_bytes(text)
    status, said = say("pic32", "pack", tmp_path / "app.hex", "-o", tmp_path / "out")
    assert status == 0, said
    assert (tmp_path / "out/app.bin").read_bytes()[4096:] == CODE


@pytest.mark.case
@pytest.mark.vendors
def test_configuration_words_at_virtual_addresses_conflict_too(tmp_path, say):
    """vendors/08-pic32-fuses-in-kseg1. Right: AA at 0xBFC55E88 conflicts with 08 at 0x1FC55E88, the same word."""
    folder = _project(tmp_path, app=app_hex(0xBFC55E88, b"\xaa\x22\x33\x44"), boot=BOOT)
    status, said = say("pic32", "pack", folder / "app", "--bootloader", folder / "boot", "-o", folder)
    assert status == 3 and re.search("5e88", said, re.I), said


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize("base", [0x80000000, 0xA0000000], ids=["kseg0", "kseg1"])
def test_an_image_linked_at_virtual_addresses_is_folded_or_named(tmp_path, say, base):
    """vendors/08-pic32-fuses-in-kseg1. Right: 0x90020000 and 0xB0020000 mean 0x10020000, or are named as virtual."""
    path = tmp_path / "app.hex"
    path.write_bytes(app_hex(0x1FC55E88 + base, base=base))
    status, said = say("pic32", "pack", path, "-o", tmp_path / "out")
    if status == 0:
        assert (tmp_path / "out/app.bin").read_bytes()[4096:] == CODE
        return
    assert "--release" not in said, said


def _manifest(tmp_path, n, key=None):
    """A folder whose manifest has `n` releases, as `pack` writes them, and the HEX of the next."""
    entries = json.loads(vector("manifest36.json"))["ota"]
    while len(entries) < n:
        entries.append({**entries[-1], "Version": len(entries) + 1})
    entries = entries[:n]
    if key:
        entries = [{**entry, "Signature": packer.sign(b"%d" % i, key)} for i, entry in enumerate(entries)]
    (tmp_path / "manifest.json").write_text(json.dumps({"ota": entries}, indent=4) + "\n")
    (tmp_path / "app.hex").write_bytes(app_hex())
    return tmp_path


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize(
    ("n", "signed"),
    [
        pytest.param(34, False),
        pytest.param(36, False),
        pytest.param(22, True),
        pytest.param(24, True),
    ],
)
def test_a_manifest_stays_one_that_boards_read(tmp_path, say, n, signed):
    """vendors/03-pic32-manifest-outgrows-board. Right: boards can still read the manifest after release `n`."""
    folder = _manifest(tmp_path, n - 1, rig.PRIVATE if signed else None)
    (folder / "key.pem").write_bytes(rig.PRIVATE)
    key = ("--key", folder / "key.pem") if signed else ()
    url = "http://updates.example.com/ota"
    args = ("pic32", "pack", folder / "app.hex", "--version", n, "--url", url, *key, "-o", folder)
    status, said = say(*args)
    if status:
        assert status == 3, said
        return
    data = (folder / "manifest.json").read_bytes()
    assert n in [entry["Version"] for entry in json.loads(data)["ota"]]
    checked, error = _checked(data)
    assert checked[0] == events.CHECK_START and events.CHECK_FAILED not in checked, "%d bytes: %r" % (len(data), error)


def _checked(data):
    """(events, error) of a board's update service that checks this manifest."""
    service = Service(pic32_maker.chip(ROWS).power_on(), lambda url: io.BytesIO(data), rig.SERVICE)
    service.auto_update = False
    service.key = rig.PUBLIC
    told = []
    service.control(events.REGISTER, told.append)
    while service.step() == "busy":
        pass
    return told, service.error


@pytest.mark.case
@pytest.mark.vendors
def test_inspect_says_that_no_board_reads_a_manifest(tmp_path, say):
    """vendors/03-pic32-manifest-outgrows-board. Right: `inspect` says that boards refuse 8,261 bytes."""
    path = tmp_path / "manifest.json"
    path.write_bytes(vector("manifest36.json"))
    assert path.stat().st_size == 8261
    status, said = say("inspect", path)
    assert re.search("8,?192", said) or status not in (0, 2), said


@pytest.mark.case
@pytest.mark.vendors
def test_pack_signs_the_factory_image(tmp_path, say):
    """vendors/04-pic32-push-secure-boot. Right: `pack --key` also signs the factory image for the bootloader."""
    folder = _project(tmp_path, app=app_hex(), boot=BOOT, key=rig.PRIVATE)
    args = ("--bootloader", folder / "boot", "--key", folder / "key", "--version", 1, "--url", "http://h/ota")
    status, said = say("pic32", "pack", folder / "app", *args, "-o", folder / "out")
    assert status == 0, said
    made = sorted(os.listdir(folder / "out"))
    assert "factory_image_sign.txt" in made, made
    data = (folder / "out/factory_reset.bin").read_bytes()
    text = (folder / "out/factory_image_sign.txt").read_bytes()
    assert p256.verify_text(rig.PUBLIC, text, sha256(data).digest())


@pytest.mark.case
@pytest.mark.vendors
def test_inspect_reads_a_dump_of_the_image_store(tmp_path, say):
    """vendors/15-pic32-fat-image. Right: `inspect` reads the FAT12 dump of an image store."""
    path = tmp_path / "external.img"
    path.write_bytes(vector("f12_512.img"))
    _, said = say("inspect", path)
    assert "FAT" in said and "factory" in said and "no kind of file" not in said, said


@pytest.mark.case
@pytest.mark.vendors
def test_inspect_finds_files_as_fat_does(tmp_path, say):
    """vendors/15-pic32-fat-image. Right: `inspect` ignores case in file names, as the board's FAT does."""
    c = pic32_maker.chip(ROWS)
    for name, data in c.store.files.items():
        (tmp_path / name.upper()).write_bytes(data)
    _, said = say("inspect", tmp_path)
    assert "a.bin comes first" in said.lower(), said


# --- SiFli ----------------------------------------------------------------------------------------------------------


@pytest.mark.case
@pytest.mark.vendors
def test_the_line_that_users_of_the_vendors_packer_type_works(monkeypatch, tmp_path, say):
    """vendors/11-sifli-vendor-command-line. Right: the vendor's line works: app.bin, s01.bin, sig_pri.pem."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (tmp_path / "app.bin").write_bytes(random.Random(5).randbytes(20000))
    (tmp_path / "s01.bin").write_bytes(bytes(range(32)))
    (tmp_path / "sig_pri.pem").write_bytes(pem)
    monkeypatch.chdir(tmp_path)
    line = "--img_para app 16 0 --key=s01 --sigkey=sig --dfu_id=1"
    status, said = say("sifli", "pack", *line.split())
    assert status == 0, said
    made = [p.name for p in tmp_path.rglob("*ctrl_packet*")]
    assert made, os.listdir(tmp_path)


OFFLINE_START, OFFLINE_LAST = 38, 43


@pytest.mark.case
@pytest.mark.later
def test_the_offline_path_of_the_public_sdk_is_answered():
    """vendors/16-sifli-offline-path. Right: the chip answers messages 38 to 43, which the SDK's phone app sends."""
    at = At()
    answers = []
    for id in range(OFFLINE_START, OFFLINE_LAST + 1):
        at.session.feed(id.to_bytes(2, "little") + (9).to_bytes(2, "little") + bytes(9))
        message = at.session.take()
        while message:
            answers.append(message)
            message = at.session.take()
    assert answers, "the chip answers none of the messages 38 to 43"


@pytest.mark.case
@pytest.mark.vendors
def test_a_message_that_is_not_done_has_a_sentence_of_its_own():
    """vendors/16-sifli-offline-path. Right: an error about message 38 says that this message is not supported."""
    said = ""
    try:
        m.decode((38).to_bytes(2, "little") + (9).to_bytes(2, "little") + bytes(9))
    except OtaError as e:
        said = str(e)
    assert "38" in said and "says 9 bytes and has 9" not in said, said
