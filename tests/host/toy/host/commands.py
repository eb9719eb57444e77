"""`mpota toy`: `image` makes an image of a program, as the chip's own tool does."""

from __future__ import annotations

from pathlib import Path

import click

from mpota.layout.toy.image import MAGIC, encode
from mpota_host.command.groups import Vendor, as_json
from mpota_host.package.output import want_own


@click.group(cls=Vendor, short_help="Toy chip: make an image of a program.")
def group() -> None:
    """Images of a toy chip, as its own bootloader takes them.

    \b
    mpota toy image program.bin -o program.img

    A package of mpota's is made of an image:

    \b
    mpota pack program.img --layout toy --key release.pem --product lamp --version 1.0.1
    """


@group.command(short_help="Make an image of a program.")
@click.argument("program", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="PROGRAM with .img by default.")
@as_json
def image(program: Path, out: Path | None, as_json: bool) -> None:
    """Make the image of PROGRAM: a header with its length and CRC-32, then its bytes."""
    from mpota_host.command import show

    out = out or program.with_suffix(".img")
    want_own([out], "image of a toy chip", lambda data: data.startswith(MAGIC), [program])
    data = encode(program.read_bytes())
    out.write_bytes(data)
    if as_json:
        return show.facts({"file": str(out), "size": len(data)})
    show.say(f"{out}  {len(data):,} bytes")
