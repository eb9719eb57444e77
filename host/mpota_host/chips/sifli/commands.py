"""`mpota sifli`: `pack` with the arguments of the vendor's packer, and `push` that plays the vendor's app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpota_host.command.groups import Vendor, as_json, want_vendors
from mpota_host.package.output import want_own

OUT = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Vendor, short_help="SiFli: make an upgrade, send it as the vendor's phone does.")
def group() -> None:
    """Upgrades of a SiFli SF32LB5x, as the vendor's packer makes them and its phone application sends them.

    \b
    mpota sifli pack app.bin 16 0 res.bin 0 3 --key root.key --sigkey sign.pem --fw_ver 1.1.0 -o up
    mpota sifli push up --port /dev/ttyUSB0
    mpota inspect up/ctrl_packet.bin

    A package of mpota's is made of the same program:

    \b
    mpota pack app.bin --layout sifli --key release.pem --product watch --version 1.1.0
    """


def root_key(path: Path) -> bytes:
    """32 bytes, or the same in hex."""
    data = path.read_bytes()
    if len(data) != 32:
        try:
            data = bytes.fromhex(data.decode())
        except ValueError:
            data = b""
    if len(data) != 32:
        raise click.UsageError(f"{path} is no root key: 32 bytes, or 64 hex digits")
    return data


@group.command(short_help="Make the control packet and the image files.")
@click.argument("images", nargs=-1, required=True, metavar="FILE FLAGS ID...")
@click.option("--key", type=FILE, required=True, help="The root key: 32 bytes, or 64 hex digits.")
@click.option("--sigkey", type=FILE, required=True, help="The RSA-2048 private key, PEM.")
@click.option("--dfu_id", type=int, default=1, show_default=True, help="0 code, 1 code and resources.")
@click.option("--hw_ver", type=int, default=0, help="The hardware that it is for.")
@click.option("--sdk_ver", default="0", help="The least SDK: 1.2.3 or a number.")
@click.option("--fw_ver", default="0", help="The version of the firmware: 1.2.3 or a number.")
@click.option("--bksize", type=int, default=512, show_default=True, help="Bytes of a block.")
@click.option("--pksize", type=int, default=10240, show_default=True, help="Bytes of a compressed chunk.")
@click.option("--com_type", type=int, default=1, show_default=True, help="1 zlib, 0 the chip's own inflater.")
@click.option("--align", type=int, default=1, show_default=True, help="0: do not pad to 16 bytes.")
@click.option("--offline_img", type=int, default=0, help="1, 2: offline_install.bin, version 0 or 1.")
@click.option("-o", "--out", type=OUT, default=".", help="The folder to write to.")
@as_json
def pack(images: tuple[str, ...], key: Path, sigkey: Path, out: Path, as_json: bool, **given: Any) -> None:
    """Make the control packet and the image files; FLAGS: 1 encrypted, 16 compressed, 17 both."""
    from mpota_host.chips.sifli import packer
    from mpota_host.chips.sifli.inspector import explain
    from mpota_host.command import show

    if len(images) % 3 or not all(text.isdecimal() and text.isascii() for i, text in enumerate(images) if i % 3):
        raise click.UsageError("images come as FILE FLAGS ID, three words each")
    public, sign = packer.signer(_private(sigkey))
    for name in ("sdk_ver", "fw_ver"):
        given[name] = packer.version(given[name])
    given["align"] = bool(given["align"])
    options = packer.Options(root_key(key), public, sign, **given)
    rows = [images[i : i + 3] for i in range(0, len(images), 3)]
    found = [packer.Given(Path(p).stem, _read(p), int(flags), int(id)) for p, flags, id in rows]
    files = packer.pack(found, options)
    inputs = [Path(row[0]) for row in rows] + [key, sigkey]
    want_own([out / name for name in files], "file of an earlier upgrade", lambda data: bool(explain(data)), inputs)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (out / name).write_bytes(data)
    if as_json:
        return show.facts({"files": {str(out / name): len(data) for name, data in files.items()}})
    for name, data in files.items():
        show.say(f"{out / name}  {len(data):,} bytes")


def _private(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as e:
        raise click.UsageError(f"{path} is no private key in PEM without a password") from e
    if not isinstance(private, rsa.RSAPrivateKey):
        raise click.UsageError(f"{path} is no RSA key")
    return private


def _read(path: str) -> bytes:
    if not Path(path).is_file():
        raise click.UsageError(f"there is no file {path}")
    return Path(path).read_bytes()


@group.command(short_help="Play the phone: send an upgrade to a chip.")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--port", help="A serial port, or ADDRESS:PORT of a TCP connection.")
@click.option("--ble", help="The address or name of a chip to reach by Bluetooth; needs the package bleak.")
@click.option("--baud", type=click.IntRange(1), default=921600, show_default=True)
@click.option("--id", "ids", metavar="NAME=ID", multiple=True, help="An image whose name says no id: clock=8.")
@click.option("--every", type=click.IntRange(1, 255), default=20, show_default=True, help="Packets a response.")
@click.option("--restart", is_flag=True, help="Forget an upgrade under way, in place of going on with it.")
@click.option("--older", is_flag=True, help="The older messages, 0 to 17, which older chips know.")
@as_json
def push(folder: Path, port: str | None, ble: str | None, as_json: bool, **given: Any) -> None:
    """Play the phone: send FOLDER's control packet and images to a chip. Pushing again goes on."""
    from mpota_host.chips.sifli.phone import play
    from mpota_host.command import show

    if (port is None) == (ble is None):
        raise click.UsageError("give --port or --ble")
    want_vendors(folder, f"mpota push {folder} --port PORT")
    upgrade = play.load(folder, play.named(given["ids"]))
    choice = play.Choice(newer=not given["older"], resume=not given["restart"], every=given["every"])
    with show.progress(f"push {folder.name}", upgrade.size) as step:
        said = play.push(upgrade, choice, play.Way(port, ble, given["baud"]), show.note, step)
    if as_json:
        return show.facts(said.facts())
    show.say(said.sentence())
