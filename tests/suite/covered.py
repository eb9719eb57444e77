"""`--coverage`: how much of device/ the tests run on CPython; a run of the whole suite fails below `census.COVERAGE`.

Measured are the tests that both interpreters share, and those of the links that only CPython can play. The others
(power cuts, seeded bugs, deltas of real firmwares) run the same code again, and would take half as long again. What
runs on a virtual board or on the unix port is not seen: mpota/console.py, and most of mpota_boot/board.py.
"""

import io
from collections.abc import Callable, Generator
from pathlib import Path

import coverage
import pytest

from tests.suite import census

ROOT = Path(__file__).resolve().parents[2]
MEASURED = (
    "tests/core/test_*.py",
    "tests/chips/*/test_*.py",
    "tests/host/test_link_*.py",
    "tests/chips/sifli/host/test_sifli_ble.py",
)


class Covered:
    """Measures in each process that runs tests; the one that was started first puts it together."""

    def __init__(
        self, config: pytest.Config, whole: Callable[[], bool], root: Path = ROOT, least: float = census.COVERAGE
    ) -> None:
        self.whole, self.root, self.least = whole, root, least
        self.worker = getattr(config, "workerinput", {}).get("workerid")
        self.folder = root / "build" / "coverage"
        self.said: list[str] = []
        self.bad = False
        if not self.worker:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in self.folder.glob("data*"):
                old.unlink()
        self.tool = self.made(self.worker or "one")
        # While modules are imported too: most of a module's lines run then.
        self.on = False
        self.switch(True)

    def made(self, suffix: str | None) -> coverage.Coverage:
        source = [str(self.root / "device")]
        return coverage.Coverage(str(self.folder / "data"), data_suffix=suffix, config_file=False, source=source)

    def switch(self, on: bool) -> None:
        if on != self.on:
            (self.tool.start if on else self.tool.stop)()
        self.on = on

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.switch(any(item.path.relative_to(self.root).match(pattern) for pattern in MEASURED))
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.switch(False)
        self.tool.save()
        if self.worker:
            return
        both = self.made(None)
        both.combine([str(self.folder)], keep=True)
        text = io.StringIO()
        share = both.report(file=text, skip_covered=True, precision=1)
        where = self.folder / "report.txt"
        where.write_text(text.getvalue())
        self.said.append(f"device/ is covered to {share:.1f} %, wanted {self.least} %; {where} has the files")
        self.bad = self.whole() and share < self.least
        if self.bad and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.said:
            terminalreporter.write_line(f"TOO LITTLE COVERAGE: {line}" if self.bad else line, red=self.bad)
