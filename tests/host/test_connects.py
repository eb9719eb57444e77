"""Stock mpremote and ampy reach a virtual board at any moment: while it starts, runs, sleeps or prints.

MPOTA_CONNECTS says how many times, MPOTA_SEED which moments: `MPOTA_CONNECTS=200 python -m pytest -s FILE`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from mpota_host.chips.esp32.cut.life import image
from mpota_host.sim.board import VirtualBoard, create, mpota_files

pytestmark = pytest.mark.board

CONNECTS = int(os.environ.get("MPOTA_CONNECTS", "12"))
SEED = int(os.environ.get("MPOTA_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
END_S = 15.0

HEALTH = b"def health():\n    return True\n"
# What an application may be doing when a client comes; its modules are imported at each start.
APPLICATIONS = {
    "idle": b"import one, two\ndef step():\n    pass\n" + HEALTH,
    "sleeping": b"import one, two, time\ndef step():\n    time.sleep(5)\n" + HEALTH,
    "busy": b"import one, two\ndef step():\n    while True:\n        pass\n" + HEALTH,
    "printing": b"import one, two\ndef step():\n    print('temperature', 21)\n" + HEALTH,
    "reading files": b"import one, two, os\ndef step():\n    open('/boot.py').read(); os.stat('/lib')\n" + HEALTH,
}
MODULES = {"/lib/one.py": b"import two\nONE = [n for n in range(3000)]\n", "/lib/two.py": b"TWO = {}\n" * 200}

PRINT = "import sys, one; print(len(one.ONE), 6 * 7)"


def mpremote(port: str, script: Path) -> list[str]:
    return ["mpremote", "connect", port, "exec", PRINT]


def resumed(port: str, script: Path) -> list[str]:
    return ["mpremote", "connect", port, "resume", "exec", PRINT]


def ampy(port: str, script: Path) -> list[str]:
    return ["ampy", "-p", port, "run", str(script)]


def soft(board: VirtualBoard) -> None:
    """Ctrl-B, Ctrl-D at a prompt, as a terminal types it; the application starts."""
    with serial.Serial(board.port) as line:
        line.write(b"\r\x03\r\x02\x04")


def hard(board: VirtualBoard) -> None:
    board.off()
    board.on()


def nothing(board: VirtualBoard) -> None:
    """The client before has left the board as it is."""


def connect(command: list[str]) -> tuple[float, str]:
    """Seconds and output of a client that must come to its end."""
    tool = str(Path(sys.executable).with_name(command[0]))
    began = time.monotonic()
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, timeout=END_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    return time.monotonic() - began, done.stdout


def test_a_client_that_comes_at_any_moment_ends_well(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    script = tmp_path / "print.py"
    script.write_text(PRINT)
    took: list[float] = []
    turns = max(1, CONNECTS // len(APPLICATIONS))
    for number, (name, app) in enumerate(APPLICATIONS.items()):
        files = mpota_files({"product": "lamp", "wdt_ms": 60000}) | {"/app.py": app} | MODULES
        with VirtualBoard(create(tmp_path / f"{number}.bin", image(3000, 1), files=files)) as board:
            for turn in range(turns + (number < CONNECTS % len(APPLICATIONS))):
                how: Callable[[VirtualBoard], None] = rng.choice((soft, soft, hard, nothing))
                client = rng.choice((mpremote, resumed, ampy))
                wait = rng.choice((rng.random() * 0.1, rng.random(), rng.random() * 0.4))
                where = f"seed {SEED}, {name}, turn {turn}: {how.__name__}, {wait:.3f} s, {client.__name__}"
                how(board)
                time.sleep(wait)
                try:
                    seconds, said = connect(client(board.port, script))
                except (AssertionError, subprocess.TimeoutExpired) as e:
                    pytest.fail(f"{where}: {e}; {board.events[-4:]}")
                assert said.endswith("3000 42\n"), f"{where}: {said!r}"
                took.append(seconds)
    print(f"seed {SEED}: {len(took)} connects, {max(took):.1f} s at most, {sum(took) / len(took):.2f} s on average")
