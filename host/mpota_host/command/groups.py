"""The groups of the command line: `mpota`, and one for each chip whose vendor has formats of its own, `mpota CHIP ...`.

A chip's commands.py makes its group with `@click.group(cls=Vendor)` and its commands with `@group.command()`. They make
and send the vendor's own formats; `mpota pack`, `verify` and `push` are for mpota's packages. Some names stand in both
places, so a usage error says where the command is that somebody meant.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from mpota_boot.errors import Refused
from mpota_host.package.format import MAGIC, RECORD
from mpota_host.registry import having, part_of

as_json = click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
LAYOUT = "--layout"


class InOrder(click.Group):
    """Commands in the order in which a person needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Main(InOrder):
    """`mpota`: its own commands, then the chips' groups, which are loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *having("commands")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or vendor(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            if args[0] not in having("__init__"):
                raise
            ours = self.commands.get(args[1]) if args[1:] else None
            layout = [LAYOUT, args[0]] if ours and LAYOUT in _options(ours) else []
            more = f" Type: mpota {shlex.join([*args[1:], *layout])}" if ours else ""
            raise click.UsageError(f"{args[0]} has no commands of its own.{more}", ctx) from e

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._section(formatter, "Commands", self.commands.items())
        groups = [(chip, vendor(chip)) for chip in having("commands")]
        self._section(formatter, "Vendors' own formats", [(chip, one) for chip, one in groups if one])

    def _section(self, formatter: click.HelpFormatter, title: str, rows: Iterable[tuple[str, click.Command]]) -> None:
        rows = list(rows)
        room = formatter.width - 6 - max((len(name) for name, _ in rows), default=0)
        with formatter.section(title):
            formatter.write_dl([(name, one.get_short_help_str(room)) for name, one in rows])


def vendor(chip: str) -> click.Group | None:
    """The group of a chip, None where it has none."""
    if chip not in having("commands"):
        return None
    found: click.Group = part_of(chip, "commands").group
    found.name = chip
    return found


class Ours(click.Command):
    """A command for mpota's packages; `reads`: its FILE is such a package, which a vendor's file is not."""

    def __init__(self, *args: Any, reads: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reads = reads

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        words = list(args)
        try:
            ctx = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as e:
            more = self._instead(info_name or "", words, e)
            if not more:
                raise
            raise click.UsageError(f"{e.format_message()} {more}", e.ctx) from e
        ctx.meta["mpota.words"] = words
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refused as e:
            found = _of_files(ctx.meta["mpota.words"]) if self.reads and e.code == "format" else {}
            more = _told([_typed(chip, self.name, [file]) for chip, file in found.items() if _has(chip, self.name)])
            if not more:
                raise
            raise Refused(e.code, f"{e}. {more}") from e

    def _instead(self, name: str, words: list[str], error: click.UsageError) -> str:
        """Where the command is that was meant; "" where it is this one."""
        layout, rest = _layout(words)
        if not layout:
            layout = next((w for w in words if _has(w, name) and not Path(w).exists()), "")
            rest = [w for w in words if w != layout]
        chips = [layout] if layout else having("commands")
        found = [chip for chip in chips if _has(chip, name) and self._meant(chip, name, rest, bool(layout), error)]
        typed = [_typed(chip, name, rest) for chip in found]
        if self.reads and not typed:
            typed = [_typed(chip, name, [file]) for chip, file in _of_files(words).items() if _has(chip, name)]
        if not typed and LAYOUT not in _options(self) and layout and rest != words:
            return f"Leave {LAYOUT} off: mpota {shlex.join([name, *rest])}"
        return _told(typed)

    def _meant(self, chip: str, name: str, words: list[str], named: bool, error: click.UsageError) -> bool:
        """Do these words fit the chip's command better than this one?"""
        theirs, given = _options(_command(chip, name)), _given(words)
        if given & (theirs - _options(self)):
            return True
        if given - theirs:
            return False
        if named:
            return True
        if _left_over(self, words):
            return _takes(chip, name, words, True)
        if isinstance(error, click.MissingParameter) and chip in _of_files(words):
            return True
        return any(map(_is_folder, words)) and _takes(chip, name, words, False)


