"""What campaigns in this process need."""

import gc

import pytest


@pytest.fixture(scope="module")
def few_objects():
    """The installer collects before each update; what the test runner holds is no part of a board's heap."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
