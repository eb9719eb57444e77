"""Writes packages and keys records of format 2."""

import lzma
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.padding import PKCS7

from tests.format2 import diff, tables


@dataclass
class Part:
    """What becomes a component. `mode` is that of the groups, where a delta is one of the stages."""

    kind: int
    name: str
    data: bytes
    stages: tuple[int, ...] = ()
    base: bytes = b""
    window: int = 12
    mode: int = 0


def modulus(key: rsa.RSAPrivateKey) -> bytes:
    """A public key as boards and records have it."""
    return key.public_key().public_numbers().n.to_bytes(tables.RSA, "big")


def key_id(key: rsa.RSAPrivateKey) -> bytes:
    return sha256(modulus(key)).digest()[:8]


def sign(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    """RSA-3072 with SHA-256, PKCS#1 v1.5."""
    private = key.private_numbers()
    wanted = int.from_bytes(tables.block(sha256(data).digest()), "big")
    return pow(wanted, private.d, private.public_numbers.n).to_bytes(tables.RSA, "big")


def deflate(data: bytes, window: int) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -window)
    return stream.compress(data) + stream.flush()


def to_lzma(data: bytes, window: int) -> bytes:
    """One stream of the lzma stage: liblzma's own, without the end marker, or the bytes as they are."""
    head = len(data).to_bytes(3, "little")
    how = {"id": lzma.FILTER_LZMA2, "lc": 1, "lp": 0, "pb": 2, "dict_size": 1 << window}
    # An LZMA2 chunk is a LZMA stream without a marker: control, 2 sizes of 2 bytes, props; its end is a 0.
    made = lzma.compress(data, lzma.FORMAT_RAW, filters=[how])
    stored = int.from_bytes(made[3:5], "big") + 1
    if made[0] >= 0xE0 and len(made) == 7 + stored:
        return made[5:6] + head + made[7:-1]
    return b"\xff" + head + data


def encrypt(data: bytes, key: bytes, component: int, start: int) -> bytes:
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    iv = ecb.update(tables.IV.pack(b"mpota iv", component, start))
    padding = PKCS7(128).padder()
    cbc = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return cbc.update(padding.update(data) + padding.finalize()) + cbc.finalize()


def encode(part: Part, number: int, place: tuple[int, int], key: bytes) -> bytes:
    """What a chunk has behind its link."""
    start, size = place
    data = part.data[start : start + size]
    for stage in reversed(part.stages):
        if stage == tables.DECRYPT:
            data = encrypt(data, key, number, start)
        elif stage == tables.INFLATE:
            data = deflate(data, part.window)
        elif stage == tables.LZMA:
            data = to_lzma(data, part.window)
        else:
            data = diff.encode(part.base, part.data, start, size, part.mode)
    return data


def chunks(part: Part, number: int, room: int, key: bytes) -> list[tuple[bytes, int]]:
    """(bytes behind the link, sectors) of each chunk, as many sectors in each as its room takes."""
    made = []
    start = 0
    while start < len(part.data):
        for sectors in (16, 8, 4, 2, 1):
            size = min(sectors * tables.SECTOR, len(part.data) - start)
            body = encode(part, number, (start, size), key)
            if len(body) + tables.LINK.size <= room + tables.SLACK:
                break
        else:
            raise ValueError("a sector does not fit into the room")
        made.append((body, -(-size // tables.SECTOR)))
        start += size
    return made


def component(part: Part, made: list[tuple[bytes, int]]) -> tuple[bytes, bytes]:
    """(the component's record in the header, its stored chunks)."""
    link = bytes(32), 0, 0
    stored = b""
    for body, sectors in reversed(made):
        chunk = tables.LINK.pack(*link) + body
        link = sha256(chunk).digest(), len(chunk), sectors
        stored = chunk + stored
    packed = any(stage in (tables.INFLATE, tables.LZMA) for stage in part.stages)
    window = part.window if packed else 0
    digest = sha256(part.data).digest()
    base = len(part.base), sha256(part.base).digest() if part.base else bytes(32)
    sizes = len(part.data), len(stored), digest
    record = tables.COMPONENT.pack(part.kind, window, 0, bytes(part.stages), *sizes, *link, *base, part.name.encode())
    return record, stored


@dataclass
class Head:
    """What a package is for."""

    product: str
    layout: str
    version: tuple[int, ...]
    room: int = 4096
    fields: Mapping[bytes, bytes] | None = None
    secrets: Sequence[bytes] = ()
    content: bytes = bytes(range(32))


def write(head: Head, parts: Sequence[Part], key: rsa.RSAPrivateKey | None = None) -> bytes:
    """A package, signed where there is a key."""
    made = [component(part, chunks(part, i, head.room, head.content)) for i, part in enumerate(parts)]
    version = b"".join(n.to_bytes(2, "big") for n in [*head.version, 0, 0, 0, 0][:4])
    names = head.product.encode(), head.layout.encode()
    body = tables.BODY.pack(*names, version, head.room >> 10, len(parts), len(head.secrets), 0)
    body += b"".join(record for record, _ in made)
    for secret in head.secrets:
        name = sha256(b"mpota device key" + secret).digest()[:8]
        body += tables.RECIPIENT.pack(name, aes_key_wrap(secret, head.content))
    for name, value in (head.fields or {}).items():
        body += tables.FIELD.pack(name, len(value)) + value
    signed = tables.PREAMBLE.pack(b"MPOT", 2, key is not None, len(body), key_id(key) if key else bytes(8)) + body
    return signed + (sign(key, signed) if key else b"") + b"".join(stored for _, stored in made)


def write_record(
    serial: int,
    product: str,
    release: Sequence[bytes],
    rollout: Sequence[bytes],
    roots: Sequence[rsa.RSAPrivateKey],
) -> bytes:
    """A keys record: these keys, by these roots."""
    numbers = 1, len(release), len(rollout), 0, serial, product.encode()
    signed = tables.RECORD.pack(b"MPOK", *numbers) + b"".join([*release, *rollout])
    made = signed[:7] + bytes((len(roots),)) + signed[8:]
    return made + b"".join(key_id(root) + sign(root, signed) for root in roots)


def write_files(files: Mapping[str, bytes], resources: Mapping[str, int]) -> bytes:
    """An application's component: the list, then the files. `resources`: how many bytes others bring, by path."""
    entries = b""
    order = sorted([*files, *resources], key=str.lower)
    for path in order:
        name = path.encode()
        size = resources[path] if path in resources else len(files[path])
        entries += tables.ENTRY.pack(size, path in resources, len(name)) + name
    whole = sum(resources.values()) + sum(map(len, files.values()))
    head = tables.LIST.pack(b"MPFL", len(order), tables.LIST.size + len(entries), whole)
    return head + entries + b"".join(files[path] for path in order if path in files)
