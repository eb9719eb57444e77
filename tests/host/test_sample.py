"""`mpota sample CHIP FOLDER`: what it writes, what it refuses, and its commands typed one by one, from the wheel."""

import json
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpota_boot.errors import Refused
from mpota_host.command import needs
from mpota_host.package import keys
from mpota_host.package.read import explain
from mpota_host.registry import having, part_of
from mpota_host.sim.board import is_board, program
from mpota_host.sim.supervisor import BoardError, unix_port
from tests.host import test_install as install
from tests.host.command import call

CHIPS = having("sample")
# Of a command; its test has a deadline of its own.
PATIENCE_S = 250
# A wheel is built, and boards of processes are updated.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """mpota as it is installed with the extra `board`, and an empty folder."""
    folder = tmp_path_factory.mktemp("sample")
    wheel = install.build("wheel", folder)
    made = install.make_place(folder, [*install.core(wheel), *install.core(wheel, "board")], str(wheel))
    # pip puts the program of the extra there.
    port = Path(unix_port())
    (made.bin / port.name).symlink_to(port.resolve())
    return made


@contextmanager
def running(place, folder, command):
    """The port of a board that a command starts."""
    words = [str(place.bin / "python"), "-u", str(place.bin / "mpota"), *command.split()[1:]]
    with subprocess.Popen(words, cwd=folder, env=place.env(), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.match(r"The board is at (\S+)\. ", process.stdout.readline())[1]
        finally:
            process.terminate()
            process.wait(20)


def typed(place, folder, command, port=""):
    env = {**place.env(), "PORT": port}
    return subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S)


def confirmed(place, folder, port, version, by_hand):
    """Wait until the board says that it runs `version`, on trial no more; a chip may still install at first."""
    end, pause = time.monotonic() + PATIENCE_S, 3.0
    while True:
        if by_hand:
            typed(place, folder, by_hand, port)
        done = typed(place, folder, "mpota status --port $PORT --json", port)
        facts = json.loads(done.stdout) if done.returncode == 0 else {}
        if facts.get("version") == version and not facts.get("trial"):
            return
        assert time.monotonic() < end, done.stdout + done.stderr
        # Each look ends in a soft reset, and main.py has a window of a second before the application's first turn. On a
        # busy machine that takes longer.
        time.sleep(pause)
        pause *= 1.3


# What each push brings, by the chip: the last command of each is typed when the one before is confirmed.
VERSIONS = {"bk7238": ["1.0.1"], "pic32": ["2.0.0"], "sifli": ["1.1.0", "1.2.0"]}


@pytest.mark.board
@pytest.mark.timeout(300)
@pytest.mark.parametrize("chip", CHIPS)
def test_every_command_that_it_says_can_be_typed_from_the_wheel(place, chip):
    said = place.good("sample", chip, f"new {chip}")
    commands = [line.strip() for line in said.partition("Type next")[2].splitlines() if line.startswith("  ")]
    assert commands[0] == f"cd 'new {chip}'" and len(commands) >= 6
    folder = place.work / f"new {chip}"
    at = next(i for i, one in enumerate(commands) if one.startswith("mpota board "))
    for command in commands[1:at]:
        done = typed(place, folder, command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    versions = list(VERSIONS[chip])
    with running(place, folder, commands[at]) as port:
        for command in commands[at + 1 :]:
            done = typed(place, folder, command, port)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            if " push " in command:
                confirmed(place, folder, port, versions.pop(0), next((c for c in commands if " confirm " in c), ""))
    assert not versions


@pytest.mark.parametrize("chip", CHIPS)
def test_it_fills_a_new_folder_or_an_empty_one_and_says_so(chip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("sample", chip, ".", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    seen = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert told["files"] == seen and told["chip"] == chip and not told["next"][0].startswith("cd ")
    assert is_board(tmp_path / "board.bin")
    for path in tmp_path.glob("*.pem"):
        assert path.stat().st_mode & 0o77 == 0, f"{path.name} is a secret"
    assert len(keys.load_public(tmp_path / "release.pub")) == 384
    for path in tmp_path.glob("*.hex"):
        assert explain(path.read_bytes()).kind == "Intel HEX"
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert call("sample", chip, tmp_path) == 3
    assert "holds something and is left as it is" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_wrong_chip_and_a_file_are_usage_errors(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for words, said in (
        (["esp99", tmp_path / "x"], "'esp99' is not one of"),
        ([CHIPS[0], tmp_path / "file"], "is a file"),
        ([CHIPS[0]], "Missing argument 'FOLDER'"),
    ):
        assert call("sample", *words) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("error", "status"), [(BoardError("no port"), 3), (OSError(28, "no space"), 1), (KeyboardInterrupt(), 130)]
)
def test_what_fails_on_the_way_leaves_the_folder_as_it_was(monkeypatch, capsys, tmp_path, error, status):
    def write(folder):
        (folder / "app.bin").write_bytes(b"x")
        (folder / "keys").mkdir()
        (folder / "keys" / "k.pem").write_bytes(b"x")
        raise error

    monkeypatch.setattr(part_of(CHIPS[0], "sample"), "write", write)
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        assert call("sample", CHIPS[0], tmp_path / name) == status
        assert "mpota: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_without_a_unix_port_nothing_is_written(monkeypatch, capsys, tmp_path):
    def none(what):
        raise Refused("board", f"{what} cannot start a virtual board")

    monkeypatch.setattr(needs, "virtual_board", none)
    assert call("sample", CHIPS[0], tmp_path / "new") == 3
    assert "sample cannot start a virtual board" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_programs_differ_and_compress_as_programs_do():
    import zlib

    a, b = program(120_001, 0), program(120_001, 1)
    assert len(a) == len(b) == 120_001 and a != b and program(120_001, 0) == a
    assert 0.1 < len(zlib.compress(a)) / len(a) < 0.7
    assert len(program(3_000_000, 2)) == 3_000_000
