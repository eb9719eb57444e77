"""Private keys stay at home, known by their content in what `pack` is given; no output takes another file's place."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from mpota_boot.errors import Refused
from mpota_host.package import keys, output
from mpota_host.package.content import app, secret
from mpota_host.package.encode import encrypt
from mpota_host.sources import CHECKOUT as ROOT
from tests.chips.pic32.host.test_pic32_pack import BOOT
from tests.chips.pic32.host.test_pic32_pack import app as hex_application
from tests.host.command import call
from tests.host.test_cli import refusal

LAMP = ("--product", "lamp", "--version", "1.2.3")
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OPEN, LOCKED = NoEncryption(), BestAvailableEncryption(b"a passphrase")
PKCS8, OLD, SSH = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH
PEM = RSA.private_bytes(Encoding.PEM, PKCS8, OPEN)
PUTTY = b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\nComment: me\r\n"
SSH2 = b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n%s\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n" % (
    b"P2/5" * 30
)


PRIVATE = {
    "rsa": PEM,
    "rsa locked": RSA.private_bytes(Encoding.PEM, PKCS8, LOCKED),
    "rsa old": RSA.private_bytes(Encoding.PEM, OLD, OPEN),
    "rsa old locked": RSA.private_bytes(Encoding.PEM, OLD, LOCKED),
    "ec": EC.private_bytes(Encoding.PEM, PKCS8, OPEN),
    "ec old": EC.private_bytes(Encoding.PEM, OLD, OPEN),
    "ed25519": ED.private_bytes(Encoding.PEM, PKCS8, OPEN),
    "openssh": ED.private_bytes(Encoding.PEM, SSH, OPEN),
    "openssh rsa": RSA.private_bytes(Encoding.PEM, SSH, OPEN),
    "der": RSA.private_bytes(Encoding.DER, PKCS8, OPEN),
    "der locked": EC.private_bytes(Encoding.DER, PKCS8, LOCKED),
    "der pkcs1": RSA.private_bytes(Encoding.DER, OLD, OPEN),
    "der sec1": EC.private_bytes(Encoding.DER, OLD, OPEN),
    "der with more behind": ED.private_bytes(Encoding.DER, PKCS8, OPEN) + b"\n",
    "p12": serialize_key_and_certificates(b"me", RSA, None, None, LOCKED),
    "p12 open": serialize_key_and_certificates(b"me", EC, None, None, OPEN),
    "putty": PUTTY,
    "ssh2": SSH2,
    "in a bundle": b"# a chain\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" + PEM,
    "in a program": b'KEY = """' + PEM + b'"""\n',
    "in a program, line by line": b"KEY = (\n" + b"".join(b'    b"%s\\n"\n' % x for x in PEM.splitlines()) + b")\n",
    "in json": b'{"key": "' + PEM.replace(b"\n", b"\\n") + b'"}',
    "with windows lines": PEM.replace(b"\n", b"\r\n"),
    "as utf-16": PEM.decode().encode("utf-16"),
    "cut off": PEM[:200],
    "without line ends": PEM.replace(b"\n", b" "),
    "a device key in a program": b"KEY = '''mpota device key 0011223344556677\n" + b"ab" * 32 + b"\n'''",
}


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_key_is_known_by_its_content(name):
    assert secret.found(PRIVATE[name])


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_what_is_no_private_key_passes(tmp_path):
    keys.generate(tmp_path / "r.pem")
    der = EC.public_key().public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    code = b'if b"-----BEGIN PRIVATE KEY-----" in data and b"-----END PRIVATE KEY-----" not in data:\n    raise X\n'
    doc = b"Paste the part from -----BEGIN PRIVATE KEY----- on. It is long: do not retype it, copy it whole.\n"
    fine = [public(RSA), public(EC), der, (tmp_path / "r.pub").read_bytes(), code, doc, b"", b"\x30", b"\x30\x85" * 9]
    fine += [b"-----BEGIN CERTIFICATE-----\n" + b"MIIB" * 200 + b"\n-----END CERTIFICATE-----\n", bytes(range(256)) * 9]
    fine += [
        b"\x30\x03\x02\x01\x05",
        b"password = 'hunter2'\n",
        (ROOT / "host/mpota_host/package/content/secret.py").read_bytes(),
    ]
    assert [secret.found(data) for data in fine] == [""] * len(fine)


def test_no_source_of_this_project_is_taken_for_a_key():
    found = [*(ROOT / "device").rglob("*.py"), *(ROOT / "host").rglob("*.py")]
    assert len(found) > 200 and not [path for path in found if secret.found(path.read_bytes())]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A release key, and a device key."""
    path = tmp_path_factory.mktemp("shop")
    keys.generate(path / "release.pem")
    encrypt.generate(path / "lamp.devkey")
    return path


