"""Makes packages: checks what goes in, has each component travel the shortest way, signs. One full package, and one
for each base that boards may run.

What a board would refuse is refused here first, with the same sentence: nobody should sign an image that no loader
starts. The same input gives the same bytes, unless they are encrypted.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mpota.version import encode
from mpota_boot.errors import Refused
from mpota_host.package import format as fmt
from mpota_host.package import keys
from mpota_host.package.assemble import Head, Part, assemble, lock
from mpota_host.package.bases import Base
from mpota_host.package.choose import COMPRESSIONS, DECODES, Content, EncodeOptions, Try, based, smallest, whole
from mpota_host.package.choose import WBITS as WBITS
from mpota_host.package.content import app
from mpota_host.package.encode.encrypt import key_id
from mpota_host.registry import alone, layouts, prepare

KINDS = {fmt.FIRMWARE: "firmware", fmt.FILES: "files", fmt.RESOURCE: "resource"}


@dataclass
class Options:
    """What a package is for and how it is made. `room` in bytes; `compress` a name of COMPRESSIONS, or auto.

    `channel` is "" for the stable one. `needs` are what a board must have first: a version, a firmware's version for
    files alone, a number of mpota_boot; "" and 0 for nothing.

    `decodes` are the stages that its boards have. `encrypt_for` are device keys, each of which will open it; they are
    in no text made of this object.
    """

    product: str
    version: str
    layout: str = "esp32"
    room: int = 4096
    compress: str = "auto"
    wbits: int = WBITS
    encrypt_for: tuple[bytes, ...] = field(default=(), repr=False)
    decodes: frozenset[str] = DECODES
    channel: str = ""
    needs: str = ""
    needs_firmware: str = ""
    needs_boot: int = 0

    def fields(self) -> dict[bytes, bytes]:
        """What the header says of all that."""
        found = {fmt.CHANNEL: self.channel.encode()}
        for key, words in ((fmt.RUNS, self.needs), (fmt.RUNS_FIRMWARE, self.needs_firmware)):
            found[key] = version_bytes(words) if words else b""
        found[fmt.RUNS_BOOT] = self.needs_boot.to_bytes(2, "little") if self.needs_boot else b""
        return {key: value for key, value in found.items() if value}

    def facts(self) -> dict[str, object]:
        """What `--json` says of it."""
        needs = {name: getattr(self, name) or None for name in ("needs", "needs_firmware", "needs_boot")}
        told = ("product", "version", "layout", "channel", "compress", "room")
        return {name: getattr(self, name) for name in told} | needs

    def means(self) -> EncodeOptions:
        """What may be tried."""
        return EncodeOptions(self.decodes, self.compress, self.room, self.wbits, bool(self.encrypt_for))


@dataclass
class Contents:
    """What one package installs, in the order of the header; notes for a person, facts for `--json`."""

    contents: list[Content]
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)


@dataclass
class Packed:
    """A package, what the packer wants to tell a person, and the facts for `--json`. `base`: what it is a delta to."""

    data: bytes
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    encrypted_for: list[str] = field(default_factory=list)
    base: Base | None = None
    tried: list[Try] = field(default_factory=list)
    # Is its key elsewhere, so that a signature has to come?
    waits: bool = False


def version_bytes(text: str) -> bytes:
    """`1.2.3` or `1.2.3.4`, each number 0..65535, as 8 bytes that compare as versions do."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(p.isascii() and p.isdigit() and int(p) < 65536 for p in parts):
        raise Refused("version", f"the version is {text!r}, wanted 1.2.3 or 1.2.3.4 with numbers up to 65535")
    return bytes(encode([int(p) for p in parts]))


def pack(firmware: bytes, options: Options, key: keys.Signer | None) -> Packed:
    """Sign `firmware` (a bare application or a merged image) into a package; without a key it is unsigned."""
    check(options)
    return packages(goods(options.layout, firmware), options, key)[0]


def goods(
    layout: str,
    firmware: bytes | None = None,
    files: app.Tree | None = None,
    resources: Mapping[str, bytes] | None = None,
) -> Contents:
    """What goes into a package: a firmware file, the list of an application, the resources that it names."""
    made = Contents([])
    if firmware is not None:
        if layout not in layouts():
            raise Refused("firmware", f"boards of layout {layout!r} take no firmware: give --app or --resource alone")
        image, notes, facts = prepare(layout, firmware)
        made = Contents([Content(fmt.FIRMWARE, "firmware", image)], notes, facts)
    if (files or resources) and alone(layout):
        raise Refused("kind", f"boards of layout {layout!r} take firmware alone: leave --app and --resource off")
    if files:
        made.contents.append(Content(fmt.FILES, "files", files.data))
        made.notes += files.notes
    for name, data in sorted((resources or {}).items()):
        if not data:
            raise Refused("resource", f"the resource {name!r} is empty: put it into the folder of --app")
        made.contents.append(Content(fmt.RESOURCE, name, data))
    if not made.contents:
        raise Refused("empty", "nothing to pack: give FIRMWARE, --app DIR or --resource NAME=FILE")
    return made


