"""The marks of a case: the word of the issue that mends it, and the state today."""

from __future__ import annotations

from typing import Any

import pytest


def fails(reason: str) -> pytest.MarkDecorator:
    """The case fails today, by an assertion about its promise; `reason` says what happens instead."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


def bad(reason: str, *values: Any, id: str | None = None) -> Any:
    """A row of a case that fails today."""
    return pytest.param(*values, id=id or str(values[0]), marks=fails(reason))


def good(*values: Any, id: str | None = None) -> Any:
    """A row of a case that holds today."""
    return pytest.param(*values, id=id or str(values[0]))
