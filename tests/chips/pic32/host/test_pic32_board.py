"""A virtual PIC32MZW1 as a process behind a pty: the demo as it stands, and packages of mpota pushed to it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mpota_host.chips.pic32 import demo, packer, sample
from mpota_host.chips.pic32.sim import machine
from mpota_host.package import keys
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from tests.host.command import call

ROOT = Path(__file__).resolve().parents[4]


def test_the_demo_runs_to_its_end_and_each_act_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.out, "_file", None)
    demo.main()
    told = capsys.readouterr().out
    for words in ("25 database entry", "power cut", "programs image1.bin", "confirmed", "image1.bin,f8,2,0x01,"):
        assert words in told
    bad = told[told.index("3. A bad release") :]
    assert bad.index("programs image2.bin") < bad.index("programs image1.bin") < bad.index("disabled: unhealthy")
    end = told[told.index("4. Factory reset") :]
    assert end.index("9 factory reset") < end.index("programs factory_reset.bin") < end.index("type 03")


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A board that trusts release.pem and asks nobody."""
    keys.generate(tmp_path / "release.pem")
    settings = {"product": "lamp", "layout": "pic32"}
    files = mpota_files(settings, {"release": keys.load_public(tmp_path / "release.pub")}, "pic32")
    return create_for("pic32", tmp_path / "board.bin", machine.image(0), files)


def test_a_signed_package_is_pushed_started_by_the_bootloader_and_rolled_back(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.bin").write_bytes(machine.image(1))
    given = ["--layout", "pic32", "--key", tmp_path / "release.pem", "--product", "lamp", "--version", "1.1.0"]
    assert call("pack", tmp_path / "new.bin", *given, "-o", tmp_path / "new.mpota") == 0
    with VirtualBoard(board) as it:
        it.wait("reset", image="factory image")
        assert call("push", tmp_path / "new.mpota", "--port", it.port) == 0
        it.wait("reset", image="image 2")
        # It has neither health() nor a manifest to ask.
        assert call("confirm", "--port", it.port) == 0
        capsys.readouterr()
        assert call("status", "--port", it.port, "--json") == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["running"], status["version"], status["trial"]) == ("image 2", "1.1.0", None)
        assert status["images"][0]["status"] == "valid"
        assert call("push", tmp_path / "new.mpota", "--port", it.port) == 0, "nothing to do"
        assert call("rollback", "--port", it.port) == 0
        it.wait("reset", image="factory image")


def test_a_virtual_board_has_a_bootloader_that_checks_signatures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.generate(tmp_path / "release.pem")
    signing = sample.signing_key()
    (tmp_path / "p256.pem").write_bytes(signing)
    settings = {"product": "lamp", "layout": "pic32", "boot_key": packer.public(signing).hex()}
    files = mpota_files(settings, {"release": keys.load_public(tmp_path / "release.pub")}, "pic32")
    board = create_for("pic32", tmp_path / "board.bin", machine.image(0), files)
    assert call("pic32", "lock", board, "--key", tmp_path / "p256.pem", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"board": str(board), "boot_key": settings["boot_key"]}
    image = machine.image(1)
    (tmp_path / "new.bin").write_bytes(image)
    (tmp_path / "new_sign.txt").write_text(packer.sign(image, signing))
    given = ["--layout", "pic32", "--key", tmp_path / "release.pem", "--product", "lamp"]
    resource = f"image_sign.txt={tmp_path / 'new_sign.txt'}"
    for version, more in (("1.1.0", []), ("1.2.0", ["--resource", resource])):
        words = [tmp_path / "new.bin", *given, "--version", version, *more, "-o", tmp_path / f"{version}.mpota"]
        assert call("pack", *words) == 0
        assert call("verify", tmp_path / f"{version}.mpota", "--key", tmp_path / "release.pub") == 0
    with VirtualBoard(board) as it:
        it.wait("reset", image="factory image")
        assert call("push", tmp_path / "1.1.0.mpota", "--port", it.port) == 3
        assert "bootloader starts signed images" in capsys.readouterr().err
        assert call("push", tmp_path / "1.2.0.mpota", "--port", it.port) == 0
        it.wait("reset", image="image 2")


@pytest.mark.parametrize("text", ["A" * 88, "my own notes", "A" * 84 + "====", ""])
def test_a_resource_that_is_no_signature_is_not_packed_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "new.bin").write_bytes(machine.image(1))
    (tmp_path / "sign.txt").write_text(text)
    given = ["--layout", "pic32", "--unsigned", "--product", "lamp", "--version", "1.1.0", "-o", tmp_path / "new.mpota"]
    resource = f"image_sign.txt={tmp_path / 'sign.txt'}"
    assert call("pack", tmp_path / "new.bin", *given, "--resource", resource) == 3
    assert "is no signature" in capsys.readouterr().err and not (tmp_path / "new.mpota").exists()


def test_a_file_that_is_no_board_is_not_locked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p256.pem").write_bytes(sample.signing_key())
    (tmp_path / "notes.txt").write_text("mine, and nobody else's")
    assert call("pic32", "lock", tmp_path / "notes.txt", "--key", tmp_path / "p256.pem") == 3
    assert "is no virtual PIC32MZW1" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine, and nobody else's"


def test_host_board_makes_a_board_and_starts_it_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mpota_host", "board", "--layout", "pic32", "--flash", str(tmp_path / "b.bin")]
    for _ in range(2):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            told = process.stdout.readline() + process.stdout.readline()
            process.terminate()
        assert "The board is at" in told and "factory image starts (fine)" in told, told
    assert call("inspect", tmp_path / "b.bin") == 0
