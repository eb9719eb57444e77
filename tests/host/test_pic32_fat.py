"""The image store on a real FAT: an update with the power failing at every block, by the unix port's own VfsFat."""

from __future__ import annotations

import os
import re
import subprocess

from host.push.bench import ROOT, micropython


def test_an_update_on_fat_survives_a_cut_before_every_block() -> None:
    env = {**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"}
    command = [micropython(), "-X", "heapsize=32M", "-m", "tests.pic32_fat"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=200)
    text = (done.stdout + done.stderr).decode()
    found = re.search(r"^(\d+) cuts, (\d+) bad$", text, re.M)
    assert done.returncode == 0 and found, text
    assert int(found[1]) > 70 and int(found[2]) == 0, text
