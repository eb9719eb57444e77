"""The groups of the command line: vendors' own commands by the chip's name, and the sentence for whoever types them
where they are not."""

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import click
import pytest

from mpota.layout.bk7238 import rbl
from mpota_host.chips.bk7238 import packer
from mpota_host.chips.pic32 import hexfile
from mpota_host.chips.pic32.binfile import LAYOUTS, binary
from mpota_host.chips.sifli import workshop
from mpota_host.command import cli, groups
from mpota_host.registry import having
from mpota_host.sources import DEVICE, HOST
from tests.host.command import call

CHIPS = having("commands")
COMMANDS = [(chip, name) for chip in CHIPS for name in groups.vendor(chip).commands]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an input for every command: app.bin, lamp.hex, a boot.hex, keys, an RBL, an upgrade, a store."""
    folder = tmp_path_factory.mktemp("groups")
    (folder / "app.bin").write_bytes(workshop.program(20_000, 1))
    start, _ = LAYOUTS["3.7"]
    from intelhex import IntelHex

    code = binary(bytes(range(256)) * 40, 0xB0021000)
    for name, at, data in (
        ("lamp", start, code),
        ("boot", 0x10000000, b"x" * 900),
    ):
        made = IntelHex()
        made.puts(at, data.decode("latin1"))
        (folder / f"{name}.hex").write_bytes(hexfile.text(made))
    workshop.keys(folder)
    options = packer.Options("1.0.1", "app", "lzma", "aes", rbl.KEY.decode(), rbl.IV.decode())
    app = bytearray((folder / "app.bin").read_bytes())
    app[32:36] = (0x10000).to_bytes(4, "little")
    (folder / "plug.bin").write_bytes(app)
    (folder / "ota.rbl").write_bytes(packer.pack(bytes(app), options))
    (folder / "store").mkdir()
    (folder / "store" / "factory_reset.bin").write_bytes(b"cut")
    (folder / "lamp").mkdir()
    (folder / "lamp" / "app.py").write_text("def step():\n    pass\n")
    with chdir(folder):
        for words in (
            ["keygen", "release.pem"],
            ["pack", "--app", "lamp", "--layout", "files", *NAMED, "-o", "lamp.mpota"],
            ["sifli", "pack", "app.bin", "16", "0", *KEYS, "-o", "up"],
        ):
            assert call(*words) == 0
    return folder


NAMED = ("--product", "lamp", "--version", "1.0.0", "--key", "release.pem")
KEYS = ("--key", workshop.ROOT_KEY, "--sigkey", workshop.SIGNING_KEY)


def python(folder, code, *words, env=None):
    """A process in a folder, which finds mpota and no test."""
    path = os.pathsep.join(map(str, (HOST, DEVICE)))
    whole = {**os.environ, "PYTHONPATH": path, "COLUMNS": "80", **(env or {})}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, env=whole, capture_output=True, text=True, timeout=60
    )


def process(folder, *words):
    """The real command."""
    return python(folder, "from mpota_host.__main__ import main; main()", *words)


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["bk7238", "pack", "-f", "plug.bin", "-v", "1.0.1", "-c", "lzma", "-s", "aes", "-o", "x.rbl"], ["x.rbl"]),
        (["bk7238", "verify", "ota.rbl"], []),
        (["pic32", "pack", "lamp.hex", "-o", "one"], ["one/lamp.bin"]),
        (["pic32", "pack", "lamp.hex", "--bootloader", "boot.hex", "-o", "two"], ["two/factory_reset.bin"]),
        (["sifli", "pack", "app.bin", "16", "0", *KEYS, "-o", "three"], ["three/ctrl_packet.bin"]),
        (["pack", "ota.rbl", "--layout", "bk7238", *NAMED, "-o", "four.mpota"], ["four.mpota"]),
        (["pack", "lamp.hex", "--layout", "pic32", *NAMED, "-o", "five.mpota"], ["five.mpota"]),
    ],
)
def test_a_group_makes_the_vendors_formats_and_pack_makes_packages(place, words, made):
    with chdir(place):
        assert call(*words) == 0
        for name in made:
            assert Path(name).stat().st_size
            assert call("inspect", name) == 0


def found(words):
    """The command that would run."""
    first = cli.cli.get_command(click.Context(cli.cli), words[0])
    return first.commands[words[1]] if isinstance(first, click.Group) else first


# What is typed, and the command that the error names; "" where it names none.
WRONG = [
    ("pack --layout bk7238 -f plug.bin -v 1.0.1 -o x", "mpota bk7238 pack -f plug.bin -v 1.0.1 -o x"),
    ("pack --layout=bk7238 -fplug.bin -v 1", "mpota bk7238 pack -fplug.bin -v 1"),
    ("pack -f plug.bin -v 1.0.1 -p app", "mpota bk7238 pack -f plug.bin -v 1.0.1 -p app"),
    ("pack bk7238 -f plug.bin -v 1", "mpota bk7238 pack -f plug.bin -v 1"),
    ("pack --file plug.bin", "mpota bk7238 pack --file plug.bin"),
    ("verify --layout bk7238 ota.rbl", "mpota bk7238 verify ota.rbl"),
    ("verify ota.rbl", "mpota bk7238 verify ota.rbl"),
    ("verify ota.rbl --product plug", "mpota bk7238 verify ota.rbl"),
    ("verify ota.rbl -k KEY -i IV", "mpota bk7238 verify ota.rbl -k KEY -i IV"),
    ("pack --layout pic32 lamp.hex --bootloader boot.hex", "mpota pic32 pack lamp.hex --bootloader boot.hex"),
    ("pack --layout pic32 lamp.hex --version 2 --url http://h", "mpota pic32 pack lamp.hex --version 2 --url http://h"),
    ("pack --layout pic32 lamp.hex", "mpota pic32 pack lamp.hex"),
    ("pack --layout pic32", "mpota pic32 pack"),
    ("pack lamp.hex", "mpota pic32 pack lamp.hex"),
    ("pack lamp.hex --release 3.6.1", "mpota pic32 pack lamp.hex --release 3.6.1"),
    ("pack app.bin 16 0", "mpota sifli pack app.bin 16 0"),
    ("pack --layout sifli app.bin 16 0 res.bin 0 3", "mpota sifli pack app.bin 16 0 res.bin 0 3"),
    ("pack app.bin --sigkey s.pem --key k", "mpota sifli pack app.bin --sigkey s.pem --key k"),
    ("push up", "mpota sifli push up"),
    ("push up --port /dev/null", "mpota sifli push up --port /dev/null"),
    ("push --layout sifli up --port /dev/null --older", "mpota sifli push up --port /dev/null --older"),
    ("push --ble watch up", "mpota sifli push --ble watch up"),
    ("inspect --layout pic32 store", "mpota inspect store"),
    ("push --layout files lamp.mpota --port /dev/null", "mpota push lamp.mpota --port /dev/null"),
    ("bk7238 pack --layout bk7238 -f plug.bin -v 1", "mpota bk7238 pack -f plug.bin -v 1"),
    (
        "bk7238 pack ota.rbl --product plug --key release.pem",
        "mpota pack ota.rbl --product plug --key release.pem --layout bk7238",
    ),
    ("pic32 pack lamp.hex --unsigned", "mpota pack lamp.hex --unsigned --layout pic32"),
    ("bk7238 push lamp.mpota --port /dev/null", "mpota push lamp.mpota --port /dev/null"),
    ("bk7238 inspect ota.rbl", "mpota inspect ota.rbl"),
    ("files pack --app lamp", "mpota pack --app lamp --layout files"),
    # What is wrong in a command for mpota's packages, and no vendor's.
    ("pack --prodct x lamp.hex", ""),
    ("pack ota.rbl --layout bk7238 --product plug", ""),
    ("pack ota.rbl --layout bk7238 --prodct plug", ""),
    ("pack nosuch.bin", ""),
    ("pack lamp", ""),
    ("pack --app lamp", ""),
    ("pack -f x --layout esp32", ""),
    ("push lamp.mpota", ""),
    ("push nosuch --port x", ""),
    ("verify lamp.mpota", ""),
    ("verify store", ""),
    ("bk7238 nosuch", ""),
    ("nosuch", ""),
]


@pytest.mark.parametrize(("typed", "right"), WRONG, ids=[typed for typed, _ in WRONG])
def test_a_command_typed_at_the_wrong_place_is_a_usage_error_that_says_the_right_one(
    place, monkeypatch, capsys, typed, right
):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert call(*typed.split()) == 2
    err = capsys.readouterr().err
    line = err.splitlines()[-1]
    assert line.startswith("Error: ") and sorted(place.rglob("*")) == before
    if right:
        assert line.endswith(f": {right}"), line
    else:
        assert "mpota " not in line, line


@pytest.mark.parametrize(("typed", "right"), [one for one in WRONG if one[1] and " up" not in one[1]])
def test_the_command_that_an_error_says_is_one_that_can_be_typed(typed, right):
    """The words behind its name are those that were typed, and its options are all its own."""
    words = right.split()[1:]
    assert groups._given(words) <= groups._options(found(words))


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("verify ota.rbl --key release.pub", "mpota bk7238 verify ota.rbl"),
        ("push up/ctrl_packet.bin --port /dev/null", "mpota sifli push up/ctrl_packet.bin"),
        ("bk7238 verify lamp.mpota", "mpota verify lamp.mpota --key FILE"),
        ("sifli push lamp.mpota --port /dev/null", "mpota push lamp.mpota --port PORT"),
        ("verify lamp.hex --key release.pub", ""),
        ("inspect lamp", ""),
    ],
)
def test_a_file_of_the_other_kind_is_refused_with_the_command_for_it(place, monkeypatch, capsys, typed, right):
    monkeypatch.chdir(place)
    assert call(*typed.split()) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(right) if right else "mpota bk7238" not in line and "mpota sifli" not in line


def test_the_help_lists_the_groups_in_a_section_of_their_own_with_a_line_each(tmp_path):
    done = process(tmp_path, "--help")
    first, second = done.stdout.split("\nVendors' own formats:\n")
    names = [line.split()[0] for line in second.splitlines()]
    assert names == CHIPS and len(names) >= 3, "one line each"
    assert "\nCommands:\n" in first and not any(f"\n  {chip} " in first for chip in CHIPS)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_help_of_a_group_has_its_commands_and_examples_that_can_be_typed(capsys, chip):
    assert call(chip, "--help") == 0
    said = capsys.readouterr().out
    commands = groups.vendor(chip).commands
    assert all(f"\n  {name}" in said for name in commands)
    shown = [line.split()[1:] for line in said.splitlines() if line.startswith("  mpota ")]
    assert {tuple(words[:2]) for words in shown} >= {(chip, name) for name in commands}
    for words in shown:
        assert groups._given(words) <= groups._options(found(words)), words
    assert call(chip, "-h") == 0 and capsys.readouterr().out == said
    assert call(chip) == 2


@pytest.mark.parametrize(("chip", "name"), COMMANDS)
def test_a_vendors_command_has_its_help_and_json(capsys, chip, name):
    command = groups.vendor(chip).commands[name]
    assert isinstance(command, groups.Theirs) and command.short_help
    assert "--json" in groups._options(command)
    assert call(chip, name, "--help") == 0
    assert f"mpota {chip} {name}" in capsys.readouterr().out


def test_json_and_the_exit_statuses_are_those_of_every_command(place):
    assert json.loads(process(place, "bk7238", "verify", "ota.rbl", "--json").stdout)["ok"]
    assert process(place, "bk7238", "verify", "ota.rbl", "-i", "F" * 16).returncode == 5
    assert process(place, "bk7238", "verify", "ota.rbl", "-i", "F").returncode == 3
    done = process(place, "sifli", "push", "store", "--port", "nosuch", "--json")
    assert done.returncode == 3 and done.stderr.startswith("mpota: store has no ctrl_packet.bin: `mpota sifli pack")
    (place / "file").write_text("")
    done = process(place, "pic32", "pack", "lamp.hex", "-o", "file/below")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "kept"), [(["sifli", "push", "up", "--port", "x"], True), (["bk7238", "verify", "ota.rbl"], False)]
)
def test_ctrl_c_in_a_group_is_said_as_in_every_command(place, monkeypatch, capsys, words, kept):
    monkeypatch.chdir(place)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mpota_host.chips.sifli.phone.play.push", stop)
    monkeypatch.setattr("mpota_host.chips.bk7238.verdict.judge", stop)
    assert call(*words) == 130
    err = capsys.readouterr().err
    assert "stopped by Ctrl-C" in err and ("goes on from there" in err) == kept


def test_a_package_that_is_missing_is_one_sentence_in_a_group_too(place):
    code = "import sys; sys.modules['intelhex'] = None; from mpota_host.__main__ import main; main()"
    done = python(place, code, "pic32", "pack", "lamp.hex", "-o", "six")
    assert done.returncode == 1 and done.stderr.startswith("mpota: intelhex is not installed"), done
    assert not (place / "six").exists()


def test_the_help_and_the_groups_need_nothing_but_the_core(place):
    """What a chip's commands need they import when they run."""
    asked = [["--help"], *([chip, "--help"] for chip in CHIPS), *([*one, "--help"] for one in COMMANDS)]
    code = f"""
import sys
for name in ("intelhex", "cryptography", "serial", "bleak"):
    sys.modules[name] = None
from mpota_host.command.cli import cli
for words in {asked}:
    cli(words, prog_name="mpota", standalone_mode=False)
"""
    done = python(place, code)
    assert done.returncode == 0 and done.stdout.count("Usage: mpota") == len(asked), done.stderr


@pytest.mark.parametrize(
    ("typed", "index", "offered"),
    [
        ("mpota bk", 1, {"bk7238"}),
        ("mpota bk7238 ", 2, {"pack", "verify"}),
        ("mpota bk7238 pack --com", 3, {"--compress"}),
        ("mpota pic32 pack --release ", 4, set(LAYOUTS)),
        ("mpota sifli pu", 2, {"push"}),
        ("mpota pu", 1, {"push"}),
    ],
)
def test_a_shell_completes_the_groups(place, typed, index, offered):
    env = {"_MPOTA_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(index)}
    done = python(place, "from mpota_host.command.cli import main; main()", env=env)
    assert done.returncode == 0, done.stderr
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered


def test_inspect_looks_at_what_a_folder_is(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert call("inspect", "store", "--json") == 5
    assert json.loads(capsys.readouterr().out)["kind"] == "image store"
    empty = Path("empty")
    empty.mkdir()
    for folder in ("lamp", empty, "up"):
        assert call("inspect", folder) == 3
        assert f"{folder} is a folder of no kind that mpota knows" in capsys.readouterr().err
