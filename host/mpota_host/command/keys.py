"""The group `mpota keys`: root, release and rollout keys, the record that says which count, and signing apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mpota_boot.errors import Refused
from mpota_host.command.groups import InOrder, as_json

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PATH = click.Path(exists=True, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
SIGNED_BY = "A root's private key that signs here; may be given several times."
roots_option = click.option("--root", "roots", type=FILE, multiple=True, help=SIGNED_BY)
request_option = click.option(
    "--request", type=OUT, help="Write what is to be signed by roots on other machines, for `keys sign`."
)
raw_option = click.option(
    "--root", "known", type=FILE, multiple=True, help="A root's public key, for a signature that another tool made."
)


@click.group(cls=InOrder, short_help="Keys that can be replaced: roots, and the record of the keys that count.")
def group() -> None:
    """Keys that can be replaced over the air.

    Boards hold root keys, and a keys record that roots have signed says which release and rollout keys count.
    """


@group.command(short_help="Make roots, a release key, a rollout key and their first record.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--roots", type=click.IntRange(1, 8), default=1, show_default=True, help="How many roots.")
@click.option("--product", default="", help="What the record is for; every product of these roots by default.")
@as_json
def new(folder: Path, roots: int, product: str, as_json: bool) -> None:
    """Make, in FOLDER, root keys, a release key, a rollout key, and keys record 1."""
    from mpota_host.command import show
    from mpota_host.package import keys, record

    names = ["root"] if roots == 1 else [f"root-{n + 1}" for n in range(roots)]
    paths = {name: folder / f"{name}.pem" for name in (*names, "release", "rollout")}
    out = folder / "keys-1.record"
    there = [one for path in paths.values() for one in (path, keys.public_path(path)) if one.exists()]
    for one in [*there, *([out] if out.exists() else [])]:
        raise Refused("exists", f"{one} exists and is not overwritten; boards may trust it")
    made = {name: keys.generate(path) for name, path in paths.items()}
    public = {name: keys.public_bytes(key) for name, key in made.items()}
    body = record.body(1, product, [public["release"]], [public["rollout"]])
    out.write_bytes(record.join(body, {public[name]: keys.sign(made[name], body) for name in names}))
    if as_json:
        ids = {name: keys.key_id(one).hex() for name, one in public.items()}
        return show.facts({"record": str(out), "keys": {str(paths[name]): ident for name, ident in ids.items()}})
    for name, path in paths.items():
        use = "signs packages" if name == "release" else "signs offers" if name == "rollout" else "signs keys records"
        show.say(f"{path}  {keys.key_id(public[name]).hex()}, {use}: keep it secret and keep a copy")
    show.say(f"{out}  {record.words(out.read_bytes())[0]}")
    options = " ".join(f"--root {keys.public_path(paths[name])}" for name in names)
    show.note(f"`mpota flash {options} --keys-record {out}` puts the public ones on a board; roots belong off line")


@group.command(name="record", short_help="Make a keys record.")
@roots_option
@click.option("--release", type=FILE, multiple=True, required=True, help="A public key that may sign packages.")
@click.option("--rollout", type=FILE, multiple=True, help="A public key that may sign offers, and no package.")
@click.option("--serial", type=int, required=True, help="Boards take a record with a larger serial than theirs.")
@click.option("--product", default="", help="What it is for; every product of these roots by default.")
@request_option
@click.option("-o", "--out", type=OUT, help="The record.")
@as_json
def make(serial: int, product: str, as_json: bool, **given: Any) -> None:
    """Make a keys record, signed by the roots given here, or a request for roots that are elsewhere, or both."""
    from mpota_host.package import record

    body = record.body(serial, product, _public(given["release"]), _public(given["rollout"]))
    _finish(body, given, as_json)


@group.command(short_help="Make the next record, with other keys.")
@click.argument("old", type=FILE)
@roots_option
@click.option("--release", type=FILE, multiple=True, help="The release keys from now on; those of OLD by default.")
@click.option("--rollout", type=FILE, multiple=True, help="The rollout keys from now on; those of OLD by default.")
@request_option
@click.option("-o", "--out", type=OUT, help="The new record.")
@as_json
def rotate(old: Path, as_json: bool, **given: Any) -> None:
    """Make the record that replaces OLD: its serial and one, its product, and the keys given here in place of OLD's."""
    from mpota_host.package import record

    before = record.fields(_record(old))
    release = _public(given["release"]) or before.release
    rollout = _public(given["rollout"]) or before.rollout
    if (set(release), set(rollout)) == (set(before.release), set(before.rollout)):
        raise click.UsageError("give the keys that shall count from now on: --release FILE, --rollout FILE.")
    _finish(record.body(before.serial + 1, before.product, release, rollout), given, as_json)


