"""The PC's half of BK7238: the packer against the vendor's, `pack`, `inspect`, `verify`, the replay, the heap."""

import base64
import gzip
import json
import random
import re
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from mpota.layout.bk7238 import rbl
from mpota.layout.bk7238.loader import copier
from mpota.layout.bk7238.store import coded, table
from mpota_boot.errors import Refused
from mpota_host.chips.bk7238 import demo, heap, packer, prepare, quick, sample, verdict
from mpota_host.chips.bk7238.sim import chip as sim
from mpota_host.chips.bk7238.sim import machine
from mpota_host.package.read import explain
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sim.flash import SimFlash
from tests.chips.bk7238 import board_maps
from tests.chips.bk7238 import replay as replay_bk7238
from tests.chips.bk7238.rbl_maker import application, package, payload
from tests.host import viper32
from tests.host.command import call

ROOT = Path(__file__).resolve().parents[4]
FILE = ROOT / "tests" / "vectors" / "bk7238.json.gz"
HOME = ROOT / "device" / "mpota" / "layout" / "bk7238"
FORMAT = (ROOT / "device" / "mpota" / "layout" / "bk7238" / "FORMAT.md").read_text()
KEY, IV = rbl.KEY.decode(), rbl.IV.decode()


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


def test_the_guides_places_for_the_journal_are_those_that_are_tested_on_each_map():
    part = (HOME / "README.md").read_text().split("### Where the journal lies")[1].split("\n### ")[0]
    lines = re.findall(r"^\| (beken-[\w-]+) \| (.+) \| (0x\w+) \| (0x\w+) \|$", part, re.M)
    assert {name: int(at, 16) for name, _, _, at in lines} == board_maps.JOURNALS
    for name, boards, calibration, _ in lines:
        assert int(calibration, 16) == board_maps.recorded("maps")[name]["calibration"][0]
        for board in re.findall(r"\b(?:generic|t1|xh)-[\w-]+", boards):
            assert board_maps.recorded("boards")[board]["map"] == name


def test_each_statement_of_the_vendors_page_is_shown_by_tests_that_exist():
    part = (HOME / "README.md").read_text().split("## The vendor's page, statement by statement")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]
    files = [*(ROOT / "tests/chips/bk7238").rglob("test_*.py")]
    known = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert len(lines) == 18 and {line[0].split()[0] for line in lines} == {
        "1",
        "2.1",
        "2.2",
        "2.3",
        "2.4",
        "2.5",
        "3",
        "Figure",
    }
    for statement, where, shown, differs in lines:
        named = re.findall(r"`(test_\w+)`", shown)
        assert named and set(named) <= known, statement
        for path in re.findall(r"`([\w/]+(?:\.py|/))`", where):
            places = (HOME, ROOT / "device/mpota", ROOT / "host/mpota_host/chips/bk7238")
            assert any((place / path).exists() for place in places), path
        assert differs and not re.search(r"missing|partly|not yet", differs), statement


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
    "unpack",
    [
        lambda: quick.unpack(b"\0\0\0\x09abc", "quicklz"),
        lambda: quick.quicklz(bytes((0x49, 20, 9)) + bytes(30)),
        lambda: quick.quicklz(bytes((0x4D, 20, 30)) + b"\xff\xff\xff\xff" + bytes(30)),
        lambda: quick.fastlz(b"\x60abc"),
        lambda: quick.unpack(b"\0\0\0\x00", "fastlz"),
        lambda: quick.fastlz(b"\x20a\xe0" + b"\xff" * 300 + b"\0\0"),
    ],
)
def test_broken_blocks_are_errors(unpack):
    with pytest.raises(ValueError):
        unpack()


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.bin"
    path.write_bytes(application(20000))
    return path


def vendors(app, *more):
    out = app.parent / "ota.rbl"
    letters = ["-f", app, "-v", "1.0.1", "-p", "app", "-c", "lzma", "-s", "aes", "-k", KEY, "-i", IV, "-o", out]
    assert call("bk7238", "pack", *letters, *more) == 0
    return out


def test_the_vendors_own_command_line_packs(app, capsys):
    out = vendors(app)
    head = rbl.Header.decode(out.read_bytes()[:96])
    assert (head.name, head.version, head.algo, head.raw) == (b"app", b"1.0.1", 0x402, 20000)
    assert head.time == int(app.stat().st_mtime)
    capsys.readouterr()
    assert call("inspect", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["compress"], facts["crypt"]) == ("RBL package", "lzma", "aes")


