"""Reads a package of format 2, or says in a ValueError what is wrong with it."""

import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap
from cryptography.hazmat.primitives.padding import PKCS7

from tests.format2 import patch, tables
from tests.format2.record import Record, open_record


@dataclass
class Component:
    """One component, and what it installs."""

    number: int
    kind: int
    name: str
    stages: list[int]
    window: int
    size: int
    stored: int
    sha: bytes
    first: tuple[bytes, int, int]
    base: tuple[int, bytes]
    data: bytes = b""
    chunks: list[tuple[int, int]] = field(default_factory=list)  # stored bytes, decoded bytes


@dataclass
class Package:
    """A whole package."""

    product: str
    layout: str
    version: tuple[int, ...]
    room: int
    id: bytes
    key: bytes
    signed: bool
    fields: dict[bytes, bytes]
    recipients: list[tuple[bytes, bytes]]
    components: list[Component]
    record: Record | None = None


# What the standard library says of bytes that it cannot decode.
WRONG = (zlib.error, lzma.LZMAError, struct.error, IndexError)


def want(right: bool, words: str) -> None:
    if not right:
        raise ValueError(words)


def check_signature(header: bytes, signature: bytes, key: bytes, trusted: Sequence[bytes]) -> None:
    """`signature` is the one of the trusted key that `key` names, over `header`."""
    for modulus in trusted:
        if sha256(modulus).digest()[:8] == key:
            n, s = int.from_bytes(modulus, "big"), int.from_bytes(signature, "big")
            want(s < n, "the signature is not below the modulus")
            power = pow(s, 65537, n).to_bytes(tables.RSA, "big")
            want(power == tables.block(sha256(header).digest()), "not the signature of this header")
            return
    raise ValueError(f"signed by {key.hex()}, which is not trusted")


def read_fields(data: bytes) -> dict[bytes, bytes]:
    """The fields by name."""
    found: dict[bytes, bytes] = {}
    while data:
        name, n = tables.FIELD.unpack_from(data)
        value = data[tables.FIELD.size : tables.FIELD.size + n]
        want(len(value) == n, f"field {name!r} ends behind the header")
        want(name not in found, f"field {name!r} twice")
        want(name.isalpha(), f"{name!r} is no name")
        if name in tables.FIELDS:
            least, most = tables.FIELDS[name]
            want(least <= n <= most, f"field {name!r} of {n} bytes")
            want(name != b"Chan" or bool(value.decode()), "a channel without a name")
        else:
            want(not name[:1].isupper(), f"field {name!r} must be known")
        found[name] = value
        data = data[tables.FIELD.size + n :]
    return found


def read_component(number: int, data: bytes) -> Component:
    kind, window, zero, stages, size, stored, sha, *first, base, base_sha, name = tables.COMPONENT.unpack(data)
    used = list(stages.rstrip(b"\0"))
    want(not zero and all(1 <= stage <= 5 for stage in used), f"component {number}: {data[:7]!r}")
    want(kind in (1, 2, 3), f"kind {kind}")
    windows = range(9, 16) if tables.INFLATE in used else range(12, 17) if tables.LZMA in used else (0,)
    want(window in windows, f"window {window}, wanted one of {list(windows)}")
    chunk = first[0], first[1], first[2]
    return Component(number, kind, tables.text(name), used, window, size, stored, sha, chunk, (base, base_sha))


def read_header(data: bytes, trusted: Sequence[bytes] | None) -> tuple[Package, int]:
    """(the package as its header has it, bytes of the header). `trusted`: moduli; None: unsigned ones too."""
    magic, number, signature, rest, key = tables.PREAMBLE.unpack_from(data)
    want(magic == b"MPOT" and number == 2 and signature in (0, 1), f"no package of format 2: {data[:6]!r}")
    end = tables.PREAMBLE.size + rest
    whole = end + tables.RSA * signature
    want(whole <= min(tables.HEADER, len(data)), f"a header of {whole} bytes")
    if trusted is not None:
        want(signature == 1, "not signed")
        check_signature(data[:end], data[end:whole], key, trusted)
    want(signature == 1 or key == bytes(8), "a key id without a signature")
    at = tables.PREAMBLE.size
    product, layout, version, room, n, recipients, zero = tables.BODY.unpack_from(data, at)
    want(room in (4, 8, 16) and n > 0 and not zero, f"room {room}, {n} components")
    at += tables.BODY.size
    parts = []
    for i in range(n):
        parts.append(read_component(i, data[at : at + tables.COMPONENT.size]))
        at += tables.COMPONENT.size
    locks = []
    for _ in range(recipients):
        locks.append(tables.RECIPIENT.unpack_from(data, at))
        at += tables.RECIPIENT.size
    want(at <= end, "the header ends inside its recipients")
    order = [(part.kind, part.name if part.kind == tables.RESOURCE else "") for part in parts]
    want(order == sorted(set(order)), "components out of order, or twice")
    names = tables.text(product), tables.text(layout)
    numbers = tuple(int.from_bytes(version[i : i + 2], "big") for i in range(0, 8, 2))
    digest = sha256(data[:end]).digest()
    fields = read_fields(data[at:end])
    return Package(*names, numbers, room << 10, digest[:8], key, signature == 1, fields, locks, parts), whole


def content_key(package: Package, secrets: Sequence[bytes]) -> bytes:
    """The content key, by a device key that the package was packed for."""
    for name, wrapped in package.recipients:
        for secret in secrets:
            if sha256(b"mpota device key" + secret).digest()[:8] == name:
                try:
                    return aes_key_unwrap(secret, wrapped)
                except InvalidUnwrap as e:
                    raise ValueError("the content key does not unwrap") from e
    raise ValueError("encrypted for other device keys")


