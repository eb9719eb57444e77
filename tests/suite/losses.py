"""A run of the whole suite that found too few tests or files fails; `census.py` has the numbers."""

from pathlib import Path

import pytest

from tests.suite import census

ROOT = Path(__file__).resolve().parents[2]
# Options that leave tests out before they are counted.
LESS = ("ignore", "ignore_glob", "deselect", "lf", "stepwise", "keyword", "markexpr")


class Losses:
    """Counts what was collected, and says at the end of the run what is missing."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.ids: list[str] = []
        self.complaints: list[str] = []

    def whole(self) -> bool:
        """Was everything asked for?"""
        asked = [self.config.invocation_params.dir.joinpath(arg).resolve() for arg in self.config.args]
        tests = self.config.rootpath / "tests"
        everything = all(tests.is_relative_to(path) for path in asked)
        return everything and not any(self.config.getoption(name, None) for name in LESS)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.ids = [item.nodeid for item in items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.ids = ids

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput") or not self.whole():
            return
        self.complaints = judged(self.ids)
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.complaints:
            terminalreporter.write_line(f"LOST TESTS: {line}", red=True)


def judged(ids: list[str]) -> list[str]:
    """What is wrong with the names of the collected tests."""
    counts = {"TESTS": len(ids), "FILES": len({name.partition("::")[0] for name in ids})}
    return [text for name, n in counts.items() if (text := census.complaint(name, n))]