def application(folder, **files):
    for name, data in {"app.py": b"def step(): pass\n", **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


CASES = [
    (name, path, ()) for name in ("rsa locked", "ec old", "openssh", "der", "p12") for path in ("a.jpg", "b__c__d.txt")
]
CASES += [("in a program", "keys.py", more) for more in ((), ("--mpy", "none"), ("--encrypt-for",))]


@pytest.mark.parametrize("name,path,more", CASES)
def test_pack_ships_no_private_key_whatever_its_name(capsys, shop, tmp_path, name, path, more):
    folder = application(tmp_path / "lamp", **{path: PRIVATE[name]})
    more = (*more, shop / "lamp.devkey") if more == ("--encrypt-for",) else more
    out = tmp_path / "lamp.mpota"
    args = ("pack", "--app", folder, *LAMP, "--key", shop / "release.pem", "-o", out, *more)
    refusal(capsys, 3, path.replace("__", "/"), *args)
    assert not out.exists()


def test_the_refusal_says_where_a_boards_own_key_belongs(capsys, shop, tmp_path):
    folder = application(tmp_path / "lamp", **{"certs__client.key": PRIVATE["ec"]})
    args = ("pack", "--app", folder, *LAMP, "--key", shop / "release.pem", "-o", tmp_path / "x.mpota")
    refusal(capsys, 3, "`protected`", *args)


def test_our_own_keys_are_refused_and_public_halves_are_not(capsys, shop, tmp_path):
    out = tmp_path / "x.mpota"
    for name in ("release.pem", "lamp.devkey"):
        folder = application(tmp_path / name, **{"data.bin": (shop / name).read_bytes()})
        refusal(capsys, 3, "data.bin", "pack", "--app", folder, *LAMP, "--key", shop / "release.pem", "-o", out)
    fine = {"ca.pem": b"-----BEGIN CERTIFICATE-----\n" + b"MIIB" * 200 + b"\n-----END CERTIFICATE-----\n"}
    fine |= {"release.pub": (shop / "release.pub").read_bytes(), "ec.pem": public(EC)}
    folder = application(tmp_path / "fine", **fine)
    assert call("pack", "--app", folder, *LAMP, "--key", shop / "release.pem", "-o", out) == 0


def test_a_resource_is_looked_at_too(capsys, shop, tmp_path):
    (tmp_path / "logo").write_bytes(PRIVATE["rsa old"])
    resource = f"logo.bin={tmp_path / 'logo'}"
    args = ("pack", "--resource", resource, *LAMP, "--key", shop / "release.pem", "-o", tmp_path / "x.mpota")
    refusal(capsys, 3, "'logo.bin'", *args)


def test_a_base_may_hold_what_boards_have_already(shop, tmp_path):
    old = application(tmp_path / "old", **{"a.bin": PRIVATE["rsa"]})
    new = application(tmp_path / "new", **{"b.bin": b"new " * 400})
    args = ("pack", "--app", new, "--base", old, *LAMP, "--key", shop / "release.pem", "-o", tmp_path / "x.mpota")
    assert call(*args) == 0
    with pytest.raises(Refused, match="take it out"):
        app.tree(old, {})


def test_git_ignores_the_keys_that_keygen_makes():
    names = ["release.pem", "deep/lamp.devkey"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == names or not (ROOT / ".git").exists()


def test_keygen_overwrites_no_public_key_and_writes_nothing_then(capsys, tmp_path):
    pub = tmp_path / "r.pub"
    pub.write_bytes(b"precious")
    refusal(capsys, 3, "r.pub exists", "keygen", tmp_path / "r.pem")
    assert pub.read_bytes() == b"precious" and [path.name for path in tmp_path.iterdir()] == ["r.pub"]
    (tmp_path / "s.pem").write_bytes(b"mine")
    refusal(capsys, 3, "s.pem exists", "keygen", tmp_path / "s.pem")
    assert not (tmp_path / "s.pub").exists() and (tmp_path / "s.pem").read_bytes() == b"mine"
    (tmp_path / "t.pub").symlink_to(tmp_path / "nowhere")
    refusal(capsys, 3, "t.pub exists", "keygen", tmp_path / "t.pem")
    refusal(capsys, 3, "s.pem exists", "keygen", "--device", tmp_path / "s.pem")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.pub", "s.pem", "t.pub"]


def test_pack_writes_over_packages_alone_and_never_over_an_input(capsys, shop, tmp_path):
    folder = application(tmp_path / "lamp")
    pem, out = shop / "release.pem", tmp_path / "one.mpota"
    args = ("pack", "--app", folder, *LAMP, "--key", pem)
    assert call(*args, "-o", out) == 0 and call(*args, "-o", out) == 0
    (tmp_path / "empty").touch()
    assert call(*args, "-o", tmp_path / "empty") == 0
    (folder / "app.py").write_bytes(b"def step(): return 1\n" * 90)
    (tmp_path / "notes.txt").write_bytes(b"mine")
    (tmp_path / "art.mpota").write_bytes(b"MPOTA, a poem")
    before = {
        path: path.read_bytes()
        for path in (pem, out, tmp_path / "notes.txt", tmp_path / "art.mpota", folder / "app.py")
    }
    for path in (pem, shop / "release.pub", shop / "lamp.devkey", tmp_path / "notes.txt", folder / "app.py"):
        refusal(capsys, 3, f"{path.name} ", *args, "-o", path)
    refusal(capsys, 3, "input", *args, "--base", out, "-o", out)
    (tmp_path / "link.mpota").symlink_to(out)
    refusal(capsys, 3, "input", *args, "--base", out, "-o", tmp_path / "link.mpota")
    resource = ("--resource", f"r.bin={out}")
    refusal(capsys, 3, "input", *args, *resource, "-o", out)
    refusal(capsys, 3, "input", *args, "--encrypt-for", shop / "lamp.devkey", "-o", shop / "lamp.devkey")
    assert {path: path.read_bytes() for path in before} == before


def test_a_deltas_file_is_looked_at_before_the_full_package_is_written(capsys, shop, tmp_path):
    folder = application(tmp_path / "lamp", **{"big.bin": bytes(range(256)) * 60})
    pem = shop / "release.pem"
    assert call("pack", "--app", folder, *LAMP, "--key", pem, "-o", tmp_path / "old.mpota") == 0
    (folder / "app.py").write_bytes(b"def step(): return 1\n")
    (tmp_path / "new-from-1.2.3.mpota").write_bytes(b"mine")
    args = ("pack", "--app", folder, "--product", "lamp", "--version", "1.2.4", "--key", pem)
    refusal(capsys, 3, "from-1.2.3", *args, "--base", tmp_path / "old.mpota", "-o", tmp_path / "new.mpota")
    assert not (tmp_path / "new.mpota").exists()


def test_serve_writes_over_no_other_manifest(capsys, shop, tmp_path):
    folder = application(tmp_path / "lamp")
    shelf = tmp_path / "shelf"
    assert call("pack", "--app", folder, *LAMP, "--key", shop / "release.pem", "-o", shelf / "x.mpota") == 0
    for other in (b'{"ota": []}', b'{"name": "my web page"}', b"[]", b"3", b"text"):
        (shelf / "manifest.json").write_bytes(other)
        refusal(capsys, 3, "manifest.json exists", "serve", shelf)
        assert (shelf / "manifest.json").read_bytes() == other


def test_vendors_packers_write_over_their_own_kind_alone(capsys, tmp_path):
    note = tmp_path / "note.rbl"
    note.write_bytes(b"mine")
    (tmp_path / "app.bin").write_bytes(bytes(32) + b"\0\0\x01\0" + bytes(60000))
    args = ("bk7238", "pack", "-f", tmp_path / "app.bin", "-v", "1")
    refusal(capsys, 3, "note.rbl exists", *args, "-o", note)
    refusal(capsys, 3, "input", *args, "-o", tmp_path / "app.bin")
    assert call(*args, "-o", tmp_path / "new.rbl") == 0 and call(*args, "-o", tmp_path / "new.rbl") == 0
    assert note.read_bytes() == b"mine"


def test_a_pic32_release_takes_no_other_files_place(capsys, tmp_path):
    (tmp_path / "lamp.hex").write_bytes(hex_application())
    args = ("pic32", "pack", tmp_path / "lamp.hex", "-o", tmp_path)
    assert call(*args) == 0 and call(*args) == 0
    (tmp_path / "lamp.bin").write_bytes(b"mine")
    (tmp_path / "manifest.json").unlink(missing_ok=True)
    refusal(capsys, 3, "lamp.bin exists", *args, "--version", "2", "--url", "http://h/ota")
    assert (tmp_path / "lamp.bin").read_bytes() == b"mine" and not (tmp_path / "manifest.json").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "lamp-factory.hex").symlink_to(tmp_path / "lamp.hex")
    (tmp_path / "boot.hex").write_bytes(BOOT)
    factory = ("pic32", "pack", tmp_path / "lamp.hex", "--bootloader", tmp_path / "boot.hex")
    refusal(capsys, 3, "lamp-factory.hex is an input", *factory, "-o", tmp_path / "out")
    assert not (tmp_path / "out" / "lamp.bin").exists()


def test_a_sifli_upgrade_takes_no_other_files_place(capsys, tmp_path):
    (tmp_path / "root.key").write_bytes(bytes(range(32)))
    (tmp_path / "sign.pem").write_bytes(PEM)
    for name in ("app.bin", "outapp.bin"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 20)
    options = ("--key", tmp_path / "root.key", "--sigkey", tmp_path / "sign.pem", "-o", tmp_path / "up")
    one = ("sifli", "pack", tmp_path / "app.bin", "0", "0", *options)
    assert call(*one) == 0 and call(*one) == 0
    (tmp_path / "up" / "ctrl_packet.bin").write_bytes(b"mine")
    refusal(capsys, 3, "ctrl_packet.bin exists", *one)
    (tmp_path / "up" / "ctrl_packet.bin").unlink()
    two = (
        "sifli",
        "pack",
        tmp_path / "app.bin",
        "0",
        "0",
        tmp_path / "outapp.bin",
        "0",
        "3",
        *options[:-1],
    )
    refusal(capsys, 3, "outapp.bin is an input", *two, tmp_path)
    assert (tmp_path / "outapp.bin").read_bytes() == bytes(range(256)) * 20


def test_a_page_of_the_campaign_takes_no_other_files_place(capsys, tmp_path):
    page = tmp_path / "index.html"
    page.write_bytes(b"<!doctype html><title>mine</title>")
    refusal(capsys, 3, "index.html exists", "cut", "--layout", "files", "--page", page)
    assert page.read_bytes() == b"<!doctype html><title>mine</title>"


def test_what_is_no_plain_file_is_not_read_first(tmp_path):
    output.want_own([Path("/dev/null"), tmp_path / "new"], "package", lambda data: False)
