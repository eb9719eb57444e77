"""Device keys from the first command to an encrypted update on a virtual board; no output ever shows one."""

import json
import random
import subprocess
import sys

import pytest

from mpota_host.board.repl import open_board
from mpota_host.command import cli
from mpota_host.package import keys
from mpota_host.package.encode import encrypt
from mpota_host.package.pack import Options, pack
from mpota_host.sim.board import VirtualBoard, create, mpota_files
from mpota_host.sources import CHECKOUT as ROOT
from tests.chips.esp32 import image_maker

OLD = image_maker.image(body=b"old " * 16)
BODY = random.Random(1).randbytes(30000).hex().encode()
LAMP = ("--product", "lamp", "--version", "1.2.3")


def run(*args):
    """The command as a person starts it."""
    command = [sys.executable, "-m", "mpota_host", *[str(a) for a in args]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def said(capsys, *args):
    """(status, standard output and standard error) of a command, run here."""
    capsys.readouterr()
    status = 0
    try:
        cli.main([str(a) for a in args])
    except SystemExit as e:
        status = e.code or 0
    return status, "".join(capsys.readouterr())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two release keys, device keys, an image, and the image encrypted for two of them."""
    path = tmp_path_factory.mktemp("keys")
    keys.generate(path / "release.pem")
    for name in ("lamp", "fleet", "other", "four", "five", "six"):
        encrypt.generate(path / f"{name}.devkey")
    (path / "app.bin").write_bytes(image_maker.image(body=BODY))
    for name in ("one", "two"):
        done = run(*packing(path, "lamp", "fleet"), "-o", path / f"{name}.mpota")
        assert done.returncode == 0, done.stderr
        silent(path, done.stdout + done.stderr)
        assert "encrypted for device key" in done.stdout
    return path


def packing(folder, *names):
    options = [word for name in names for word in ("--encrypt-for", folder / f"{name}.devkey")]
    return ["pack", folder / "app.bin", *LAMP, "--key", folder / "release.pem", *options]


def secret(folder, name="lamp"):
    return encrypt.load(folder / f"{name}.devkey")


def ident(folder, name="lamp"):
    return encrypt.key_id(secret(folder, name)).hex()


def silent(folder, text):
    """No device key may be in `text`, in any writing."""
    for path in folder.glob("*.devkey"):
        key = encrypt.load(path)
        for written in (key.hex(), key.hex().upper(), repr(key)[2:-1], str(list(key))[1:-1], key[:8].hex(" ")):
            assert written not in text


def test_keygen_tells_the_id_and_never_the_key(capsys, tmp_path):
    for more in ((), ("--json",)):
        path = tmp_path / f"lamp{len(more)}.devkey"
        status, text = said(capsys, "keygen", "--device", path, *more)
        assert status == 0 and ident(tmp_path, path.stem) in text
        silent(tmp_path, text)
        before = path.read_bytes()
        status, text = said(capsys, "keygen", "--device", path, *more)
        assert status == 3 and "is not overwritten" in text and path.read_bytes() == before


def test_two_packages_of_the_same_image_have_nothing_in_common(folder):
    one, two = (folder / "one.mpota").read_bytes(), (folder / "two.mpota").read_bytes()
    assert len(one) == len(two)
    # The first chunk's ciphertext begins behind 68 + 134 + 2 * 48 bytes of header, 384 of signature, 35 of link.
    blocks = {one[i : i + 16] for i in range(717, 717 + 2048, 16)}
    assert len(blocks) == 128 and not any(block in two for block in blocks)
    # What is wrapped is another content key each time; the ids are the same.
    at = 68 + 134
    assert one[at : at + 8] == two[at : at + 8] == bytes.fromhex(ident(folder))
    assert one[at + 8 : at + 48] != two[at + 8 : at + 48]


def test_inspect_names_who_may_read_and_needs_no_key(capsys, folder):
    status, text = said(capsys, "inspect", folder / "one.mpota", "--json")
    facts = json.loads(text)
    assert status == 0 and facts["encrypted_for"] == [ident(folder), ident(folder, "fleet")]
    assert facts["components"][0]["stages"] == ["decrypt", "inflate"]
    status, text = said(capsys, "inspect", folder / "one.mpota")
    assert f"{ident(folder)}, {ident(folder, 'fleet')}" in text


def test_verify_looks_inside_with_any_of_its_keys_and_says_which_it_lacks(capsys, folder):
    check = ("verify", folder / "one.mpota", "--key", folder / "release.pub")
    for name in ("lamp", "fleet"):
        status, text = said(capsys, *check, "--device-key", folder / f"{name}.devkey")
        assert status == 0 and "the bootloader takes it" in text
        silent(folder, text)
    for more, words in (((), "--device-key FILE"), (("--device-key", folder / "other.devkey"), "flash --device-key")):
        for form in ((), ("--json",)):
            status, text = said(capsys, *check, *more, *form)
            assert status == 3 and words in text and ident(folder) in text and ident(folder, "fleet") in text
            silent(folder, text)


def test_the_wrong_kind_of_key_is_named(capsys, folder):
    lamp, pem, pub = folder / "lamp.devkey", folder / "release.pem", folder / "release.pub"
    for args, words in (
        (("pack", folder / "app.bin", *LAMP, "--key", lamp, "-o", folder / "x"), "is a device key"),
        (("pack", folder / "app.bin", *LAMP, "--key", pem, "--encrypt-for", pem, "-o", folder / "x"), "a release key"),
        (("pack", folder / "app.bin", *LAMP, "--key", pem, "--encrypt-for", pub, "-o", folder / "x"), "a release key"),
        (("verify", folder / "one.mpota", "--key", lamp), "is a device key"),
        (("verify", folder / "one.mpota", "--key", pub, "--device-key", pub), "a release key"),
        (("inspect", lamp), "a device key"),
        (("push", lamp, "--port", "/dev/null"), "a device key"),
    ):
        status, text = said(capsys, *args)
        assert status == 3 and words in text and text.count("\n") == 1, text
        silent(folder, text)
    assert not (folder / "x").exists()


def test_no_text_made_of_options_shows_a_key(folder):
    options = Options("lamp", "1.2.3", encrypt_for=(secret(folder),))
    silent(folder, repr(options) + str(options))


def test_a_header_takes_seventy_three_recipients_and_no_more(folder):
    image, key = (folder / "app.bin").read_bytes(), keys.load_private(folder / "release.pem")
    many = [random.Random(i).randbytes(32) for i in range(74)]
    packed = pack(image, Options("lamp", "1.2.3", encrypt_for=tuple(many[:73])), key)
    assert len(packed.encrypted_for) == 73
    (folder / "many.mpota").write_bytes(packed.data)
    last = folder / "last.devkey"
    last.write_text(f"{encrypt.FIRST_LINE} {encrypt.key_id(many[72]).hex()}\n{many[72].hex()}\n")
    check = ("verify", folder / "many.mpota", "--key", folder / "release.pub")
    assert run(*check, "--device-key", last).returncode == 0
    lines = run(*check).stdout.splitlines()
    assert max(map(len, lines)) < 200 and "or 69 more" in lines[-1]
    with pytest.raises(cli.Refused, match="do not fit"):
        pack(image, Options("lamp", "1.2.3", encrypt_for=tuple(many)), key)


@pytest.mark.parametrize("room", [4096, 16384])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_chunks_that_nothing_compresses_still_fit(folder, room, compress):
    noise = image_maker.image(body=random.Random(1).randbytes(3 * 65536))
    key = keys.load_private(folder / "release.pem")
    options = Options("lamp", "1.2.3", room=room, compress=compress, encrypt_for=(secret(folder),))
    (folder / "noise.mpota").write_bytes(pack(noise, options, key).data)
    done = run(
        *("verify", folder / "noise.mpota", "--key", folder / "release.pub", "--device-key", folder / "lamp.devkey")
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def board(tmp_path, folder):
    """A virtual board that runs mpota, trusts the release key, and holds no device key."""
    files = {**mpota_files(), "/mpota.json": b'{"product": "lamp"}'}
    files["/keys/release.pub"] = (folder / "release.pub").read_bytes()
    with VirtualBoard(create(tmp_path / "board.bin", OLD, files=files)) as board:
        yield board


def held(board):
    """The ids of the device keys that the board's own code finds."""
    code = "from wiring import Board; from mpota.pipe.decrypt import key_id; "
    with open_board(board.port) as line:
        return line.run(code + "print(*[key_id(s).hex() for s in Board().secrets()])").decode().split()


def put(board, folder, *names, more=()):
    """`flash --device-key` for each of the names; its output."""
    options = [word for name in names for word in ("--device-key", folder / f"{name}.devkey")]
    done = run("flash", "--port", board.port, *options, *more)
    silent(folder, done.stdout + done.stderr)
    return done


def test_an_encrypted_update_is_refused_without_the_key_and_installed_with_it(board, folder):
    push = ("push", folder / "one.mpota", "--port", board.port)
    refused = run(*push)
    assert refused.returncode == 3 and ident(folder) in refused.stderr and "flash --device-key" in refused.stderr
    done = put(board, folder, "other", "fleet")
    assert done.returncode == 0, done.stderr
    assert f"{ident(folder, 'fleet')}: the board holds it now" in done.stdout
    assert held(board) == [ident(folder, "other"), ident(folder, "fleet")]
    pushed = run(*push)
    assert pushed.returncode == 0, pushed.stderr
    assert "armed" in pushed.stdout
    silent(folder, pushed.stdout + pushed.stderr)
    board.wait("reset", image="ota_1")


@pytest.mark.parametrize("tool", ["mpremote", "ampy"])
def test_device_keys_are_kept_until_they_are_replaced(board, folder, tool):
    more = ("--tool", tool, "--json")
    said = json.loads(put(board, folder, "lamp", "lamp", "fleet", more=more).stdout)["device_keys"]
    assert said == {ident(folder): "new", ident(folder, "fleet"): "new"}
    said = json.loads(put(board, folder, "other", "fleet", "four", more=more).stdout)["device_keys"]
    assert said == {ident(folder, "other"): "new", ident(folder, "fleet"): "same", ident(folder, "four"): "new"}
    four = [ident(folder, name) for name in ("lamp", "fleet", "other", "four")]
    assert held(board) == four
    full = put(board, folder, "five", "lamp", more=("--tool", tool, "--force"))
    assert full.returncode == 3 and "holds four device keys" in full.stderr and held(board) == four
    assert put(board, folder, "five", "six", more=(*more, "--replace-device-keys")).returncode == 0
    assert held(board) == [ident(folder, "five"), ident(folder, "six")]


def test_a_dry_run_and_a_replacement_by_nothing_leave_the_keys_alone(board, folder):
    assert put(board, folder, "lamp", more=("--dry-run",)).returncode == 0
    assert held(board) == []
    assert put(board, folder, "lamp").returncode == 0
    assert put(board, folder, more=("--replace-device-keys",)).returncode == 2
    assert held(board) == [ident(folder)]
    said = put(board, folder, "lamp").stdout
    assert "held it already" in said


def test_the_key_is_in_no_file_of_the_board_and_in_no_package(board, folder):
    assert put(board, folder, "lamp", "fleet").returncode == 0
    code = """
import os
def walk(folder):
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind & 0x4000:
            yield from walk(path)
        else:
            yield path
for path in walk(""):
    with open(path, "rb") as f:
        print(path, f.read().hex())
"""
    with open_board(board.port) as line:
        text = line.run(code).decode()
    assert "/boot.py" in text
    package = (folder / "one.mpota").read_bytes().hex()
    for name in ("lamp", "fleet"):
        assert secret(folder, name).hex() not in text + package
        assert secret(folder, name)[:16].hex() not in text + package


def test_compressing_comes_before_encrypting_and_the_header_counts_its_recipients(folder):
    data = (folder / "one.mpota").read_bytes()
    assert data[66] == 2 and int.from_bytes(data[6:8], "little") == 52 + 134 + 2 * 48
    assert len(data) < 0.7 * len(BODY)
