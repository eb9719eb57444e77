"""A figure: what was measured, its bar, and whether it passes. Nothing here measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import isnan
from statistics import median
from typing import Any

AT_MOST, AT_LEAST, EXACTLY = "<=", ">=", "="
HOLDS: dict[str, Callable[[float, float], bool]] = {
    AT_MOST: lambda seen, bar: seen <= bar,
    AT_LEAST: lambda seen, bar: seen >= bar,
    EXACTLY: lambda seen, bar: seen == bar,
}


@dataclass
class Figure:
    """`rule` and `bar` say what is wanted, "" where the value only informs; `facts` is what stands behind it.

    A value that could not be measured is not a number, and meets no bar.
    """

    name: str
    value: float
    unit: str
    rule: str = ""
    bar: float = 0
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Does it pass? None where there is no bar."""
        return HOLDS[self.rule](self.value, self.bar) if self.rule else None

    def as_json(self) -> dict[str, Any]:
        """All of it, with the verdict."""
        seen = None if isnan(self.value) else self.value
        return {**asdict(self), "value": seen, "ok": self.ok}


def spread(samples: list[float]) -> dict[str, Any]:
    """Samples beside their median, for `facts`."""
    return {"median": median(samples), "least": min(samples), "most": max(samples), "samples": samples}
