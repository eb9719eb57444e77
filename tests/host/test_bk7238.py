"""The PC's half of BK7238: the packer against the vendor's, `pack`, `inspect`, `verify`, the replay, the heap."""

import base64
import gzip
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import Refused
from device.layout.bk7238 import copier, rbl, table
from host import cli
from host.inspect import explain
from host.sim import bk7238 as sim
from host.sim.board import VirtualBoard, create_for, mpota_files
from host.sim.flash import SimFlash
from host.vendor.bk7238 import demo, heap, machine, packer, prepare, quick, verdict
from tests import replay_bk7238
from tests.rbl_maker import application, package, payload

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "tests" / "vectors" / "bk7238.json.gz"
FORMAT = (ROOT / "device" / "layout" / "bk7238" / "FORMAT.md").read_text()
KEY, IV = rbl.KEY.decode(), rbl.IV.decode()
# Real processes behind a pty can lose a race on a busy machine.
REAL = pytest.mark.flaky(reruns=1)


@pytest.fixture(scope="module")
def vectors():
    return json.loads(gzip.decompress(FILE.read_bytes()))


def options(compress="none", crypt="aes", **more):
    return packer.Options("1.0.1", "app", compress, crypt, KEY, IV, 1600000000, **more)


@pytest.mark.parametrize("interpreter", [sys.executable, str(ROOT / ".venv" / "bin" / "micropython")])
def test_every_case_of_the_vendors_tools_agrees(interpreter):
    args = [interpreter, "tests/replay.py", "bk7238", str(FILE)]
    done = subprocess.run(args, capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert (done.returncode, done.stdout) == (0, "agree 149 safer 3 differ 0\n"), done.stdout + done.stderr


def test_a_changed_case_of_each_section_is_a_difference(vectors):
    changes = {
        "vendor_packages": ("bootloader_1_0_14_copy", {"rc": -4, "content_ok": False}),
        "vendor_failures": ("size", 4096),
        "ltchiptool_packages": ("sha256", "00"),
        "crc16_interleave": ("first_block_crc", "0000"),
        "crc16_block_checks": ("crc_be_hex", "0000"),
        "beken_cipher": ("vendor_encrypt_n_hex", "00"),
        "bootloader_oracle_results": ("rc", -4),
    }
    list(replay_bk7238.found_in(vectors))
    for op, (field, value) in changes.items():
        case = dict(vectors[op][0], op=op)
        assert replay_bk7238.replay(case) is None, op
        case[field] = value
        assert replay_bk7238.replay(case) not in (None, *replay_bk7238.SAFER), op


def test_the_rules_by_which_a_case_is_safer_are_in_the_format_with_their_reason():
    named = set(re.findall(r"^\| `([\w-]+)` \| .+ \| .+ \| .+ \|$", FORMAT, re.M))
    assert len(replay_bk7238.SAFER) == 2 and set(replay_bk7238.SAFER) < named


def test_being_safer_takes_the_rules_predicate_not_the_difference(vectors):
    """A package that is right and is refused is a difference, whatever the file says."""
    list(replay_bk7238.found_in(vectors))
    case = next(c for c in vectors["bootloader_oracle_results"] if c["test"] == "wrong hash")
    changed = dict(case, op="bootloader_oracle_results", rc=0, content_ok=True, dest_erased=True)
    assert replay_bk7238.replay(changed) not in (None, *replay_bk7238.SAFER)


def rows(title):
    """(offset, size) rows of a table of FORMAT.md."""
    part = FORMAT.split(f"## {title}")[1].split("\n## ")[0]
    return [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+) \| (\d+) \| ", part, re.M)]


@pytest.mark.parametrize("title, fmt", [("The RBL header", rbl.FMT), ("Partition table", table.FMT + "I")])
def test_the_formats_tables_are_the_codecs(title, fmt):
    sizes = [struct.calcsize("<" + item) for item in re.findall(r"\d*[sIQHB]", fmt)]
    want = [(sum(sizes[:i]), n) for i, n in enumerate(sizes)]
    assert rows(title) == want and len(want) >= 6


def test_the_formats_results_are_the_loaders():
    part = FORMAT.split("## Results")[1]
    codes = {int(n) for n in re.findall(r"^\| (-?\d+) \|", part, re.M)}
    names = "DONE NONE GENERAL CHECK ALGORITHM VERIFY MEMORY READ WRITE ERASE".split()
    assert codes == {getattr(copier, name) for name in names}


def test_packages_are_the_vendors_to_the_byte_where_compressing_leaves_no_choice(vectors):
    compared = 0
    for case in vectors["vendor_packages"]:
        if case["compress"] in ("none", "gzip") and case["size"] >= rbl.LEAST_RAW:
            data = packer.pack(payload(case["size"]), options(case["compress"], case["crypt"]))
            assert data == base64.b64decode(case["package_b64"])
            compared += 1
    assert compared >= 3


def test_lzma_is_decoded_by_whatever_decodes_the_vendors(vectors):
    import lzma

    for size in (4096, 10000):
        data = packer.pack(payload(size), options("lzma", "none"))
        head = rbl.Header.decode(data[:96])
        body = replay_bk7238.plain(data, head)
        assert lzma.decompress(body[:5] + b"\xff" * 8 + body[13:], lzma.FORMAT_ALONE) == payload(size)
        theirs = next(
            base64.b64decode(c["package_b64"])
            for c in vectors["vendor_packages"]
            if (c["size"], c["compress"], c["crypt"]) == (size, "lzma", "none")
        )
        assert len(data) <= len(theirs) and data[96:109] == theirs[96:109]


def test_our_packages_are_taken_by_the_loader_and_its_dry_run():
    app = application(70001)
    for compress in ("none", "gzip", "lzma"):
        data = packer.pack(app, options(compress))
        it = sim.Chip({"product": "lamp"}, None)
        it.write_loader()
        it.part(b"download").prog(0, data)
        assert it.boot().code == copier.DONE and it.image(len(app)) == app
        assert [wrong for _, wrong in verdict.checks_for(data) if wrong] == []


def test_what_the_vendors_packer_refuses_ours_refuses(vectors):
    assert len(vectors["vendor_failures"]) == 14
    for case in vectors["vendor_failures"]:
        with pytest.raises(Refused):
            packer.pack(payload(case["size"]), options(case["compress"], case["crypt"]))


@pytest.mark.parametrize(
    "change, code",
    [
        ({"compress": "quicklz"}, "compress"),
        ({"crypt": "xor"}, "crypt"),
        ({"part": "bootloader"}, "part"),
        ({"part": "x" * 16}, "part"),
        ({"version": "x" * 24}, "version"),
        ({"key": "short"}, "key"),
        ({"iv": "é" * 16}, "key"),
    ],
)
def test_arguments_that_no_header_holds_are_refused(change, code):
    given = {"version": "1.0.1", "crypt": "aes", "key": KEY, "iv": IV} | change
    with pytest.raises(Refused) as e:
        packer.pack(application(500), packer.Options(**given))
    assert e.value.code == code


def test_quicklz_of_the_vendor_is_read(vectors):
    read = 0
    for case in vectors["vendor_packages"]:
        if case["compress"] == "quicklz":
            data = base64.b64decode(case["package_b64"])
            assert quick.unpack(replay_bk7238.plain(data, rbl.Header.decode(data[:96])), "quicklz") == payload(
                case["size"]
            )
            read += 1
    assert read >= 8


def test_fastlz_of_both_levels_is_read():
    # Four literals, then a match of 9 bytes at distance 4; level 2 says a longer one with further bytes.
    one = bytes((3,)) + b"abcd" + bytes((0xE0, 0, 3))
    assert quick.fastlz(one) == b"abcdabcdabcda"
    two = bytes((0x23,)) + b"abcd" + bytes((0xE0, 255, 1, 3))
    assert quick.fastlz(two) == b"abcd" + (b"abcd" * 99)[: 9 + 256]
    block = struct.pack(">I", len(one)) + one
    assert quick.unpack(block + block + b"\x02\x02", "fastlz") == b"abcdabcdabcda" * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: quick.unpack(b"\0\0\0\x09abc", "quicklz"),
        lambda: quick.quicklz(bytes((0x49, 20, 9)) + bytes(30)),
        lambda: quick.quicklz(bytes((0x4D, 20, 30)) + b"\xff\xff\xff\xff" + bytes(30)),
        lambda: quick.fastlz(b"\x60abc"),
    ],
)
def test_broken_blocks_are_errors(call):
    with pytest.raises(ValueError):
        call()


