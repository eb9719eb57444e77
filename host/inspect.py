"""What a file is, and whether a board would take it: packages here, images and tables in the vendors' inspectors.

`explain` tells what can be read without a key; `judge` holds a package to a key and decodes every chunk with the very
code of the board, then hands the image inside to the vendor's check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import import_module
from io import BytesIO
from pathlib import Path

from device.errors import Corrupt, LinkError, OtaError, Refused
from device.pipe import decrypt, trust
from host import format as fmt
from device.pipe.package import Chunks, Component, Package
from device.version import text
from host import encrypt
from host.report import Report, Table
from host.vendor import prepare

KINDS = {fmt.FIRMWARE: "firmware"}
HEADER = 4096  # the board's buffer
CHUNK = 16384  # the largest that a board takes whose settings say nothing


def explain(data: bytes) -> Report:
    """What the bytes are; Refused where nobody knows them."""
    if data[:4] == fmt.MAGIC:
        return _explain_package(data)
    report = _vendor(data)
    if report:
        return report
    unknown = f"no kind of file that mpota knows ({len(data):,} bytes, first {data[:8].hex(' ')})"
    raise Refused("format", f"this is {_stranger(data) or unknown}")


def _vendor(data: bytes) -> Report | None:
    for path in sorted((Path(__file__).parent / "vendor").glob("*/inspector.py")):
        report: Report | None = import_module(f"host.vendor.{path.parent.name}.inspector").explain(data)
        if report:
            return report
    return None


def _stranger(data: bytes) -> str:
    """What a file that is nothing of mpota's or a vendor's looks like, "" where nobody knows."""
    start = data[:512]
    if not start:
        return "an empty file"
    if start.startswith(b"-----BEGIN"):
        return "a key or a certificate in PEM"
    if encrypt.is_key(start):
        return "a device key, as `keygen --device` writes it: keep it secret"
    if len(data) == trust.SIZE:
        return "a public key, as `keygen` writes it"
    if start.lstrip()[:1] == b"<":
        return "a web page"
    # The last character may be cut in two.
    words = start.decode("utf-8", "ignore")
    if min(start) > 8 and len(words.encode()) > len(start) - 4:
        return "a text file"
    return ""


def want_package(data: bytes) -> None:
    """Refused where the bytes are no package at all, with what they are instead."""
    if data[:4] == fmt.MAGIC:
        return
    seen = _vendor(data)
    if seen:
        article = "an" if seen.kind[0] in "aeiou" else "a"
        advice = "`pack` it first" if seen.kind in ("application", "merged image") else "`pack` makes one of a firmware"
        raise Refused("format", f"this is no package but {article} {seen.kind}: {advice}")
    name = _stranger(data)
    what = f"but {name}" if name else f"of mpota's ({len(data):,} bytes, first {data[:8].hex(' ')})"
    raise Refused("format", f"this is no package {what}; `pack` makes one of a firmware: pack it first")


def want_whole(data: bytes) -> None:
    """Refused where the bytes are no package, Corrupt where its end is missing; none of it is proven."""
    want_package(data)
    try:
        package = read_package(data)
    except LinkError as e:
        raise Corrupt("short", f"{e}; copy the file again") from e
    missing = start_of(package, len(package.components)) - len(data)
    if missing > 0:
        raise Corrupt("short", f"the package's last {missing:,} bytes are missing; copy the file again")


def chunk_note(chunk: int) -> str:
    """What to know about a chunk size that not every board takes."""
    if chunk <= CHUNK:
        return ""
    size = f"chunks of {chunk // 1024} KiB"
    return f"{size}: a board takes {CHUNK // 1024} KiB unless `chunk` in its /mpota.json says {chunk} or more"


def read_package(data: bytes, keys: list[bytes] | None = None) -> Package:
    """The header of a package, proven by `keys`, or merely read where they are None."""
    return Package.read(BytesIO(data), keys, bytearray(HEADER))


def start_of(package: Package, i: int) -> int:
    """Where component `i` begins in the package; one past the last component: where the package ends."""
    return int(package.end + sum(part.stored for part in package.components[:i]))


def _stages(part: Component) -> list[str]:
    return [fmt.STAGES[code] for code in part.stages]


def recipients(data: bytes, package: Package) -> list[str]:
    """The ids of the device keys that a package is encrypted for, as its header names them."""
    at = 72 + len(package.components) * fmt.COMPONENT_SIZE
    return [data[off : off + 8].hex() for off in range(at, at + package.recipients * 48, 48)]


def package_facts(data: bytes) -> dict[str, object]:
    """Facts of a package's header, none of them proven."""
    package = read_package(data)
    signed = data[5] != 0
    return {
        "product": package.product,
        "version": text(package.version),
        "layout": package.layout,
        "id": package.id.hex(),
        "key": data[8:16].hex() if signed else None,
        "encrypted_for": recipients(data, package),
        "chunk": package.chunk,
        "size": len(data),
        "header": package.end,
        "components": [
            {
                "kind": KINDS.get(part.kind, str(part.kind)),
                "name": part.name,
                "size": part.size,
                "stored": part.stored,
                "stages": _stages(part),
                "chunks": -(-part.size // package.chunk),
                "sha256": part.sha.hex(),
            }
            for part in package.components
        ],
    }


def _explain_package(data: bytes) -> Report:
    try:
        facts = package_facts(data)
    except OtaError as e:
        return Report("package", f"a broken mpota package: {e}", {"error": str(e), "code": e.code}, ok=False)
    package = read_package(data)
    lines = [(name, str(facts[name])) for name in ("product", "version", "layout", "id", "chunk")]
    lines.append(("signed by key", str(facts["key"] or "nobody")))
    if package.recipients:
        lines.append(("encrypted for", ", ".join(recipients(data, package))))
    lines.append(("bytes", f"{len(data):,} with a header of {facts['header']}"))
    parts = [
        (
            part.name,
            KINDS.get(part.kind, str(part.kind)),
            f"{part.size:,}",
            f"{part.stored:,} ({part.stored / part.size:.1%})",
            " ".join(_stages(part)) or "raw",
            str(-(-part.size // package.chunk)),
            part.sha.hex()[:16],
        )
        for part in package.components
    ]
    columns = ("component", "kind", "bytes", "stored", "stages", "chunks", "SHA-256 begins")
    what = f"an mpota package: {facts['product']} {facts['version']} for {facts['layout']}"
    missing = start_of(package, len(package.components)) - len(data)
    if missing > 0:
        what += f", and its last {missing:,} bytes are missing"
    return Report(
        "package", what, facts, [Table("package", ("what", "value"), lines), Table("", columns, parts)], missing <= 0
    )


def judge(
    data: bytes, keys: list[bytes], product: str | None = None, device_keys: Sequence[bytes] | None = None
) -> Report:
    """Whether the signature, every chunk and the image inside are right, in the order in which a board looks.

    `device_keys` are those that the board holds; without any an encrypted package is not looked into.
    """
    want_package(data)
    lines: list[tuple[str, ...]] = []
    facts: dict[str, object] = {"checks": lines}
    try:
        for line in _checks(data, keys, product, device_keys or ()):
            lines.append(line)
        facts["note"] = chunk_note(read_package(data).chunk)
    except OtaError as e:
        # A link that ends in the middle may go on; a file that does has lost its end.
        kind = Corrupt if isinstance(e, LinkError) else type(e)
        lines.append((e.code, f"no: {e}"))
        facts |= {"ok": False, "code": e.code, "class": kind.__name__, "error": str(e)}
        said = str(e) if e.code in ("extra", "sealed") else f"a board says: {e}"
        return Report("verdict", said, facts, [Table("", ("check", "result"), lines)], ok=False)
    facts["ok"] = True
    said = "a board that trusts this key takes it"
    return Report("verdict", said, facts, [Table("", ("check", "result"), lines)])


def _checks(
    data: bytes, keys: list[bytes], product: str | None, device_keys: Sequence[bytes]
) -> Iterator[tuple[str, str]]:
    package = read_package(data, keys)
    yield "signature", f"right, by key {data[8:16].hex()}"
    if package.recipients:
        _unlock(data, package, device_keys)
        yield "encryption", f"one of {package.recipients} device keys is here"
    if product is not None and package.product != product:
        raise Refused("product", f"the package is for product {package.product!r}, this board is {product!r}")
    yield "for", f"{package.product} {text(package.version)}, layout {package.layout}"
    src = BytesIO(data)
    buf = bytearray(4096)
    for i, part in enumerate(package.components):
        src.seek(start_of(package, i))
        content = _decode(package, i, src, buf)
        yield "chunks", f"{-(-part.size // package.chunk)} of {part.name} are right, {part.size:,} bytes"
        if sha256(content).digest() != part.sha:
            raise Refused("readback", f"{part.name} decodes to other bytes than were signed")
        yield "SHA-256", f"of {part.name} is right"
        if part.kind == fmt.FIRMWARE:
            whole, _, seen = prepare(package.layout, content)
            if len(whole) != len(content):
                raise Refused("image", f"{part.name} has {len(content):,} bytes and the image inside {len(whole):,}")
            yield "image", f"the bootloader takes it: {', '.join(f'{k} {v}' for k, v in seen.items())}"
    if src.tell() != len(data):
        n = len(data) - src.tell()
        unread = "a board never reads them, but nobody signed them: copy the file again"
        raise Corrupt("extra", f"{n:,} bytes follow the last chunk; {unread}")


def _unlock(data: bytes, package: Package, device_keys: Sequence[bytes]) -> None:
    if not device_keys:
        ids = recipients(data, package)
        names = " or ".join(ids[:4]) + (f" or {len(ids) - 4} more" if len(ids) > 4 else "")
        raise Refused("sealed", f"the package is encrypted for device key {names}; --device-key FILE looks into it")
    decrypt.unlock(package, list(device_keys), bytearray(data[:HEADER]))


def _decode(package: Package, i: int, src: BytesIO, buf: bytearray) -> bytes:
    """All bytes of component `i`, chunk by chunk as a board decodes them."""
    chunks = Chunks(package, i, src, buf)
    out = bytearray()
    piece = bytearray(4096)
    while len(out) < package.components[i].size:
        left = chunks.load()
        while left:
            n = chunks.readinto(piece)
            out += piece[:n]
            left -= n
    return bytes(out)
