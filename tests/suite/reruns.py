"""A test that passed in a second try is printed at the end of the run, and more than three of them fail the run."""

import pytest

MOST = 3


class Reruns:
    """Keeps what failed and was tried again."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # pytest-rerunfailures reports a failure that is tried again with this outcome.
        if report.outcome == "rerun":
            self.seen.append(f"{report.nodeid}: {first_line(report)}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if len(self.seen) > MOST and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.seen:
            return
        terminalreporter.section(f"{len(self.seen)} tries again, at most {MOST} pass")
        for line in self.seen:
            terminalreporter.write_line(line)
        if len(self.seen) > MOST:
            terminalreporter.write_line(f"TOO MANY RERUNS: {len(self.seen)}, at most {MOST}: the run fails", red=True)


def first_line(report: pytest.TestReport) -> str:
    """Where the try failed, and the first line of its error."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return (report.longreprtext.strip().splitlines() or ["no text"])[0]
    return f"line {crash.lineno}: {(crash.message.splitlines() or [''])[0]}"
