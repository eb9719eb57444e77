"""Puts MicroPython's stand-ins on CPython's path before any test module imports device code; registers the plugins."""

import gc
import os

import pytest

import mpota_host  # noqa: F401
from mpota_host.sources import DEVICE, HOST, root
from tests.suite import boards, covered, deadlines, differ, leftovers, losses, order, reruns

# The template of a chip: host/test_toy_chip.py lays it into a copy of the tree, where its tests run.
collect_ignore = ["host/toy"]
# What a test starts finds both source roots and the tests.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (DEVICE, HOST, root())))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--coverage", action="store_true", help="measure how much of device/ the tests run")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return order.processes()


def pytest_configure(config: pytest.Config) -> None:
    watch = leftovers.watch()
    loss = losses.Losses(config)
    plugins = [deadlines.Deadlines(watch.end), loss, reruns.Reruns(), watch, boards.Boards(), order.Order(), differ]
    if config.getoption("--coverage"):
        plugins.append(covered.Covered(config, loss.whole))
    for plugin in plugins:
        config.pluginmanager.register(plugin)
    # Imports device code, which is measured from here on.
    from mpota_host.package.encode import delta
    from tests.suite import plans

    delta.plan = plans.Plans().plan


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    # Device code collects garbage often. What the collected tests consist of stays anyway, and need not be searched.
    gc.collect()
    gc.freeze()
