"""Puts MicroPython's stand-ins on CPython's path before any test module imports device code; registers the plugins."""

import pytest

import host
from tests.suite import boards, deadlines, leftovers, losses, plans, reruns


def pytest_configure(config: pytest.Config) -> None:
    watch = leftovers.watch()
    last = deadlines.Deadlines(watch.end)
    for plugin in (last, losses.Losses(config), reruns.Reruns(), watch, boards.Boards()):
        config.pluginmanager.register(plugin)
    host.delta.plan = plans.Plans().plan
