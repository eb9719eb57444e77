"""The packer makes the vendor's bytes, refuses what chips would, and its command writes what the phone then sends."""

import gzip
import json
import subprocess
import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.store import control
from mpota_boot.errors import Refused
from mpota_host.chips.sifli import packer
from mpota_host.chips.sifli.phone import phone
from mpota_host.chips.sifli.prepare import prepare
from mpota_host.package.read import explain
from tests.chips.sifli import sifli_maker as maker

ROOT = Path(__file__).resolve().parents[4]
FILE = ROOT / "tests/vectors/sifli.json.gz"
ALL = json.loads(gzip.decompress(FILE.read_bytes()))
CASES = {case["id"]: case for case in ALL["cases"]}


def payload(n):
    x, out = 0x12345678, bytearray(n)
    for i in range(n):
        x = (x * 1664525 + 1013904223) % 2**32
        out[i] = x >> 24 if i % 4 == 0 else (i >> 4) & 0xFF
    return bytes(out)


def option(case, name, default):
    words = case["command"].replace("=", " ").split()
    return int(words[words.index(name) + 1]) if name in words else default


def given(case):
    return [
        packer.Given(row["file"].removesuffix(".bin"), payload(row["size"]), row["flag"], row["img_id"])
        for row in case["inputs"]
    ]


def options(case, sign):
    keys = ALL["keys"][case["keys"]]
    want = case.get("expected") or {}
    pem = serialization.load_pem_public_key(keys["pub_pem"].encode())
    der = pem.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = {k: option(case, f"--{k}", d) for k, d in (("dfu_id", 0), ("hw_ver", 0), ("sdk_ver", 0), ("fw_ver", 0))}
    return packer.Options(
        bytes.fromhex(keys["root_key_hex"]),
        der,
        sign,
        **numbers,
        bksize=option(case, "--bksize", 512),
        pksize=option(case, "--pksize", 10240),
        align=bool(option(case, "--align", 1)),
        offline_img=option(case, "--offline_img", 0),
        flags=option(case, "--flags", 1),
        image_key=bytes.fromhex(want.get("fw_key_hex", "00" * 32)),
    )


PACKED = [i for i, c in CASES.items() if "tool_error" not in c and "gzip" not in i and c["keys"]]


@pytest.mark.parametrize("name", PACKED)
def test_every_file_is_the_vendors_byte_for_byte(name):
    case = CASES[name]
    sigs = [bytes.fromhex(i["sig_hex"]) for i in (case.get("expected") or {"images": []})["images"]]
    if "ctrl_packet_b64" in case:
        sigs.append(b64decode(case["ctrl_packet_b64"])[-256:])
    der = options(case, None).public
    left = list(sigs)

    def sign(data):
        """The vendor's signature, which has to be one over what is signed here."""
        assert signed.verify(der, left[0], sha256(data).digest())
        return left.pop(0)

    made = packer.pack(given(case), options(case, sign))
    for row in case.get("files", ()):
        assert sha256(made[row["name"]]).hexdigest() == row["sha256"], row["name"]
    if "ctrl_packet_b64" in case:
        assert made["ctrl_packet.bin"] == b64decode(case["ctrl_packet_b64"]) and not left
    if "offline_install" in case:
        assert made["offline_install.bin"] == b64decode(case["offline_install"]["b64"])


def test_the_vectors_were_not_thinned():
    assert len(PACKED) >= 35 and len(ALL["negative_init"]) >= 45


def test_what_the_vendors_tool_breaks_on_is_refused():
    case = CASES["offline_v0_uncompressed_image"]
    assert case["tool_error"]
    images = [packer.Given("app", payload(513), 16, 0), packer.Given("res", payload(513), 0, 3)]
    opts = packer.Options(bytes(32), maker.PUBLIC, maker.sign, offline_img=1)
    with pytest.raises(Refused, match="flag 16 alone"):
        packer.pack(images, opts)


@pytest.mark.parametrize("change", [{"bksize": 500}, {"bksize": 4096}, {"com_type": 2}, {"pksize": 20480}])
def test_what_no_chip_takes_is_refused(change):
    images = [packer.Given("app", payload(513), 16, 0)]
    with pytest.raises(Refused):
        packer.pack(images, packer.Options(bytes(32), maker.PUBLIC, maker.sign, **change))
    for wrong in ([], images * 2):
        with pytest.raises(Refused, match="each id once"):
            packer.pack(wrong, packer.Options(bytes(32), maker.PUBLIC, maker.sign))


def test_a_number_that_its_field_cannot_hold_is_refused():
    for change in ({"dfu_id": 256}, {"hw_ver": -1}, {"hw_ver": 1 << 32}, {"offline_img": 3}):
        with pytest.raises(Refused, match="wanted 0"):
            packer.pack(
                [packer.Given("app", b"x", 16, 0)], packer.Options(bytes(32), maker.PUBLIC, maker.sign, **change)
            )
    for image in (packer.Given("app", b"x", 16, 256), packer.Given("app", b"x", 1 << 16, 0)):
        for offline in (0, 2):
            with pytest.raises(Refused, match="of app is"):
                packer.pack([image], packer.Options(bytes(32), maker.PUBLIC, maker.sign, offline_img=offline))


def test_two_images_of_one_name_are_refused_before_one_takes_the_others_file():
    images = [packer.Given("app", b"x", 0, 0), packer.Given("app", b"y", 0, 3)]
    with pytest.raises(Refused, match="two files"):
        packer.pack(images, packer.Options(bytes(32), maker.PUBLIC, maker.sign))