def test_pack_says_what_the_loader_will_refuse(app, capsys):
    out = app.parent / "plain.rbl"
    assert call("bk7238", "pack", "-f", app, "-v", "1", "-o", out) == 0
    assert "the loader will refuse it: algorithm" in capsys.readouterr().err
    assert call("bk7238", "pack", "-f", app, "-v", "1", "-c", "quicklz", "-o", out) == 3
    assert call("bk7238", "pack", "-f", app, "-v", "1", "-o", out, "--json") == 0


def test_verify_says_which_check_fails(app, capsys):
    out = vendors(app)
    assert call("bk7238", "verify", out) == 0
    assert "the loader installs it" in capsys.readouterr().out
    assert call("bk7238", "verify", out, "-i", "F" * 16, "--json") == 5
    assert json.loads(capsys.readouterr().out)["failed"] == ["decode"]
    assert call("bk7238", "verify", out, "--running", out, "--json") == 3
    assert json.loads(capsys.readouterr().out)["failed"] == ["new"]
    data = out.read_bytes()
    for changed, check in ((data[:-1], "file"), (data[:200] + b"\0" + data[201:], "body CRC"), (data[1:], "header")):
        out.write_bytes(changed)
        assert call("bk7238", "verify", out, "--json") in (3, 5)
        assert json.loads(capsys.readouterr().out)["failed"] == [check]


def test_a_window_that_the_loaders_heap_is_not_known_to_hold_is_named():
    data = packer.pack(application(4000), options("lzma", "none"))
    head = rbl.Header.decode(data[:96])
    body = bytearray(replay_bk7238.plain(data, head))
    body[1:5] = struct.pack("<I", 1 << 23)
    made, sealed = replay_bk7238.made(application(4000), bytes(body), 0x402)
    found = verdict.checks_for(made.encode() + sealed)
    assert [name for name, wrong in found if wrong] == ["window"]


def test_a_distance_beyond_the_window_that_is_said_is_refused_as_the_vendors_decoder_does():
    noise = bytes(random.Random(7).randbytes(4000))
    app = application(1000) + noise + application(5000, 2) + noise
    data = packer.pack(app, options("lzma", "none"))
    body = bytearray(replay_bk7238.plain(data, rbl.Header.decode(data[:96])))
    for window, failed in ((16384, []), (9003, []), (4096, ["decode"]), (0, ["decode"])):
        body[1:5] = struct.pack("<I", window)
        made, sealed = replay_bk7238.made(app, bytes(body), 0x402)
        staged = made.encode() + sealed
        assert [name for name, wrong in verdict.checks_for(staged) if wrong] == failed, window
        it = sim.Chip({"product": "lamp"}, None)
        it.write_loader()
        it.part(b"download").prog(0, staged)
        assert it.boot().code == (copier.VERIFY if failed else copier.DONE)


def damaged(r):
    """(image, package): bytes of the compressed stream and the length are changed, then all is sealed."""
    app = application(r.randrange(200, 3000), r.randrange(1, 9))
    app = app[:40] + r.randbytes(len(app) - 40) if r.random() < 0.5 else app
    kind = r.choice(["none", "gzip", "lzma"])
    stream = bytearray(packer.COMPRESS[kind](app))
    for _ in range(r.choice([0, 1, 1, 2])):
        stream[r.randrange(min(r.choice([20, 9999]), len(stream)))] = r.choice([0, 255, r.randrange(256)])
    if r.random() < 0.3:
        del stream[max(1, len(stream) - r.randrange(1, 40)) :]
    head, body = replay_bk7238.made(app, bytes(stream), packer.CODES[kind] | rbl.AES, r.random() < 0.8)
    head.raw += r.choice([-20, -1, 1, 100, 0, 0, 0, 0, 0, 0])
    return app, head.encode() + body


def test_of_whatever_is_damaged_the_dry_run_says_what_the_loader_does():
    r = random.Random(6)
    codes = set()
    for _ in range(100):
        app, staged = damaged(r)
        it = sim.Chip({"product": "lamp"}, None)
        it.flash.flash.trace = []
        it.part(b"download").prog(0, staged)
        got = it.boot()
        # A large window is the dry run's own: what the loader's heap holds is not known.
        wrong = {name for name, text in verdict.checks_for(staged) if text} - {"window"}
        assert (got.code == copier.DONE) == (not wrong), (got.code, wrong)
        assert got.code != copier.DONE or it.image(len(app)) == app
        assert got.code == copier.DONE or "erase" not in {op for op, _, _ in it.flash.flash.trace}
        codes.add(got.code)
    assert codes >= {copier.DONE, copier.VERIFY, copier.CHECK}


