"""The command `pack`: reads what it was given, has the packages made, names and writes them, and says what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpota_boot import shim
from mpota_boot.errors import Refused
from mpota_host.board import carried, flash
from mpota_host.board.repl import open_board
from mpota_host.command import show
from mpota_host.package import bases, keys, record
from mpota_host.package import format as fmt
from mpota_host.package.choose import DECODES, decoders
from mpota_host.package.content.app import Compiler, Tree, tree, updaters
from mpota_host.package.content.modules import ARCHES, want_loadable, want_unhidden
from mpota_host.package.encode import encrypt
from mpota_host.package.output import want_own
from mpota_host.package.pack import Options, Packed, goods, packages
from mpota_host.package.read import room_note
from mpota_host.package.report import Table
from mpota_host.package.signing import apart, request
from mpota_host.registry import bare, part_of

# What MicroPython 1.23 and later load.
MPY = "6.3"
BYTECODE = "none"
# What `import app` finds at the board.
APPS = {"app.py", "app.mpy", "app/__init__.py", "app/__init__.mpy"}


@dataclass
class Inputs:
    """Files and folders of one call; `mpy` is an architecture, `none` for bytecode alone, "" for source."""

    firmware: Path | None = None
    folder: Path | None = None
    resources: dict[str, Path] = field(default_factory=dict)
    bases: tuple[Path, ...] = ()
    device_keys: tuple[Path, ...] = ()
    mpy: str = ""
    mpy_version: str = MPY
    # Need the firmware not run mpota?
    payload: bool = False
    # Does mpota itself go along?
    updater: bool = False

    def files(self) -> list[Path]:
        """What is read, folders left out."""
        return [*([self.firmware] if self.firmware else []), *self.resources.values(), *self.bases, *self.device_keys]

    def compiler(self) -> Compiler | None:
        """What makes .mpy of Python, if anything does."""
        known = (BYTECODE, *ARCHES[1:])
        if self.mpy and self.mpy not in known:
            raise Refused("mpy", f"--mpy {self.mpy!r}, known are {', '.join(known)}; --port asks a board")
        arch = "" if self.mpy == BYTECODE else self.mpy
        return (lambda source, name: flash.compile_source(source, name, arch, self.mpy_version)) if self.mpy else None


def resource(text: str) -> tuple[str, Path]:
    """NAME=FILE."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise Refused("resource", f"--resource {text!r}, wanted NAME=FILE, for example logo.bin=art/logo.bin")
    return name, Path(path)


def inputs(firmware: Path | None, given: dict[str, Any]) -> Inputs:
    """What goes in, by the options of the command; a board at --port says what it takes."""
    if given["port"]:
        arch, given["mpy_version"] = ask_board(given["port"])
        given["mpy"] = given["mpy"] or arch
    return Inputs(
        firmware,
        given["app"],
        resources(given["resources"]),
        given["bases"],
        given["device_keys"],
        given["mpy"] or "",
        given["mpy_version"],
        given["payload"],
        given["updater"],
    )


def options(given: dict[str, Any]) -> Options:
    """What the package is for, by the options of the command."""
    same = ("product", "version", "layout", "compress", "channel", "needs", "needs_firmware")
    return Options(
        room=int(given["room"]) * 1024,
        encrypt_for=tuple(encrypt.load(path) for path in given["encrypt_for"]),
        decodes=decoders(given["decodes"]) if given["decodes"] else DECODES,
        # A copy of mpota runs on the mpota_boot that it was written beside.
        needs_boot=given["needs_boot"] or (shim.NUMBER if given["updater"] else 0),
        **{name: given[name] for name in same},
    )


def resources(given: Sequence[str]) -> dict[str, Path]:
    """The resources by name."""
    named = [resource(text) for text in given]
    twice = [name for i, (name, _) in enumerate(named) if name in dict(named[:i])]
    if twice:
        raise Refused("resource", f"--resource {twice[0]!r} is given twice")
    return dict(named)


def ask_board(port: str) -> tuple[str, str]:
    """(architecture, .mpy version) of the board at a port."""
    with open_board(port) as repl:
        facts = flash.ask_facts(repl)
    return facts.arch or BYTECODE, facts.mpy


@dataclass(frozen=True)
class Way:
    """How a package is signed besides: by a key that is elsewhere, behind a keys record."""

    apart: bool = False
    record: bytes = b""

    def signer(self, key: Path | None) -> keys.Signer | None:
        """What signs, or stands in for it; Refused where the record in front does not have that key."""
        if not key:
            return None
        found = keys.Apart(keys.load_public(key)) if self.apart else keys.load_private(key)
        public = keys.public_bytes(found)
        if self.record and public not in record.fields(self.record).release:
            ident = keys.key_id(public).hex()
            raise Refused("key", f"the keys record does not have key {ident} as a release key: boards would refuse it")
        return found

    def lead(self, made: list[Packed], product: str) -> list[Packed]:
        """The packages with the record in front."""
        if not self.record:
            return made
        said = record.fields(self.record)
        if said.product not in ("", product):
            raise Refused("product", f"the keys record is for product {said.product!r}, the package for {product!r}")
        for one in made:
            one.data = self.record + one.data
            one.facts |= {"size": len(one.data), "keys_record": said.serial}
        return made


def way(apart: bool, path: Path | None) -> Way:
    """What the options of the command say."""
    front = record.split(path.read_bytes())[0] if path else b""
    if path and not front:
        raise Refused("record", f"{path} is no keys record; `mpota keys record` makes one")
    return Way(apart, front)