def decrypt(data: bytes, key: bytes, component: int, start: int) -> bytes:
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    iv = ecb.update(tables.IV.pack(b"mpota iv", component, start))
    cbc = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    padding = PKCS7(128).unpadder()
    return padding.update(cbc.update(data) + cbc.finalize()) + padding.finalize()


def inflate(data: bytes, window: int) -> bytes:
    stream = zlib.decompressobj(-window)
    out = stream.decompress(data)
    want(stream.eof and not stream.unused_data, "the deflate stream does not end where the chunk does")
    return out


def unlzma(data: bytes, window: int) -> bytes:
    """One stream of the lzma stage, by way of the file format that CPython reads."""
    props, n, body = data[0], int.from_bytes(data[1:4], "little"), data[4:]
    if props == 255:
        want(len(body) == n, f"{len(body)} plain bytes, not {n}")
        return body
    want(props % 45 <= 1 and props // 45 <= 2, f"props {props}")
    head = bytes((props,)) + (1 << window).to_bytes(4, "little") + n.to_bytes(8, "little")
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    out = stream.decompress(head + b"\0" + body)
    want(len(out) == n and stream.eof and not stream.unused_data, "the LZMA stream does not end where the chunk does")
    return out


def decode(data: bytes, part: Component, place: tuple[int, int], key: bytes, base: bytes) -> bytes:
    """What a chunk's bytes behind the link decode to; `place`: where in the component, and how many bytes."""
    for stage in part.stages:
        if stage == tables.DECRYPT:
            data = decrypt(data, key, part.number, place[0])
        elif stage == tables.INFLATE:
            data = inflate(data, part.window)
        elif stage == tables.LZMA:
            data = unlzma(data, part.window)
        else:
            data = patch.decode(data, base, *place, 7 if stage == tables.XTENSA else 0)
    return data


def read_chunks(package: Package, part: Component, data: bytes, key: bytes, base: bytes) -> None:
    """Follow the chain of one component through `data`, its stored chunks."""
    sha, n, sectors = part.first
    out = b""
    at = 0
    while n:
        chunk = data[at : at + n]
        want(n <= package.room + tables.SLACK and len(chunk) == n, f"a chunk of {n} bytes")
        want(sha256(chunk).digest() == sha, f"the chunk of byte {len(out)} is not the one that was promised")
        want(1 <= sectors <= tables.SECTORS, f"a chunk of {sectors} sectors")
        size = min(sectors * tables.SECTOR, part.size - len(out))
        want(size > (sectors - 1) * tables.SECTOR, "a chunk does not end in its last sector")
        sha, n, sectors = tables.LINK.unpack_from(chunk)
        piece = decode(chunk[tables.LINK.size :], part, (len(out), size), key, base)
        want(len(piece) == size, f"the chunk of byte {len(out)} decodes to {len(piece)} bytes, not {size}")
        out += piece
        at += len(chunk)
        part.chunks.append((len(chunk), size))
    want((sha, sectors) == (bytes(32), 0) and at == len(data), "the last chunk promises another, or bytes are left")
    want(len(out) == part.size and sha256(out).digest() == part.sha, "not the installed bytes that were promised")
    part.data = out


def read(
    data: bytes,
    trusted: Sequence[bytes] | None = None,
    secrets: Sequence[bytes] = (),
    bases: Sequence[bytes] = (),
) -> Package:
    """A package, a keys record in front of it included. `bases`: old images, of which a delta finds its own."""
    try:
        return read_whole(data, trusted, secrets, bases)
    except WRONG as e:
        raise ValueError(f"not as the page says: {e!r}") from e


def read_whole(
    data: bytes, trusted: Sequence[bytes] | None, secrets: Sequence[bytes], bases: Sequence[bytes]
) -> Package:
    record, data = open_record(data)
    package, at = read_header(data, trusted)
    package.record = record
    key = content_key(package, secrets) if package.recipients else b""
    by_sha = {sha256(base).digest(): base for base in bases}
    for part in package.components:
        delta = tables.DELTA in part.stages or tables.XTENSA in part.stages
        want(delta or part.base == (0, bytes(32)), "a base without a delta")
        base = by_sha.get(part.base[1], b"")
        want(len(base) == part.base[0], f"no base of {part.base[0]} bytes, {part.base[1].hex()}")
        read_chunks(package, part, data[at : at + part.stored], key, base)
        at += part.stored
    want(at == len(data), f"{len(data) - at} bytes behind the last chunk")
    return package


def read_files(data: bytes) -> tuple[dict[str, bytes], list[str]]:
    """(files by path, paths that resources bring) of an application's component; a folder ends with /."""
    magic, n, size, whole = tables.LIST.unpack_from(data)
    want(magic == b"MPFL", f"no list of files: {data[:4]!r}")
    at, body = tables.LIST.size, size
    files: dict[str, bytes] = {}
    resources, paths = [], []
    total = 0
    for _ in range(n):
        length, resource, letters = tables.ENTRY.unpack_from(data, at)
        path = data[at + tables.ENTRY.size : at + tables.ENTRY.size + letters].decode()
        at += tables.ENTRY.size + letters
        total += length
        paths.append(path.lower())
        want(resource in (0, 1) and not (path.endswith("/") and length), f"entry {path}")
        if resource:
            resources.append(path)
            continue
        files[path] = data[body : body + length]
        body += length
    want(at == size and body == len(data) and total == whole, "the list and the files do not fill the component")
    want(paths == sorted(set(paths)), "paths twice, or not in their order")
    return files, resources