def test_on_the_chips_integers_of_32_bits_sums_and_blocks_are_the_same():
    """Noise, and what carries furthest: all ones after a sum that is nearly all ones."""
    r = random.Random(8)
    for module in (coded, rbl):
        names = viper32.load(Path(module.__file__), 32)
        for data in [r.randbytes(n) for n in (0, 1, 320, 999)] + [b"\xff" * 640, bytes(640)]:
            if module is rbl:
                for start in ((0x9DC5, 0x811C), (0xFFFF, 0xFFFF), (0, 0xFFFF)):
                    seen, want = names["Fnv"](), rbl.Fnv()
                    seen.half[:] = want.half[:] = array("H", start)
                    seen.update(data)
                    want.update(data)
                    assert seen.value == want.value
                continue
            assert names["crc16"](coded.TABLE, data, len(data)) == coded.crc16(coded.TABLE, data, len(data))
            n = len(data) // 32
            raws = bytearray(34 * n), bytearray(34 * n)
            for raw, spread in zip(raws, (names["spread"], coded.spread), strict=True):
                spread(coded.TABLE, data, raw, n)
            assert raws[0] == raws[1]
            if n > 1:
                raws[0][40] ^= 4
            back = bytearray(32 * n), bytearray(32 * n)
            bads = [
                f(coded.TABLE, raws[0], out, n) for f, out in zip((names["gather"], coded.gather), back, strict=True)
            ]
            assert back[0] == back[1] and bads == [int(n > 1)] * 2


def test_pack_keeps_the_application_and_writes_nothing_that_is_not_known_good(app, tmp_path, capsys):
    before = app.read_bytes()
    given = ["bk7238", "pack", "-f", app, "-v", "1"]
    assert call(*given, "-o", app) == 3 and app.read_bytes() == before
    assert "a name of its own" in capsys.readouterr().err
    out = tmp_path / "x.rbl"
    for more in (["-s", "none", "-k", "short"], ["-s", "aes", "-i", "é" * 16], ["-c", "zip"], ["-p", ""]):
        assert call(*given, *more, "-o", out) == 3 and not out.exists(), more
        assert len(capsys.readouterr().err.splitlines()) == 1
    # Without the input the vendor's letters are the vendor's still.
    assert call("bk7238", "pack", "-v", "1", "-o", out) == 2
    assert "Missing option '-f'" in capsys.readouterr().err
    # An argument is bytes, as for the vendor's tool.
    assert call("bk7238", "pack", "--file", app, "-v", "1\udcff\x1b", "-s", "aes", "-o", out) == 0
    assert rbl.Header.decode(out.read_bytes()[:96]).version == b"1\xff\x1b"
    assert "app 1\\xff\\x1b" in explain(out.read_bytes()).text


def test_without_a_name_the_package_has_the_applications_as_the_vendors_packer_gives_it(app, capsys):
    assert call("bk7238", "pack", "-f", app, "-v", "1", "-p", "app") == 0
    assert rbl.Header.decode((app.parent / "app.rbl").read_bytes()[:96]).algo == 0
    assert call("bk7238", "pack", "-f", app.parent / "app.rbl", "-v", "1") == 3
    for word in ("-h", "--help"):
        capsys.readouterr()
        assert call("bk7238", "pack", word) == 0
        said = capsys.readouterr().out
        assert [
            letter for letter in ("-f", "-v", "-p", "-c", "-s", "-k", "-i", "-o") if f"  {letter}, --" not in said
        ] == []


def test_verify_says_what_it_was_given_instead_of_an_rbl(app, tmp_path, capsys):
    out = vendors(app)
    call("keygen", tmp_path / "k.pem")
    signed = tmp_path / "x.mpota"
    given = ["--key", tmp_path / "k.pem", "--product", "lamp", "--version", "1.1", "-o", signed]
    assert call("pack", out, "--layout", "bk7238", *given) == 0
    capsys.readouterr()
    assert call("bk7238", "verify", signed, "--key", tmp_path / "k.pub") == 3
    assert f"mpota verify {signed} --key FILE" in capsys.readouterr().err
    assert call("bk7238", "verify", out, "--running", app) == 3
    assert "is no RBL" in capsys.readouterr().err
    assert call("verify", out, "--key", tmp_path / "k.pub") == 3
    assert "no package but an RBL package" in capsys.readouterr().err


