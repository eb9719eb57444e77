"""`mpota keys`: roots and records, signing on another machine, and what is refused."""

import base64
import json
import re
import shutil
import subprocess
from hashlib import sha256

import pytest

from mpota.pipe import trust
from mpota_host.package import keys, record
from mpota_host.package.signing import request
from tests import signer
from tests.host.command import call
from tests.host.test_cli import refusal, said


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three roots, two release keys and a rollout key of one product, and its first record."""
    folder = tmp_path_factory.mktemp("keys")
    assert call("keys", "new", folder, "--roots", "3", "--product", "lamp") == 0
    keys.generate(folder / "next.pem")
    return folder


def read(path):
    return record.fields(path.read_bytes())


def roots(shop):
    return [keys.load_public(shop / f"root-{n}.pub") for n in (1, 2, 3)]


def test_new_makes_keys_that_only_their_owner_reads_and_the_first_record(capsys, tmp_path):
    status, out, err = said(capsys, "keys", "new", tmp_path / "k")
    assert status == 0 and "root.pem" in out and "--root" in err
    private = sorted((tmp_path / "k").glob("*.pem"))
    assert [path.name for path in private] == ["release.pem", "rollout.pem", "root.pem"]
    assert all(path.stat().st_mode & 0o77 == 0 for path in private)
    made = record.prove((tmp_path / "k/keys-1.record").read_bytes(), [keys.load_public(tmp_path / "k/root.pub")], 1)
    assert (made.serial, made.product) == (1, "")
    assert made.release == [keys.load_public(tmp_path / "k/release.pub")]
    assert made.rollout == [keys.load_public(tmp_path / "k/rollout.pub")]
    before = {path: path.read_bytes() for path in (tmp_path / "k").iterdir()}
    refusal(capsys, 3, "not overwritten", "keys", "new", tmp_path / "k")
    assert before == {path: path.read_bytes() for path in (tmp_path / "k").iterdir()}


def test_all_roots_of_new_have_signed(shop):
    made = record.prove((shop / "keys-1.record").read_bytes(), roots(shop), 3, "lamp")
    assert made.product == "lamp"


def test_rotate_replaces_the_release_key_and_keeps_the_rest(capsys, shop, tmp_path):
    out = tmp_path / "2.record"
    command = ("keys", "rotate", shop / "keys-1.record", "--release", shop / "next.pub")
    assert said(capsys, *command, "--root", shop / "root-1.pem", "--root", shop / "root-3.pem", "-o", out)[0] == 0
    made = record.prove(out.read_bytes(), roots(shop), 2, "lamp")
    assert (made.serial, made.release) == (2, [keys.load_public(shop / "next.pub")])
    assert made.rollout == read(shop / "keys-1.record").rollout
    status, shown, _ = said(capsys, "keys", "show", out, "--json")
    facts = json.loads(shown)
    assert status == 0 and facts["serial"] == 2 and len(facts["signed_by"]) == 2
    refusal_of_usage(capsys, "from now on", "keys", "rotate", out, "--root", shop / "root-1.pem", "-o", out)


def refusal_of_usage(capsys, words, *args):
    status, _, err = said(capsys, *args)
    assert status == 2 and words in err, err


def test_a_record_is_signed_on_two_machines(capsys, shop, tmp_path):
    asked = tmp_path / "2.request"
    command = ("keys", "record", "--release", shop / "next.pub", "--serial", "2", "--product", "lamp")
    assert said(capsys, *command, "--request", asked)[0] == 0
    words = asked.read_text()
    assert "keys record 2 for product 'lamp'" in words
    assert f"release key {keys.key_id(keys.load_public(shop / 'next.pub')).hex()}, signs packages" in words
    assert "a request to sign: keys record 2" in said(capsys, "keys", "show", asked)[1]
    for n in (1, 2):
        status, out, _ = said(
            capsys, "keys", "sign", asked, "--key", shop / f"root-{n}.pem", "-o", tmp_path / f"{n}.sig"
        )
        assert status == 0 and "keys record 2 for product 'lamp'" in out
    one, two = tmp_path / "one.record", tmp_path / "two.record"
    assert said(capsys, "keys", "join", asked, tmp_path / "1.sig", "-o", one)[0] == 0
    # A second signature later, and the same one again.
    assert said(capsys, "keys", "join", one, tmp_path / "2.sig", tmp_path / "1.sig", "-o", two)[0] == 0
    record.prove(two.read_bytes(), roots(shop), 2, "lamp")
    with pytest.raises(Exception, match="1 roots of this board have signed keys record 2, wanted 2"):
        record.prove(one.read_bytes(), roots(shop), 2, "lamp")
    # Signed here and elsewhere at once.
    both = tmp_path / "both.record"
    here = ("--root", shop / "root-1.pem", "-o", both, "--request", tmp_path / "both.request")
    assert said(capsys, *command, *here)[0] == 0
    assert said(capsys, "keys", "join", both, tmp_path / "2.sig", "-o", both)[0] == 0
    assert both.read_bytes() == two.read_bytes()


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no OpenSSL here")
def test_another_tool_signs_what_a_request_has(capsys, shop, tmp_path):
    asked, body, sig = tmp_path / "2.request", tmp_path / "bytes", tmp_path / "sig"
    command = ("keys", "record", "--release", shop / "next.pub", "--serial", "2", "--request", asked)
    assert said(capsys, *command)[0] == 0
    block = re.search("REQUEST-----\n(.*)-----END", asked.read_text(), re.S)
    body.write_bytes(base64.b64decode(block[1]))
    signing = ["openssl", "dgst", "-sha256", "-sign", shop / "root-2.pem", "-out", sig, body]
    subprocess.run(signing, check=True, timeout=60)
    assert len(sig.read_bytes()) == 384
    refusal(capsys, 3, "--root", "keys", "join", asked, sig, "-o", tmp_path / "r")
    public = [word for n in (1, 2, 3) for word in ("--root", shop / f"root-{n}.pub")]
    assert said(capsys, "keys", "join", asked, sig, *public, "-o", tmp_path / "r")[0] == 0
    record.prove((tmp_path / "r").read_bytes(), roots(shop), 1)


def test_a_request_that_is_not_what_it_says_is_not_signed(capsys, shop, tmp_path):
    asked = tmp_path / "2.request"
    command = ("keys", "record", "--release", shop / "next.pub", "--serial", "2", "--request", asked)
    assert said(capsys, *command)[0] == 0
    whole = asked.read_text()
    sign = ("keys", "sign", asked, "--key", shop / "root-1.pem")
    for old, new, words in (
        ("keys record 2", "keys record 3", "is not what it says"),
        ("release key", "rollout key", "is not what it says"),
        ("BEGIN MPOTA REQUEST", "BEGIN MPOTA", "is no request"),
        ("TVBPS", "TVBPX", "does not know"),
        ("\n-----END", "=\n-----END", "is no request"),
    ):
        assert old in whole
        asked.write_text(whole.replace(old, new, 1))
        refusal(capsys, 3, words, *sign)
    # A block of words behind the bytes says nothing.
    asked.write_text(
        whole.replace("keys record 2", "keys record 3", 1) + "keys record 2 for every product of its roots"
    )
    refusal(capsys, 3, "is not what it says", *sign)
    assert not (tmp_path / "2.request.sig").exists()


def test_a_signature_over_something_else_is_refused(capsys, shop, tmp_path):
    command = ("keys", "record", "--release", shop / "next.pub", "--serial")
    for n in (2, 3):
        assert said(capsys, *command, str(n), "--request", tmp_path / f"{n}.request")[0] == 0
    assert said(capsys, "keys", "sign", tmp_path / "3.request", "--key", shop / "root-1.pem")[0] == 0
    sig = tmp_path / "3.request.sig"
    refusal(capsys, 3, "no signature over this", "keys", "join", tmp_path / "2.request", sig, "-o", tmp_path / "r")
    (tmp_path / "hello").write_text("hello")
    refusal(capsys, 3, "no signature of mpota", "keys", "join", tmp_path / "2.request", tmp_path / "hello", "-o", "r")
    refusal(capsys, 3, "no keys record", "keys", "rotate", sig, "--release", shop / "next.pub", "-o", tmp_path / "r")


@pytest.mark.parametrize(
    "more,words",
    [
        (("--serial", "0"), "serial 0"),
        (("--serial", "4294967296"), "serial 4294967296"),
        (("--serial", "2", "--product", "x" * 33), "at most 32 bytes"),
        (("--serial", "2", "--rollout", "next.pub"), "packages or offers"),
    ],
)
def test_a_record_that_no_board_should_take_is_not_made(capsys, shop, tmp_path, more, words):
    given = [shop / word if word.endswith(".pub") else word for word in more]
    made = ("--root", shop / "root-1.pem", "-o", tmp_path / "r")
    refusal(capsys, 3, words, "keys", "record", "--release", shop / "next.pub", *given, *made)


def test_more_keys_than_a_board_reads_are_refused():
    public = [key.public for key in signer.RELEASES]
    many = [bytes([n]) * 384 for n in range(1, 10)]
    for release in (many + public[:1], many + public):
        with pytest.raises(Exception, match="a board reads 4096"):
            record.body(2, "lamp", release, [])
    body = record.body(2, "lamp", many, [])
    assert len(record.join(body, {signer.A.public: signer.A.sign(body)})) == 3892
    with pytest.raises(Exception, match="a board reads 4096"):
        record.join(body, {root.public: root.sign(body) for root in (signer.A, signer.B)})
    with pytest.raises(Exception, match="is not over this record"):
        record.join(body, {signer.A.public: signer.B.sign(body)})


def test_the_hosts_record_is_the_boards(shop):
    for roots_ in ((signer.A,), (signer.A, signer.B, signer.C)):
        ours = signer.record(7, signer.RELEASES[:2], roots_)
        body = record.body(7, "demo", [key.public for key in signer.RELEASES[:2]], [signer.ROLLOUT.public])
        theirs = record.join(body, {root.public: root.sign(body) for root in roots_})
        assert record.part(ours)[0] == record.part(theirs)[0] == body
        assert dict(record.part(ours)[1]) == dict(record.part(theirs)[1])


def test_usage_is_said(capsys, shop, tmp_path):
    made = ("keys", "record", "--release", shop / "next.pub", "--serial", "2")
    refusal_of_usage(capsys, "--request FILE", *made)
    refusal_of_usage(capsys, "give both", *made, "--root", shop / "root-1.pem")
    refusal_of_usage(capsys, "give both", *made, "--request", tmp_path / "r", "-o", tmp_path / "o")
    (tmp_path / "mine").write_text("something of mine")
    refusal(capsys, 3, "no keys record", *made, "--root", shop / "root-1.pem", "-o", tmp_path / "mine")
    refusal(capsys, 3, "no request", *made, "--request", tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "something of mine"


def test_show_tells_of_a_boards_folder_a_key_and_what_is_none(capsys, shop, tmp_path):
    folder = tmp_path / "keys"
    (folder / "roots").mkdir(parents=True)
    for n in (1, 2):
        (folder / f"roots/root-{n}.pub").write_bytes((shop / f"root-{n}.pub").read_bytes())
    (folder / "roots/record.a").write_bytes((shop / "keys-1.record").read_bytes())
    facts = json.loads(said(capsys, "keys", "show", folder, "--json")[1])
    assert facts["serial"] == 1 and [row["is"] for row in facts["keys"]] == ["root", "root", "record 1", "record 1"]
    assert trust.key_id(roots(shop)[0]).hex() in said(capsys, "keys", "show", shop / "root-1.pub")[1]
    refusal(capsys, 3, "no keys folder", "keys", "show", tmp_path)
    (tmp_path / "other").write_bytes(sha256(b"").digest())
    refusal(capsys, 3, "is no key", "keys", "show", tmp_path / "other")
    assert request.is_text(request.request(record.part((shop / "keys-1.record").read_bytes())[0]).encode())