def run(*args):
    """Exit status of the command line."""
    try:
        cli.main([str(a) for a in args])
    except SystemExit as e:
        return e.code or 0
    return 0


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.bin"
    path.write_bytes(application(20000))
    return path


def vendors(app, *more):
    out = app.parent / "ota.rbl"
    letters = ["-f", app, "-v", "1.0.1", "-p", "app", "-c", "lzma", "-s", "aes", "-k", KEY, "-i", IV, "-o", out]
    assert run("pack", "--layout", "bk7238", *letters, *more) == 0
    return out


def test_the_vendors_own_command_line_packs(app, capsys):
    out = vendors(app)
    head = rbl.Header.decode(out.read_bytes()[:96])
    assert (head.name, head.version, head.algo, head.raw) == (b"app", b"1.0.1", 0x402, 20000)
    assert head.time == int(app.stat().st_mtime)
    capsys.readouterr()
    assert run("inspect", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["compress"], facts["crypt"]) == ("RBL package", "lzma", "aes")


def test_pack_says_what_the_loader_will_refuse(app, capsys):
    out = app.parent / "plain.rbl"
    assert run("pack", "--layout", "bk7238", "-f", app, "-v", "1", "-o", out) == 0
    assert "the loader will refuse it: algorithm" in capsys.readouterr().err
    assert run("pack", "--layout", "bk7238", "-f", app, "-v", "1", "-c", "quicklz", "-o", out) == 3
    assert run("pack", "--layout=bk7238", "-f", app, "-v", "1", "-o", out, "--json") == 0