@pytest.mark.parametrize("compress", ["none", "gzip", "lzma"])
def test_a_package_under_a_key_of_ones_own_is_signed_and_verify_does_not_claim_to_have_seen_it(
    compress, app, tmp_path, capsys
):
    out = vendors(app, "-c", compress, "-k", "K" * 32)
    call("keygen", tmp_path / "k.pem")
    signed = tmp_path / "x.mpota"
    given = ["--key", tmp_path / "k.pem", "--product", "lamp", "--version", "1.1", "-o", signed]
    assert call("pack", out, "--layout", "bk7238", *given) == 0
    assert "does not open with the vendor's key" in capsys.readouterr().err
    assert call("verify", signed, "--key", tmp_path / "k.pub") == 0
    said = capsys.readouterr().out
    assert "does not open with the vendor's key" in said and "the bootloader takes it" not in said


def test_inspect_reads_every_package_of_the_vendors_tools_to_its_image(vectors):
    kinds = set()
    for case in vectors["vendor_packages"]:
        report = explain(base64.b64decode(case["package_b64"]))
        assert report.facts["image"] == f"{case['size']:,} bytes, whole: length and FNV-1a are right", case["size"]
        kinds.add((case["compress"], case["crypt"]))
    assert len(kinds) == 8
    fast = bytes((3,)) + b"abcd" + bytes((0xE0, 0, 3))
    made, body = replay_bk7238.made(b"abcdabcdabcda", struct.pack(">I", len(fast)) + fast, rbl.FASTLZ)
    assert "whole" in explain(made.encode() + body).facts["image"]


def test_inspect_says_why_an_image_cannot_be_seen():
    app = application(5000)
    good = packer.pack(app, options("lzma", "none"))
    lzma = replay_bk7238.plain(good, rbl.Header.decode(good[:96]))
    for stream, algo, words in (
        (b"\0\0\0\x09abc", rbl.QUICKLZ, "a block of 9 bytes"),
        (struct.pack(">I", 0), rbl.FASTLZ, "ends in the middle"),
        (struct.pack(">I", 3) + b"\x4d\x10\x20", rbl.QUICKLZ, "not seen"),
        (b"a web page" * 5, rbl.GZIP, "not seen"),
        (lzma[:1] + b"\xff" * 4 + lzma[5:], rbl.LZMA, "not seen"),
        (lzma[:60], rbl.LZMA, "another one than"),
        (app + b"x", 0, "more bytes"),
        (app[:-1], 0, "4,999 bytes, another one"),
        (app, 0x700, "0x700"),
    ):
        head, body = replay_bk7238.made(app, stream, algo)
        assert words in explain(head.encode() + body).facts["image"], words
    wide = replay_bk7238.made(app, app, 0)
    wide[0].raw = wide[0].body = 0xFFFFFFFF
    assert not explain(wide[0].encode() + wide[1]).ok


def test_an_rbl_is_signed_into_a_package_and_nothing_else_is(app, tmp_path, capsys):
    out = vendors(app)
    assert call("keygen", tmp_path / "k.pem") == 0
    given = ["--key", tmp_path / "k.pem", "--product", "lamp", "--version", "1.1", "-o", tmp_path / "x.mpota"]
    assert call("pack", out, "--layout", "bk7238", *given) == 0
    assert call("verify", tmp_path / "x.mpota", "--key", tmp_path / "k.pub") == 0
    assert call("pack", app, "--layout", "bk7238", *given) == 3
    assert "make one with" in capsys.readouterr().err
    for bad in (package(application(500), hash=1), package(application(500), 0), out.read_bytes()[:-16]):
        with pytest.raises(Refused):
            prepare.prepare(bad)
    another = packer.pack(application(500), packer.Options("1", "app", "gzip", "aes", "K" * 32, "I" * 16))
    assert "vendor's key" in prepare.prepare(another)[1][0]


