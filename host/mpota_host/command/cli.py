"""The command line: keys, packages, serving and pushing them, and what a board says.

Every error is one sentence on standard error that says what to do, and an exit status that stays: see EXIT. Commands
import what they need when they run, so that `--help` needs nothing.
"""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path
from typing import Any

import click

from mpota_boot.errors import Corrupt, FlashError, LinkError, NotNow, OtaError, Refused, UpToDate
from mpota_host import __version__
from mpota_host.board.repl import WITH_BOARD
from mpota_host.command import needs
from mpota_host.command.groups import Main, Ours, as_json
from mpota_host.command.keys import group as keys_group
from mpota_host.package.report import harmless
from mpota_host.registry import having, part_of
from mpota_host.sim.ports.table import SUPPORTED
from mpota_host.sources import DEVICE

# Exit status by what the caller should do next; 2 is click's own, for a command that was typed wrong.
EXIT: dict[type[OtaError], int] = {Refused: 3, LinkError: 4, Corrupt: 5, FlashError: 6, NotNow: 7, UpToDate: 0}
FILE_TROUBLE = 1
# What the board runs for `push`.
PUSH = WITH_BOARD + "console.push(Board())"
INTERRUPTED = 128 + signal.SIGINT
NAME = "mpota"

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(exists=True, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)

port_option = click.option("--port", required=True, help="The board's serial port, e.g. /dev/ttyUSB0.")
tool_option = click.option(
    "--tool", type=click.Choice(["mpremote", "ampy"]), default="mpremote", show_default=True, help="What talks to it."
)
LAYOUTS = sorted(path.parent.name for path in (DEVICE / "mpota/layout").glob("*/__init__.py"))
layout_option = click.option(
    "--layout", type=click.Choice(LAYOUTS), default="esp32", show_default=True, help="How the board keeps its images."
)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=NAME)
def cli() -> None:
    """Signed updates of firmware and applications for boards that run MicroPython."""


@cli.command(short_help="Make a key pair, or a device key.")
@click.argument("path", type=OUT)
@click.option("--device", is_flag=True, help="Make a device key instead: packages are encrypted for it.")
@as_json
def keygen(path: Path, device: bool, as_json: bool) -> None:
    """Make a key pair: PATH is the private key, PATH with .pub what boards trust."""
    from mpota_host.command import show
    from mpota_host.package import keys

    if device:
        return keygen_device(path, as_json)
    try:
        public = keys.public_bytes(keys.generate(path))
    except FileExistsError as e:
        raise Refused("exists", f"{e.filename} exists and is not overwritten; boards may trust it") from None
    pub = keys.public_path(path)
    ident = keys.key_id(public).hex()
    if as_json:
        show.facts({"private": str(path), "public": str(pub), "id": ident})
        return
    show.say(f"{path}  the private key {ident}: keep it secret and keep a copy")
    show.say(f"{pub}  its public half: `mpota flash --key {pub}` puts it on a board")


def keygen_device(path: Path, as_json: bool) -> None:
    """A key that one board or a fleet holds; it is told by its id alone."""
    from mpota_host.command import show
    from mpota_host.package.encode import encrypt

    try:
        ident = encrypt.key_id(encrypt.generate(path)).hex()
    except FileExistsError:
        raise Refused("exists", f"{path} exists and is not overwritten; boards may hold it") from None
    if as_json:
        show.facts({"device_key": str(path), "id": ident})
        return
    show.say(f"{path}  the device key {ident}: keep it secret and keep a copy")
    show.note(f"`mpota flash --device-key {path}` puts it into a board, `pack --encrypt-for {path}` uses it")


cli.add_command(keys_group, "keys")


