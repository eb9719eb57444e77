"""How the files of a run are shared out among its processes: slow ones first, by one process more than there are cores.

A file stays in one process, so a slow one that begins last keeps the run waiting while the other cores idle. A process
more is at work while another waits for a board.
"""

import os

import pytest


def processes() -> int:
    """How many processes `-n auto` means; the conftest says so, for no plugin is there yet."""
    return (os.cpu_count() or 1) + 1


class Order:
    """Puts files with slow tests in front; the tests of a file stay together, in their order."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)