def test_what_no_board_of_this_family_takes_is_not_packed(app, tmp_path, capsys):
    out = vendors(app)
    folder = tmp_path / "lamp"
    folder.mkdir()
    (folder / "app.py").write_text("")
    given = ["pack", out, "--layout", "bk7238", "--unsigned", "--product", "x", "--version", "1", "-o", tmp_path / "x"]
    for more, words in ((["--app", folder], "firmware alone"), (["--resource", f"a={app}"], "firmware alone")):
        assert call(*given, *more) == 3 and words in capsys.readouterr().err
    assert call(*given, "--base", out) == 3 and "no --base" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_virtual_board_is_made_of_an_application_and_of_nothing_else(app, tmp_path):
    assert machine.firmware(app) == app.read_bytes()
    most = 0x110000 - rbl.SIZE
    files = {"page": b"<html>", "rbl": package(application(500)), "empty": b"", "big": application(most + 1)}
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        flash = tmp_path / f"{name}.flash"
        assert call("board", "--layout", "bk7238", "--flash", flash, "--firmware", path) == 3, name
        assert not flash.exists()


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
    it.theirs[b"app"] = table.Entry(b"app", table.CODE, 0x7FFFFFFF, 0xFFFFFFFF)
    it.write_loader()
    astray = explain(bytes(it.flash.flash.cells.get(0, sim.SIZE)))
    assert astray.facts["headers"] == {"app": "none", "download": "none"}
    broken = bytearray(package(application(500)))
    broken[30] ^= 1
    assert not explain(bytes(broken)).ok
    cut = explain(package(application(500))[:-5])
    assert not cut.ok and "5 bytes are missing" in cut.text


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


def test_a_board_takes_a_bare_rbl_where_its_settings_allow_it_and_starts_nothing_rotten(tmp_path):
    app, new = application(5003, 1), application(9001, 2)
    settings = {"product": "plug", "layout": "bk7238", "bare": True}
    files = mpota_files(settings, layout="bk7238") | {"/app.py": sample.APP}
    flash = create_for("bk7238", tmp_path / "b.bin", app, files)
    (tmp_path / "x.rbl").write_bytes(packer.pack(new, options("gzip")))
    server = demo.shelf(tmp_path)
    with VirtualBoard(flash) as board:
        line = demo.Line(board.port)
        # boot.py may not have come to it yet.
        line.type(f'from wiring import http_ota; http_ota("http://127.0.0.1:{server.server_address[1]}/x.rbl")')
        assert "[loader] installed (0)" in line.until("[loader]", 12)
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


def test_a_board_on_a_tuya_module_runs_its_application_says_what_is_wrong_and_keeps_the_calibration(tmp_path, capsys):
    calibration = b"TLV\0" + bytes(range(1, 253))
    app = b"print('the application runs')\n\ndef step():\n    pass\n"
    files = mpota_files({"product": "plug", "layout": "bk7238"}, layout="bk7238") | {"/app.py": app}
    flash = create_for("bk7238", tmp_path / "b.bin", application(5003, 1), files)
    memory = SimFlash(machine.SIZE, prog_size=1, path=str(flash))
    memory.prog(0x1E3000, calibration)
    memory.close()
    rbl_file, release = tmp_path / "x.rbl", tmp_path / "x.mpota"
    rbl_file.write_bytes(packer.pack(application(9001, 2), options("gzip")))
    given = ["--layout", "bk7238", "--unsigned", "--product", "plug", "--version", "1.0.1", "-o", release]
    assert call("pack", rbl_file, *given) == 0
    with VirtualBoard(flash) as board:
        board.wait("reset", image="app")
        line = demo.Line(board.port)
        line.until("the application runs")
        line.close()
        capsys.readouterr()
        assert call("push", release, "--port", board.port) == 3
        said = capsys.readouterr().err
        assert "0x1e3000" in said and "RF calibration of a Tuya module" in said and "move JOURNAL" in said
        assert call("status", "--port", board.port, "--json") == 0
        out = capsys.readouterr().out
        facts = json.loads(out[out.index("{") :])
        assert "0x1e3000" in facts["updates"] and facts["boot_error"] is None
    assert flash.read_bytes()[0x1E3000:][: len(calibration)] == calibration


def test_host_board_makes_a_board_and_starts_it_again(tmp_path):
    command = [sys.executable, "-m", "mpota_host", "board", "--layout", "bk7238", "--flash", str(tmp_path / "b.bin")]
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
    from mpota_host.package.rom import Rom

    return Rom(flash, 0, len(flash))
