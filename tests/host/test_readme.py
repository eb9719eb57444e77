"""The README is run: its session on a virtual board, and every command, target, setting and status that it names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpota_host.command import cli
from mpota_host.package import keys
from mpota_host.registry import prepare
from mpota_host.sim.board import VirtualBoard, create, mpota_files, real_firmware

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MARK = "<!-- a test runs these -->\n```console\n"


def session() -> list[str]:
    """The commands of the session, without their prompts."""
    block = README.split(MARK, 1)[1].split("```", 1)[0]
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def test_the_session_runs_as_it_stands(tmp_path):
    old = bytes(prepare("esp32", real_firmware("0608").read_bytes())[0])
    flash = create(
        tmp_path / "board.bin", old, files=mpota_files({"product": "virtual"}), nvs={"wifi": {"ssid": "any"}}
    )
    commands = session()
    assert len(commands) >= 8
    # The command that an installation makes, for this tree.
    command = tmp_path / "bin" / "mpota"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mpota_host "$@"\n')
    command.chmod(0o755)
    with VirtualBoard(flash) as board:
        path = f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PORT": board.port}
        env["FIRMWARE"] = str(real_firmware("0831"))
        said = {}
        for command in commands:
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=90
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            said[command.split()[command.startswith("mpota ")]] = done.stdout
    assert "armed" in said["push"] and "on trial" in said["status"] and "confirmed" in said["confirm"]
    assert "lib/" in said["mpremote"] and "/lib" in said["ampy"]


def test_every_command_and_target_that_it_names_exists():
    commands = set(re.findall(r"(?m)(?:^(?:\$ )?|`)mpota (\w+)", README))
    assert len(commands) >= 8 and commands <= set(cli.cli.commands)
    makefile = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    targets = set(re.findall(r"make (\w+)\b(?!=)", README)) - {"and", "alone", "MICROPYTHON"}
    assert len(targets) >= 4 and targets <= makefile
    table = re.search(r"^\| (`demo`.*?) \|", README, re.M)
    assert table and set(re.findall(r"`(\w+)`", table[1])) <= makefile


def test_every_setting_that_it_names_is_read_and_the_other_way_round():
    text = README.split("`/mpota.json`:", 1)[1].split("\n\n", 1)[0]
    told = set(re.findall(r"`(\w+)` \(|`(product)`", text))
    told = {a or b for a, b in told}
    code = "".join(p.read_text() for p in [*(ROOT / "device").rglob("*.py"), ROOT / "main.py"])
    read = set(re.findall(r"setting(?:s\.get\(|s\[|\()\"(\w+)\"", code))
    assert told == read


@pytest.mark.parametrize("cls", cli.EXIT)
def test_every_exit_status_is_in_its_table(cls):
    assert f"\n| {cli.EXIT[cls]} |" in README


def test_the_keys_it_speaks_of_are_the_keys_there_are(tmp_path):
    key = keys.generate(tmp_path / "release.pem")
    assert key.key_size == 3072 and "RSA-3072" in README