def _finish(body: bytes, given: dict[str, Any], as_json: bool) -> None:
    """Sign a body with the roots at hand, write the request for the others, and say so."""
    from mpota_host.command import show
    from mpota_host.package import keys, record
    from mpota_host.package.output import want_own
    from mpota_host.package.signing import request

    if not given["roots"] and not given["request"]:
        raise click.UsageError("give --root FILE, a root's private key, or --request FILE for roots elsewhere.")
    if bool(given["roots"]) != bool(given["out"]):
        raise click.UsageError("--root signs the record that -o names: give both.")
    if given["out"]:
        want_own([given["out"]], "keys record", record.is_record, given["roots"])
        signing = [keys.load_private(path) for path in given["roots"]]
        data = record.join(body, {keys.public_bytes(key): keys.sign(key, body) for key in signing})
        given["out"].write_bytes(data)
    if given["request"]:
        want_own([given["request"]], "request", request.is_text)
        given["request"].write_text(request.request(body), encoding="utf-8")
    written = {name: str(given[name]) for name in ("out", "request") if given[name]}
    if as_json:
        return show.facts({**record.facts(data if given["out"] else body), "files": written})
    for path in written.values():
        show.say(f"{path}  {record.words(body)[0]}")
    if given["request"]:
        show.note(f"a root's holder signs it with `mpota keys sign {given['request']} --key ROOT.pem`")


@group.command(short_help="Tell what a record, a request or a board's keys folder holds.")
@click.argument("file", type=PATH)
@as_json
def show(file: Path, as_json: bool) -> None:
    """Tell which keys a record brings, what a request wants signed, or what a copy of a board's keys folder holds."""
    from mpota_host.command import show as shown
    from mpota_host.package import keys, record
    from mpota_host.package.report import Report
    from mpota_host.package.signing import request

    if file.is_dir():
        return shown.report(_folder(file), as_json)
    data = file.read_bytes()
    if request.is_text(data) and request.REQUEST.encode() in data:
        lines = request.words(request.read(file))
        return shown.report(Report("request", f"a request to sign: {'; '.join(lines)}", {"asks": lines}), as_json)
    front = record.split(data)[0]
    if front:
        return shown.report(record.explain(front), as_json)
    ident = keys.key_id(keys.load_public(file)).hex()
    shown.report(Report("key", f"key {ident}", {"id": ident}), as_json)


def _folder(folder: Path) -> Any:
    """What a copy of a board's keys folder holds."""
    from mpota_host.package import keys, record
    from mpota_host.package.report import Report, Table

    roots = folder / "roots" if (folder / "roots").is_dir() else folder
    rows = [("root" if roots == path.parent else "release", keys.key_id(keys.load_public(path)).hex(), path.name)
            for path in sorted({*folder.glob("*.pub"), *roots.glob("*.pub")})]  # fmt: skip
    copies = [path for path in (roots / "record.a", roots / "record.b") if path.is_file()]
    for path in copies:
        said = record.fields(_record(path))
        rows += [(f"record {said.serial}", keys.key_id(key).hex(), f"{path.name}, release") for key in said.release]
        rows += [(f"record {said.serial}", keys.key_id(key).hex(), f"{path.name}, rollout") for key in said.rollout]
    if not rows:
        raise Refused("format", f"{folder} is no keys folder of a board: there are no *.pub in it")
    newest = max((record.fields(_record(path)).serial for path in copies), default=None)
    facts = {"serial": newest, "keys": [dict(zip(("is", "id", "file"), row, strict=True)) for row in rows]}
    said = f"a board's keys, record {newest}" if newest else "a board's keys"
    return Report("keys", said, facts, [Table("", ("is", "id", "file"), rows)])