def make(inputs: Inputs, options: Options, key: Path | None, way: Way | None = None) -> list[Packed]:
    """The packages, the full one first."""
    way = way or Way()
    compiler = inputs.compiler()
    content = {name: path.read_bytes() for name, path in inputs.resources.items()}
    listed = {name: data for name, data in content.items() if not bare(options.layout, name, data)}
    own = updater(inputs, options)
    files = tree(inputs.folder, listed, compiler, updater=own) if inputs.folder or listed else None
    if files:
        judge(files, inputs, options.layout)
    firmware = inputs.firmware.read_bytes() if inputs.firmware else None
    given = goods(options.layout, firmware, files, content)
    if firmware and not inputs.payload:
        goes_on(options.layout, given.contents[0].data)
    held = [encrypt.load(path) for path in inputs.device_keys] + list(options.encrypt_for)
    old = [bases.load(path, options.layout, compiler, held) for path in inputs.bases]
    made = packages(given, options, way.signer(key), bases.distinct(old, [one.place for one in given.contents]))
    if content and any(path.is_dir() for path in inputs.bases):
        made[0].notes.append(
            "a folder as --base has no resources and no --updater: where the old application had them, give its package"
        )
    if room_note(options.room):
        made[0].notes.append(room_note(options.room))
    return way.lead(made, options.product)


def judge(files: Tree, inputs: Inputs, layout: str) -> None:
    """Refused where boards could not load a file, or would load it in place of another; notes for a person."""
    want_unhidden((row.path for row in files.rows), carried.imported(layout))
    want_loadable(files.files, inputs.mpy_version, "" if inputs.mpy == BYTECODE else inputs.mpy)
    if inputs.folder and not APPS & {row.path for row in files.rows}:
        files.notes.append(f"there is no app.py in {inputs.folder}: boards have nothing to run of this application")
    own = updaters(files.rows)
    if own:
        size = sum(row.size for row in own)
        files.notes.append(f"mpota itself goes along: {len(own)} modules of {size:,} bytes, for layout {layout}")


def updater(inputs: Inputs, options: Options) -> dict[str, bytes]:
    """The modules of mpota that go along, compiled for the boards; none without --updater."""
    if not inputs.updater:
        return {}
    if not inputs.folder:
        raise Refused("updater", "--updater adds mpota to an application, which a package replaces whole: give --app")
    if not inputs.mpy:
        raise Refused("updater", "--updater brings compiled modules: give the --mpy of the boards, or a --port to ask")
    arch = "" if inputs.mpy == BYTECODE else inputs.mpy
    return flash.updater(options.layout, arch, inputs.mpy_version, "lzma" in options.decodes)


def name_of(out: Path, made: Packed) -> Path:
    """The file of a package: `out`, and what it is from where it is a delta."""
    return out.with_name(f"{out.stem}-from-{made.base.tag}{out.suffix}") if made.base else out


def want_packages(paths: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refused where something would be written over that is no package, or that this call reads."""
    want_own(paths, "package", lambda data: record.split(data)[1].startswith(fmt.MAGIC), inputs)


def goes_on(layout: str, image: bytes) -> None:
    """Refused where a board that booted this firmware could not run mpota."""
    check = getattr(part_of(layout, "prepare"), "goes_on", None)
    if check:
        check(image)


def write(made: list[Packed], out: Path, inputs: Sequence[Path] = ()) -> list[Path]:
    """Every package to its file, over older packages alone. `inputs` were read."""
    paths = [name_of(out, one) for one in made]
    want_packages(paths, inputs)
    out.parent.mkdir(parents=True, exist_ok=True)
    asked = {request_of(path): one for one, path in zip(made, paths, strict=True) if one.waits}
    want_own(asked, "request", request.is_text, inputs)
    for one, path in zip(made, paths, strict=True):
        path.write_bytes(one.data)
    for path, one in asked.items():
        path.write_text(request.request(apart.header(one.data)), encoding="utf-8")
    return paths


def request_of(path: Path) -> Path:
    """The request for the signature of a package."""
    return path.with_name(path.name + ".request")


def tell(made: list[Packed], paths: list[Path], as_json: bool) -> None:
    """What was made: notes, what was tried, a line for each package."""
    full = made[0]
    for line in full.notes:
        show.note(line)
    facts: list[dict[str, Any]] = [{"file": str(path), **one.facts} for one, path in zip(made, paths, strict=True)]
    if as_json:
        show.facts({**facts[0], "notes": full.notes, "deltas": facts[1:]})
        return
    table = tried(made)
    if len(table.rows) > 1:
        show.table(table)
        show.say()
    for fact in facts:
        # Of a few lines of Python the header is the most; a share above the whole tells nothing.
        small = fact["size"] < fact["image"]
        share = f"{fact['size'] / fact['image']:.1%} of the " if small else "for the "
        share += f"{fact['image']:,} that it installs"
        show.say(f"{fact['file']}  {fact['size']:,} bytes, {share}")
        signed = f"signed by key {fact['key']}" if fact["key"] else "unsigned"
        if full.waits:
            signed = f"waits for the signature of key {fact['key']}: {request_of(Path(fact['file']))}"
        source = f", a delta from {Path(fact['from']).name}" if fact["from"] else ""
        show.say(f"package {fact['id']}, {signed}{source}")
    if full.encrypted_for:
        show.say(f"encrypted for device key {', '.join(full.encrypted_for)}")


def tried(made: list[Packed]) -> Table:
    """Every way that was tried, the kept ones marked."""
    rows = []
    for one in made:
        source = one.base.tag if one.base else ""
        for way in one.tried:
            word = "travels" if way.kept else "" if way.fits else "a chunk is too long"
            stages = " ".join(way.stages) or "raw"
            rows.append((way.name, source, stages, f"{way.stored:,}", f"{way.stored / way.size:.1%}", word))
    return Table("", ("component", "from", "stages", "bytes", "of it", ""), rows)