class Theirs(click.Command):
    """A vendor's command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        words = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as e:
            more = self._instead(info_name or "", words, parent)
            if not more:
                raise
            raise click.UsageError(f"{e.format_message()} {more}", e.ctx) from e

    def _instead(self, name: str, words: list[str], parent: click.Context | None) -> str:
        chip, top = (parent.info_name or "", parent.find_root().command) if parent else ("", None)
        ours = top.commands.get(name) if isinstance(top, click.Group) else None
        layout, rest = _layout(words)
        known = _options(ours) if ours else set()
        if _given(rest) & (known - _options(self)):
            more = [LAYOUT, chip] if LAYOUT in known else []
            return f"For a package of mpota's type: mpota {shlex.join([name, *rest, *more])}"
        if layout and LAYOUT not in _options(self):
            return f"Leave {LAYOUT} off: mpota {shlex.join([chip, name, *rest])}"
        return ""


class Vendor(InOrder):
    """The commands of a vendor's own formats: `mpota CHIP COMMAND`."""

    command_class = Theirs

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            top = ctx.find_root().command
            if isinstance(top, click.Group) and args[0] in top.commands:
                text = f"{args[0]} is a command for all boards, not one of {ctx.info_name}."
                raise click.UsageError(f"{text} Type: mpota {shlex.join(args)}", ctx) from e
            raise


def want_vendors(path: Path, command: str) -> None:
    """Refused where a file that should be a vendor's is a package of mpota's; `command` is the one for it."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(MAGIC)) in (MAGIC, RECORD):
                raise Refused("format", f"{path} is a package of mpota's. Type: {command}")


def _typed(chip: str, name: str | None, words: list[str]) -> str:
    return f"mpota {shlex.join([chip, name or '', *words])}"


def _told(commands: list[str]) -> str:
    """The sentence behind an error: the command for a vendor's own format."""
    return f"For the vendor's own format type: {' or: '.join(commands)}" if commands else ""


def _has(chip: str, name: str | None) -> bool:
    group = vendor(chip)
    return bool(group and name in group.commands)


def _command(chip: str, name: str) -> click.Command:
    group = vendor(chip)
    assert group
    return group.commands[name]


def _options(command: click.Command) -> set[str]:
    """What it calls its options."""
    found = [one for one in command.params if isinstance(one, click.Option)]
    return {name for one in found for name in (*one.opts, *one.secondary_opts)}


def _given(words: list[str]) -> set[str]:
    """The options among words, without their values: `-fapp.bin` is -f."""
    found = [w for w in words if w.startswith("-") and w.strip("-") and not w[1:2].isdigit()]
    return {w.partition("=")[0] if w.startswith("--") else w[:2] for w in found}


def _layout(words: list[str]) -> tuple[str, list[str]]:
    """The layout that words name, "" for none; and the words without it."""
    layout, rest, skip = "", [], False
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if skip:
            skip = False
        elif option != LAYOUT:
            rest.append(word)
        else:
            layout = value if equals else next(iter(words[i + 1 : i + 2]), "")
            skip = not equals
    return layout, rest


def _of_files(words: list[str]) -> dict[str, str]:
    """Chip -> the first file among words that its inspector knows."""
    from mpota_host.package.read import chip_of

    found: dict[str, str] = {}
    for word in words:
        try:
            chip = chip_of(Path(word).read_bytes())
        except OSError:
            continue
        if chip:
            found.setdefault(chip, word)
    return found


def _left_over(command: click.Command, words: list[str]) -> list[str]:
    """The words that a command has no place for."""
    try:
        return command.make_parser(click.Context(command)).parse_args(list(words))[1]
    except click.UsageError:
        return []


def _is_folder(word: str) -> bool:
    try:
        return Path(word).is_dir()
    except OSError:
        return False


def _takes(chip: str, name: str, words: list[str], partly: bool) -> bool:
    """Would a chip's command take these words, or, `partly`, more of the kind?"""
    try:
        _command(chip, name).make_context(name, list(words))
    except click.MissingParameter:
        return partly
    except click.UsageError:
        return False
    return True