@cli.command(cls=Ours, short_help="Make signed packages of firmware, files or both.")
@click.argument("image", metavar="[FIRMWARE]", type=FILE, required=False)
@click.option("--firmware", type=FILE, help="The same as the argument: an application or a merged image.")
@click.option("--app", type=FOLDER, help="The folder of your application's files.")
@click.option("--resource", "resources", metavar="NAME=FILE", multiple=True, help="A large file of the application.")
@click.option(
    "--mpy", metavar="ARCH", help="Compile Python to .mpy: xtensawin, armv6m ..., or none for bytecode alone."
)
@click.option("--mpy-version", default="6.3", show_default=True, help="The .mpy version that the boards load.")
@click.option("--updater", is_flag=True, help="Put mpota itself into the package, for --layout and --mpy.")
@click.option("--payload", is_flag=True, help="The firmware boots without mpota, as a test's may.")
@click.option("--port", help="A board to ask for its --mpy and --mpy-version.")
@click.option(
    "--base", "bases", type=PATH, multiple=True, help="What boards run now: firmware, folder or package; adds a delta."
)
@click.option("--device-key", "device_keys", type=FILE, multiple=True, help="Opens a base that is encrypted.")
@click.option("--key", type=FILE, help="The private key that signs; with --request its public half.")
@click.option("--request", is_flag=True, help="The key is elsewhere: write PACKAGE.request for `keys sign`.")
@click.option("--keys-record", type=FILE, help="A keys record for boards with roots, in front of the package.")
@click.option("--unsigned", is_flag=True, help="Do not sign; only a board wired to take unsigned packages takes it.")
@click.option("--product", required=True, help="What the package is for; a board compares it with its own.")
@click.option("--version", required=True, help="1.2.3 or 1.2.3.4.")
@layout_option
@click.option(
    "--room",
    type=click.Choice(["4", "8", "16"]),
    default="4",
    show_default=True,
    help="KiB that the boards have for a stored chunk, the setting `room`.",
)
@click.option(
    "--channel", default="", help="Only boards with this setting `channel` take it; boards without take none."
)
@click.option("--needs", default="", metavar="VERSION", help="What must run before: a release that no board may skip.")
@click.option("--needs-firmware", default="", metavar="VERSION", help="The oldest firmware for an application alone.")
@click.option("--needs-boot", default=0, metavar="NUMBER", help="The lowest number of mpota_boot.")
@click.option(
    "--compress",
    type=click.Choice(["auto", "none", "deflate", "lzma"]),
    default="auto",
    show_default=True,
    help="auto: for each component whatever is smallest.",
)
@click.option(
    "--decodes", default="", help="What auto may use: +lzma is what `flash` gives a board and LZMA, -xtensa is less."
)
@click.option(
    "--encrypt-for", type=FILE, multiple=True, help="A device key; only boards that hold one given here can read it."
)
@click.option("-o", "--out", type=OUT, help="The package; PRODUCT-VERSION.mpota by default. A delta adds -from-BASE.")
@as_json
def pack(image: Path | None, key: Path | None, unsigned: bool, out: Path | None, as_json: bool, **given: Any) -> None:
    """Sign FIRMWARE, the application of --app, or both into a package, and a delta for each --base."""
    from mpota_host.command import pack as packing

    if (key is None) != unsigned:
        raise click.UsageError("give --key FILE to sign the package, or --unsigned.")
    if unsigned and (given["request"] or given["keys_record"]):
        raise click.UsageError("--request and --keys-record are for packages that a key signs: give --key FILE.")
    if image and given["firmware"]:
        raise click.UsageError("give FIRMWARE once: as the argument or as --firmware.")
    if given["bases"]:
        needs.extra("hdiffpatch", "--base")
    inputs = packing.inputs(image or given["firmware"], given)
    options = packing.options(given)
    out = out or Path(f"{options.product}-{options.version}.mpota")
    read = [*inputs.files(), *([key] if key else []), *given["encrypt_for"]]
    # A delta takes its time, so this is asked before it too.
    packing.want_packages([out], read)
    made = packing.make(inputs, options, key, packing.way(given["request"], given["keys_record"]))
    paths = packing.write(made, out, read)
    packing.tell(made, paths, as_json)


