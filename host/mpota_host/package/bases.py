"""What a board may run when an update comes: the bytes that a delta stands on, by the place of their component.

They come out of what its owner has kept: a firmware file, the folder of the old application, or the old package.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mpota.pipe import decrypt
from mpota.version import text
from mpota_boot.errors import OtaError, Refused
from mpota_host.package import format as fmt
from mpota_host.package import read as inspect
from mpota_host.package import record
from mpota_host.package.content import app
from mpota_host.registry import prepare

Place = tuple[int, str]


@dataclass
class Base:
    """`name` is what was given, `tag` the word for it in a package's file name."""

    name: str
    tag: str
    contents: dict[Place, bytes]


def load(path: Path, layout: str, compiler: app.Compiler | None = None, device_keys: Sequence[bytes] = ()) -> Base:
    """The base in a file or a folder; a folder is compiled as the new application is."""
    if path.is_dir():
        # The list of an application that has resources names them too, so its package is needed.
        return plain(path, (fmt.FILES, ""), app.tree(path, {}, compiler, travels=False).data)
    try:
        data = record.split(path.read_bytes())[1]
        if data[:4] != fmt.MAGIC:
            return plain(path, (fmt.FIRMWARE, ""), prepare(layout, data)[0])
        return of_package(path, data, layout, device_keys)
    except OtaError as e:
        raise type(e)(e.code, f"{path} as a base: {e}") from e


def plain(path: Path, place: Place, content: bytes) -> Base:
    """One component, told by its hash."""
    return Base(str(path), sha256(content).hexdigest()[:8], {place: content})


def of_package(path: Path, data: bytes, layout: str, device_keys: Sequence[bytes]) -> Base:
    """All components of an old package, told by its version."""
    inspect.want_whole(data)
    package = inspect.read_package(data)
    if package.layout != layout:
        raise Refused("layout", f"it is for layout {package.layout!r}, this package is for {layout!r}")
    if any(part.base_size for part in package.components):
        raise Refused("base", f"it is a delta itself; give the full package of version {text(package.version)}")
    if package.recipients:
        if not device_keys:
            raise Refused("sealed", "it is encrypted; --device-key FILE, one that it is for, opens it")
        decrypt.unlock(package, list(device_keys), bytearray(data[: inspect.HEADER]))
    contents = {}
    for i, part in enumerate(package.components):
        contents[part.kind, part.name if part.kind == fmt.RESOURCE else ""] = inspect.content(package, i, data)
    return Base(str(path), text(package.version), contents)


def distinct(found: Sequence[Base], places: Collection[Place]) -> list[Base]:
    """What of the bases lies in these `places`: none twice, and with tags that differ."""
    kept: list[Base] = []
    for one in found:
        here = {place: data for place, data in one.contents.items() if place in places}
        if any(here == other.contents for other in kept):
            continue
        digest = sha256(b"".join(sha256(data).digest() for data in here.values())).hexdigest()[:8]
        taken = any(one.tag == other.tag for other in kept)
        kept.append(Base(one.name, digest if taken else one.tag, here))
    return kept
