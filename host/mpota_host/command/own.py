"""A command that a vendor has in another form: `--layout NAME` hands it to chips/NAME/commands.py.

COMMANDS    name of a command -> click.Command
takes(name, args) -> bool       are these arguments the vendor's?
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import click

from mpota_host.registry import having, part_of


class Own(click.Command):
    """Becomes the vendor's command where the arguments name a layout that has it."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of this command or of the vendor's."""
        vendor = _vendor(args)
        if vendor and self.name in vendor.COMMANDS and vendor.takes(self.name, args):
            other: click.Command = vendor.COMMANDS[self.name]
            return other.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _vendor(args: list[str]) -> Any:
    """The module of the layout that the arguments name, None where it has no commands of its own."""
    names = [b for a, b in pairwise(args) if a == "--layout"]
    names += [a.partition("=")[2] for a in args if a.startswith("--layout=")]
    if names and names[-1] in having("commands"):
        return part_of(names[-1], "commands")
    return None
