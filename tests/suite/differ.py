"""Two large values that differ are told by the first place where they do.

pytest compares them line by line, which can take longer than a test may take: a failed comparison becomes a test that
ran out of time, and an expected failure an unexpected one. pytest asks every plugin and takes the first answer, its own
comparison runs even when it is not shown. Told stops the asking.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pytest

# A value whose text is shorter is told by pytest in full.
SHORT = 4096
SHOWN = 16

Image = bytes | bytearray | memoryview


class Told(Exception):
    """The lines that tell a comparison, so that no other plugin is asked."""

    def __init__(self, lines: list[str]):
        super().__init__()
        self.lines = lines


@pytest.hookimpl(tryfirst=True)
def pytest_assertrepr_compare(op: str, left: object, right: object) -> None:
    if op == "==" and max(len(repr(left)), len(repr(right))) > SHORT:
        raise Told(["two large values", *told(left, right)])


class Asking:
    """Around all plugins that are asked: it makes an answer of Told."""

    @pytest.hookimpl(wrapper=True)
    def pytest_assertrepr_compare(self) -> Generator[None, list[list[str]], list[list[str]]]:
        try:
            return (yield)
        except Told as answer:
            return [answer.lines]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Asking())


def told(one: Any, other: Any) -> list[str]:
    """Where they differ first, the innermost place that has a name."""
    if isinstance(one, Image) and isinstance(other, Image):
        return images(bytes(one), bytes(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = [key for key in {**one, **other} if key not in one or key not in other or one[key] != other[key]]
    elif isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        keys = [first(one, other)]
        one, other = dict(enumerate(one)), dict(enumerate(other))
    else:
        return [f"  {brief(one)}", f"  {brief(other)}"]
    key = keys[0]
    if key not in one or key not in other:
        return [f"{key!r} is only in the {'left' if key in one else 'right'} one"]
    return [f"at {key!r}, of {len(keys)} that differ:", *told(one[key], other[key])]


def images(one: bytes, other: bytes) -> list[str]:
    """Two pieces of memory."""
    at = first(one, other)
    shown = [image[at : at + SHOWN].hex(" ") or "the end" for image in (one, other)]
    return [f"{len(one)} and {len(other)} bytes; the first that differs is at {at} ({at:#x}):", *shown]


def first(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The first place that is not the same, or the length of the shorter."""
    shared = min(len(one), len(other))
    return next((i for i in range(shared) if one[i] != other[i]), shared)


def brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHORT else text[:SHORT] + "..."