def test_verify_says_which_check_fails(app, capsys):
    out = vendors(app)
    assert run("verify", "--layout", "bk7238", out) == 0
    assert "the loader installs it" in capsys.readouterr().out
    assert run("verify", "--layout", "bk7238", out, "-i", "F" * 16, "--json") == 5
    assert json.loads(capsys.readouterr().out)["failed"] == ["decode"]
    assert run("verify", "--layout", "bk7238", out, "--running", out, "--json") == 3
    assert json.loads(capsys.readouterr().out)["failed"] == ["new"]
    data = out.read_bytes()
    for changed, check in ((data[:-1], "file"), (data[:200] + b"\0" + data[201:], "body CRC"), (data[1:], "header")):
        out.write_bytes(changed)
        assert run("verify", "--layout", "bk7238", out, "--json") in (3, 5)
        assert json.loads(capsys.readouterr().out)["failed"] == [check]


def test_a_window_that_the_loaders_heap_is_not_known_to_hold_is_named():
    data = packer.pack(application(4000), options("lzma", "none"))
    head = rbl.Header.decode(data[:96])
    body = bytearray(replay_bk7238.plain(data, head))
    body[1:5] = struct.pack("<I", 1 << 23)
    made, sealed = replay_bk7238.made(application(4000), bytes(body), 0x402)
    found = verdict.checks_for(made.encode() + sealed)
    assert [name for name, wrong in found if wrong] == ["window"]


def test_an_rbl_is_signed_into_a_package_and_nothing_else_is(app, tmp_path, capsys):
    out = vendors(app)
    assert run("keygen", tmp_path / "k.pem") == 0
    given = ["--key", tmp_path / "k.pem", "--product", "lamp", "--version", "1.1", "-o", tmp_path / "x.mpota"]
    assert run("pack", out, "--layout", "bk7238", *given) == 0
    assert run("verify", tmp_path / "x.mpota", "--key", tmp_path / "k.pub") == 0
    assert run("pack", app, "--layout", "bk7238", *given) == 3
    assert "make one with" in capsys.readouterr().err
    for bad in (package(application(500), hash=1), package(application(500), 0), out.read_bytes()[:-16]):
        with pytest.raises(Refused):
            prepare.prepare(bad)
    another = packer.pack(application(500), packer.Options("1", "app", "gzip", "aes", "K" * 32, "I" * 16))
    assert "vendor's key" in prepare.prepare(another)[1][0]


