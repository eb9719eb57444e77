"""Figures of the serial link, both ends real: the board's end runs on the MicroPython unix port over a raw pty.

`measure` pushes bytes to a board that only hashes them, at the speed of the pty or of a paced line; `measure_fs_cp`
lets mpremote copy a file of the same size to a REPL of the same interpreter over the same kind of pty.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mpota.link import serial
from mpota_host.board.push import FdWire, Sender, Wire, speak
from mpota_host.sim.line import PacedLine, Pty, open_pair
from mpota_host.sources import HOST, port_environment

# What the board runs: it pulls from byte `at`, keeps a hash and nothing else, and reports the hash.
SINK = """
import hashlib, sys
from mpota.link.serial import console
from mpota_boot.errors import LinkError
at, size, ahead, timeout_ms, tries = {at}, {size}, {ahead}, {timeout_ms}, {tries}
link = console(size, ahead)
link.timeout_ms = timeout_ms
link.tries = tries
try:
    src = link.open(at)
    if src is None:
        link.report("none", "nothing on offer")
    else:
        h = hashlib.sha256()
        buf = bytearray(4096)
        total = 0
        while True:
            n = src.readinto(buf)
            if not n:
                break
            h.update(memoryview(buf)[:n])
            total += n
            link.progress(total, link.size - at)
        link.report("done", "%d %s" % (total, "".join("%02x" % b for b in h.digest())))
except LinkError as e:
    link.report(e.code, "%d %s" % (link.at, e))
link.bye()
"""


def micropython() -> str:
    """The unix port to run: MICROPYTHON, or the one beside this Python."""
    return os.environ.get("MICROPYTHON") or str(Path(sys.executable).parent / "micropython")


def sink(at: int = 0, size: int = 4096, ahead: int = 4112, timeout_ms: int = 1000, tries: int = 10) -> Pty:
    """A board that pulls and hashes."""
    code = SINK.format(at=at, size=size, ahead=ahead, timeout_ms=timeout_ms, tries=tries)
    env = port_environment()
    return Pty([micropython(), "-c", code], env, str(HOST))


_AT_ONCE = 10**9  # baud of a line that does not slow anything down


class _Clock:
    """A wire that notes when the first data frame left and when the last byte came before the report."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.first = 0.0

    def read(self, timeout_s: float) -> bytes:
        return self.wire.read(timeout_s)

    def write(self, data: bytes) -> None:
        if not self.first and data[2] == serial._DATA:
            self.first = time.perf_counter()
        self.wire.write(data)


def measure(package: bytes, baud: int = 0) -> dict[str, Any]:
    """Push to a sink; `baud` 0 is the raw pty. Seconds run from the first data frame to the last acknowledgement."""
    last = 0.0

    def note(done: int, total: int) -> None:
        nonlocal last
        last = time.perf_counter()

    with sink() as board:
        near, far = open_pair() if baud else (board.master, -1)
        line = PacedLine(near, board.master, baud) if baud else None
        clock = _Clock(FdWire(far if baud else near))
        report = speak(clock, Sender(package, note), 20)
        if line:
            line.close()
            os.close(near)
            os.close(far)
    want = f"{len(package)} {hashlib.sha256(package).hexdigest()}"
    if report is None or report.code != "done" or report.text != want:
        raise RuntimeError(f"the board reports {report}, wanted done {want}")
    seconds = last - clock.first
    rate = len(package) / seconds
    return {
        "bytes": len(package),
        "baud": baud,
        "seconds": seconds,
        "bytes_per_s": rate,
        "share_of_line": rate * 10 / baud if baud else None,
    }


def _enter_raw_repl(fd: int) -> None:
    """The unix port drops what comes while it changes the terminal's mode, so mpremote must find the raw REPL ready."""
    wire = FdWire(fd)
    for key in (b"\r\x03", b"\x01"):
        wire.write(key)
        end = time.monotonic() + 5
        while wire.read(0.3) and time.monotonic() < end:
            pass


def measure_fs_cp(package: bytes) -> dict[str, Any]:
    """The peer: `mpremote fs cp` of the same bytes to the unix port's REPL, over a raw pty."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "package").write_bytes(package)
        with Pty([micropython()], {"MICROPYPATH": ".frozen", "TERM": "dumb"}, folder) as board:
            _enter_raw_repl(board.master)
            near, far = open_pair()
            line = PacedLine(near, board.master, _AT_ONCE)
            copy = [sys.executable, "-m", "mpremote", "connect", os.ttyname(far), "resume"]
            began = time.perf_counter()
            done = subprocess.run(
                [*copy, "fs", "cp", "-f", "package", ":copied"], cwd=folder, capture_output=True, timeout=120
            )
            seconds = time.perf_counter() - began
            line.close()
            os.close(near)
            os.close(far)
        copied = Path(folder) / "copied"
        if done.returncode or not copied.exists() or copied.read_bytes() != package:
            raise RuntimeError(f"mpremote fs cp failed: {(done.stdout + done.stderr).decode(errors='replace')[-500:]}")
    return {"bytes": len(package), "seconds": seconds, "bytes_per_s": len(package) / seconds}
