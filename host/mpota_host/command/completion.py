"""The script by which a shell completes `mpota`: click's own, printed for the shell to read."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


def script(group: click.Group, name: str, shell: str) -> str:
    """The script for bash, zsh or fish; it calls `name` again with what was typed so far."""
    found = get_completion_class(shell)
    if found is None:
        raise click.BadParameter(f"{shell!r} is no shell that click completes")
    return found(group, {}, name, f"_{name.upper()}_COMPLETE").source()
