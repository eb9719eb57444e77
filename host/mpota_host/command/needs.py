"""What some commands need beyond the core: an extra of the package, a unix, MicroPython's unix port.

They ask before any work is done, so that nothing is half done when something is missing.
"""

from __future__ import annotations

from importlib import import_module

from mpota_boot.errors import Refused

# The extra of pyproject.toml that brings a module.
EXTRAS = {"hdiffpatch": "delta", "bleak": "ble"}
# What a virtual board stands on, and Windows has not.
UNIX = ("fcntl", "pty", "termios", "tty")


def missing(module: str) -> str:
    """What to do where a module is not installed."""
    extra = EXTRAS.get(module)
    if extra:
        return f"{module} is not installed: in mpota's folder `pipx install --force '.[{extra}]'` brings it"
    return f"{module} is not installed here: install mpota again; in a checkout `make demo` sets up .venv/bin/mpota"


def extra(module: str, what: str) -> None:
    """Refused unless a module of an extra can be imported; `what` is the option that needs it."""
    if not _has(module):
        raise Refused(EXTRAS[module], f"{what} needs {module}. {missing(module)}")


def unix(what: str) -> None:
    """Refused where this system has no pseudo-terminals."""
    if not all(map(_has, UNIX)):
        raise Refused(
            "unix",
            f"{what} needs a unix (Linux, macOS, WSL on Windows): a virtual board stands behind a pseudo-terminal",
        )


def virtual_board(what: str) -> None:
    """Refused where no virtual board can start."""
    unix(what)
    from mpota_host.sim.supervisor import BoardError, unix_port

    try:
        unix_port()
    except BoardError as e:
        raise Refused("board", f"{what} cannot start a virtual board: {e}") from e


def _has(module: str) -> bool:
    try:
        import_module(module)
    except ModuleNotFoundError:
        return False
    return True