def test_the_chips_own_inflater_gets_one_dynamic_block_a_chunk():
    text = b"".join(b"line %d of a log\n" % i for i in range(3000))
    opts = packer.Options(bytes(32), maker.PUBLIC, maker.sign, com_type=packer.GZIP)
    made = packer.pack([packer.Given("app", text, 16, 0)], opts)
    report = explain(made["com_app.bin"])
    assert report.ok and report.kind == "compressed image" and report.facts["total"] == len(packer.pad(text, True))
    with pytest.raises(Refused, match="com_type 1"):
        packer.pack([packer.Given("app", b"short", 16, 0)], opts)


def test_versions_are_numbers_of_three_digits():
    assert [packer.version(t) for t in ("1.2.3", "v0.7.1", "1001001")] == [1002003, 7001, 1001001]
    for wrong in ("1.2", "1.1000.0", "a", "", "5000.0.0"):
        with pytest.raises(Refused, match="version"):
            packer.version(wrong)


def test_a_signing_key_of_another_size_is_refused():
    with pytest.raises(Refused, match="wanted 2048"):
        packer.signer(rsa.generate_private_key(65537, 3072))


def run(*args, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "mpota_host", *args], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sifli")
    key = rsa.generate_private_key(65537, 2048)
    private = serialization.PrivateFormat.PKCS8
    (path / "sig.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    (path / "root.bin").write_bytes(maker.ROOT)
    for name, n in (("app", 30000), ("res", 5000), ("font", 700)):
        (path / f"{name}.bin").write_bytes(payload(n))
    return path


def test_the_command_takes_the_vendors_arguments(folder):
    words = [str(folder / "app.bin"), "16", "0", str(folder / "res.bin"), "0", "3", str(folder / "font.bin"), "1", "4"]
    keys = ["--key", str(folder / "root.bin"), "--sigkey", str(folder / "sig.pem")]
    done = run("sifli", "pack", *words, *keys, "--fw_ver", "1.2.3", "-o", str(folder / "out"), "--json")
    assert done.returncode == 0, done.stderr
    names = {Path(name).name for name in json.loads(done.stdout)["files"]}
    assert names == {"ctrl_packet.bin", "com_app.bin", "outcom_app.bin", "outres.bin", "encfont.bin"}
    public = packer.signer(serialization.load_pem_private_key((folder / "sig.pem").read_bytes(), None))[0]
    packet = (folder / "out/ctrl_packet.bin").read_bytes()
    found = control.read(packet, maker.ROOT, signed.key_hash(public), public)
    assert found.fw == 1002003 and [(i.id, i.flags) for i in found.images] == [(0, 16), (3, 0), (4, 1)]
    wire = phone.split(3, (folder / "out/outres.bin").read_bytes(), 512)
    assert len(wire.records) == 10 and wire.size == (folder / "out/outres.bin").stat().st_size


@pytest.mark.parametrize(
    "words", [["app.bin", "16"], ["app.bin", "x", "0"], ["app.bin", "²", "0"], ["none.bin", "16", "0"]]
)
def test_a_wrong_row_of_images_is_said(folder, words):
    keys = ["--key", str(folder / "root.bin"), "--sigkey", str(folder / "sig.pem"), "-o", str(folder / "no")]
    done = run("sifli", "pack", *words, *keys)
    assert done.returncode == 2 and "Traceback" not in done.stderr and not (folder / "no").exists()


@pytest.mark.parametrize("wrong", ["text", "password"])
def test_a_signing_key_that_cannot_be_read_is_said(folder, wrong):
    key = rsa.generate_private_key(65537, 2048)
    locked = serialization.BestAvailableEncryption(b"secret")
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (folder / "wrong.pem").write_bytes(b"no key" if wrong == "text" else private)
    keys = ["--key", str(folder / "root.bin"), "--sigkey", str(folder / "wrong.pem"), "-o", str(folder / "no")]
    done = run("sifli", "pack", str(folder / "app.bin"), "16", "0", *keys)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "is no private key" in done.stderr


def test_inspect_knows_every_file(folder):
    opts = packer.Options(maker.ROOT, maker.PUBLIC, maker.sign, offline_img=1)
    images = [packer.Given("app", payload(30000), 17, 0)]
    made = packer.pack(images, opts)
    kinds = {name: explain(data).kind for name, data in made.items()}
    assert kinds == {
        "ctrl_packet.bin": "control packet",
        "com_app.bin": "compressed image",
        "enccom_app.bin": "wire image",
        "offline_install.bin": "offline package",
    }
    v1 = packer.pack(images, packer.Options(maker.ROOT, maker.PUBLIC, maker.sign, offline_img=2))["offline_install.bin"]
    assert explain(v1).ok and not explain(v1[:-1]).ok and not explain(v1[:-1] + b"!").ok
    assert explain(maker.table_bytes(maker.places())).kind == "flash table"
    assert not explain(made["com_app.bin"][:-30]).ok


def test_a_program_is_prepared_as_the_manager_installs_it():
    app = bytes.fromhex("0000042001010210") + payload(5000)
    made, notes, facts = prepare(app)
    assert explain(made).kind == "compressed image" and facts["program"] == len(packer.pad(app, True)) and notes
    for code, wrong in (("tiny", b""), ("html", b"<html>" + bytes(20)), ("magic", payload(100))):
        with pytest.raises(Refused) as e:
            prepare(wrong)
        assert e.value.code == code


@pytest.mark.parametrize("interpreter", ["python", "micropython"])
def test_every_vector_is_replayed_on_both_interpreters(interpreter):
    path = ROOT / ".venv/bin" / interpreter
    words = [str(path) if interpreter == "micropython" else sys.executable, "tests/replay.py", "sifli", str(FILE)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, "agree 91 safer 3 differ 0\n"), done.stdout + done.stderr
