"""Firmware that could not run mpota is refused by `pack`, unless it is said to be a payload."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpota_host.chips.esp32.prepare import goes_on, interpreter
from mpota_host.package import keys
from mpota_host.sim.board import real_firmware
from tests.chips.esp32 import image_maker
from tests.host.command import call


def banner(version: str) -> bytes:
    return b"\0MicroPython " + version.encode() + b" on 2026-04-05; Generic ESP32 module with ESP32\0"


def test_the_interpreter_is_known_by_its_banner():
    for text, version in (
        ("v1.28.0", (1, 28)),
        ("v1.16-237-g1613dc8a1-dirty", (1, 16)),
        ("v2.0.0-preview.12.gabcdef", (2, 0)),
    ):
        assert interpreter(b"x" * 100 + banner(text)) == version
    for text in (b"", b"MicroPython vague", b"Note: MicroPython v1.2 is old", banner("9458e3a23f")):
        assert interpreter(text) is None


@pytest.mark.parametrize(
    "version, refused", [("v1.22.2", True), ("v1.9.4", True), ("v1.23.0", False), ("v1.30.0", False)]
)
def test_pack_takes_an_interpreter_that_runs_mpota(tmp_path: Path, capsys, version: str, refused: bool) -> None:
    keys.generate(tmp_path / "k.pem")
    (tmp_path / "fw.bin").write_bytes(image_maker.image(body=banner(version).ljust(128, b"\0")))
    args = ["--product", "lamp", "--version", "1.0.0", "--key", tmp_path / "k.pem", "-o", tmp_path / "p.mpota"]
    assert call("pack", tmp_path / "fw.bin", *args) == (3 if refused else 0)
    assert (tmp_path / "p.mpota").exists() != refused
    if refused:
        said = capsys.readouterr().err
        assert f"MicroPython {version[1:].rpartition('.')[0]}" in said and "1.23" in said and "--payload" in said
        assert call("pack", tmp_path / "fw.bin", "--payload", *args) == 0


def test_the_demos_firmware_is_a_payload():
    from mpota_boot.errors import Refused

    with pytest.raises(Refused, match=r"1\.16"):
        goes_on(real_firmware("0831").read_bytes())