@group.command(short_help="Sign a request, where the private key is.")
@click.argument("asked", metavar="REQUEST", type=FILE)
@click.option("--key", type=FILE, required=True, help="The private key that signs: a root's, or a release key.")
@click.option("-o", "--out", type=OUT, help="The signature; REQUEST with .sig by default.")
@as_json
def sign(asked: Path, key: Path, out: Path | None, as_json: bool) -> None:
    """Sign what REQUEST asks for, and say what that is."""
    from mpota_host.command import show
    from mpota_host.package import keys
    from mpota_host.package.output import want_own
    from mpota_host.package.signing import request

    data = request.read(asked)
    private = keys.load_private(key)
    out = out or asked.with_name(asked.name + ".sig")
    want_own([out], "signature", request.is_text, [asked, key])
    out.write_text(request.signature(keys.public_bytes(private), keys.sign(private, data)), encoding="utf-8")
    ident = keys.key_id(keys.public_bytes(private)).hex()
    if as_json:
        return show.facts({"signature": str(out), "key": ident, "signed": request.words(data)})
    for line in request.words(data):
        show.say(line)
    show.say(f"{out}  the signature of key {ident} over it")


@group.command(short_help="Join signatures to a record.")
@click.argument("asked", metavar="REQUEST", type=FILE)
@click.argument("signatures", metavar="SIGNATURE...", type=FILE, nargs=-1, required=True)
@raw_option
@click.option("-o", "--out", type=OUT, required=True, help="The record.")
@as_json
def join(asked: Path, signatures: tuple[Path, ...], known: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Make a record of REQUEST, or of a record that needs more signatures, and the SIGNATURES of its roots."""
    from mpota_host.command import show
    from mpota_host.package import record
    from mpota_host.package.output import want_own
    from mpota_host.package.signing import request

    data = asked.read_bytes()
    body, there = record.part(_record(asked)) if data[:4] == record.MAGIC else (request.read(asked), [])
    if body[:4] != record.MAGIC:
        raise Refused("request", f"{asked} asks for a package's signature: `mpota keys attach PACKAGE SIGNATURE`")
    found = dict(request.read_signature(path, body, _public(known)) for path in signatures)
    made = record.more(body, there, found)
    want_own([out], "keys record", record.is_record, signatures)
    out.write_bytes(made)
    if as_json:
        return show.facts({**record.facts(made), "file": str(out)})
    show.say(f"{out}  {record.words(made)[0]}, signed by {', '.join(root.hex() for root, _ in record.part(made)[1])}")


@group.command(short_help="Put a signature into a package that was packed with --request.")
@click.argument("package", type=FILE)
@click.argument("signature", type=FILE)
@click.option("--key", "known", type=FILE, multiple=True, help="The public key, for another tool's signature.")
@as_json
def attach(package: Path, signature: Path, known: tuple[Path, ...], as_json: bool) -> None:
    """Put SIGNATURE into PACKAGE, which `pack --request` made."""
    from mpota_host.command import show
    from mpota_host.package import keys
    from mpota_host.package.signing import apart

    made, public = apart.attach(package.read_bytes(), signature, _public(known))
    package.write_bytes(made)
    ident = keys.key_id(public).hex()
    if as_json:
        return show.facts({"package": str(package), "key": ident})
    show.say(f"{package}  signed by key {ident}")


def _public(paths: Iterable[Path]) -> Sequence[bytes]:
    from mpota_host.package import keys

    return [keys.load_public(path) for path in paths]


def _record(path: Path) -> bytes:
    """The record in a file, alone or in front of a package."""
    from mpota_host.package import record

    front = record.split(path.read_bytes())[0]
    if not front:
        raise Refused("record", f"{path} is no keys record; `mpota keys record` makes one")
    return front
