"""The command line: what it prints, its `--json`, and one sentence with a stable exit status for every mistake."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from device import errors
from device.layout.esp32 import otadata, table
from host import cli, inspect, keys, rom
from host.flash import LEFT_OFF, ROOT
from host.sim.board import VirtualBoard, create, mpota_files
from host.sim.tables import TABLES
from tests import image_maker

COMMANDS = "keygen pack inspect verify serve push status confirm rollback board cut flash".split()


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


def call(*args):
    """The exit status of a command, run here."""
    try:
        cli.main([str(a) for a in args])
    except SystemExit as e:
        return e.code or 0
    return 0


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
    command = [sys.executable, "-m", "host", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.partition("Commands:\n")[2].splitlines() if line[2:3].strip()]
    assert names == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(capsys, name):
    status, out, _ = said(capsys, name, "--help")
    assert status == 0 and "Usage: python -m host" in out and len(out.splitlines()) > 3


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
    refusal(capsys, 1, "No such file", "pack", app, *LAMP, "--key", pem, "-o", tmp_path / "none" / "x.mpota")
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


def test_ctrl_c_is_one_sentence_and_130(capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("host.status.ask_status", stop)
    status, _, err = said(capsys, "status", "--port", "x")
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
    assert kind(b"\xff" * otadata.AREA)["active"] is None
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
        assert status == 3
        return json.loads(out)["code"]

    def flip(at):
        return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]

    header = inspect.read_package(good).end
    assert code(good, key=folder / "other.pub") == "key"
    assert code(good, "--product", "pump") == "product"
    assert code(flip(40)) == "signature"
    assert code(flip(header - 1)) == "signature"
    assert code(flip(header + 99)) == "chunk"
    assert code(flip(len(good) - 1)) == "chunk"
    assert code(good[:-1]) == "short"
    assert code(good + b"x") == "format"


def test_exit_statuses_are_stable_and_every_class_has_one():
    assert {c.__name__: n for c, n in cli.EXIT.items()} == {
        **{"Refused": 3, "LinkError": 4, "Corrupt": 5, "FlashError": 6, "NotNow": 7, "UpToDate": 0}
    }
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.OtaError)]
    assert {c for c in classes if c is not errors.OtaError} == set(cli.EXIT)


def test_a_boards_report_has_the_status_of_the_class_that_the_device_raises():
    found = {}
    for path in (ROOT / "device").rglob("*.py"):
        if path.stem in LEFT_OFF:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
                found.setdefault(call.args[0].value, set()).add(getattr(call.func, "id", ""))
    assert len(found) >= 20
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
        assert code == 0 and "armed" in out and "restarts now" in err
        board.wait("reset")
        seen = status()
        assert seen["running"] == "ota_1" and seen["trial"]["version"] == "1.2.3"
        assert said(capsys, "push", folder / "lamp.mpota", *port)[0] == cli.EXIT[errors.NotNow]
        assert "confirmed" in said(capsys, "confirm", *port)[1]
        seen = status()
        assert seen["version"] == "1.2.3" and seen["trial"] is None and seen["floor"] == "1.2.3"
        assert said(capsys, "rollback", *port)[0] == 0
        board.wait("reset")
        seen = status()
        assert seen["running"] == "ota_0" and seen["failed"] == {"version": "1.2.3", "reason": "rolled back by hand"}