def packages(given: Contents, options: Options, key: keys.Signer | None, bases: Sequence[Base] = ()) -> list[Packed]:
    """The full package first, then one for each of the `bases` that makes it smaller."""
    check(options, bool(bases))
    if bases and alone(options.layout):
        raise Refused(
            "base", f"boards of layout {options.layout!r} keep nothing that a delta could stand on: no --base"
        )
    means = options.means()
    ways = [whole(content, means) for content in given.contents]
    full = seal([smallest(parts, means) for parts in ways], given, options, key)
    made = [full]
    for base in bases:
        chosen = []
        for content, parts in zip(given.contents, ways, strict=True):
            old = base.contents.get(content.place)
            more = based(content, means, old) if old else []
            chosen.append(smallest([*parts, *more], means))
        if any(part.base for part, _ in chosen):
            delta = seal(chosen, given, options, key, base)
            if len(delta.data) < len(full.data):
                made.append(delta)
                continue
        full.notes.append(f"no package from {base.name}: it would not be smaller than the full one")
    return made


def seal(
    chosen: list[tuple[Part, list[Try]]],
    given: Contents,
    options: Options,
    key: keys.Signer | None,
    base: Base | None = None,
) -> Packed:
    """The chosen parts as a package, encrypted and signed where that is wanted."""
    parts = [part for part, _ in chosen]
    data = assemble(*lock(head(options), parts, options.encrypt_for), key)
    tried = [one for _, more in chosen for one in more if base is None or one.based or one.kept]
    ids = list(dict.fromkeys(key_id(secret).hex() for secret in options.encrypt_for))
    facts = given.facts | {
        **options.facts(),
        "image": sum(len(part.content) for part in parts),
        "size": len(data),
        "id": ident(data),
        "key": keys.key_id(keys.public_bytes(key)).hex() if key else None,
        "encrypted_for": ids,
        "from": base and base.name,
        "components": [component(part) for part in parts],
        "tried": [one.__dict__ for one in tried],
    }
    waits = isinstance(key, keys.Apart)
    return Packed(data, [] if base else notes(given, parts), facts, ids, base, tried, waits)


def notes(given: Contents, parts: list[Part]) -> list[str]:
    """What a person should know of a full package."""
    lzma = "LZMA: for boards that carry its decoder (`flash --lzma`); the others refuse it"
    return given.notes + [lzma] * any("lzma" in part.stages for part in parts)


def component(part: Part) -> dict[str, object]:
    """The facts of a component."""
    return {
        "kind": KINDS[part.kind],
        "name": part.name,
        "size": len(part.content),
        "stored": part.stored(),
        "stages": list(part.stages),
        "base": hashlib.sha256(part.base).hexdigest() if part.base else None,
    }


def head(options: Options) -> Head:
    """What the header says of the package."""
    version = version_bytes(options.version)
    return Head(options.product, options.layout, version, options.room, fields=options.fields())


def ident(data: bytes) -> str:
    """The id of a package: the first 8 bytes of the SHA-256 of what is signed, in hex."""
    end = 16 + struct.unpack_from("<H", data, 6)[0]
    return hashlib.sha256(data[:end]).hexdigest()[:16]


def check(options: Options, based: bool = False) -> None:
    """Refuse what a header cannot hold, and what the boards could not decode."""
    for what, text, room in (("product", options.product, 32), ("layout", options.layout, 8)):
        if not 0 < len(text.encode()) <= room or not text.isprintable():
            raise Refused(what, f"the {what} is {text!r}, wanted 1 to {room} bytes of printable characters")
    version_bytes(options.version)
    if len(options.channel.encode()) > 32 or not options.channel.isprintable():
        raise Refused("channel", f"the channel is {options.channel!r}, wanted at most 32 bytes of printable characters")
    for what in (options.needs, options.needs_firmware):
        if what and version_bytes(what) >= version_bytes(options.version):
            raise Refused("needs", f"version {options.version} cannot need {what}, which is not older")
    if not 0 <= options.needs_boot < 65536:
        raise Refused("needs", f"mpota_boot {options.needs_boot}, wanted 1 to 65535")
    if options.room not in fmt.ROOMS:
        raise Refused("room", f"room for {options.room} bytes, wanted one of {fmt.ROOMS}")
    if options.compress not in ("auto", *COMPRESSIONS):
        known = ", ".join(("auto", *COMPRESSIONS))
        raise Refused("compress", f"compression {options.compress!r}, known are {known}")
    if not 9 <= options.wbits <= 15:
        raise Refused("compress", f"a window of 2**{options.wbits} bytes, wanted 9 to 15")
    if options.encrypt_for and "decrypt" not in options.decodes:
        raise Refused("decodes", "these boards decode no encrypted package: leave --encrypt-for off, or add +decrypt")
    if based and not options.decodes & {"delta", "xtensa"}:
        raise Refused("decodes", "these boards decode no delta: leave --base off, or add +delta")
    if based and options.means().compressions() == ["none"]:
        raise Refused("compress", "a delta travels compressed: leave --compress none off, or --base")
