"""The image store on a real FAT: an update with the power failing at every block, by the unix port's own VfsFat."""

from __future__ import annotations

import re
import subprocess

import pytest

from mpota_host.bench.line.serial import micropython
from mpota_host.sources import CHECKOUT as ROOT
from mpota_host.sources import port_environment


def on_the_port(program: str) -> str:
    """What a program prints on the unix port, whose file systems are the real ones."""
    env = port_environment()
    command = [micropython(), "-X", "heapsize=32M", "-m", program]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=200)
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    return text


def test_an_update_on_fat_survives_a_cut_before_every_block() -> None:
    text = on_the_port("tests.chips.pic32.pic32_fat")
    found = re.search(r"^(\d+) cuts, (\d+) bad$", text, re.M)
    assert found and int(found[1]) > 70 and int(found[2]) == 0, text


def test_names_from_the_network_write_over_nothing_on_fat() -> None:
    text = on_the_port("tests.chips.pic32.pic32_fat_names")
    found = re.search(r"^(\d+) names, (\d+) bad$", text, re.M)
    assert found and int(found[1]) > 25 and int(found[2]) == 0, text


@pytest.mark.slow
def test_a_thousand_manifests_change_nothing_but_by_a_signed_update() -> None:
    text = on_the_port("tests.chips.pic32.pic32_fat_manifests")
    found = re.search(r"^(\d+) manifests, (\d+) updates, (\d+) bad$", text, re.M)
    assert found and int(found[1]) == 1000 and int(found[2]) > 50 and int(found[3]) == 0, text
