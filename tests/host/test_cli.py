"""The command line: what it prints, its `--json`, and one sentence with a stable exit status for every mistake."""

import ast
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cryptography.hazmat.primitives import serialization

from mpota.layout.esp32 import otadata, table
from mpota_boot import errors
from mpota_host.chips.esp32.sim.tables import TABLES
from mpota_host.command import cli, show
from mpota_host.package import keys, rom
from mpota_host.package import read as inspect
from mpota_host.package.report import Table
from mpota_host.sim.board import VirtualBoard, create, mpota_files
from mpota_host.sources import CHECKOUT as ROOT
from tests.chips.esp32 import image_maker
from tests.host.command import call

COMMANDS = (
    "keygen keys pack inspect verify serve push status confirm rollback board sample cut flash mip completion".split()
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two keys, an image, and a signed package of it."""
    path = tmp_path_factory.mktemp("cli")
    for name in ("release", "other"):
        keys.generate(path / f"{name}.pem")
    (path / "app.bin").write_bytes(image_maker.image(body=bytes(range(256)) * 300))
    assert call("pack", path / "app.bin", *LAMP, "--key", path / "release.pem", "-o", path / "lamp.mpota") == 0
    return path


LAMP = ("--product", "lamp", "--version", "1.2.3")


def said(capsys, *args):
    """(status, standard output, standard error) of a command."""
    capsys.readouterr()
    status = call(*args)
    return (status, *capsys.readouterr())


def refusal(capsys, status, words, *args):
    """The command must fail with `status` and one sentence that has `words`."""
    seen, _, err = said(capsys, *args)
    assert seen == status, err
    assert words in err and err.startswith("mpota: ") and err.count("\n") == 1, err


def test_help_needs_nothing_and_names_every_command():
    command = [sys.executable, "-m", "mpota_host", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    listed = done.stdout.partition("Commands:\n")[2].partition("\nVendors")[0]
    assert [line.split()[0] for line in listed.splitlines() if line[2:3].strip()] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(capsys, name):
    status, out, _ = said(capsys, name, "--help")
    assert status == 0 and "Usage: mpota" in out and len(out.splitlines()) > 3


def test_keygen_makes_a_pair_and_overwrites_none(capsys, tmp_path):
    path = tmp_path / "k.pem"
    status, out, _ = said(capsys, "keygen", path, "--json")
    assert status == 0
    facts = json.loads(out)
    assert len(facts["id"]) == 16 and Path(facts["public"]).stat().st_size == 384
    assert path.stat().st_mode & 0o77 == 0
    before = path.read_bytes()
    refusal(capsys, 3, "not overwritten", "keygen", path)
    assert path.read_bytes() == before


def test_pack_says_what_it_made(capsys, folder, tmp_path):
    out_file = tmp_path / "p.mpota"
    args = ("pack", folder / "app.bin", *LAMP, "--key", folder / "release.pem", "-o", out_file)
    status, out, _ = said(capsys, *args, "--json")
    facts = json.loads(out)
    assert status == 0 and facts["size"] == out_file.stat().st_size and facts["version"] == "1.2.3"
    assert out_file.read_bytes() == (folder / "lamp.mpota").read_bytes()
    assert "signed by key" in said(capsys, *args)[1]


@pytest.mark.parametrize(
    "content,words",
    [
        (b"", "empty"),
        (b"<html><body>log in</body></html>" * 40, "web page"),
        (b"just some text\n" * 40, "text file"),
        (b"\xe9\x01" + b"\x07" * 400, "bootloader"),
    ],
)
def test_pack_refuses_what_is_no_firmware(capsys, folder, tmp_path, content, words):
    (tmp_path / "bad.bin").write_bytes(content)
    args = ("pack", tmp_path / "bad.bin", *LAMP, "--key", folder / "release.pem", "-o", tmp_path / "x.mpota")
    refusal(capsys, 3, words, *args)
    assert not (tmp_path / "x.mpota").exists()


def test_mistakes_are_one_sentence_and_have_their_status(capsys, folder, tmp_path):
    app, pem = folder / "app.bin", folder / "release.pem"
    refusal(capsys, 3, "is no unencrypted private key", "pack", app, *LAMP, "--key", app)
    refusal(capsys, 3, "wanted 1.2.3", "pack", app, "--product", "lamp", "--version", "one", "--key", pem)
    refusal(capsys, 3, "no package", "serve", tmp_path)
    refusal(capsys, 4, "no MicroPython prompt", "status", "--port", "/dev/null")
    refusal(capsys, 1, "File exists", "pack", app, *LAMP, "--key", pem, "-o", app / "x.mpota")
    assert said(capsys, "pack", app, *LAMP)[0] == 2
    assert said(capsys, "inspect", tmp_path / "missing")[0] == 2
    assert said(capsys, "no-such-command")[0] == 2


@pytest.mark.parametrize("command", ["flash", "pack", "board"])
def test_unknown_layout_is_refused_before_anything_happens(capsys, folder, command):
    more = {"flash": ("--port", "/dev/null"), "pack": (folder / "app.bin", *LAMP, "--unsigned"), "board": ()}
    status, out, err = said(capsys, command, *more[command], "--layout", "foo")
    assert status == 2 and "'foo' is not" in err and out == ""


def test_bad_port_of_serve_is_a_sentence(capsys, folder):
    status, _, err = said(capsys, "serve", folder, "--port", "99999")
    assert status == 2 and "99999 is not in the range" in err


def test_board_refuses_a_file_that_is_no_flash(capsys, folder, tmp_path):
    (tmp_path / "notes.md").write_text("h\u00e9llo\n" * 200)
    refusal(capsys, 3, "not the whole flash", "board", "--flash", tmp_path / "notes.md")
    refusal(capsys, 3, "not the whole flash", "board", "--flash", folder / "app.bin")


def test_ascii_output_is_no_traceback(folder, tmp_path):
    odd = tmp_path / "\u00fc.bin"
    odd.write_bytes((folder / "app.bin").read_bytes())
    pack = ["pack", str(odd), *LAMP, "--key", str(folder / "release.pem"), "-o", str(tmp_path / "\u00fc.mpota")]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "mpota_host", *pack], cwd=ROOT, env=env, capture_output=True, timeout=60
    )
    assert done.returncode == 0 and b"?.mpota" in done.stdout, done.stderr


def test_ctrl_c_is_one_sentence_and_130(capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("mpota_host.board.status.ask_status", stop)
    status, _, err = said(capsys, "status", "--port", "x")
    assert status == 130 and "Ctrl-C" in err and "goes on" not in err
    monkeypatch.setattr("mpota_host.package.read.read_package", stop)
    status, _, err = said(capsys, "push", Path(__file__).parent.parent / "vectors/mpota/raw.mpota", "--port", "x")
    assert status == 130 and "goes on from there" in err


def test_inspect_explains_a_package(capsys, folder):
    status, out, _ = said(capsys, "inspect", folder / "lamp.mpota", "--json")
    facts = json.loads(out)
    assert status == 0 and facts["kind"] == "package" and facts["product"] == "lamp"
    assert facts["key"] == keys.key_id(keys.load_public(folder / "release.pub")).hex()
    assert facts["components"][0]["size"] == (folder / "app.bin").stat().st_size
    assert "lamp 1.2.3 for esp32" in said(capsys, "inspect", folder / "lamp.mpota")[1]


def test_inspect_sees_a_package_that_was_cut_off(capsys, folder, tmp_path):
    cut = tmp_path / "cut.mpota"
    cut.write_bytes((folder / "lamp.mpota").read_bytes()[:-7])
    status, out, _ = said(capsys, "inspect", cut)
    assert status == 5 and "last 7 bytes are missing" in out
    cut.write_bytes((folder / "lamp.mpota").read_bytes()[:50])
    assert "broken mpota package" in said(capsys, "inspect", cut)[1]


def test_inspect_knows_every_kind_of_esp32_file(capsys, tmp_path):
    path = tmp_path / "file"

    def kind(data):
        path.write_bytes(data)
        status, out, _ = said(capsys, "inspect", path, "--json")
        assert status == 0
        return json.loads(out)

    size, rows = TABLES["4MiB-ota"]
    image = image_maker.image()
    assert kind(image)["kind"] == "application"
    assert kind(table.encode(rows))["slots"] == 2
    entry = otadata.encode(otadata.Entry(1, otadata.VALID))
    ota = entry.ljust(otadata.SECTOR, b"\xff") + b"\xff" * otadata.SECTOR
    assert kind(ota)["otadata"] == [{"seq": 1, "slot": 0, "state": "valid", "crc": "good"}, None]
    assert kind(b"\xff" * (2 * otadata.SECTOR))["active"] is None
    chip = bytearray(b"\xff" * size)
    for off, data in ((table.OFFSET, table.encode(rows)), (0xD000, ota), (0x10000, image)):
        chip[off : off + len(data)] = data
    whole = kind(bytes(chip))
    assert whole["kind"] == "flash dump" and whole["active"] == 0
    assert [i["label"] for i in whole["images"]] == ["ota_0"]
    assert kind(bytes(chip[0x1000 : 0x10000 + len(image)]))["kind"] == "merged image"


def test_inspect_finds_the_application_of_the_real_merged_firmware():
    report = inspect.explain(image_maker.firmware("0831"))
    assert report.ok and report.kind == "merged image"
    assert [(i["label"], i["bytes"], i["idf"]) for i in report.facts["images"]] == [("factory", 1495344, "v4.2")]


def test_inspect_of_something_else_says_so(capsys, tmp_path):
    (tmp_path / "x").write_bytes(b"PK\x03\x04")
    refusal(capsys, 3, "no kind of file that mpota knows", "inspect", tmp_path / "x")


def test_verify_takes_what_a_board_takes(capsys, folder):
    status, out, _ = said(capsys, "verify", folder / "lamp.mpota", "--key", folder / "release.pub", "--product", "lamp")
    assert status == 0 and "a board that trusts this key takes it" in out and "the bootloader takes it" in out


def test_verify_refuses_what_a_board_refuses(capsys, folder, tmp_path):
    good = (folder / "lamp.mpota").read_bytes()
    pub = folder / "release.pub"
    path = tmp_path / "bad.mpota"

    def code(data, *more, key=pub):
        path.write_bytes(data)
        status, out, _ = said(capsys, "verify", path, "--key", key, "--json", *more)
        return status, json.loads(out)["code"]

    def flip(at):
        return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]

    header = inspect.read_package(good).end
    assert code(good, key=folder / "other.pub") == (3, "key")
    assert code(good, "--product", "pump") == (3, "product")
    assert code(flip(40)) == (3, "signature")
    assert code(flip(header - 1)) == (3, "signature")
    assert code(flip(header + 99)) == (5, "chunk")
    assert code(flip(len(good) - 1)) == (5, "chunk")
    assert code(good[:-1]) == (5, "short")
    assert code(good + b"x") == (5, "extra")
    assert "a board says" not in said(capsys, "verify", path, "--key", pub)[1]


def test_what_is_no_package_is_named_and_refused(capsys, folder, tmp_path):
    path = tmp_path / "file"
    named = [
        (b"", "an empty file"),
        (b"<html>log in</html>", "a web page"),
        (b"hello\n" * 40, "a text file"),
        ((folder / "release.pem").read_bytes(), "in PEM"),
        ((folder / "release.pub").read_bytes(), "a public key"),
        (image_maker.image(), "an application: `pack` it first"),
        (b"PK\x03\x04", "no package of mpota's"),
    ]
    for content, words in named:
        path.write_bytes(content)
        refusal(capsys, 3, words, "verify", path, "--key", folder / "release.pub")
        refusal(capsys, 3, words, "push", path, "--port", "/dev/null")
        if b"\xe9" != content[:1] != b"P":
            refusal(capsys, 3, words, "inspect", path)


def test_push_of_a_cut_off_package_is_refused_before_it_is_sent(capsys, folder, tmp_path):
    path = tmp_path / "cut.mpota"
    for n, words in ((-7, "last 7 bytes are missing"), (300, "inside its header")):
        path.write_bytes((folder / "lamp.mpota").read_bytes()[:n])
        refusal(capsys, 5, words, "push", path, "--port", "/dev/null")


def test_a_push_that_goes_on_says_where(capsys):
    with show.progress("push", 100_000, 16384) as step:
        assert not step.began
        step(49152, 100_000)
        step(65536, 100_000)
    assert capsys.readouterr().err == "goes on at 32,768 of 100,000 bytes\n"
    with show.progress("push", 100_000, 16384) as step:
        step(16384, 100_000)
    assert capsys.readouterr().err == ""


def test_a_piped_table_is_not_cut(capsys):
    show.table(Table("", ("check", "result"), [("x" * 90, "y" * 90)]))
    out = capsys.readouterr().out
    assert "x" * 90 in out and "y" * 90 in out and "\u2026" not in out


def test_a_room_that_not_every_board_has_is_noted(capsys, folder, tmp_path):
    out_file = tmp_path / "big.mpota"
    args = ("pack", folder / "app.bin", *LAMP, "--key", folder / "release.pem", "-o", out_file, "--room")
    assert "a board takes 4 KiB unless" in said(capsys, *args, "16")[2]
    assert "a board takes 4 KiB unless" in said(capsys, "verify", out_file, "--key", folder / "release.pub")[2]
    assert "KiB unless" not in said(capsys, *args, "4")[2]
    status, _, err = said(capsys, *args, "5")
    assert status == 2 and "'5' is not one of" in err


def test_wrong_key_is_one_plain_sentence(capsys, folder, tmp_path):
    pack = ("pack", folder / "app.bin", *LAMP, "--key")
    refusal(capsys, 3, "is a public key, the private one signs", *pack, folder / "release.pub")
    locked, cut = tmp_path / "locked.pem", tmp_path / "cut.pem"
    key = keys.load_private(folder / "release.pem")
    secret = serialization.BestAvailableEncryption(b"secret")
    pem = serialization.Encoding.PEM
    locked.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
    refusal(capsys, 3, "has a passphrase", *pack, locked)
    cut.write_bytes((folder / "release.pem").read_bytes()[:200])
    refusal(capsys, 3, "is a damaged private key", *pack, cut)
    refusal(capsys, 3, "is no key", "verify", folder / "lamp.mpota", "--key", folder / "app.bin")


def test_exit_statuses_are_stable_and_every_class_has_one():
    assert {c.__name__: n for c, n in cli.EXIT.items()} == {
        **{"Refused": 3, "LinkError": 4, "Corrupt": 5, "FlashError": 6, "NotNow": 7, "UpToDate": 0}
    }
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.OtaError)]
    assert {c for c in classes if c is not errors.OtaError} == set(cli.EXIT)


def test_a_boards_report_has_the_status_of_the_class_that_the_device_raises():
    found = {}
    for path in (ROOT / "device").rglob("*.py"):
        if "loader" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
                found.setdefault(call.args[0].value, set()).add(getattr(call.func, "id", ""))
            # Connection.end(code, words) raises a LinkError.
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "end" and len(node.args) == 2:
                if isinstance(node.args[0], ast.Constant):
                    found.setdefault(node.args[0].value, set()).add("LinkError")
    assert len(found) >= 20 and found["portal"] == {"LinkError"}
    for code, classes in found.items():
        known = {getattr(errors, name) for name in classes if hasattr(errors, name)}
        if not known:
            continue
        statuses = {cli.EXIT[c] for c in known}
        assert cli.status_of(code) in statuses, f"{code} is raised as {classes}, its status is {cli.status_of(code)}"


def test_a_rom_is_never_written():
    with pytest.raises(errors.FlashError):
        rom.Rom(b"x").erase(0, 4096)


def test_push_status_confirm_and_rollback_on_a_board(capsys, folder, tmp_path):
    trusted = {"release": keys.load_public(folder / "release.pub")}
    flash = create(tmp_path / "board.bin", image_maker.image(), files=mpota_files({"product": "lamp"}, trusted))
    with VirtualBoard(flash) as board:
        port = ("--port", board.port)

        def status():
            return json.loads(said(capsys, "status", *port, "--json")[1])

        assert status()["running"] == "ota_0"
        code, out, err = said(capsys, "push", folder / "lamp.mpota", *port)
        assert code == 0 and "armed" in out and "restarts now" in err and "goes on" not in err
        board.wait("reset", image="ota_1")
        seen = status()
        assert seen["running"] == "ota_1" and seen["trial"]["version"] == "1.2.3"
        assert said(capsys, "push", folder / "lamp.mpota", *port)[0] == cli.EXIT[errors.NotNow]
        assert "confirmed" in said(capsys, "confirm", *port)[1]
        seen = status()
        assert seen["version"] == "1.2.3" and seen["trial"] is None and seen["floor"] == "1.2.3"
        assert said(capsys, "rollback", *port)[0] == 0
        board.wait("reset", image="ota_0")
        seen = status()
        assert seen["running"] == "ota_0" and seen["failed"] == {"version": "1.2.3", "reason": "rolled back by hand"}


def test_of_several_files_a_board_gets_the_smallest_that_fits(capsys, folder, tmp_path):
    (tmp_path / "old.bin").write_bytes(image_maker.image(body=bytes(range(256)) * 299))
    pack = ("pack", folder / "app.bin", *LAMP, "--key", folder / "release.pem", "-o", tmp_path / "p.mpota")
    assert call(*pack, "--base", tmp_path / "old.bin") == 0
    files = sorted(tmp_path.glob("*.mpota"))
    assert len(files) == 2
    trusted = {"release": keys.load_public(folder / "release.pub")}
    # It runs something else than the delta stands on.
    flash = create(tmp_path / "board.bin", image_maker.image(), files=mpota_files({"product": "lamp"}, trusted))
    with VirtualBoard(flash) as board:
        code, out, err = said(capsys, "push", *files, "--port", board.port, "--json")
        assert code == 0, err
        facts = json.loads(out)
        assert facts["code"] == "armed" and facts["file"] == str(tmp_path / "p.mpota")
        assert err.count("the board does not take") == 1 and "a delta to another firmware" in err
        board.wait("reset", image="ota_1")
        facts = json.loads(said(capsys, "status", "--port", board.port, "--json")[1])
        assert {"inflate", "decrypt", "delta", "xtensa"} == set(facts["stages"])


@pytest.mark.parametrize("tool", ["mpremote", "ampy"])
def test_board_that_a_killed_push_left_behind_answers_status(capsys, folder, tmp_path, tool):
    trusted = {"release": keys.load_public(folder / "release.pub")}
    flash = create(tmp_path / "board.bin", image_maker.image(), files=mpota_files({"product": "lamp"}, trusted))
    with VirtualBoard(flash) as board:
        argv = [sys.executable, "-c", HELD, board.port, str(folder / "lamp.mpota")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as host:
            assert host.stdout.readline() == b"offered\n"
            host.kill()
        status, out, err = said(capsys, "status", "--port", board.port, "--tool", tool, "--json")
        assert status == 0, err
        assert json.loads(out)["running"] == "ota_0"


# A host that answers the board's first question and then nothing more, until it is killed.
HELD = """
import sys, time
import mpota_host
from mpota_host.command import cli
from mpota_host.board import push as serial
class Held(serial.Sender):
    def _on_pull(self, run, off, payload):
        print("offered", flush=True)
        time.sleep(60)
serial.push(sys.argv[1], Held(open(sys.argv[2], "rb").read()), 115200, cli.PUSH)
"""


def test_pack_makes_the_folder_of_its_package_and_says_what_boards_cannot_run(capsys, folder, tmp_path):
    app = tmp_path / "lamp"
    app.mkdir()
    (app / "other.py").write_bytes(b"x = 1\n")
    out = tmp_path / "new/shelf/1.mpota"
    words = ("pack", "--app", app, "--unsigned", *LAMP, "-o", out)
    status, text, noted = said(capsys, *words)
    assert status == 0 and out.exists() and "no app.py" in noted and "bytes, for the " in text
    (app / "app.py").write_bytes(b"def step(): pass\n")
    assert "no app.py" not in said(capsys, *words)[2]


def test_serve_says_what_to_do_about_a_port_that_is_taken(capsys, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = ("--host", "127.0.0.1", "--port", taken.getsockname()[1])
        refusal(capsys, 1, "another --port", "serve", folder, *where)


def test_a_wifi_password_comes_from_standard_input_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame\n"))
    assert cli.password() == "open sesame"
    with pytest.raises(click.UsageError, match="standard input"):
        cli.password("shed")


def test_the_list_of_commands_has_no_cut_off_line(capsys):
    assert "..." not in said(capsys, "--help")[1].partition("Commands:")[2]
