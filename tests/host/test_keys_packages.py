"""Packages behind a keys record, and packages whose release key is on another machine."""

import json
import os
import re
import shlex
from io import BytesIO

import pytest

from mpota.pipe.package import Package
from mpota_host.package import keys, record, serve
from mpota_host.sources import CHECKOUT as ROOT
from tests.host.command import call
from tests.host.test_cli import refusal, said

PAGE = ROOT / "host/README.md"
LAMP = ("--product", "lamp", "--layout", "files")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Keys, an application, and a package of it behind the first keys record."""
    folder = tmp_path_factory.mktemp("packages")
    assert call("keys", "new", folder, "--product", "lamp") == 0
    keys.generate(folder / "other.pem")
    (folder / "app").mkdir()
    (folder / "app/app.py").write_text("VERSION = 1\n")
    made = pack(folder, "1.0.0", "--key", folder / "release.pem", "--keys-record", folder / "keys-1.record")
    assert made == 0
    return folder


def pack(shop, version, *more):
    return call("pack", "--app", shop / "app", *LAMP, "--version", version, "-o", shop / f"{version}.mpota", *more)


def test_a_package_behind_a_record_is_inspected_and_verified(capsys, shop):
    front, package = record.split((shop / "1.0.0.mpota").read_bytes())
    assert front == (shop / "keys-1.record").read_bytes() and package.startswith(b"MPOT")
    status, out, _ = said(capsys, "inspect", shop / "1.0.0.mpota", "--json")
    facts = json.loads(out)
    assert status == 0 and facts["keys_record"]["serial"] == 1 and facts["version"] == "1.0.0"
    assert facts["size"] == len(front + package) and facts["files"]
    assert "behind keys record 1 for product 'lamp'" in said(capsys, "inspect", shop / "1.0.0.mpota")[1]
    verify = ("verify", shop / "1.0.0.mpota", "--product", "lamp")
    status, out, _ = said(capsys, *verify, "--root", shop / "root.pub", "--json")
    assert status == 0 and ["keys record", "1, signed by enough of these roots"] in json.loads(out)["checks"]
    # A board without roots passes it over.
    assert said(capsys, *verify, "--key", shop / "release.pub")[0] == 0
    for options, code in ((("--root", shop / "other.pub"), "root"), (("--key", shop / "other.pub"), "key")):
        status, out, _ = said(capsys, *verify, *options, "--json")
        assert status == 3 and json.loads(out)["code"] == code
    status, out, _ = said(
        capsys, "verify", shop / "1.0.0.mpota", "--product", "door", "--root", shop / "root.pub", "--json"
    )
    assert status == 3 and "keys record is for product 'lamp'" in json.loads(out)["error"]


def test_a_record_alone_is_inspected_and_verified(capsys, shop):
    status, out, _ = said(capsys, "inspect", shop / "keys-1.record")
    assert status == 0 and "keys record 1 for product 'lamp'" in out
    assert "takes this keys record" in said(capsys, "verify", shop / "keys-1.record", "--root", shop / "root.pub")[1]
    twice = ("--root", shop / "root.pub", "--root", shop / "other.pub")
    assert said(capsys, "verify", shop / "keys-1.record", *twice)[0] == 3
    assert said(capsys, "verify", shop / "keys-1.record", *twice, "--threshold", "1")[0] == 0
    refusal(capsys, 3, "no package", "verify", shop / "keys-1.record", "--key", shop / "release.pub")
    for more in ((), ("--threshold", "1", "--key", shop / "release.pub")):
        assert said(capsys, "verify", shop / "1.0.0.mpota", *more)[0] == 2
    assert said(capsys, "verify", shop / "root.pub", "--root", shop / "root.pub")[0] == 2


def test_a_file_that_ends_inside_its_record_is_told(capsys, shop, tmp_path):
    whole = (shop / "1.0.0.mpota").read_bytes()
    for n in (5, 100):
        (tmp_path / "short").write_bytes(whole[:n])
        refusal(capsys, 3, "ends inside its keys record", "inspect", tmp_path / "short")
    (tmp_path / "cut").write_bytes(whole[:-10])
    assert said(capsys, "inspect", tmp_path / "cut")[0] == 5
    (tmp_path / "two").write_bytes((shop / "keys-1.record").read_bytes() + whole)
    refusal(capsys, 3, "no package", "verify", tmp_path / "two", "--key", shop / "release.pub")


def test_such_a_package_is_offered_and_is_a_base(capsys, shop, tmp_path):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "1.mpota").write_bytes((shop / "1.0.0.mpota").read_bytes())
    entries, _ = serve.offers(shelf)
    assert entries[0]["version"] == "1.0.0" and entries[0]["size"] == (shelf / "1.mpota").stat().st_size
    (shop / "app/app.py").write_text("VERSION = 2\n" * 900)
    (shop / "app/data").write_bytes(bytes(range(256)) * 40)
    front = ("--key", shop / "release.pem", "--keys-record", shop / "keys-1.record")
    assert pack(shop, "1.1.0", *front) == 0
    (shop / "app/app.py").write_text("VERSION = 3\n" * 900)
    assert pack(shop, "1.2.0", *front, "--base", shop / "1.1.0.mpota") == 0
    delta = (shop / "1.2.0-from-1.1.0.mpota").read_bytes()
    assert record.split(delta)[0] and Package.read(BytesIO(delta), None, bytearray(4096)).components[0].base_size
    verify = ("verify", shop / "1.2.0-from-1.1.0.mpota", "--root", shop / "root.pub", "--base", shop / "1.1.0.mpota")
    assert said(capsys, *verify)[0] == 0


def test_what_boards_would_refuse_is_not_packed(capsys, shop, tmp_path):
    front = ("--keys-record", shop / "keys-1.record")
    args = ("pack", "--app", shop / "app", "--layout", "files", "--version", "2.0.0", "-o", tmp_path / "x")
    refusal(capsys, 3, "as a release key", *args, "--product", "lamp", "--key", shop / "other.pem", *front)
    refusal(capsys, 3, "as a release key", *args, "--product", "lamp", "--key", shop / "rollout.pem", *front)
    refusal(capsys, 3, "for product 'lamp'", *args, "--product", "door", "--key", shop / "release.pem", *front)
    own = ("--product", "lamp", "--key", shop / "release.pem", "--keys-record", shop / "root.pub")
    refusal(capsys, 3, "no keys record", *args, *own)
    for more in (front, ("--request",)):
        assert said(capsys, *args, "--product", "lamp", "--unsigned", *more)[0] == 2
    assert not (tmp_path / "x").exists()


def test_a_release_key_that_is_elsewhere_signs_a_package(capsys, shop, tmp_path):
    out = tmp_path / "p.mpota"
    args = ("pack", "--app", shop / "app", *LAMP, "--version", "3.0.0", "-o", out, "--key", shop / "release.pub")
    status, shown, _ = said(capsys, *args, "--request", "--keys-record", shop / "keys-1.record")
    asked = tmp_path / "p.mpota.request"
    assert status == 0 and "waits for the signature" in shown
    assert "lamp 3.0.0, layout files" in asked.read_text()
    verify = ("verify", out, "--root", shop / "root.pub", "--product", "lamp", "--json")
    assert json.loads(said(capsys, *verify)[1])["code"] == "signature"
    sig = tmp_path / "p.mpota.request.sig"
    assert said(capsys, "keys", "sign", asked, "--key", shop / "other.pem")[0] == 0
    refusal(capsys, 3, "is made for release key", "keys", "attach", out, sig)
    status, shown, _ = said(capsys, "keys", "sign", asked, "--key", shop / "release.pem")
    assert status == 0 and "lamp 3.0.0, layout files" in shown
    refusal(capsys, 3, "keys attach", "keys", "join", asked, sig, "-o", tmp_path / "r")
    assert said(capsys, "keys", "attach", out, sig)[0] == 0
    assert json.loads(said(capsys, *verify)[1])["ok"]
    refusal(capsys, 3, "no signature over this", "keys", "attach", shop / "1.0.0.mpota", sig)
    refusal(capsys, 3, "no package", "keys", "attach", shop / "root.pub", sig)
    assert said(capsys, "pack", *args[1:-2], "--unsigned")[0] == 0
    refusal(capsys, 3, "no place for a signature", "keys", "attach", out, sig)


def test_every_delta_gets_a_request_of_its_own_and_nothing_is_overwritten(capsys, shop, tmp_path):
    (shop / "app/app.py").write_text("VERSION = 4\n" * 900)
    args = ("pack", "--app", shop / "app", *LAMP, "--version", "4.0.0", "-o", tmp_path / "p.mpota", "--request")
    more = ("--key", shop / "release.pub", "--base", shop / "1.1.0.mpota")
    (tmp_path / "p-from-1.1.0.mpota.request").write_text("mine")
    refusal(capsys, 3, "no request", *args, *more)
    assert not (tmp_path / "p.mpota").exists()
    (tmp_path / "p-from-1.1.0.mpota.request").unlink()
    assert said(capsys, *args, *more)[0] == 0
    for name in ("p.mpota", "p-from-1.1.0.mpota"):
        assert said(capsys, "keys", "sign", tmp_path / f"{name}.request", "--key", shop / "release.pem")[0] == 0
        assert said(capsys, "keys", "attach", tmp_path / name, tmp_path / f"{name}.request.sig")[0] == 0
        verify = ("verify", tmp_path / name, "--key", shop / "release.pub", "--base", shop / "1.1.0.mpota")
        assert said(capsys, *verify)[0] == 0


def test_the_commands_of_the_page_run_in_their_order(tmp_path):
    section = PAGE.read_text().split("\n### keys\n", 1)[1].split("\n### ", 1)[0]
    lines = "".join(re.findall(r"^```text\n(.*?)^```", section, re.M | re.S)).replace("\\\n", " ").splitlines()
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp/app.py").write_text("VERSION = 1\n")
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        for line in lines:
            words = shlex.split(line)
            if words[1] == "flash":
                # Needs a board: up to there it is judged.
                words = [one.replace("$PORT", "none") for one in words]
                assert call(*words[1:]) == 4, line
                continue
            assert call(*words[1:]) == 0, line
        roots = [one for n in (1, 2, 3) for one in ("--root", f"keys/root-{n}.pub")]
        for name in ("1.0.1", "1.0.2"):
            assert call("verify", f"shelf/{name}.mpota", *roots, "--threshold", "2", "--product", "lamp") == 0
    finally:
        os.chdir(before)
    assert len(lines) >= 12