def test_a_loader_code_and_a_broken_package_are_explained(app):
    it = sim.Chip({"product": "lamp"}, None)
    it.write_loader()
    it.write(application(9000))
    raw = bytes(it.flash.flash.cells.get(0, 0x11000))
    assert explain(raw).kind == "BK72xx loader" and "3 partitions" in explain(raw).text
    code = bytes(it.flash.flash.cells.get(0x11000, 9000 // 32 * 34))
    assert explain(code).kind == "BK72xx code"
    it.part(b"download").prog(0, package(application(9000)))
    assert it.boot().code == copier.DONE
    dump = explain(bytes(it.flash.flash.cells.get(0, sim.SIZE)))
    assert dump.kind == "flash dump" and dump.facts["headers"] == {"app": "app 1.0.1, none, aes", "download": "none"}
    broken = bytearray(package(application(500)))
    broken[30] ^= 1
    assert not explain(bytes(broken)).ok
    cut = explain(package(application(500))[:-5])
    assert not cut.ok and "5 bytes are missing" in cut.text


@REAL
def test_a_real_board_is_pushed_to_loses_power_in_its_loader_fetches_and_confirms(monkeypatch, capsys):
    """The demo, with a smaller application: shipped files on the unix port, behind a pty, with a loader of its own."""
    monkeypatch.setattr(demo, "IMAGE", 90001)
    demo.main()
    told, noted = capsys.readouterr()
    for line in (
        "decode      the body does not decode",
        "armed: version 1.0.1 waits for the reset",
        "power cut in the loader's install",
        "power on: [loader] installed (0)",
        "version 1.0.1 runs, byte for byte",
        "Refused: a bare RBL is not signed",
        "version 1.0.2 runs, byte for byte",
        "the loader's and the application's agree",
        "RF sector at 0x1e0000        written",
        "Wi-Fi                        joined, -50 dBm",
        "last download                installed",
    ):
        assert line in told, line
    assert "mpota: the board says: decode: " in noted


@REAL
def test_a_board_takes_a_bare_rbl_where_its_settings_allow_it_and_starts_nothing_rotten(tmp_path):
    app, new = application(5003, 1), application(9001, 2)
    settings = {"product": "plug", "layout": "bk7238", "bare": True}
    files = mpota_files(settings, layout="bk7238") | {"/app.py": demo.APP}
    flash = create_for("bk7238", tmp_path / "b.bin", app, files)
    (tmp_path / "x.rbl").write_bytes(packer.pack(new, options("gzip")))
    server = demo.shelf(tmp_path)
    with VirtualBoard(flash) as board:
        line = demo.Line(board.port)
        # boot.py may not have come to it yet.
        line.type(f'from wiring import http_ota; http_ota("http://127.0.0.1:{server.server_address[1]}/x.rbl")')
        assert "[loader] installed (0)" in line.until("[loader]")
        line.close()
        board.wait("reset", image="app", cause=2)
    server.shutdown()
    server.server_close()
    assert demo.machine_image(flash, len(new)) == new
    with SimFlash(machine.SIZE, path=str(flash)).cells.file as file:
        file.seek(0x11000 + 100)
        file.write(b"\0")
    with VirtualBoard(flash) as board:
        board.wait("reset", image=None)


@REAL
def test_host_board_makes_a_board_and_starts_it_again(tmp_path):
    command = [sys.executable, "-m", "host", "board", "--layout", "bk7238", "--flash", str(tmp_path / "b.bin")]
    for _ in range(2):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            told = process.stdout.readline() + process.stdout.readline()
            process.terminate()
        assert "The board is at" in told and "app starts (fine)" in told, told


@pytest.mark.parametrize("compress", ["none", "gzip", "lzma"])
def test_the_loader_installs_on_the_heap_that_it_has(compress):
    """On sizes above it too: one lucky size would be no answer."""
    app = application(150001)
    data = packer.pack(app, options(compress))
    for more in (0, 3, 9):
        code, flash = heap.boot(data, heap.BARS[compress] + more)
        assert code == copier.DONE
        view = sim.Coded(sim.Wire(_rom(flash)), 0x10000, 0x110000)
        buf = bytearray(len(app))
        view.read(0, buf)
        assert buf == app and not view.bad
    assert heap.boot(data, 40)[0] is None, "a heap that is too small is noticed"


def _rom(flash):
    from host.rom import Rom

    return Rom(flash, 0, len(flash))