@cli.command(cls=Ours, short_help="Tell what a file is.")
@click.argument("file", type=PATH)
@as_json
def inspect(file: Path, as_json: bool) -> None:
    """Tell what FILE is: a package, an image, a merged image, a table, otadata, a flash dump, a vendor's file.

    Of a folder, such as a vendor's image store, it tells what the files together are.
    """
    from mpota_host.command import show
    from mpota_host.package.read import explain, explain_folder

    report = explain_folder(file) if file.is_dir() else explain(file.read_bytes())
    show.report(report, as_json)
    if not report.ok:
        sys.exit(EXIT[Corrupt])


def _want_key(ctx: click.Context, param: click.Parameter, given: Any) -> Any:
    """A key to hold a file to is missing only where no root is given; what is typed comes before what is not."""
    if not given and not ctx.params.get("root_files"):
        raise click.MissingParameter(ctx=ctx, param=param)
    return given


@cli.command(cls=Ours, reads=True, short_help="Check a package as a board does.")
@click.argument("file", type=FILE)
@click.option("--key", "key_files", type=FILE, multiple=True, callback=_want_key, help="A key that the board trusts.")
@click.option("--root", "root_files", type=FILE, multiple=True, help="A root of the board, for a keys record in FILE.")
@click.option("--threshold", type=click.IntRange(1, 8), help="How many roots must sign it; all by default.")
@click.option("--product", help="The board's product.")
@click.option("--device-key", "device_keys", type=FILE, multiple=True, help="A device key that the board holds.")
@click.option("--base", "olds", type=PATH, multiple=True, help="What the board runs: firmware, folder or package.")
@as_json
def verify(
    file: Path,
    product: str | None,
    device_keys: tuple[Path, ...],
    olds: tuple[Path, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Check FILE as a board does: keys record, signature, every chunk, the image and the files inside."""
    from mpota_host.command import show
    from mpota_host.package import bases, keys
    from mpota_host.package.encode import encrypt
    from mpota_host.package.read import package_facts, want_package
    from mpota_host.package.verify import BoardFacts, judge

    data = file.read_bytes()
    _want_trust(given, data)
    if not given["root_files"]:
        want_package(data)
    secrets = [encrypt.load(path) for path in device_keys]
    layout = str(package_facts(data)["layout"]) if olds else ""
    held = [bases.load(path, layout, None, secrets).contents for path in olds]
    trusted, roots = ([keys.load_public(path) for path in given[name]] for name in ("key_files", "root_files"))
    more = held if olds else None
    report = judge(data, BoardFacts(trusted, product, secrets, more, roots, given["threshold"] or 0))
    show.report(report, as_json)
    if report.facts.get("note") and not as_json:
        show.note(str(report.facts["note"]))
    if not report.ok:
        sys.exit(next(status for cls, status in EXIT.items() if cls.__name__ == report.facts["class"]))


def _want_trust(given: dict[str, Any], data: bytes) -> None:
    """A usage error unless a key or a root is given to hold a file to."""
    from mpota_host.package.format import RECORD

    if not given["key_files"] and not (given["root_files"] and data.startswith(RECORD)):
        raise click.UsageError(
            "give --key FILE, a key that the board trusts; or --root FILE for a keys record in FILE."
        )
    if given["threshold"] and not given["root_files"]:
        raise click.UsageError("--threshold says how many of the roots must sign: give each --root too.")


@cli.command(short_help="Offer a folder of packages over HTTP.")
@click.argument("folder", type=FOLDER, default=".")
@click.option("--host", default="0.0.0.0", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def serve(folder: Path, host: str, port: int) -> None:
    """Offer the packages of FOLDER over HTTP: writes manifest.json and serves both, until Ctrl-C."""
    from mpota_host.command import show
    from mpota_host.package import serve as server

    entries, notes = server.offers(folder)
    server.write_manifest(folder, entries)
    for line in notes:
        show.note(line)
    for entry in entries:
        show.say(f"{entry['product']} {entry['version']} for {entry['layout']}: {entry['file']}")

    def began(_: str) -> None:
        for url in server.urls(host, port):
            show.say(url)
        show.note("Ctrl-C stops")

    server.serve(folder, host, port, show.note, began)


@cli.command(cls=Ours, reads=True, short_help="Install a package on the board at a port.")
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@port_option
@click.option("--baud", type=int, default=115200, show_default=True)
@as_json
def push(files: tuple[Path, ...], port: str, baud: int, as_json: bool) -> None:
    """Install a package on the board at PORT. Ctrl-C stops; pushing again resumes.

    Of several FILES, deltas and the full package of one version, the smallest that the board takes.
    """
    from mpota_host.board import several
    from mpota_host.command import show

    said = several.push(files, lambda one: send(one, port, baud), show.note)
    if as_json:
        show.facts({"code": said.code, "text": said.text, "file": str(said.file)})
    elif status_of(said.code) == 0:
        show.say(f"{said.code}: {said.text}")
        if said.code == "armed":
            for line in NEXT.splitlines():
                show.note(line)
    else:
        show.note(f"mpota: the board says: {said.text}")
    sys.exit(status_of(said.code))


def send(one: Any, port: str, baud: int) -> Any:
    """One package over the console; the board's report."""
    from mpota_host.board.errors import PushError
    from mpota_host.board.push import Sender
    from mpota_host.board.push import push as speak
    from mpota_host.command import show
    from mpota_host.package.format import SECTOR

    with show.progress(f"push {one.file.name}", one.installed, SECTOR) as step:
        try:
            said = speak(port, Sender(one.data, on_update=step), baud, PUSH)
        except PushError as e:
            if e.code in ("port", "silent") and step.began:
                raise LinkError(e.code, f"the link was lost ({e}); push again, it goes on where it was") from e
            raise LinkError(e.code, str(e)) from e
    if said is None:
        raise LinkError("silent", "the board gave no report; push again to resume")
    return said


NEXT = """the board restarts now and runs what is new on trial
with a manifest it decides by itself; without one, `confirm` keeps it, else it is given up in 10 minutes"""

# The codes of a board's report by their class; a chip's own are in its codes.py. A test holds both to what device/
# raises. A code that is in neither was refused.
CODES: dict[type[OtaError], tuple[str, ...]] = {
    LinkError: (
        *("link", "gone", "short", "aborted", "http", "manifest", "portal", "tls", "slow", "url", "late"),
        *("clock", "headers", "network"),
        *("OSError", "MemoryError"),
    ),
    Corrupt: ("chain", "chunk", "decode", "image"),
    FlashError: ("flash", "bounds", "readback", "align", "arm", "journal", "tree", "keys"),
    NotNow: ("trial", "staged", "rollback", "later"),
    UpToDate: ("current",),
}
GOOD = ("armed", "confirmed", "none")


def status_of(code: str) -> int:
    """The exit status that goes with the code of a board's report."""
    if code in GOOD:
        return 0
    for known in (CODES, *(part_of(chip, "codes").CODES for chip in having("codes"))):
        for cls, codes in known.items():
            if code in codes:
                return EXIT[cls]
    return EXIT[Refused]


@cli.command(short_help="What runs, what is on trial, what failed and why.")
@port_option
@tool_option
@as_json
def status(port: str, tool: str, as_json: bool) -> None:
    """What runs on the board, what boots next, what is on trial, what failed and why."""
    from mpota_host.board.status import ask_status
    from mpota_host.command import show

    show.report(ask_status(port, tool), as_json)


@cli.command(short_help="Keep what is on trial.")
@port_option
@tool_option
def confirm(port: str, tool: str) -> None:
    """Confirm by hand the image that runs."""
    from mpota_host.board.status import tell
    from mpota_host.command import show

    show.say(tell(port, tool, "confirm"))


@cli.command(short_help="Go back to the one before.")
@port_option
@tool_option
@click.option("--forget", is_flag=True, help="Only forget what failed, so that the same package may be tried again.")
def rollback(port: str, tool: str, forget: bool) -> None:
    """Go back to the image before: end a trial, or put the image before on trial."""
    from mpota_host.board.status import tell
    from mpota_host.command import show

    show.say(tell(port, tool, "forget" if forget else "rollback"))


@cli.command(short_help="Start a virtual board and print its port.")
@layout_option
@click.option(
    "--flash", type=OUT, default=Path("build/board.bin"), show_default=True, help="The file that is its flash."
)
@click.option("--firmware", type=FILE, help="The image of a new board; the real one of the demo by default.")
@click.option("--rollback/--no-rollback", default=True, show_default=True, help="Its bootloader can go back.")
@click.option("--idf", default="5.5.2", show_default=True, help="The ESP-IDF version of its firmware, or master.")
@click.option("--blank", is_flag=True, help="A new board has MicroPython alone, for `flash`.")
@click.option("--line", type=click.Choice(["uart", "usb"]), help="Its line and its flash take a chip's time.")
@click.option("--like", type=click.Choice(SUPPORTED), help="The port whose answers a new board gives.")
def board(
    layout: str,
    flash: Path,
    firmware: Path | None,
    rollback: bool,
    idf: str,
    blank: bool,
    line: str | None,
    like: str | None,
) -> None:
    """Start a virtual board and print its port, for mpremote, ampy, push and flash."""
    needs.virtual_board("board")
    from mpota_host.sim.board import is_board, run_board
    from mpota_host.sim.supervisor import BoardError, Options

    if flash.exists() and not is_board(flash):
        raise Refused("flash", f"{flash} is not the whole flash of a board; give --flash a file that is not there yet")
    try:
        options = Options(rollback=rollback, app_rollback=rollback, idf=idf, line=line or "")
        if like not in (None, "esp32") and layout == "esp32":
            # No other port has an ESP32's partitions.
            layout = "files"
        run_board(flash, layout, firmware, options, blank=blank, like=like or "")
    except BoardError as e:
        raise Refused("board", str(e)) from e


@cli.command(short_help="Write what a chip's guide uses: images, keys, a virtual board.")
@click.argument("chip", type=click.Choice(having("sample")))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@as_json
def sample(chip: str, folder: Path, as_json: bool) -> None:
    """Write into FOLDER, new or empty, what the guide of CHIP uses, and say what to type next."""
    needs.virtual_board("sample")
    from mpota_host.command import sample as maker
    from mpota_host.command import show

    made = maker.write(chip, folder)
    if as_json:
        return show.facts({"chip": chip, "folder": str(folder), "files": made.files, "next": made.commands})
    for name, size in made.files.items():
        show.say(f"{folder / name}  {size:,} bytes")
    for line in ("", "Type next, with `board` in a window of its own; $PORT is the port that it prints:", ""):
        show.say(line)
    for command in made.commands:
        show.say(f"  {command}")


@cli.command(short_help="Cut the power everywhere in an update's life.")
@click.option("--layout", default="esp32", show_default=True)
@click.option("--depth", type=click.IntRange(1), default=2, show_default=True, help="Cuts in cuts, none left out.")
@click.option("--seed", type=int, default=0, show_default=True, help="What torn operations draw from.")
@click.option("--image", type=FILE, help="Sample the update to a firmware of your own instead.")
@click.option("--table", type=FILE, help="With --image: your partition table, binary.")
@click.option("--replay", metavar="ID", help="One state again, by the name that a report gave it.")
@click.option("--processes", type=click.IntRange(0), default=0, help="Kill a virtual board in so many updates instead.")
@click.option("--page", type=OUT, help="Write the map of the cuts, for a browser.")
@as_json
def cut(layout: str, depth: int, seed: int, replay: str | None, page: Path | None, as_json: bool, **given: Any) -> None:
    """Cut the power everywhere in an update's life, and show that every seeded bug is found."""
    (needs.virtual_board if given["processes"] else needs.unix)("cut")
    from mpota_host.command import cut as command
    from mpota_host.command import show
    from mpota_host.cut import report
    from mpota_host.package.output import want_own

    if given["table"] and not given["image"]:
        raise click.UsageError("--table is the partition table of a board of your own: give its --image too")
    if page:
        want_own([page], "page of this command", lambda data: b"<title>mpota power campaign" in data[:200])
    notes: list[str] = []
    if given["processes"]:
        made = command.processes(layout, given["processes"], seed)
    elif replay:
        made, notes = command.replay(layout, replay, seed, given["image"], given["table"])
    elif given["image"]:
        made = command.sample(layout, given["image"], given["table"], seed)
    else:
        made = command.run(layout, depth, seed)
    if as_json:
        show.facts(made.facts())
    else:
        for line in report.lines(made) + notes:
            show.say(line)
    if page:
        command.write_page(made, page)
    sys.exit(0 if made.good else EXIT[FlashError])


@cli.command(short_help="Put mpota on a board.")
@port_option
@tool_option
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--product", help="What the board is; for /mpota.json of a board that has none.")
@click.option("--manifest", help="The URL of the manifest that it asks for updates.")
@click.option("--key", "key_files", type=FILE, multiple=True, help="A public key that it trusts; may be given twice.")
@click.option("--root", "root_files", type=FILE, multiple=True, help="A public root key: keys that can be replaced.")
@click.option("--threshold", type=click.IntRange(1, 8), help="How many roots must sign a keys record; all by default.")
@click.option("--keys-record", type=FILE, help="The keys record that says which release keys count; `mpota keys`.")
@click.option(
    "--wifi", multiple=True, help="The name of a Wi-Fi to join; asks for its password. Keeps both in the board's NVS."
)
@click.option(
    "--device-key", "device_keys", type=FILE, multiple=True, help="A device key for it to hold, beside those it has."
)
@click.option("--replace-device-keys", is_flag=True, help="Hold the device keys given here and no other.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="How the board keeps its images; that of its /mpota.json by default, else esp32.",
)
@click.option("--lzma", is_flag=True, help="Put the decoder of LZMA on it too: smaller packages, more heap.")
@click.option("--force", is_flag=True, help="Replace a boot.py and main.py of your own too; not for a vendor's layout.")
@as_json
def flash(port: str, tool: str, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Put mpota on the board at PORT, compiled for it; leaves your own files, settings and keys alone."""
    from mpota_host.board import flash as flasher
    from mpota_host.board.repl import open_board
    from mpota_host.command import show
    from mpota_host.package.encode import encrypt

    wishes = _wishes(given)
    secrets = [encrypt.load(path) for path in given["device_keys"]]
    if given["replace_device_keys"] and not secrets:
        raise click.UsageError("--replace-device-keys needs the keys to hold: --device-key FILE")
    held: dict[str, str] = {}
    wifi = [] if dry_run else [(name, password(name)) for name in given["wifi"]]
    flasher.networks(wifi)
    after = None
    with open_board(port, tool) as repl:
        plan = flasher.make_plan(repl, wishes)
        if not as_json:
            show.planned(flasher.sentence(plan), flasher.as_table(plan) if plan.listed() else None)
        if dry_run:
            show.note("nothing was changed: this was a dry run")
        else:
            held, after = _flash(repl, plan, wifi, (secrets, given["replace_device_keys"]))
    if as_json:
        show.facts({**flasher.as_facts(plan), "device_keys": held, "status": after and after.facts})
    elif after:
        show.flashed(held, after)


def _wishes(given: dict[str, Any]) -> Any:
    """What `flash` was asked for."""
    from mpota_host.board import flash as flasher
    from mpota_host.package import keys

    trusted = {path.stem: keys.load_public(path) for path in given["key_files"]}
    roots = _roots(given)
    settings = {**flasher.first_settings(given["product"], given["manifest"]), **roots.settings()}
    return flasher.FlashOptions(settings, trusted, given["layout"] or "", given["force"], given["lzma"], roots)


def _roots(given: dict[str, Any]) -> Any:
    """The roots of a board, their threshold and the first record, judged as far as a host can."""
    from mpota_host.board import roots as rooted
    from mpota_host.package import keys, record

    if given["root_files"] and given["key_files"]:
        raise click.UsageError("with --root the keys record says which keys count: leave --key off.")
    if given["threshold"] and not given["root_files"]:
        raise click.UsageError("--threshold says how many of the roots must sign: give each --root too.")
    path = given["keys_record"]
    data = record.split(path.read_bytes())[0] if path else b""
    if path and not data:
        raise Refused("record", f"{path} is no keys record; `mpota keys record` makes one")
    public = {one.stem: keys.load_public(one) for one in given["root_files"]}
    found = rooted.Roots(public, given["threshold"] or 0, data)
    rooted.want(found, given["product"])
    return found


def _flash(repl: Any, plan: Any, wifi: list[tuple[str, str]], keys: tuple[list[bytes], bool]) -> tuple[Any, Any]:
    """Write the plan, then what goes into NVS: (the device keys that the board holds, by id; its status)."""
    from mpota_host.board import flash as flasher
    from mpota_host.board import roots
    from mpota_host.board.status import read
    from mpota_host.command import show

    with show.progress("copy", sum(len(c.data) for c in plan.todo())) as step:
        flasher.apply(repl, plan, step)
    repl.restart()
    if any(change.path == roots.COMES for change in plan.todo()):
        roots.give(repl, plan.facts.at(roots.COMES))
    if wifi:
        flasher.set_wifi(repl, *wifi[0], *wifi[1:])
    held = flasher.set_device_keys(repl, *keys) if keys[0] else {}
    return held, read(repl)


@cli.command(short_help="Make folders that `mip install` takes.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--arch", "arches", multiple=True, help="xtensawin, armv6m ..., none for bytecode alone; all by default.")
@layout_option
@click.option("--lzma", is_flag=True, help="With the decoder of LZMA: smaller packages, more heap.")
@click.option("--mpy-version", default="6.3", show_default=True, help="The .mpy version that the boards load.")
@as_json
def mip(folder: Path, arches: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Make, in FOLDER, a folder for each kind of processor that stock `mip install` takes from any web server.

    `import mpota.setup` on the board then writes boot.py, main.py and wiring.py, and says what is still missing.
    """
    from mpota_host.command import mip as maker
    from mpota_host.command import show

    for arch in arches:
        if arch not in maker.ARCHES:
            raise click.BadParameter(f"{arch!r}, known are {', '.join(maker.ARCHES)}", param_hint="'--arch'")
    made = maker.write(folder, arches, maker.MipOptions(**given))
    if as_json:
        return show.facts([{**vars(one), "folder": str(one.folder)} for one in made])
    for one in made:
        show.say(f"{one.folder}  {one.files} files, {one.size:,} bytes")
    show.note(maker.NEXT.format(folder=folder, arch=maker.example(made)))


@cli.command(short_help="Print the script by which a shell completes mpota.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes mpota: eval "$(mpota completion bash)"."""
    from mpota_host.command.completion import script

    click.echo(script(cli, NAME, shell))


def password(name: str = "") -> str:
    """That of a Wi-Fi, unseen at a terminal, else the next line of standard input."""
    if sys.stdin.isatty():
        return str(
            click.prompt(f"Wi-Fi password {name}".strip(), hide_input=True, default="", show_default=False, err=True)
        )
    line = sys.stdin.readline()
    if not line:
        raise click.UsageError("--wifi asks for a password: run it in a terminal, or give it a line of standard input.")
    return line.rstrip("\r\n")


def main(args: list[str] | None = None) -> None:
    """Run a command and exit; one sentence for everything that a person can put right."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows ASCII only gets a question mark for what it cannot show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        cli(args, prog_name=NAME, standalone_mode=False)
    except click.ClickException as e:
        shown = io.StringIO()
        e.show(shown)
        for line in shown.getvalue().rstrip("\n").split("\n"):
            click.echo(harmless(line), err=True)
        sys.exit(e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        words = sys.argv[1:] if args is None else args
        kept = "; what the board has is kept, the same command goes on from there" if "push" in words[:2] else ""
        click.echo(f"\nmpota: stopped by Ctrl-C{kept}", err=True)
        sys.exit(INTERRUPTED)
    except OtaError as e:
        click.echo(f"mpota: {harmless(str(e))}", err=True)
        sys.exit(next(status for cls, status in EXIT.items() if isinstance(e, cls)))
    except OSError as e:
        click.echo(harmless(f"mpota: {e.filename or 'the system'}: {e.strerror or e}"), err=True)
        sys.exit(FILE_TROUBLE)
