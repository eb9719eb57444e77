"""`mpota pic32`: `pack` makes the vendor's own release of a build's HEX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mpota.layout.pic32.link.manifest import MOST
from mpota_host.chips.pic32.binfile import LAYOUTS
from mpota_host.command.groups import Vendor, as_json
from mpota_host.package.output import want_own

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
NUMBER = click.IntRange(0)
out_option = click.option("-o", "--out", type=FOLDER, default=Path("."), help="The folder to write to.")
product_option = click.option(
    "--product", default="", help="With --key: also sign the entry's number for this product."
)
limit_option = click.option(
    "--board-limit",
    "limit",
    type=click.IntRange(200, 65536),
    default=MOST,
    show_default=True,
    help="Bytes that boards have for manifest.json; the vendor's service has 2000.",
)


@click.group(cls=Vendor, short_help="PIC32MZW1: make .bin, manifest and factory image of a HEX.")
def group() -> None:
    """Releases of a PIC32MZW1, as the vendor's own service and bootloader take them.

    \b
    mpota pic32 pack lamp.hex --version 2 --url http://my.server/ota --key p256.pem --product lamp -o shelf/
    mpota pic32 pack lamp.hex --bootloader boot.hex -o factory/
    mpota pic32 withdraw 2 --key p256.pem --product lamp -o shelf/
    mpota pic32 lock build/board.bin --key p256.pem
    mpota inspect store/

    A package of mpota's is made of the same HEX:

    \b
    mpota pack lamp.hex --layout pic32 --key release.pem --product lamp --version 1.1.0
    """


@group.command(short_help="Make .bin, manifest.json and the factory image of a HEX.")
@click.argument("file", metavar="[HEX]", type=FILE, required=False)
@click.option("--release", type=click.Choice(list(LAYOUTS)), default="3.7", show_default=True, help="Whose slot.")
@click.option("--start", type=str, help="Another slot's physical start, e.g. 0x10020000.")
@click.option("--size", type=str, help="And its size.")
@click.option("--bootloader", type=FILE, help="Its HEX: also make factory_reset.bin and one HEX of both.")
@click.option("--keep-fuses", is_flag=True, help="Where configuration words differ the bootloader's stay in force.")
@click.option("--version", type=NUMBER, help="Also write manifest.json with this version, 1 to 999.")
@click.option("--url", "base", default="", help="Where the folder will be served.")
@click.option("--key", type=FILE, help="A P-256 private key in PEM: sign images and entries.")
@product_option
@limit_option
@out_option
@as_json
def pack(file: Path | None, out: Path, as_json: bool, **given: Any) -> None:
    """Make the vendor's .bin of a build's HEX, and what else a release has. Without HEX the one in ./dist is taken."""
    from mpota_host.chips.pic32 import hexfile, packer

    file = file or packer.find_hex(Path("."))
    slot = hexfile.slot_of(given["release"])
    if given["start"] or given["size"]:
        slot = hexfile.Slot(_number(given["start"], slot.start), _number(given["size"], slot.size))
        if slot.start < 0 or slot.size < 8192 or (slot.start | slot.size) % 4096:
            raise click.UsageError("--start and --size go by sectors of 4096 bytes, and a slot has two at least")
    read = {name: given[name].read_bytes() if given[name] else None for name in ("bootloader", "key")}
    options = packer.Options(
        slot, read["bootloader"], given["keep_fuses"], read["key"], given["version"], given["base"], given["product"]
    )
    made = packer.build(file.read_bytes(), options, file.stem)
    image = f"{file.stem}.bin"
    left: list[int] = []
    if options.number is not None:
        new = packer.entry(image, made[image], options)
        made["manifest.json"], left = packer.manifest(out / "manifest.json", new, given["limit"])
    inputs = [file, *(given[name] for name in ("bootloader", "key") if given[name])]
    _write(out, made, inputs)
    _tell(out, made, image, as_json, left)
    _left_out(left, given["limit"])
    if options.key and not as_json:
        from mpota_host.command import show

        show.say(f"service_key  {packer.public(options.key).hex()}")
        if options.number is not None and not options.product:
            show.note("the number is not signed: give --product, or set `vendor_manifest` on the boards")


@group.command(short_help="Take a release back in manifest.json.")
@click.argument("number", type=click.IntRange(1, 999))
@click.option("--key", type=FILE, help="The P-256 private key in PEM that signs the releases.")
@product_option
@limit_option
@out_option
@as_json
def withdraw(number: int, key: Path | None, product: str, limit: int, out: Path, as_json: bool) -> None:
    """Replace the offer of NUMBER in manifest.json: boards that run it go back, and no other takes it."""
    from mpota_host.chips.pic32 import hexfile, packer
    from mpota_host.command import show

    pem = key.read_bytes() if key else None
    options = packer.Options(hexfile.slot_of("3.7"), key=pem, number=number, product=product)
    data, left = packer.withdrawn(out / "manifest.json", options, limit)
    _write(out, {"manifest.json": data}, [key] if key else [])
    if as_json:
        return show.facts({"file": str(out / "manifest.json"), "size": len(data), "left_out": left})
    show.say(f"{out / 'manifest.json'}  {len(data):,} bytes")
    _left_out(left, limit)
    if not (key and product):
        show.note("the withdrawal is not signed: only boards with `bare` or `vendor_manifest` heed it")


@group.command(short_help="Give a virtual board a bootloader that checks signatures.")
@click.argument("board", type=FILE)
@click.option(
    "--key", type=FILE, required=True, help="The P-256 key, private or public, that its images are signed by."
)
@as_json
def lock(board: Path, key: Path, as_json: bool) -> None:
    """Build the bootloader of the virtual board in BOARD with a key: it starts no image without its signature."""
    from mpota_host.chips.pic32 import packer
    from mpota_host.chips.pic32.sim import machine
    from mpota_host.command import show

    public = packer.public(key.read_bytes())
    machine.lock(board, public)
    if as_json:
        return show.facts({"board": str(board), "boot_key": public.hex()})
    show.say(f"boot_key  {public.hex()}")
    show.note("set `boot_key` in the board's mpota.json, and it refuses what its bootloader would not start")


def _write(out: Path, made: dict[str, bytes], inputs: Sequence[Path]) -> None:
    from mpota_host.chips.pic32.inspector import explain

    want_own([out / name for name in made], "file of an earlier release", lambda data: bool(explain(data)), inputs)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (out / name).write_bytes(data)


def _left_out(left: list[int], limit: int) -> None:
    from mpota_host.chips.pic32.packer import room
    from mpota_host.command import show

    if left:
        numbers = ", ".join(map(str, left))
        show.note(f"boards read {room(limit):,} bytes of manifest.json: left the oldest offers out, {numbers}")


def _tell(out: Path, made: dict[str, bytes], image: str, as_json: bool, left: list[int]) -> None:
    from hashlib import sha256

    from mpota_host.command import show

    digest = sha256(made[image]).hexdigest()
    if as_json:
        facts = {"files": {str(out / name): len(data) for name, data in made.items()}, "Digest": digest}
        show.facts(facts | {"left_out": left})
        return
    for name, data in made.items():
        show.say(f"{out / name}  {len(data):,} bytes")
    show.say(f'"Digest":"{digest}"')


def _number(text: str | None, default: int) -> int:
    if not text:
        return default
    try:
        return int(text, 0)
    except ValueError:
        raise click.UsageError(f"{text!r} is no number, e.g. 0x10020000 is one") from None
