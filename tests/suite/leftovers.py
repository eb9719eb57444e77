"""No test module leaves a process behind: its last test fails with what still runs, and that is ended.

Every child inherits a variable that only this run has, so an orphan is found too, and nothing else on the machine is
touched. A forked child has the environment of its parent's start, and is told by a pipe that forks inherit. Works where
there is /proc; elsewhere the head of the run says that nobody looks.
"""

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

PROC = Path("/proc")
# What is about to end when the module ends is given this long.
GRACE_S = 5.0
# Python's own, which ends with the interpreter that needs it.
OWN = b"multiprocessing.resource_tracker"


class Leftovers:
    """Finds and ends the processes of this run."""

    def __init__(self) -> None:
        self.name = f"MPOTA_TESTS_{os.getpid()}_{secrets.token_hex(8)}"
        os.environ[self.name] = "1"
        self.pipe = os.pipe()
        self.link = os.readlink(f"/proc/self/fd/{self.pipe[0]}")
        self.environ = (PROC / "self" / "environ").read_bytes()
        self.late: list[str] = []

    def close(self) -> None:
        os.environ.pop(self.name, None)
        for fd in self.pipe:
            os.close(fd)

    def running(self) -> list[int]:
        """The numbers of all processes that this run started and that still run."""
        return [pid for pid in pids() if pid != os.getpid() and self._ours(PROC / str(pid))]

    def _ours(self, path: Path) -> bool:
        try:
            environ = (path / "environ").read_bytes()
            if f"{self.name}=1".encode() in environ.split(b"\0"):
                return alive(path)
            # A fork: what it was started with is what this process was started with.
            if environ != self.environ or not environ:
                return False
            return any(os.readlink(fd) == self.link for fd in (path / "fd").iterdir()) and alive(path)
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            return False

    def end(self) -> list[str]:
        """Wait a little, end what still runs then, and say what that was."""
        deadline = time.monotonic() + GRACE_S
        while (left := self.running()) and time.monotonic() < deadline:
            time.sleep(0.02)
        told = [self._said(pid) for pid in left]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return told

    def _said(self, pid: int) -> str:
        """A process in words: its command line, and the test that started it."""
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            environ = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            return f"process {pid}, which has just ended"
        # pytest's own variable names the test that runs.
        test = [value[20:].decode() for value in environ.split(b"\0") if value.startswith(b"PYTEST_CURRENT_TEST=")]
        who = test[0] if test and environ != self.environ else "a fork of the tests"
        return f"process {pid} `{words[:200]}`, started by {who}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
        yield
        if nextitem is None or nextitem.path != item.path:
            told = self.end()
            if told:
                pytest.fail("processes were left behind, and are ended now:\n" + "\n".join(told), pytrace=False)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # In a run of several workers this is their parent, and they still run.
        if session.config.getoption("dist", "no") == "no":
            self.late = self.end()
        if self.late and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.late:
            terminalreporter.write_line(f"LEFT BEHIND: {line}", red=True)

    def pytest_unconfigure(self) -> None:
        self.close()


class Blind:
    """Stands for Leftovers where there is no /proc."""

    def end(self) -> list[str]:
        return []

    def pytest_report_header(self) -> str:
        return f"processes left behind are not looked for on {sys.platform}, which has no /proc"


def watch() -> Leftovers | Blind:
    """The plugin for this machine."""
    return Leftovers() if (PROC / "self" / "environ").exists() else Blind()


def pids() -> Iterator[int]:
    for path in PROC.iterdir():
        if path.name.isdigit():
            yield int(path.name)


def alive(path: Path) -> bool:
    """No zombie, and none of Python's own."""
    # The state comes behind the name, which is in brackets and may hold any.
    state = (path / "stat").read_bytes().rpartition(b")")[2].split()[0]
    return state not in (b"Z", b"X") and OWN not in (path / "cmdline").read_bytes()
