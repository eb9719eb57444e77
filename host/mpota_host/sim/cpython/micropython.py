"""MicroPython's `micropython` module on CPython: the decorators and hints change nothing here.

Viper's pointer names become builtins, as on a board, so that a viper function runs unchanged on the bytes it is given.
Its 32-bit wrap-around is not imitated: code that leans on it must mask, or the tests on the unix port differ.
"""

import builtins
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def const(value: T) -> T:
    """The compiler folds it on a board."""
    return value


def native(f: F) -> F:
    return f


viper = bytecode = native


def kbd_intr(char: int) -> None:
    """A PC's process has no byte that interrupts it on its standard input."""


def schedule(f: Callable[[Any], object], arg: Any) -> None:
    f(arg)


def mem_info(*_: object) -> None:
    """There is no MicroPython heap to tell of."""


def _bytes(buf: Any) -> Any:
    return memoryview(buf).cast("B")


_VIPER = {
    "ptr": _bytes,
    "ptr8": _bytes,
    "ptr16": lambda buf: _bytes(buf).cast("H"),
    "ptr32": lambda buf: _bytes(buf).cast("I"),
    "uint": lambda n: int(n) & 0xFFFFFFFF,
}
for _name, _value in _VIPER.items():
    setattr(builtins, _name, _value)
