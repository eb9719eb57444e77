"""`mpota bk7238`: `pack` with the letters of the vendor's packer, and `verify` of an RBL."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mpota.layout.bk7238 import rbl
from mpota_boot.errors import Refused
from mpota_host.command.groups import Vendor, as_json, want_vendors
from mpota_host.package.output import want_own

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
key = click.option("-k", "--key", default=rbl.KEY.decode(), help="32 ASCII characters; the vendor's own by default.")
iv = click.option("-i", "--iv", default=rbl.IV.decode(), help="16 ASCII characters; the vendor's own by default.")
flash = click.option("--flash", type=click.Choice(["2", "4"]), default="2", show_default=True, help="The chip's MiB.")
held = click.option(
    "--table",
    "--board",
    "place",
    metavar="LOADER|BOARD",
    help="The board's own loader, as a file, or the board's name; the vendor's table by default.",
)
# What the letters -s and -p ask for on purpose: the vendor's packer makes that too. It stays a note.
BY_LETTERS = ("algorithm", "name")
# The exit statuses of mpota_host/command/cli.py for Refused and for Corrupt.
REFUSED, CORRUPT = 3, 5


@click.group(cls=Vendor, short_help="BK7238: make RBL packages, check them as the bootloader does.")
def group() -> None:
    """RBL packages, as the BK7238's own bootloader takes them.

    \b
    mpota bk7238 pack -f app.bin -v 1.0.1 -p app -c lzma -s aes -o ota.rbl
    mpota bk7238 verify ota.rbl
    mpota inspect ota.rbl

    A board with mpota takes an RBL in a signed package, which any of mpota's keys signs:

    \b
    mpota pack ota.rbl --layout bk7238 --key release.pem --product plug --version 1.0.1
    """


@group.command(short_help="Make an RBL of an application.")
@click.option("-f", "--file", "file", type=FILE, required=True, help="The application, as linked: no CRCs between.")
@click.option("-v", "--version", required=True, help="At most 23 characters.")
@click.option("-o", "--out", type=OUT, help="The package; the application's name with .rbl by default.")
@click.option("-p", "--part", default="app", show_default=True, help="The partition that it is for.")
@click.option("-c", "--compress", default="none", show_default=True, help="none, gzip or lzma.")
@click.option("-s", "--crypt", default="none", show_default=True, help="none or aes; loaders refuse none.")
@key
@iv
@flash
@held
@click.option("--force", is_flag=True, help="Write it although no board would start it.")
@as_json
def pack(file: Path, out: Path | None, as_json: bool, flash: str, place: str | None, force: bool, **given: Any) -> None:
    """Make an RBL of an application, for the vendor's loader; `mpota pack --layout bk7238` signs it."""
    from mpota_host.chips.bk7238 import packer, verdict
    from mpota_host.chips.bk7238.look import tables
    from mpota_host.command import show

    out = out or file.with_suffix(".rbl")
    want_own([out], "RBL", lambda data: data.startswith(rbl.MAGIC), [file])
    raw = file.read_bytes()
    if not force:
        want_application(raw)
    options = packer.Options(**given, time=int(os.stat(file).st_mtime))
    data = packer.pack(raw, options)
    against = (packer.secret(options), int(flash) << 20, b"", tables.of(place) if place else None)
    if not force:
        sealed = data if options.crypt == "aes" else packer.pack(raw, replace(options, crypt="aes"))
        for name, text in verdict.checks_for(sealed, *against):
            if text and name not in BY_LETTERS:
                raise Refused("image", f"{verdict.sentence(name, text)}; nothing was written, --force writes it")
    wrong = [f"{name}: {text}" for name, text in verdict.checks_for(data, *against) if text]
    out.write_bytes(data)
    for text in wrong:
        show.note(f"the loader will refuse it: {text}")
    facts = {"file": str(out), "size": len(data), "image": len(raw), "refused": wrong, **verdict.facts(data)}
    if as_json:
        show.facts(facts)
    else:
        show.say(f"{out}  {len(data):,} bytes, {len(data) / len(raw):.1%} of the image's {len(raw):,}")


@group.command(short_help="Which check of the bootloader an RBL would fail.")
@click.argument("file", type=FILE)
@key
@iv
@flash
@held
@click.option("--running", type=FILE, help="The RBL that the board runs: the same one again is not installed.")
@as_json
def verify(file: Path, flash: str, place: str | None, running: Path | None, as_json: bool, **given: str) -> None:
    """Which of the bootloader's checks the RBL FILE would fail; a table of all."""
    from mpota_host.chips.bk7238 import packer, verdict
    from mpota_host.chips.bk7238.look import others, tables
    from mpota_host.command import show

    want_vendors(file, f"mpota verify {file} --key FILE")
    data = file.read_bytes()
    other = None if data.startswith(rbl.MAGIC) else others.named(data)
    if other:
        raise Refused("format", f"this is {other.text}")
    secret = packer.secret(packer.Options("0", key=given["key"], iv=given["iv"]))
    runs = running.read_bytes()[: rbl.SIZE] if running else b""
    if running and not verdict.facts(runs):
        raise Refused("running", f"{running} is no RBL: no header with a right CRC-32 is at its front")
    report = verdict.judge(data, secret, int(flash) << 20, runs, tables.of(place) if place else None)
    show.report(report, as_json)
    if not report.ok:
        sys.exit(REFUSED if report.facts["early"] else CORRUPT)


def want_application(raw: bytes) -> None:
    """Refused where the file is one that a build has beside the application, or a package that was made of it."""
    from mpota_host.chips.bk7238.look import others

    other = others.named(raw)
    if other and other.kind != "application":
        raise Refused("format", f"this is {other.text}; -f takes the application as it was linked, a .bin")
